//! Conversions between the types of the worlds `tool` and `service` and the types of the domain.
//!
//! Everything that a guest returns is checked and cut here.

use std::time::Duration;

use serde_json::Value;

use super::{Invocation, ToolAnswer, ToolFailure, ToolFailureCode, ToolFailureKind};
use crate::bindings::plugin::yoi::host::{log, request, types as host, websocket};
use crate::bindings::plugin::yoi::plugin::types as wit;
use crate::error::PluginError;
use crate::host_api::{
    Denial, IncomingResponse, LogLevel, Message, Method, OutgoingConnection, OutgoingRequest, RequestFailure, Side,
    SizeLimit, Unreachable, WebSocketFailure,
};
use crate::limits::PluginLimits;
use crate::service::{HandleFailure, NextTurn, ReportedState, ServiceEvent, WakeReason};

/// Bytes of the description of a service's state, as the contract says.
const STATE_DETAIL_BYTES: usize = 256;
/// Bytes of the reason of a close frame, as RFC 6455 says.
pub(super) const CLOSE_REASON_BYTES: usize = 123;

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn bytes(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Cuts a text at a character boundary. Returns `true` if something was cut off.
pub(super) fn cut(text: &mut String, max_bytes: usize) -> bool {
    let is_longer = text.len() > max_bytes;
    text.truncate(text.floor_char_boundary(max_bytes));
    is_longer
}

fn message(mut text: String, limits: &PluginLimits) -> String {
    cut(&mut text, bytes(limits.failure_message_bytes));
    text
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn timeout(millis: Option<u32>) -> Option<Duration> {
    millis.map(|millis| Duration::from_millis(millis.into()))
}

/// Writes a value for a guest.
pub(crate) fn json(value: &Value, limits: &PluginLimits) -> Result<String, PluginError> {
    let text = value.to_string();
    if size(text.len()) > limits.input_bytes {
        return Err(PluginError::Limit { limit: "input_bytes", allowed: limits.input_bytes });
    }
    Ok(text)
}

/// Converts a call to the contract's type.
pub(crate) fn invocation(invocation: &Invocation, limits: &PluginLimits) -> Result<wit::Invocation, PluginError> {
    Ok(wit::Invocation {
        id: invocation.id.clone(),
        tool: invocation.tool.to_string(),
        input: json(&invocation.input, limits)?,
        remaining_ms: millis(invocation.remaining),
    })
}

/// Converts an answer, which must be JSON text or a failure with a valid code.
pub(crate) fn answer(
    answer: Result<String, wit::ToolFailure>,
    limits: &PluginLimits,
) -> Result<ToolAnswer, PluginError> {
    match answer {
        Ok(output) if size(output.len()) > limits.output_bytes => {
            Err(PluginError::Limit { limit: "output_bytes", allowed: limits.output_bytes })
        }
        Ok(output) => serde_json::from_str(&output).map(Ok).map_err(|_| PluginError::InvalidOutput),
        Err(failure) => Ok(Err(ToolFailure {
            kind: match failure.kind {
                wit::ToolFailureKind::InvalidInput => ToolFailureKind::InvalidInput,
                wit::ToolFailureKind::Denied => ToolFailureKind::Denied,
                wit::ToolFailureKind::Unavailable => ToolFailureKind::Unavailable,
                wit::ToolFailureKind::Failed => ToolFailureKind::Failed,
            },
            code: ToolFailureCode::new(failure.code).ok_or(PluginError::InvalidFailureCode)?,
            message: message(failure.message, limits),
        })),
    }
}

/// Converts an event to the contract's type.
pub(crate) fn event(event: &ServiceEvent, limits: &PluginLimits) -> Result<wit::Event, PluginError> {
    Ok(wit::Event {
        id: event.id.clone(),
        ingress: event.ingress.clone(),
        payload: json(&event.payload, limits)?,
        attempt: event.attempt,
    })
}

pub(crate) fn handled(result: Result<(), wit::HandleFailure>, limits: &PluginLimits) -> Result<(), HandleFailure> {
    result.map_err(|failure| match failure {
        wit::HandleFailure::Temporary(text) => HandleFailure::Temporary(message(text, limits)),
        wit::HandleFailure::Permanent(text) => HandleFailure::Permanent(message(text, limits)),
    })
}

pub(crate) fn wake_reason(reason: WakeReason) -> wit::WakeReason {
    match reason {
        WakeReason::Timer => wit::WakeReason::Timer,
        WakeReason::Readable => wit::WakeReason::Readable,
    }
}

/// Converts the result of `start` or `wake`. An error that the service reports ends it like a trap.
pub(crate) fn next_turn(result: Result<wit::NextTurn, String>, limits: &PluginLimits) -> Result<NextTurn, PluginError> {
    match result {
        Ok(next) => Ok(NextTurn { after: timeout(next.after_ms), when_readable: next.when_readable }),
        Err(text) => Err(PluginError::Reported { message: message(text, limits) }),
    }
}

pub(crate) fn state(mut state: wit::State) -> ReportedState {
    cut(&mut state.detail, STATE_DETAIL_BYTES);
    ReportedState { is_ready: state.ready, detail: state.detail }
}

pub(super) fn level(level: log::Level) -> LogLevel {
    match level {
        log::Level::Debug => LogLevel::Debug,
        log::Level::Info => LogLevel::Info,
        log::Level::Warn => LogLevel::Warn,
        log::Level::Error => LogLevel::Error,
    }
}

pub(super) fn outgoing_request(request: request::Outgoing) -> OutgoingRequest {
    OutgoingRequest {
        method: match request.method {
            request::Method::Get => Method::Get,
            request::Method::Head => Method::Head,
            request::Method::Post => Method::Post,
            request::Method::Put => Method::Put,
            request::Method::Patch => Method::Patch,
            request::Method::Delete => Method::Delete,
        },
        url: request.url,
        headers: request.headers,
        body: request.body,
        credential: request.credential,
        timeout: timeout(request.timeout_ms),
    }
}

pub(super) fn incoming_response(response: IncomingResponse) -> request::Incoming {
    request::Incoming { status: response.status, headers: response.headers, body: response.body }
}

pub(super) fn outgoing_connection(connection: websocket::Outgoing) -> OutgoingConnection {
    OutgoingConnection {
        url: connection.url,
        subprotocols: connection.subprotocols,

        credential: connection.credential,
        timeout: timeout(connection.timeout_ms),
    }
}

pub(super) fn message_in(message: Message) -> websocket::Message {
    match message {
        Message::Text(text) => websocket::Message::Text(text),
        Message::Binary(bytes) => websocket::Message::Binary(bytes),
    }
}

pub(super) fn message_out(message: websocket::Message) -> Message {
    match message {
        websocket::Message::Text(text) => Message::Text(text),
        websocket::Message::Binary(bytes) => Message::Binary(bytes),
    }
}

fn denial(denial: Denial) -> host::Denial {
    host::Denial { code: denial.code.to_owned(), message: denial.message }
}

fn size_limit(limit: SizeLimit) -> host::SizeLimit {
    let side = match limit.side {
        Side::Sent => host::Side::Sent,
        Side::Received => host::Side::Received,
    };
    host::SizeLimit { side, bytes: limit.bytes }
}

fn rate_limit(retry_after: Duration) -> host::RateLimit {
    host::RateLimit { retry_after_ms: millis(retry_after) }
}

fn unreachable(unreachable: Unreachable) -> host::Unreachable {
    match unreachable {
        Unreachable::Dns => host::Unreachable::Dns,
        Unreachable::Connect => host::Unreachable::Connect,
        Unreachable::Tls => host::Unreachable::Tls,
        Unreachable::Reset => host::Unreachable::Reset,
        Unreachable::Protocol => host::Unreachable::Protocol,
    }
}

pub(super) fn request_failure(failure: RequestFailure) -> request::Failure {
    match failure {
        RequestFailure::Denied(refusal) => request::Failure::Denied(denial(refusal)),
        RequestFailure::InvalidUrl(text) => request::Failure::InvalidUrl(text),
        RequestFailure::TooLarge(limit) => request::Failure::TooLarge(size_limit(limit)),
        RequestFailure::RateLimited(retry_after) => request::Failure::RateLimited(rate_limit(retry_after)),
        RequestFailure::TimedOut => request::Failure::TimedOut,
        RequestFailure::Cancelled => request::Failure::Cancelled,
        RequestFailure::Unreachable(part) => request::Failure::Unreachable(unreachable(part)),
    }
}

pub(super) fn websocket_failure(failure: WebSocketFailure) -> websocket::Failure {
    match failure {
        WebSocketFailure::Denied(refusal) => websocket::Failure::Denied(denial(refusal)),
        WebSocketFailure::InvalidUrl(text) => websocket::Failure::InvalidUrl(text),
        WebSocketFailure::Refused(status) => websocket::Failure::Refused(status),
        WebSocketFailure::TooManyConnections(allowed) => websocket::Failure::TooManyConnections(allowed),
        WebSocketFailure::TooLarge(limit) => websocket::Failure::TooLarge(size_limit(limit)),
        WebSocketFailure::RateLimited(retry_after) => websocket::Failure::RateLimited(rate_limit(retry_after)),
        WebSocketFailure::TimedOut => websocket::Failure::TimedOut,
        WebSocketFailure::Cancelled => websocket::Failure::Cancelled,
        WebSocketFailure::Closed { code, mut reason } => {
            cut(&mut reason, CLOSE_REASON_BYTES);
            websocket::Failure::Closed(websocket::Closed { code, reason })
        }
        WebSocketFailure::Unreachable(part) => websocket::Failure::Unreachable(unreachable(part)),
        WebSocketFailure::InvalidClose => websocket::Failure::InvalidClose,
    }
}
