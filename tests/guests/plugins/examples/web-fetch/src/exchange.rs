//! The request that a call asks for, and the output or the failure that the model gets.
//!
//! Nothing here calls the host.

use serde_json::{Map, Value, json};

use crate::glue::yoi::host::request::{Failure, Incoming, Method, Outgoing};
use crate::glue::yoi::host::types::{Side, Unreachable};
use crate::glue::yoi::plugin::types::{Invocation, ToolFailure, ToolFailureKind};

/// Methods of `web.fetch`, whose effect is `read`.
const READING: &[(&str, Method)] = &[("GET", Method::Get), ("HEAD", Method::Head)];

/// Methods of `web.send`, whose effect is `external`.
const CHANGING: &[(&str, Method)] =
    &[("POST", Method::Post), ("PUT", Method::Put), ("PATCH", Method::Patch), ("DELETE", Method::Delete)];

/// Code of a refusal whose own code does not have the form of the contract.
const DENIED: &str = "denied";

/// Returns the request of a call. The host has validated the input against the schema in `plugin.toml`.
pub(crate) fn request(invocation: &Invocation) -> Result<Outgoing, ToolFailure> {
    let invalid = |code, message| tool_failure(ToolFailureKind::InvalidInput, code, message);
    let input: Value =
        serde_json::from_str(&invocation.input).map_err(|error| invalid("invalid_json", error.to_string()))?;
    let given = input.get("method").and_then(Value::as_str);
    // A tool has only the methods of its effect, whatever its schema says.
    let (methods, name) = match invocation.tool.as_str() {
        "web.fetch" => (READING, given.or(Some("GET"))),
        "web.send" => (CHANGING, given),
        other => {
            let message = format!("There is no tool `{other}`.");
            return Err(tool_failure(ToolFailureKind::Failed, "unknown_tool", message));
        }
    };
    let Some((_, method)) = methods.iter().find(|(known, _)| Some(*known) == name) else {
        return Err(invalid("invalid_method", "The tool does not have this method.".to_owned()));
    };
    let Some(url) = input.get("url").and_then(Value::as_str) else {
        return Err(invalid("no_url", "The input has no URL.".to_owned()));
    };
    let headers = input.get("headers").and_then(Value::as_object).into_iter().flatten();
    let body = input.get("body").and_then(Value::as_str).unwrap_or_default();
    Ok(Outgoing {
        method: *method,
        url: url.to_owned(),
        headers: headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        body: body.as_bytes().to_vec(),
        credential: None,
        // Less than the call has left: when the host ends a call, the model does not get a failure of the tool.
        timeout_ms: Some(invocation.remaining_ms - invocation.remaining_ms / 8),
    })
}

/// Returns the output for a response with any status.
pub(crate) fn output(response: Incoming) -> String {
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let value = String::from_utf8_lossy(value);
        let joined = match headers.get(name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value.into_owned(),
        };
        headers.insert(name.clone(), Value::String(joined));
    }
    let (body, is_text) = match String::from_utf8(response.body) {
        Ok(text) => (text, true),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
    };
    json!({ "status": response.status, "headers": headers, "body": body, "is_text": is_text }).to_string()
}

/// Returns the failure of the tool for a failure of the host.
pub(crate) fn failure(failure: Failure) -> ToolFailure {
    use ToolFailureKind::{Denied, Failed, InvalidInput, Unavailable};

    match failure {
        Failure::Denied(denial) => {
            let code = if is_code(&denial.code) { denial.code.as_str() } else { DENIED };
            tool_failure(Denied, code, denial.message)
        }
        Failure::InvalidUrl(reason) => tool_failure(InvalidInput, "invalid_url", format!("Invalid URL: {reason}")),
        Failure::TooLarge(limit) => {
            let side = match limit.side {
                Side::Sent => "request",
                Side::Received => "response",
            };
            let message = format!("The {side} exceeds a limit of the host ({} bytes).", limit.bytes);
            tool_failure(Failed, "too_large", message)
        }
        Failure::RateLimited(limit) => {
            let message = format!("The host sends no more requests now. Try again after {} ms.", limit.retry_after_ms);
            tool_failure(Unavailable, "rate_limited", message)
        }
        Failure::TimedOut => {
            tool_failure(Unavailable, "timed_out", "The remote system did not answer in time.".to_owned())
        }
        Failure::Cancelled => {
            tool_failure(Unavailable, "cancelled", "The call ended before the response was complete.".to_owned())
        }
        Failure::Unreachable(part) => {
            let (code, message) = match part {
                Unreachable::Dns => ("unreachable_dns", "The name of the host could not be resolved."),
                Unreachable::Connect => ("unreachable_connect", "No connection could be established."),
                Unreachable::Tls => ("unreachable_tls", "TLS failed, for example because of an invalid certificate."),
                Unreachable::Reset => ("unreachable_reset", "The connection ended before the response was complete."),
                Unreachable::Protocol => ("unreachable_protocol", "The remote system violated the protocol."),
            };
            tool_failure(Unavailable, code, message.to_owned())
        }
    }
}

