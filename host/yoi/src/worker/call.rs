//! `yoi worker call`: one call of a tool, and its answer.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use bundles::canonical::{parse_unique, reason};
use bundles::{ToolName, encoding};
use clap::builder::BoolishValueParser;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::worker::WorkerId;

use crate::error::CliError;
use crate::files;
use crate::output::{Output, json_line};
use crate::remote::RemoteArgs;

/// Calls a tool of a worker, and prints what it answers: JSON, and nothing beside it.
///
/// The call is made once. Where the connection ends before the answer, `yoi worker history` says whether
/// there was a call, and what it came to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The worker's id.
    id: WorkerId,
    /// The tool, as the worker's bundle names it.
    tool: ToolName,
    /// The input, which is JSON: itself, `@FILE` for what is in a file, or `-` for standard input.
    #[arg(default_value = "{}")]
    input: String,
    /// Says that a person has agreed, where the bundle asks for that.
    #[arg(long, env = "YOI_CONFIRMED", value_parser = BoolishValueParser::new())]
    confirmed: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Most bytes of an input. What a Runtime takes is bounded by its own limit, `call_bytes`.
const INPUT_BYTES: usize = 16 << 20;

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let call = ToolCall { input: input(&args.input)?, confirmed: args.confirmed };
    let called = args.remote.ask(|client| async move { client.call(&args.id, &args.tool, &call).await })?;
    let document = json!({
        "schema": "yoi.worker-call/1", "worker": args.id, "tool": args.tool, "entry": called.entry, "output": called.output,
    });
    output.result(&document, || json_line(&called.output));
    Ok(ExitCode::SUCCESS)
}

fn input(given: &str) -> Result<Value, CliError> {
    let bytes = match given.strip_prefix('@') {
        Some(file) => files::read_authored(Path::new(file), INPUT_BYTES, "input file")?,
        None if given == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(INPUT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| {
                CliError::new("unreadable", "standard input cannot be read", "name the input's file as `@FILE`")
            })?;
            bytes
        }
        None => given.as_bytes().to_vec(),
    };
    if bytes.len() > INPUT_BYTES {
        return Err(CliError::new("too_large", format!("the input has more than {INPUT_BYTES} bytes"), "pass less"));
    }
    if let Some(problem) = encoding::problem(&bytes) {
        return Err(CliError::new("not_utf8", format!("the input cannot be read as text: {problem}"), "pass UTF-8"));
    }
    let text = encoding::without_mark(&bytes);
    parse_unique(text).map_err(|error| {
        if error.code() == "duplicate_key" {
            return CliError::of_library(error.code(), format!("invalid input: {error}"), error.help());
        }
        let (line, column) = error.place().unwrap_or_default();
        let reason = serde_json::from_slice::<Value>(text).err().map(|error| format!(": {}", reason(text, &error)));
        let message = format!("the input is not JSON at line {line}, column {column}{}", reason.unwrap_or_default());
        CliError::new("invalid_json", message, "pass JSON, as `'{\"path\":\"notes.md\"}'`, `@FILE` or `-`")
    })
}
