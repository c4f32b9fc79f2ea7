//! JSON values that are passed on the command line: as text, in a file, or on standard input.

use std::io::Read;
use std::path::Path;

use bundles::canonical::{parse_unique, reason};
use bundles::encoding;
use runtime_api::Code;
use serde_json::Value;

use crate::error::CliError;
use crate::files;

/// Maximum size of a value. A Runtime has its own, smaller limit (`call_bytes`).
const MAX_BYTES: usize = 16 << 20;

/// Reads a value: JSON text, `@FILE` for a file with JSON, or `-` for standard input. `what` names the value in errors, for
/// example `input`.
pub(crate) fn read(given: &str, what: &str) -> Result<Value, CliError> {
    let bytes = match given.strip_prefix('@') {
        Some(file) => files::read_authored(Path::new(file), MAX_BYTES, &format!("{what} file"))?,
        None if given == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|_| {
                CliError::new(
                    Code::Unreadable,
                    "cannot read standard input",
                    format!("pass the file of the {what} as `@FILE`"),
                )
            })?;
            bytes
        }
        None => given.as_bytes().to_vec(),
    };
    if bytes.len() > MAX_BYTES {
        return Err(CliError::new(
            Code::TooLarge,
            format!("the {what} has more than {MAX_BYTES} bytes"),
            format!("pass a smaller {what}"),
        ));
    }
    if let Some(problem) = encoding::problem(&bytes) {
        return Err(CliError::new(Code::NotUtf8, format!("the {what} is not UTF-8 text: {problem}"), "pass UTF-8"));
    }
    let text = encoding::without_mark(&bytes);
    parse_unique(text).map_err(|error| {
        if error.code() == Code::DuplicateKey {
            return CliError::of_library(error.code(), format!("invalid {what}: {error}"), error.help());
        }
        let (line, column) = error.place().unwrap_or_default();
        let reason = serde_json::from_slice::<Value>(text).err().map(|error| format!(": {}", reason(text, &error)));
        let message = format!("invalid {what}: not JSON at line {line}, column {column}{}", reason.unwrap_or_default());
        CliError::new(Code::InvalidJson, message, "pass JSON such as `'{\"path\":\"notes.md\"}'`, `@FILE` or `-`")
    })
}
