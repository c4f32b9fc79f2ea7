//! `yoi secret rm`: removes a secret.

use std::process::ExitCode;

use serde_json::json;

use super::{FolderArgs, reference};
use crate::error::CliError;
use crate::output::Output;

/// Removes a secret. Workers to which the secret is granted can no longer read it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the secret, as in bundles and configs.
    name: String,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let name = reference(&args.name)?;
    args.folder.open()?.remove(&name)?;
    let document = json!({ "schema": "yoi.secret-rm/1", "name": name });
    output.result(&document, || format!("removed {name}\n"));
    Ok(ExitCode::SUCCESS)
}
