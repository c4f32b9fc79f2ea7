//! Inputs, outputs and failures of the tools.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::glue::yoi::host::types::{Side, SizeLimit};
use crate::glue::yoi::host::websocket::Failure;
use crate::glue::yoi::plugin::types::{ToolFailure, ToolFailureKind};

/// Returns the output of `chat.recent`.
pub(crate) fn recent<C>(gateway: &Gateway<C>, input: &Value) -> String {
    let limit = input.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let messages = gateway.messages.last(limit.unwrap_or(usize::MAX));
    json!({ "messages": messages, "connected": gateway.is_connected() }).to_string()
}

/// Returns the message that `chat.send` sends.
pub(crate) fn message(input: &Value) -> Result<String, ToolFailure> {
    let Some(text) = input.get("text").and_then(Value::as_str) else {
        return Err(failure(ToolFailureKind::InvalidInput, "no_text", "The input has no text."));
    };
    Ok(json!({ "type": "message", "text": text }).to_string())
}

/// Returns the failure of `chat.send` for a failure of the host.
pub(crate) fn not_sent(cause: &Failure) -> ToolFailure {
    match cause {
        Failure::RateLimited(limit) => {
            let message = format!("Too many messages were sent. Try again after {} ms.", limit.retry_after_ms);
            failure(ToolFailureKind::Unavailable, "rate_limited", &message)
        }
        Failure::TooLarge(SizeLimit { side: Side::Sent, bytes }) => {
            let message = format!("The message exceeds a limit of the host ({bytes} bytes).");
            failure(ToolFailureKind::Failed, "too_large", &message)
        }
        _ => not_connected("The connection was lost. The message may not have arrived."),
    }
}

/// Returns the failure of `chat.send` without a connection.
pub(crate) fn not_connected(message: &str) -> ToolFailure {
    failure(ToolFailureKind::Unavailable, "not_connected", message)
}

/// Creates a failure of a tool.
pub(crate) fn failure(kind: ToolFailureKind, code: &str, message: &str) -> ToolFailure {
    ToolFailure { kind, code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::glue::yoi::host::types::RateLimit;

    #[test]
    fn recent_messages_are_limited() {
        let mut gateway = Gateway::new(Config { url: String::new(), heartbeat_ms: 100 }, 0);
        for text in ["a", "b"] {
            gateway.messages.push(text.to_owned());
        }
        assert_eq!(recent(&gateway, &json!({ "limit": 1 })), r#"{"connected":false,"messages":["b"]}"#);
        gateway.opened(1, 0);
        assert_eq!(recent(&gateway, &json!({})), r#"{"connected":true,"messages":["a","b"]}"#);
    }

    #[test]
    fn message_is_json_whatever_its_text() {
        let sent = message(&json!({ "text": "\"}\n" })).unwrap();
        assert_eq!(sent, r#"{"text":"\"}\n","type":"message"}"#);
        assert_eq!(message(&json!({ "text": 1 })).unwrap_err().code, "no_text");
    }

    #[test]
    fn message_that_was_not_sent_is_a_failure() {
        let too_large = |side| Failure::TooLarge(SizeLimit { side, bytes: 7 });
        for (cause, kind, code) in [
            (Failure::Cancelled, ToolFailureKind::Unavailable, "not_connected"),
            (too_large(Side::Received), ToolFailureKind::Unavailable, "not_connected"),
            (too_large(Side::Sent), ToolFailureKind::Failed, "too_large"),
            (Failure::RateLimited(RateLimit { retry_after_ms: 9 }), ToolFailureKind::Unavailable, "rate_limited"),
        ] {
            let failure = not_sent(&cause);
            assert_eq!((failure.kind, failure.code.as_str()), (kind, code));
        }
    }
}
