//! `yoi worker history`: what a worker did, in order.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bundles::ToolName;
use runtime_api::history::{Entry, EntryKind, Payload};
use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MOST_LISTED, RemoteArgs};
use crate::text::{Rows, bytes, time};

/// Shows what a worker did: every call with its beginning and its end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The worker's id.
    id: WorkerId,
    /// Only what came after the entry of that number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, env = "YOI_AFTER")]
    after: u64,
    /// At most so many entries. By default all.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), env = "YOI_LIMIT")]
    limit: Option<u32>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let most = args.limit.map_or(MOST_LISTED, |limit| usize::try_from(limit).unwrap_or(MOST_LISTED));
    let entries = args.remote.ask(|client| async move { client.history(&args.id, args.after, most).await })?;
    let document = json!({ "schema": "yoi.worker-history/1", "worker": args.id, "entries": entries });
    output.result(&document, || text(&entries, args.after));
    Ok(ExitCode::SUCCESS)
}

fn text(entries: &[Entry], after: u64) -> String {
    if entries.is_empty() {
        return if after == 0 { "it did nothing yet\n" } else { "nothing came after that\n" }.to_owned();
    }
    let mut rows = Rows::default();
    let mut began: BTreeMap<u64, &ToolName> = BTreeMap::new();
    for entry in entries {
        let of = |call: &u64| began.get(call).map_or_else(|| format!("call {call}"), ToString::to_string);
        let what = match &entry.kind {
            EntryKind::CallBegan { tool, input } => {
                began.insert(entry.number, tool);
                format!("{tool} called with {}", shown(input))
            }
            EntryKind::CallEnded { began, output } => format!("{} answered {}", of(began), shown(output)),
            EntryKind::CallFailed { began, code, message } => format!("{} failed [{code}]: {message}", of(began)),
        };
        rows.row(&entry.number.to_string(), format!("{} {what}", time(entry.at)));
    }
    rows.into_text()
}

/// Most characters that are shown of what went in or came out of a call; `--format json` has all of it.
const SHOWN_CHARS: usize = 200;

fn shown(content: &Payload) -> String {
    match content {
        Payload::Json(value) => {
            let text = value.to_string();
            match text.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => format!("{}… ({})", text.get(..end).unwrap_or_default(), bytes(text.len() as u64)),
                None => text,
            }
        }
        Payload::Blob { digest, bytes: size } => format!("blob {digest} ({})", bytes(*size)),
    }
}
