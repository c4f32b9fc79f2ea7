//! `yoi plugin check`: checks the manifest of a plugin and the files of its package.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::source;
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes};

/// Checks the manifest of a plugin and the files of its package.
///
/// The component is neither compiled nor run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// Properties of every package that can be opened.
const PROVED: [&str; 4] = [
    "the manifest has no errors, and every permission in it has a reason",
    "the schemas have no faults and refer to nothing outside of the manifest",
    "the manifest contains no credential and no host path, not even in comments",
    "the package has two files in canonical form, and one of them begins as a component",
];

/// Properties that only a host can check.
const NOT_CHECKED: &str = "the code, imports and exports of the component; a host examines them before it compiles it";

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let package = source::open(&args.package, &args.limits.read()?.bundle)?;
    let mut document = super::summary(&package, "yoi.plugin-check/1");
    document.insert("ok".to_owned(), json!(true));
    document.insert("proved".to_owned(), json!(PROVED));
    document.insert("not_checked".to_owned(), json!([NOT_CHECKED]));
    output.result(&document, || {
        let manifest = package.manifest();
        let mut rows = Rows::default();
        rows.row("plugin", format!("{} {}", manifest.name(), manifest.version()));
        rows.noted("package", package.digest(), bytes(package.blob().bytes().len() as u64));
        rows.list("proved", PROVED);
        rows.row("not checked", NOT_CHECKED);
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
