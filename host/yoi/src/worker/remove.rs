//! `yoi worker remove`: removes a stopped worker.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Removes a stopped worker with its history.
///
/// Afterwards the id can be used again. The next garbage collection removes its unused blobs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    args.remote.send(|client| async move { client.remove_worker(&args.id).await })?;
    let document = json!({ "schema": "yoi.worker-remove/1", "worker": args.id });
    output.result(&document, || format!("removed {}\n", args.id));
    Ok(ExitCode::SUCCESS)
}
