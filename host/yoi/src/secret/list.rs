//! `yoi secret list`: lists the names of the secrets.

use std::process::ExitCode;

use serde_json::json;

use super::FolderArgs;
use crate::error::CliError;
use crate::output::Output;

/// Lists the names of the secrets. Values are never shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: FolderArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let names = args.folder.open()?.list()?;
    output.result(&json!({ "schema": "yoi.secrets/1", "secrets": names }), || {
        if names.is_empty() {
            return "no secrets; set one with `yoi secret set NAME`\n".to_owned();
        }
        names.iter().map(|name| format!("{name}\n")).collect()
    });
    Ok(ExitCode::SUCCESS)
}
