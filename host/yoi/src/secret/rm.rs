//! `yoi secret rm`: one secret less.

use std::process::ExitCode;

use bundles::SecretRef;
use serde_json::json;

use super::FolderArgs;
use crate::error::CliError;
use crate::output::Output;

/// Removes a secret. Workers that are granted it find none from then on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The secret's name, as bundles and configs refer to it.
    name: SecretRef,
    #[command(flatten)]
    folder: FolderArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    args.folder.open()?.remove(&args.name)?;
    let document = json!({ "schema": "yoi.secret-rm/1", "name": args.name });
    output.result(&document, || format!("removed {}\n", args.name));
    Ok(ExitCode::SUCCESS)
}
