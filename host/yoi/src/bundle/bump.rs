//! `yoi bundle bump`: raises the revision and updates the creation time.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Revision, Timestamp};
use runtime_api::Code;
use serde_json::json;
use toml_edit::Document;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Raises `revision` by one and updates `created_at` in the `bundle.toml` of a folder. Nothing else in the file changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`.
    folder: PathBuf,
    /// Creation time. Default: now.
    #[arg(long, value_name = "TIME", env = "YOI_CREATED_AT")]
    created_at: Option<Timestamp>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let path = args.folder.join("bundle.toml");
    let text = files::read_text(&path, 4 << 20, "file")?;
    let invalid = |what: &str| {
        CliError::new(
            Code::InvalidToml,
            format!("`{}` {what}", files::shown(&path)),
            "find the place with `yoi bundle check`",
        )
    };
    let written: Document<&str> = Document::parse(text.as_str()).map_err(|_| invalid("is not TOML"))?;
    let field = |name: &str| {
        let value = written.get(name).and_then(|item| item.as_value());
        value.and_then(|value| Some((value, value.span()?))).ok_or_else(|| invalid(&format!("has no `{name}`")))
    };
    let (revision, revision_span) = field("revision")?;
    let (time, time_span) = field("created_at")?;
    let before = revision.as_integer().and_then(|number| u64::try_from(number).ok());
    let before = Revision::new(before.ok_or_else(|| invalid("has an invalid `revision`"))?);
    let after = before.next().filter(|after| i64::try_from(after.get()).is_ok());
    let after = after.ok_or_else(|| invalid("has the largest revision that TOML can represent"))?;
    let earlier: Timestamp = time
        .as_str()
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| invalid("has a `created_at` that is not a time in UTC"))?;
    let created_at = match &args.created_at {
        Some(time) => time.clone(),
        None => now()?,
    };
    if instant(&created_at)? < instant(&earlier)? {
        return Err(CliError::new(
            Code::EarlierTime,
            format!("{created_at} is before {earlier}, the time of the last revision"),
            "pass a later time with `--created-at`, or correct the clock",
        ));
    }
    // Replace from the end, so that the other span stays valid.
    let mut values = [(revision_span, after.to_string()), (time_span, format!("\"{created_at}\""))];
    values.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut bumped = text.clone();
    for (span, value) in values {
        bumped.replace_range(span, &value);
    }
    files::write(&path, bumped.as_bytes(), "file")?;
    let document =
        json!({ "schema": "yoi.bundle-bump/1", "before": before, "revision": after, "created_at": created_at });
    output.result(&document, || format!("revision {before} -> {after}, created_at {created_at}\n"));
    Ok(ExitCode::SUCCESS)
}

fn now() -> Result<Timestamp, CliError> {
    // `created_at` has whole seconds.
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second())
        .ok()
        .and_then(|time| time.to_string().parse().ok());
    now.ok_or_else(|| {
        CliError::new(
            Code::Failed,
            "the clock of the system is outside the valid range",
            "pass the time with `--created-at`",
        )
    })
}

fn instant(time: &Timestamp) -> Result<jiff::Timestamp, CliError> {
    let unreadable = |_| CliError::new(Code::Failed, "cannot compare two times", "report this as a bug");
    time.as_str().parse().map_err(unreadable)
}
