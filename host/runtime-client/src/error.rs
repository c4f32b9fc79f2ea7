//! Errors of a client. Texts of a server are limited in size and reduced to one line. No error contains a URL or a token.

use std::fmt;
use std::time::Duration;

use bundles::{Digest, one_line};
use runtime_api::Code;
use serde::Deserialize;
use serde_json::Value;

/// Error returned by a client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The base URL is invalid.
    #[error("invalid URL of a Runtime")]
    InvalidUrl,
    /// The base URL is `http://` to another machine.
    #[error("the URL is `http://` to another machine: anyone on the network path could read the token")]
    InsecureUrl,
    /// The token is empty, or has characters that a header cannot hold.
    #[error("invalid token: expected printable ASCII characters without spaces")]
    InvalidToken,
    /// The system has no certificates, or a certificate of the options is invalid.
    #[error("cannot set up TLS: no valid certificates")]
    NoTls,
    /// No connection could be opened.
    #[error("cannot connect to the Runtime: {0}")]
    Unreachable(ConnectError),
    /// The connection closed during the response.
    #[error("the connection closed before the response was complete")]
    Interrupted,
    /// The request timed out.
    #[error("no complete response within {} ms", within.as_millis())]
    TimedOut {
        /// Timeout of the request.
        within: Duration,
    },
    /// The Runtime responded with an error.
    #[error(transparent)]
    Problem(Box<ProblemDocument>),
    /// The response is not one of a Runtime, or not one that this version understands.
    #[error("unexpected response: {0}")]
    Unexpected(UnexpectedResponse),
    /// Blobs of a bundle were uploaded and are missing again.
    #[error("{missing} blobs of the bundle are missing again after {sent} uploads")]
    BlobsVanished {
        /// Number of missing blobs.
        missing: usize,
        /// Number of uploads of missing blobs.
        sent: usize,
    },
    /// The received content has another digest than the requested one.
    #[error("the received content has the digest {actual}, not {declared}")]
    DigestMismatch {
        /// Requested digest.
        declared: Digest,
        /// Digest of the received content.
        actual: Digest,
    },
    /// The content is larger than the caller allows.
    #[error("the content has more than {allowed} bytes")]
    TooLarge {
        /// Maximum size in bytes.
        allowed: u64,
    },
    /// The body of the request could not be read to its end.
    #[error("cannot read the content to upload")]
    Source,
}

/// Cause of a failure to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// The connection was refused.
    Refused,
    /// The certificate is not trusted for the host name.
    Certificate,
    /// The server does not speak TLS.
    PlainText,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// The name cannot be resolved, the host cannot be reached, or another failure of the network.
    Other,
}

/// Kind of an invalid response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnexpectedResponse {
    /// The response is not HTTP, or its head is too large.
    NotHttp,
    /// The response is a redirect, which the client does not follow.
    Redirect,
    /// An error status without a problem document.
    Status(u16),
    /// The body has another media type, or cannot be parsed.
    Body,
    /// The body is larger than that of any response of a Runtime.
    TooLarge,
    /// The response contradicts the request or an earlier response.
    Contradiction,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Certificate => "the certificate is not trusted",
            Self::PlainText => "the server responds without TLS",
            Self::Tls => "the TLS handshake failed",
            Self::Other => "the host cannot be reached",
        })
    }
}

impl fmt::Display for UnexpectedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => f.write_str("it is not HTTP, or its head is too large"),
            Self::Redirect => f.write_str("it is a redirect"),
            Self::Status(status) => write!(f, "it has the status {status} and no problem document"),
            Self::Body => f.write_str("its body is invalid"),
            Self::TooLarge => f.write_str("its body is too large"),
            Self::Contradiction => f.write_str("it contradicts the request"),
        }
    }
}

impl ClientError {
    /// Returns the stable error code of this client or of the Runtime.
    pub fn code(&self) -> &str {
        let code = match self {
            Self::InvalidUrl => Code::InvalidUrl,
            Self::InsecureUrl => Code::InsecureUrl,
            Self::InvalidToken => Code::InvalidToken,
            Self::NoTls => Code::NoTls,
            Self::Unreachable(_) => Code::Unreachable,
            Self::Interrupted => Code::Interrupted,
            Self::TimedOut { .. } => Code::TimedOut,
            Self::Problem(problem) => return problem.code(),
            Self::Unexpected(_) => Code::UnexpectedAnswer,
            Self::BlobsVanished { .. } => Code::BlobsVanished,
            Self::DigestMismatch { .. } => Code::DigestMismatch,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Source => Code::BodyIncomplete,
        };
        code.as_str()
    }

    /// Returns the error code, or `None` if this version does not know the code of the Runtime.
    pub fn known_code(&self) -> Option<Code> {
        self.code().parse().ok()
    }

