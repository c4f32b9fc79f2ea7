//! `yoi worker list`: lists the workers of a workspace.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::worker::WorkerState;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MAX_LIST_ITEMS, RemoteArgs};
use crate::text::Rows;

/// Lists the workers of a workspace, including stopped ones.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let workers = args.remote.send(|client| async move { client.workers(None, MAX_LIST_ITEMS).await })?;
    output.result(&json!({ "schema": "yoi.workers/1", "workers": workers }), || {
        if workers.is_empty() {
            return "no workers; create one with `yoi worker create`\n".to_owned();
        }
        let mut rows = Rows::default();
        for worker in &workers {
            let name = worker.request.display_name.as_ref().map(|name| format!(", {}", name.as_str()));
            let origin = format!("{} of {}{}", worker.request.profile, worker.bundle.short(), name.unwrap_or_default());
            let state = match &worker.state {
                // Separates the cause, which can be long, from the profile after it.
                WorkerState::Suspended(_) => format!("{};", super::state(worker)),
                WorkerState::Running | WorkerState::Stopped { .. } => super::state(worker),
            };
            rows.noted(worker.id.as_str(), state, origin);
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
