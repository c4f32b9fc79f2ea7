//! `yoi worker history`: prints the history of a worker, oldest entry first.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bundles::ToolName;
use runtime_api::history::{Entry, EntryKind, Payload};
use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MAX_LIST_ITEMS, RemoteArgs};
use crate::text::{Rows, bytes, time};

/// Shows the history of a worker: the start and the end of every call, and every event.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    /// Shows only entries after the entry with this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, env = "YOI_AFTER")]
    after: u64,
    /// Maximum number of entries. Default: all.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), env = "YOI_LIMIT")]
    limit: Option<u32>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limit = args.limit.map_or(MAX_LIST_ITEMS, |limit| usize::try_from(limit).unwrap_or(MAX_LIST_ITEMS));
    let entries = args.remote.send(|client| async move { client.history(&args.id, args.after, limit).await })?;
    let document = json!({ "schema": "yoi.worker-history/1", "worker": args.id, "entries": entries });
    output.result(&document, || text(&entries, args.after));
    Ok(ExitCode::SUCCESS)
}

fn text(entries: &[Entry], after: u64) -> String {
    if entries.is_empty() {
        return if after == 0 { "the history is empty\n" } else { "no entries after this number\n" }.to_owned();
    }
    let mut rows = Rows::default();
    let mut began: BTreeMap<u64, &ToolName> = BTreeMap::new();
    for entry in entries {
        let tool_of = |call: &u64| began.get(call).map_or_else(|| format!("call {call}"), ToString::to_string);
        let text = match &entry.kind {
            EntryKind::CallBegan { tool, input } => {
                began.insert(entry.number, tool);
                format!("{tool} called with {}", shown(input))
            }
            EntryKind::CallEnded { began, output } => format!("{} returned {}", tool_of(began), shown(output)),
            EntryKind::CallFailed { began, code, message } => format!("{} failed [{code}]: {message}", tool_of(began)),
            EntryKind::EventReceived { ingress, plugin, id, payload } => {
                format!("{plugin} received event {id} of {ingress}: {}", shown(payload))
            }
            EntryKind::EventHandled { received, attempts } => {
                format!("event {received} handled{}", deliveries(*attempts))
            }
            EntryKind::EventFailed { received, attempts, code, message } => {
                format!("event {received} failed{} [{code}]: {message}", deliveries(*attempts))
            }
        };
        rows.row(&entry.number.to_string(), format!("{} {text}", time(entry.at)));
    }
    rows.into_text()
}

/// Formats the number of deliveries of an event, if there were several.
fn deliveries(attempts: u32) -> String {
    if attempts == 1 { String::new() } else { format!(" after {attempts} deliveries") }
}

/// Maximum length of an input or output in text output. JSON output has the whole value.
const MAX_SHOWN_CHARS: usize = 200;

fn shown(payload: &Payload) -> String {
    match payload {
        Payload::Json(value) => {
            let text = value.to_string();
            match text.char_indices().nth(MAX_SHOWN_CHARS) {
                Some((end, _)) => format!("{}… ({})", text.get(..end).unwrap_or_default(), bytes(text.len() as u64)),
                None => text,
            }
        }
        Payload::Blob { digest, bytes: size } => format!("blob {digest} ({})", bytes(*size)),
    }
}
