//! `yoi worker send`: sends an event to a service of a worker.

use std::process::ExitCode;

use bundles::IngressName;
use runtime_api::ingress::EventId;
use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::json_input;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Sends an event to a service of a worker and prints the number of its entry in the worker's history.
///
/// The event is durable when the command succeeds, and is delivered later; `yoi worker history` shows the delivery. An event
/// with a known id is not delivered again, so the command can be repeated. The token needs the scope `ingress`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    /// Name of the ingress, as in the manifest of the plugin.
    ingress: IngressName,
    /// Id of the event: 1 to 128 visible ASCII characters.
    event: EventId,
    /// Content of the event: JSON text, `@FILE` for a file with JSON, or `-` for standard input.
    #[arg(default_value = "null")]
    payload: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let payload = json_input::read(&args.payload, "event")?;
    let Args { id, ingress, event, .. } = args;
    let accepted = args.remote.send(|client| async move { client.send_event(id, ingress, event, &payload).await })?;
    let document = json!({
        "schema": "yoi.worker-send/1", "worker": id, "ingress": ingress, "event": event, "entry": accepted.entry,
    });
    output.result(&document, || format!("entry {}\n", accepted.entry));
    Ok(ExitCode::SUCCESS)
}
