//! `yoi bundle bump`: the next revision, and now.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::{Revision, Timestamp};
use serde_json::json;

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
        CliError::new("invalid_toml", format!("`{}` {what}", path.display()), "`yoi bundle check` shows where")
    };
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|_| invalid("is not TOML"))?;
    let before =
        document.get("revision").and_then(|value| value.as_integer()).and_then(|number| u64::try_from(number).ok());
    let before = Revision::new(before.ok_or_else(|| invalid("has no `revision`"))?);
    let after = before.next().ok_or_else(|| invalid("has the last revision there can be"))?;
    let created_at = match &args.created_at {
        Some(time) => time.clone(),
        None => now()?,
    };
    let number = i64::try_from(after.get()).map_err(|_| invalid("has the last revision that TOML can hold"))?;
    set(&mut document, "revision", number.into());
    set(&mut document, "created_at", created_at.as_str().into());
    files::write(&path, document.to_string().as_bytes(), "file")?;
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

/// Puts a value in place and leaves the comments around it.
fn set(document: &mut toml_edit::DocumentMut, key: &str, mut value: toml_edit::Value) {
    if let Some(decor) = document.get(key).and_then(|item| item.as_value()).map(|old| old.decor().clone()) {
        *value.decor_mut() = decor;
    }
    document.insert(key, toml_edit::Item::Value(value));
}
