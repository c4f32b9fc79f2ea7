//! `yoi backend runtimes remove`: removes a Runtime from the fleet.

use std::process::ExitCode;

use ::bundles::RuntimeName;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;

/// Removes a Runtime that was added with `yoi backend runtimes add`. Nothing is removed from the Runtime itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Runtime.
    name: RuntimeName,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    args.backend.send(|client| async move { client.remove_runtime(&args.name).await })?;
    let document = json!({ "schema": "yoi.backend-runtime-removed/1", "runtime": args.name });
    output.result(&document, || format!("removed {}\n", args.name));
    Ok(ExitCode::SUCCESS)
}
