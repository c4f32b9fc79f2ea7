//! `yoi worker stop`: stops a worker permanently.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::worker::{StopReason, WorkerId, WorkerState};

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Stops a worker permanently. Its history stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let worker = args.remote.send(|client| async move { client.stop_worker(&args.id).await })?;
    let document = json!({ "schema": "yoi.worker-stop/1", "worker": worker });
    output.result(&document, || match worker.state {
        WorkerState::Stopped { reason: StopReason::Requested, .. } => format!("stopped {}\n", worker.id),
        _ => format!("{} is {}\n", worker.id, super::state(&worker)),
    });
    Ok(ExitCode::SUCCESS)
}
