//! The exported interface `tools`.
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated")]

use exports::yoi::plugin::tools::{Guest, Invocation, ToolFailure};
use serde_json::{Value, json};
use yoi::plugin::types::ToolFailureKind;

use crate::table;

wit_bindgen::generate!({ path: "../../../../../wit", world: "tool", generate_all });

struct Plugin;

export!(Plugin);

impl Guest for Plugin {
    fn call(invocation: Invocation) -> Result<String, ToolFailure> {
        // A panic ends the call as a trap without a message, so every error is returned as a failure.
        let input: Value = serde_json::from_str(&invocation.input)
            .map_err(|error| failure(ToolFailureKind::InvalidInput, "invalid_json", &error.to_string()))?;
        let text = input.get("text").and_then(Value::as_str);
        match (invocation.tool.as_str(), text) {
            ("markdown.format-tables", Some(text)) => {
                let (text, tables) = table::format(text);
                Ok(json!({ "text": text, "tables": tables }).to_string())
            }
            ("markdown.format-tables", None) => {
                Err(failure(ToolFailureKind::InvalidInput, "no_text", "The input has no text."))
            }
            (other, _) => {
                Err(failure(ToolFailureKind::Failed, "unknown_tool", &format!("There is no tool `{other}`.")))
            }
        }
    }
}

fn failure(kind: ToolFailureKind, code: &str, message: &str) -> ToolFailure {
    ToolFailure { kind, code: code.to_owned(), message: message.to_owned() }
}