    /// Returns the remedy.
    pub fn help(&self) -> &str {
        match self {
            Self::InvalidUrl => "write it as `https://HOST[:PORT]`, without user, query or fragment",
            Self::InsecureUrl => "use `https://` or a tunnel to this machine, or allow `http://` explicitly",
            Self::InvalidToken => "use the token exactly as it was issued",
            Self::NoTls => "install the CA certificates of the system",
            Self::Unreachable(ConnectError::Certificate) => {
                "check the name in the URL, or trust the authority that signed the certificate"
            }
            Self::Unreachable(ConnectError::PlainText) => {
                "use `http://` if the service is on this machine, or the URL of the TLS proxy in front of the service"
            }
            Self::Unreachable(ConnectError::Tls) => "check that the server supports TLS 1.2 or 1.3",
            Self::Unreachable(_) => "check the URL and that the Runtime is running",
            Self::Interrupted | Self::TimedOut { .. } => "check whether the request took effect, then retry",
            Self::Problem(problem) => problem.help(),
            Self::Unexpected(_) => "check the URL: the server may be a proxy, another program or another version",
            Self::BlobsVanished { .. } => {
                "upload the bundle again; if this fails again, find out what removes blobs from the store of the Runtime"
            }
            Self::DigestMismatch { .. } => "retry; if this fails again, do not trust the server",
            Self::TooLarge { .. } => "raise the limit, if the content may be that large",
            Self::Source => "make the content readable and upload it again",
        }
    }
}

/// An error response of a Runtime (RFC 9457).
///
/// `detail` and `help` are one line each. `details` can hold any text, so a caller that prints `details` must escape control
/// characters.
#[derive(Clone, PartialEq)]
pub struct ProblemDocument {
    status: u16,
    code: Box<str>,
    detail: Box<str>,
    help: Box<str>,
    details: Value,
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct ProblemJson {
    status: u16,
    code: String,
    detail: String,
    help: String,
    #[serde(default)]
    details: Value,
}

/// Maximum size of an error code.
const MAX_CODE_BYTES: usize = 64;
/// Maximum length of `detail` and `help`. Texts of a Runtime are far shorter.
const MAX_TEXT_CHARS: usize = 4096;

impl ProblemDocument {
    /// Parses a problem document. Returns `None` if it is invalid or names another status than the response has.
    pub(super) fn parse(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Self> {
        let json: ProblemJson = serde_json::from_slice(body).ok()?;
        let is_code_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_code = (1..=MAX_CODE_BYTES).contains(&json.code.len()) && json.code.bytes().all(is_code_byte);
        if json.status != status || !is_code {
            return None;
        }
        let line = |text: String| one_line(&text.chars().take(MAX_TEXT_CHARS).collect::<String>()).into();
        Some(Self {
            status,
            code: json.code.into(),
            detail: line(json.detail),
            help: line(json.help),
            details: json.details,
            retry_after,
        })
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the error code: lower-case letters, digits and `_`. This version may not know the code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the error code, or `None` if this version does not know it.
    pub fn known_code(&self) -> Option<Code> {
        self.code.parse().ok()
    }

    /// Returns the description of the error.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the remedy.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Returns more fields for programs, or null.
    pub fn details(&self) -> &Value {
        &self.details
    }

    /// Returns the time after which a retry makes sense, if the Runtime sent one.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Omits `details`, which can be long.
impl fmt::Debug for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProblemDocument")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ProblemDocument {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_strictly_and_shown_on_one_line() {
        let parse = |body: &str| ProblemDocument::parse(404, body.as_bytes(), None);
        let good = r#"{"type":"about:blank","title":"x","status":404,"code":"worker_not_found","detail":"a\nb\u001b[2J","help":"c\u202e","new":1}"#;
        let problem = parse(good).expect("a problem");
        assert_eq!((problem.detail(), problem.help()), ("a\\nb\\u{1b}[2J", "c\\u{202e}"));
        assert_eq!((problem.code(), problem.details()), ("worker_not_found", &Value::Null));
        for bad in [
            good.replace("404", "500"),
            good.replace("worker_not_found", "Worker not found"),
            good.replace("worker_not_found", ""),
            good.replace("worker_not_found", &"x".repeat(65)),
            good.replace("\"help\"", "\"aid\""),
            "[]".to_owned(),
            String::new(),
            "[".repeat(100_000),
        ] {
            assert!(parse(&bad).is_none(), "{bad:.80}");
        }
        let long = parse(&good.replace("a\\nb", &"\\u202e".repeat(50_000))).expect("a problem");
        assert!(long.detail().len() <= MAX_TEXT_CHARS * 10);
    }
}
