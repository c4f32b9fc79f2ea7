//! Failures that requests and WebSockets share.

use std::io::ErrorKind;
use std::time::Duration;

use component_host::host_api::{Denial, RequestFailure, Side, SizeLimit, Unreachable, WebSocketFailure};
use error_code::Code;
use host_policy::EgressRefusal;

/// Failure of a request or a handshake. The messages contain no secret and no host path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Denied(Denial),
    InvalidUrl(String),
    TooLarge(SizeLimit),
    RateLimited(Duration),
    TimedOut,
    Cancelled,
    Unreachable(Unreachable),
}

impl Failure {
    /// Returns a refusal.
    pub(crate) fn denied(code: Code, message: impl Into<String>) -> Self {
        Self::Denied(Denial { code: code.as_str(), message: message.into() })
    }

    /// Returns the failure for an exceeded size limit.
    pub(crate) fn too_large(side: Side, bytes: u64) -> Self {
        Self::TooLarge(SizeLimit { side, bytes })
    }

    /// Returns the failure for a response that contains the secret that was sent with its request.
    pub(crate) fn secret_echoed() -> Self {
        Self::denied(Code::SecretEchoed, "the response contains the secret that the host added to the request")
    }

    /// Returns the failure for a plugin that is not granted any more.
    pub(crate) fn revoked() -> Self {
        Self::denied(Code::PluginNotGranted, "the plugin is not granted any more")
    }
}

impl From<EgressRefusal> for Failure {
    fn from(refusal: EgressRefusal) -> Self {
        match refusal.is_invalid_url() {
            true => Self::InvalidUrl(format!("{refusal} [{}]", refusal.code())),
            false => Self::denied(refusal.code(), message(&refusal)),
        }
    }
}

/// Returns the message of a refusal for a plugin. It has no address, because a plugin could otherwise list the names and
/// addresses of an internal network.
fn message(refusal: &EgressRefusal) -> String {
    match refusal {
        EgressRefusal::SpecialAddress { kind, .. } | EgressRefusal::NeverDialled { kind, .. } => {
            format!("the host has an address that is not allowed: {kind}")
        }
        EgressRefusal::NotLoopback { .. } => "the host has an address that is not allowed".to_owned(),
        other => other.to_string(),
    }
}

impl Failure {
    /// Classifies an error of hyper. `header_bytes` is the limit on the head of a response.
    pub(crate) fn of_http(error: &hyper::Error, header_bytes: u32) -> Self {
        if error.is_parse_too_large() {
            return Self::too_large(Side::Received, header_bytes.into());
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(error) = cause.downcast_ref::<std::io::Error>() {
                // hyper reports violations inside of a body with these kinds.
                let is_violation = matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
                return Self::Unreachable(if is_violation { Unreachable::Protocol } else { Unreachable::Reset });
            }
            source = cause.source();
        }
        let is_reset = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        Self::Unreachable(if is_reset { Unreachable::Reset } else { Unreachable::Protocol })
    }
}

impl From<Failure> for RequestFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(denial) => Self::Denied(denial),
            Failure::InvalidUrl(reason) => Self::InvalidUrl(reason),
            Failure::TooLarge(limit) => Self::TooLarge(limit),
            Failure::RateLimited(wait) => Self::RateLimited(wait),
            Failure::TimedOut => Self::TimedOut,
            Failure::Cancelled => Self::Cancelled,
            Failure::Unreachable(part) => Self::Unreachable(part),
        }
    }
}

impl From<Failure> for WebSocketFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(denial) => Self::Denied(denial),
            Failure::InvalidUrl(reason) => Self::InvalidUrl(reason),
            Failure::TooLarge(limit) => Self::TooLarge(limit),
            Failure::RateLimited(wait) => Self::RateLimited(wait),
            Failure::TimedOut => Self::TimedOut,
            Failure::Cancelled => Self::Cancelled,
            Failure::Unreachable(part) => Self::Unreachable(part),
        }
    }
}
