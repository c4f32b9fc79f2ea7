//! `yoi worker call`: calls a tool of a worker.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use bundles::canonical::{parse_unique, reason};
use bundles::{ToolName, encoding};
use clap::builder::BoolishValueParser;
use runtime_api::Code;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::files;
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

/// Maximum size of an input. A Runtime has its own, smaller limit (`call_bytes`).
const MAX_INPUT_BYTES: usize = 16 << 20;

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let call = ToolCall { input: input(&args.input)?, confirmed: args.confirmed };
    let result = args.remote.send(|client| async move { client.call(&args.id, &args.tool, &call).await })?;
    let document = json!({
        "schema": "yoi.worker-call/1", "worker": args.id, "tool": args.tool, "entry": result.entry, "output": result.output,
    });
    output.result(&document, || json_line(&result.output));
    Ok(ExitCode::SUCCESS)
}

fn input(given: &str) -> Result<Value, CliError> {
    let bytes = match given.strip_prefix('@') {
        Some(file) => files::read_authored(Path::new(file), MAX_INPUT_BYTES, "input file")?,
        None if given == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(MAX_INPUT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| {
                CliError::new(Code::Unreadable, "cannot read standard input", "pass the file of the input as `@FILE`")
            })?;
            bytes
        }
        None => given.as_bytes().to_vec(),
    };
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(CliError::new(
            Code::TooLarge,
            format!("the input has more than {MAX_INPUT_BYTES} bytes"),
            "pass a smaller input",
        ));
    }
    if let Some(problem) = encoding::problem(&bytes) {
        return Err(CliError::new(Code::NotUtf8, format!("the input is not UTF-8 text: {problem}"), "pass UTF-8"));
    }
    let text = encoding::without_mark(&bytes);
    parse_unique(text).map_err(|error| {
        if error.code() == Code::DuplicateKey {
            return CliError::of_library(error.code(), format!("invalid input: {error}"), error.help());
        }
        let (line, column) = error.place().unwrap_or_default();
        let reason = serde_json::from_slice::<Value>(text).err().map(|error| format!(": {}", reason(text, &error)));
        let message = format!("invalid input: not JSON at line {line}, column {column}{}", reason.unwrap_or_default());
        CliError::new(Code::InvalidJson, message, "pass JSON such as `'{\"path\":\"notes.md\"}'`, `@FILE` or `-`")
    })
}
