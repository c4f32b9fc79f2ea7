//! `yoi worker call`: calls a tool of a worker.

use std::process::ExitCode;

use bundles::ToolName;
use clap::builder::BoolishValueParser;
use runtime_api::call::ToolCall;
use serde_json::json;
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::json_input;
use crate::output::{Output, json_line};
use crate::remote::RemoteArgs;

/// Calls a tool of a worker and prints its output as JSON.
///
/// There are no retries. If the connection closes before the response, `yoi worker history` shows whether the call took place
/// and its result.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the worker.
    id: WorkerId,
    /// Name of the tool, as in the bundle of the worker.
    tool: ToolName,
    /// Input: JSON text, `@FILE` for a file with JSON, or `-` for standard input.
    #[arg(default_value = "{}")]
    input: String,
    /// Confirms that a person has agreed to the call, if the bundle requires confirmation.
    #[arg(long, env = "YOI_CONFIRMED", value_parser = BoolishValueParser::new())]
    confirmed: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let call = ToolCall { input: json_input::read(&args.input, "input")?, confirmed: args.confirmed };
    let result = args.remote.send(|client| async move { client.call(&args.id, &args.tool, &call).await })?;
    let document = json!({
        "schema": "yoi.worker-call/1", "worker": args.id, "tool": args.tool, "entry": result.entry, "output": result.output,
    });
    output.result(&document, || json_line(&result.output));
    Ok(ExitCode::SUCCESS)
}
