//! `yoi secret rm`: one secret less.

use std::process::ExitCode;

use serde_json::json;

use super::{FolderArgs, reference};
use crate::error::CliError;
use crate::output::Output;

/// Removes a secret. Workers that are granted it find none from then on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The secret's name, as bundles and configs refer to it.
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
