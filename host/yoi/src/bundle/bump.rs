//! `yoi bundle bump`: the next revision, and now.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Revision, Timestamp};
use serde_json::json;
use toml_edit::Document;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Raises `revision` by one and sets `created_at` in a folder's `bundle.toml`, and changes nothing
/// else in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder.
    folder: PathBuf,
    /// The time to write, instead of now.
    #[arg(long, value_name = "TIME", env = "YOI_CREATED_AT")]
    created_at: Option<Timestamp>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let path = args.folder.join("bundle.toml");
    let text = files::read_text(&path, 4 << 20, "file")?;
    let invalid = |what: &str| {
        CliError::new("invalid_toml", format!("`{}` {what}", files::shown(&path)), "`yoi bundle check` shows where")
    };
    let written: Document<&str> = Document::parse(text.as_str()).map_err(|_| invalid("is not TOML"))?;
    let field = |name: &str| {
        let value = written.get(name).and_then(|item| item.as_value());
        value.and_then(|value| Some((value, value.span()?))).ok_or_else(|| invalid(&format!("has no `{name}`")))
    };
    let (revision, revision_span) = field("revision")?;
    let (time, time_span) = field("created_at")?;
    let before = revision.as_integer().and_then(|number| u64::try_from(number).ok());
    let before = Revision::new(before.ok_or_else(|| invalid("has a `revision` that is none"))?);
    let after = before.next().filter(|after| i64::try_from(after.get()).is_ok());
    let after = after.ok_or_else(|| invalid("has the last revision that TOML can hold"))?;
    let earlier: Timestamp = time
        .as_str()
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| invalid("has a `created_at` that is no time in UTC"))?;
    let created_at = match &args.created_at {
        Some(time) => time.clone(),
        None => now()?,
    };
    if instant(&created_at)? < instant(&earlier)? {
        return Err(CliError::new(
            "earlier_time",
            format!("{created_at} is before {earlier}, when the last revision was made"),
            "give a later time with `--created-at`, or set the clock right",
        ));
    }
    // From the end on, so that what is left to replace stays where it is.
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
    // Whole seconds: a revision is made by a person.
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second())
        .ok()
        .and_then(|time| time.to_string().parse().ok());
    now.ok_or_else(|| {
        CliError::new(
            "failed",
            "this machine's clock shows no time that can be written",
            "give the time with `--created-at`",
        )
    })
}

fn instant(time: &Timestamp) -> Result<jiff::Timestamp, CliError> {
    let unreadable = |_| CliError::new("failed", "a time cannot be compared", "please report this");
    time.as_str().parse().map_err(unreadable)
}
