//! `yoi worker show`: what a worker is made from.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Shows what a worker is made from, and whether it takes calls.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The worker's id.
    id: WorkerId,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let worker = args.remote.ask(|client| async move { client.worker(&args.id).await })?;
    output.result(&json!({ "schema": "yoi.worker/1", "worker": worker }), || super::rows(&worker));
    Ok(ExitCode::SUCCESS)
}
