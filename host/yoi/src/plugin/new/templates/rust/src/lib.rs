//! The world `tool` in Rust. A fresh instance answers each call, so nothing is kept between calls.

wit_bindgen::generate!({ path: "wit", world: "tool", generate_all });

use exports::yoi::plugin::tools::{Guest, Invocation, ToolFailure};
use serde_json::{Map, Value};
use yoi::plugin::types::ToolFailureKind;

struct Plugin;

export!(Plugin);

impl Guest for Plugin {
    fn call(invocation: Invocation) -> Result<String, ToolFailure> {
        // A panic ends the call as a trap without a message, so every error is returned as a failure.
        let input: Value = serde_json::from_str(&invocation.input)
            .map_err(|error| failure(ToolFailureKind::InvalidInput, "invalid_json", &error.to_string()))?;
        match invocation.tool.as_str() {
            "{name}.count" => count(&input).map(|output| output.to_string()),
            other => Err(failure(ToolFailureKind::Failed, "unknown_tool", &format!("There is no tool `{other}`."))),
        }
    }
}

fn count(input: &Value) -> Result<Value, ToolFailure> {
    let Some(text) = input.get("text").and_then(Value::as_str) else {
        return Err(failure(ToolFailureKind::InvalidInput, "no_text", "The input has no text."));
    };
    let mut counts = Map::new();
    for word in text.split_whitespace() {
        let before = counts.get(word).and_then(Value::as_u64).unwrap_or_default();
        counts.insert(word.to_owned(), (before + 1).into());
    }
    Ok(counts.into())
}

fn failure(kind: ToolFailureKind, code: &str, message: &str) -> ToolFailure {
    ToolFailure { kind, code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        let counts = count(&serde_json::json!({ "text": "to be or not to be" })).map_err(|failure| failure.message);
        assert_eq!(counts, Ok(serde_json::json!({ "be": 2, "not": 1, "or": 1, "to": 2 })));
    }
}
