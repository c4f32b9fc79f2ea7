//! `yoi worker list`: which workers there are.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::worker::WorkerState;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MOST_LISTED, RemoteArgs};
use crate::text::Rows;

/// Lists the workers of a workspace, those that are stopped included.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let workers = args.remote.ask(|client| async move { client.workers(None, MOST_LISTED).await })?;
    output.result(&json!({ "schema": "yoi.workers/1", "workers": workers }), || {
        if workers.is_empty() {
            return "there are no workers; `yoi worker create` makes one\n".to_owned();
        }
        let mut rows = Rows::default();
        for worker in &workers {
            let name = worker.request.display_name.as_ref().map(|name| format!(", {}", name.as_str()));
            let made = format!("{} of {}{}", worker.request.profile, worker.bundle.short(), name.unwrap_or_default());
            let state = match &worker.state {
                // The cause is a sentence.
                WorkerState::Suspended(_) => format!("{};", super::state(worker)),
                WorkerState::Running | WorkerState::Stopped { .. } => super::state(worker),
            };
            rows.noted(worker.id.as_str(), state, made);
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
