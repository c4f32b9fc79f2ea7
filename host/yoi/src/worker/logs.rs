//! `yoi worker logs`: prints the log lines of a worker's plugins.

use std::process::ExitCode;

use runtime_api::log::LogEntry;
use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MAX_LIST_ITEMS, RemoteArgs};
use crate::text::time;

/// Shows the log lines of a worker's plugins, the oldest first. The token needs the scope `operator`.
///
/// The Runtime keeps the newest lines in memory, up to 64 KiB for each worker, and loses them when it stops. They are not part
/// of the worker's history.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    /// Shows only lines after the line with this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, env = "YOI_AFTER")]
    after: u64,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let lines =
        args.remote.send(|client| async move { client.worker_logs(&args.id, args.after, MAX_LIST_ITEMS).await })?;
    let document = json!({ "schema": "yoi.worker-logs/1", "worker": args.id, "lines": lines });
    output.result(&document, || text(&lines));
    Ok(ExitCode::SUCCESS)
}

fn text(lines: &[LogEntry]) -> String {
    if lines.is_empty() {
        return "no log lines\n".to_owned();
    }
    let line = |line: &LogEntry| {
        let cut = if line.is_truncated { " …" } else { "" };
        format!("{} {:5} {}: {}{cut}\n", time(line.at), line.severity.as_str(), line.plugin, line.text)
    };
    lines.iter().map(line).collect()
}
