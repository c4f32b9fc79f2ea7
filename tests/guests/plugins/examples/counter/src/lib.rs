//! The world `service` in Rust: a count that lives as long as its worker.
//!
//! One instance takes all turns, one at a time, so the state is an ordinary variable of the thread.
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated")]

use std::cell::Cell;

use exports::yoi::plugin::lifecycle::{self, Event, HandleFailure, NextTurn, State, WakeReason};
use exports::yoi::plugin::tools::{self, Invocation, ToolFailure};
use serde_json::{Value, json};
use yoi::host::log::{Level, write};
use yoi::plugin::types::ToolFailureKind;

wit_bindgen::generate!({ path: "../../../../../wit", world: "service", generate_all });

thread_local! {
    static COUNT: Cell<i64> = const { Cell::new(0) };
}

struct Counter;

export!(Counter);

/// The counter acts only when it is called.
const NO_TURN: NextTurn = NextTurn { after_ms: None, when_readable: false };

impl lifecycle::Guest for Counter {
    fn start(config: String) -> Result<NextTurn, String> {
        let config: Value = serde_json::from_str(&config).map_err(|error| format!("invalid config: {error}"))?;
        let start = config.get("start").and_then(Value::as_i64).unwrap_or_default();
        COUNT.set(start);
        write(Level::Info, &format!("counting from {start}"));
        Ok(NO_TURN)
    }

    fn handle(_: Event) -> Result<(), HandleFailure> {
        add(1).map(drop).ok_or_else(|| HandleFailure::Permanent("the count is too large".to_owned()))
    }

    fn wake(_: WakeReason) -> Result<NextTurn, String> {
        Ok(NO_TURN)
    }

    fn status() -> State {
        State { ready: true, detail: format!("count {}", COUNT.get()) }
    }

    fn stop() {
        write(Level::Info, &format!("stopped at {}", COUNT.get()));
    }
}

impl tools::Guest for Counter {
    fn call(invocation: Invocation) -> Result<String, ToolFailure> {
        let input: Value = serde_json::from_str(&invocation.input)
            .map_err(|error| failure(ToolFailureKind::InvalidInput, "invalid_json", &error.to_string()))?;
        if invocation.tool != "counter.add" {
            let message = format!("There is no tool `{}`.", invocation.tool);
            return Err(failure(ToolFailureKind::Failed, "unknown_tool", &message));
        }
        let by = input.get("by").and_then(Value::as_i64).unwrap_or(1);
        let count = add(by).ok_or_else(|| failure(ToolFailureKind::Failed, "overflow", "The count is too large."))?;
        Ok(json!({ "count": count }).to_string())
    }
}

fn add(by: i64) -> Option<i64> {
    let count = COUNT.get().checked_add(by)?;
    COUNT.set(count);
    Some(count)
}

fn failure(kind: ToolFailureKind, code: &str, message: &str) -> ToolFailure {
    ToolFailure { kind, code: code.to_owned(), message: message.to_owned() }
}