/// `true` if the text can be the code of a tool failure, as the contract says.
fn is_code(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn tool_failure(kind: ToolFailureKind, code: &str, message: String) -> ToolFailure {
    ToolFailure { kind, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::yoi::host::types::{Denial, RateLimit, SizeLimit};

    fn call(tool: &str, input: Value) -> Result<Outgoing, ToolFailure> {
        let invocation =
            Invocation { id: "1".to_owned(), tool: tool.to_owned(), input: input.to_string(), remaining_ms: 8000 };
        request(&invocation)
    }

    fn refused(tool: &str, input: Value) -> (ToolFailureKind, String) {
        let failure = call(tool, input).unwrap_err();
        (failure.kind, failure.code)
    }

    #[test]
    fn call_is_a_request_without_a_credential() {
        let request = call("web.fetch", json!({ "url": "https://a.example/", "headers": { "accept": "text/plain" } }));
        let request = request.unwrap();
        assert_eq!((request.method, request.url.as_str()), (Method::Get, "https://a.example/"));
        assert_eq!(request.headers, [("accept".to_owned(), "text/plain".to_owned())]);
        assert_eq!((request.body.as_slice(), request.credential, request.timeout_ms), (&b""[..], None, Some(7000)));
        let request = call("web.send", json!({ "url": "https://a.example/", "method": "PATCH", "body": "é" })).unwrap();
        assert_eq!((request.method, request.body.as_slice()), (Method::Patch, "é".as_bytes()));
    }

    #[test]
    fn tool_has_only_the_methods_of_its_effect() {
        let (reading, changing) = (["GET", "HEAD"], ["POST", "PUT", "PATCH", "DELETE"]);
        for (tool, allowed, other) in [
            ("web.fetch", reading.as_slice(), changing.as_slice()),
            ("web.send", changing.as_slice(), reading.as_slice()),
        ] {
            for method in allowed {
                assert!(call(tool, json!({ "url": "https://a.example/", "method": method })).is_ok(), "{method}");
            }
            for method in other {
                let input = json!({ "url": "https://a.example/", "method": method });
                assert_eq!(refused(tool, input), (ToolFailureKind::InvalidInput, "invalid_method".to_owned()));
            }
        }
        let input = json!({ "url": "https://a.example/" });
        assert_eq!(refused("web.send", input.clone()), (ToolFailureKind::InvalidInput, "invalid_method".to_owned()));
        assert_eq!(refused("web.other", input), (ToolFailureKind::Failed, "unknown_tool".to_owned()));
        assert_eq!(refused("web.fetch", json!({})), (ToolFailureKind::InvalidInput, "no_url".to_owned()));
    }

    #[test]
    fn output_has_status_headers_and_body() {
        let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let response = Incoming {
            status: 302,
            headers: vec![header("vary", b"accept"), header("location", b"/next"), header("vary", b"origin\xff")],
            body: "é".as_bytes().to_vec(),
        };
        let headers = json!({ "location": "/next", "vary": "accept, origin\u{fffd}" });
        let expected = json!({ "status": 302, "headers": headers, "body": "é", "is_text": true });
        assert_eq!(output(response), expected.to_string());
        let response = Incoming { status: 200, headers: Vec::new(), body: b"a\xffb".to_vec() };
        let expected = json!({ "status": 200, "headers": {}, "body": "a\u{fffd}b", "is_text": false });
        assert_eq!(output(response), expected.to_string());
    }

    #[test]
    fn failure_of_the_host_has_its_own_code() {
        let denied = |code: &str| Failure::Denied(Denial { code: code.to_owned(), message: "no".to_owned() });
        let too_large = |side| Failure::TooLarge(SizeLimit { side, bytes: 7 });
        let unavailable = ToolFailureKind::Unavailable;
        for (of_host, kind, code, part_of_message) in [
            (denied("not_granted"), ToolFailureKind::Denied, "not_granted", "no"),
            (denied("Not a code"), ToolFailureKind::Denied, "denied", "no"),
            (denied(""), ToolFailureKind::Denied, "denied", "no"),
            (denied(&"a".repeat(65)), ToolFailureKind::Denied, "denied", "no"),
            (Failure::InvalidUrl("no host".to_owned()), ToolFailureKind::InvalidInput, "invalid_url", "no host"),
            (too_large(Side::Sent), ToolFailureKind::Failed, "too_large", "request exceeds a limit of the host (7 "),
            (too_large(Side::Received), ToolFailureKind::Failed, "too_large", "response exceeds"),
            (Failure::RateLimited(RateLimit { retry_after_ms: 250 }), unavailable, "rate_limited", "250 ms"),
            (Failure::TimedOut, unavailable, "timed_out", "in time"),
            (Failure::Cancelled, unavailable, "cancelled", "ended"),
            (Failure::Unreachable(Unreachable::Dns), unavailable, "unreachable_dns", "name"),
            (Failure::Unreachable(Unreachable::Connect), unavailable, "unreachable_connect", "connection"),
            (Failure::Unreachable(Unreachable::Tls), unavailable, "unreachable_tls", "TLS"),
            (Failure::Unreachable(Unreachable::Reset), unavailable, "unreachable_reset", "ended"),
            (Failure::Unreachable(Unreachable::Protocol), unavailable, "unreachable_protocol", "protocol"),
        ] {
            let of_tool = failure(of_host);
            assert_eq!((of_tool.kind, of_tool.code.as_str()), (kind, code));
            assert!(of_tool.message.contains(part_of_message), "{}", of_tool.message);
        }
    }
}
