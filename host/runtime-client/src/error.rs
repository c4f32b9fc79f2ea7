//! Why a client did not get what it asked for. What a server says is taken as what a stranger says: it
//! is bounded, shown on one line, and no address and no token is in an error.

use std::fmt;
use std::time::Duration;

use bundles::{Digest, one_line};
use serde::Deserialize;
use serde_json::Value;

/// Why there is no client, or no answer, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The address is none that a Runtime can have.
    #[error("the URL is not one of a Runtime")]
    InvalidUrl,
    /// The token would travel where others can read it.
    #[error("the URL is `http://` to another machine: who is on the way could read the token and change the answers")]
    InsecureUrl,
    /// No header can hold the token.
    #[error("the token has characters that no token has")]
    InvalidToken,
    /// The system has no certificates, or one that was handed over is none.
    #[error("TLS cannot be set up")]
    NoTls,
    /// There is no connection.
    #[error("no Runtime answers: {0}")]
    Unreachable(NoConnection),
    /// The connection ended first.
    #[error("the connection ended before the answer was whole")]
    Interrupted,
    /// It took too long.
    #[error("there was no whole answer within {} ms", within.as_millis())]
    TimedOut {
        /// The time that was allowed.
        within: Duration,
    },
    /// The Runtime says no.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// Something answers that is no Runtime, or not one that this version understands.
    #[error("the answer is not one of a Runtime: {0}")]
    Unexpected(Unexpected),
    /// Blobs of a bundle that were sent and taken are missing again.
    #[error("the Runtime took the bundle's blobs {sent} times, and {missing} of them are missing again")]
    BlobsVanished {
        /// Blobs that are missing.
        missing: usize,
        /// Number of times that missing blobs were sent.
        sent: usize,
    },
    /// The content that came has another digest.
    #[error("the digest of what came is {actual}, not {declared}")]
    DigestMismatch {
        /// What was asked for.
        declared: Digest,
        /// What came.
        actual: Digest,
    },
    /// There is more than was asked for.
    #[error("the content has more than the {allowed} bytes asked for")]
    TooLarge {
        /// Bytes that were asked for at the most.
        allowed: u64,
    },
    /// What was to be sent could not be read to its end.
    #[error("what was to be sent ended before it was whole")]
    Source,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// Nobody listens there.
    Refused,
    /// The certificate is not one that is trusted for that name.
    Certificate,
    /// The other end answers without TLS.
    PlainText,
    /// TLS fails for another reason than the certificate.
    Tls,
    /// There is no such name, no way there, or something else is wrong on it.
    Other,
}

/// What an answer is that no Runtime gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unexpected {
    /// Not HTTP, or more of a head than there should be.
    NoHttp,
    /// It leads elsewhere, and is not followed.
    Redirect,
    /// A failure that is no problem document.
    Status(u16),
    /// A body of another kind, or one that is not understood.
    Body,
    /// A body with more bytes than any answer has.
    TooLarge,
    /// An answer that contradicts what was asked or said before.
    Contradiction,
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the connection is refused",
            Self::Certificate => "its certificate is not trusted",
            Self::PlainText => "it answers without TLS",
            Self::Tls => "no TLS connection can be made",
            Self::Other => "there is no connection",
        })
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHttp => f.write_str("it is not HTTP, or its head is too large"),
            Self::Redirect => f.write_str("it leads elsewhere"),
            Self::Status(status) => write!(f, "it has the status {status} and no problem document"),
            Self::Body => f.write_str("its body is not understood"),
            Self::TooLarge => f.write_str("its body is too large"),
            Self::Contradiction => f.write_str("it contradicts what was asked"),
        }
    }
}

impl ClientError {
    /// The stable machine word: this client's own, or the Runtime's.
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidUrl => "invalid_url",
            Self::InsecureUrl => "insecure_url",
            Self::InvalidToken => "invalid_token",
            Self::NoTls => "no_tls",
            Self::Unreachable(_) => "unreachable",
            Self::Interrupted => "interrupted",
            Self::TimedOut { .. } => "timed_out",
            Self::Problem(problem) => problem.code(),
            Self::Unexpected(_) => "unexpected_answer",
            Self::BlobsVanished { .. } => "blobs_vanished",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::Source => "body_incomplete",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        match self {
            Self::InvalidUrl => "write it as `https://HOST[:PORT]`, without user, query or fragment",
            Self::InsecureUrl => {
                "use `https://`, or a tunnel to this machine; who asks may also allow it in so many words"
            }
            Self::InvalidToken => "use the token exactly as it was issued",
            Self::NoTls => "install the system's certificates",
            Self::Unreachable(NoConnection::Certificate) => {
                "check the name in the URL, or trust the authority that signed the certificate"
            }
            Self::Unreachable(NoConnection::PlainText) => {
                "write `http://` if the service is on this machine, or name the proxy that speaks TLS before it"
            }
            Self::Unreachable(NoConnection::Tls) => "check that both ends have a TLS version in common (1.2 or 1.3)",
            Self::Unreachable(_) => "check the URL and that the Runtime is running",
            Self::Interrupted | Self::TimedOut { .. } => {
                "it may have been done all the same: look what is there, then ask again"
            }
            Self::Problem(problem) => problem.help(),
            Self::Unexpected(_) => "check the URL: a proxy, another program or another version may be answering",
            Self::BlobsVanished { .. } => {
                "send the bundle again; if that does not help, find out what removes blobs from the Runtime's store"
            }
            Self::DigestMismatch { .. } => "ask again; if it stays so, do not trust what answers",
            Self::TooLarge { .. } => "ask for more, if it may be that large",
            Self::Source => "see to it that it can be read, and send it again",
        }
    }
}

/// What a Runtime answers when it comes to nothing (RFC 9457). Its texts are one line each; who shows
/// `details` has to see to that.
#[derive(Clone, PartialEq)]
pub struct Problem {
    status: u16,
    code: Box<str>,
    detail: Box<str>,
    help: Box<str>,
    details: Value,
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Written {
    status: u16,
    code: String,
    detail: String,
    help: String,
    #[serde(default)]
    details: Value,
}

/// Most bytes of a code.
const CODE_BYTES: usize = 64;
/// Most characters of a sentence. Those of a Runtime are far shorter.
const TEXT_CHARS: usize = 4096;

impl Problem {
    /// Reads a problem document, which must be for the status that it came with.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Option<Self> {
        let written: Written = serde_json::from_slice(body).ok()?;
        let word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_code = (1..=CODE_BYTES).contains(&written.code.len()) && written.code.bytes().all(word);
        if written.status != status || !is_code {
            return None;
        }
        let line = |text: String| one_line(&text.chars().take(TEXT_CHARS).collect::<String>()).into();
        Some(Self {
            status,
            code: written.code.into(),
            detail: line(written.detail),
            help: line(written.help),
            details: written.details,
            retry_after,
        })
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The stable machine word; lower-case letters, digits and `_`. It may be one that this version does
    /// not know.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What is wrong, in a sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// More, for programs; null where there is no more.
    pub fn details(&self) -> &Value {
        &self.details
    }

    /// After how long trying again makes sense, where the Runtime says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Details are not for logs: they may be long.
impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_strictly_and_shown_on_one_line() {
        let read = |body: &str| Problem::read(404, body.as_bytes(), None);
        let good = r#"{"type":"about:blank","title":"x","status":404,"code":"worker_not_found","detail":"a\nb\u001b[2J","help":"c\u202e","new":1}"#;
        let problem = read(good).expect("a problem");
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
            assert!(read(&bad).is_none(), "{bad:.80}");
        }
        let long = read(&good.replace("a\\nb", &"\\u202e".repeat(50_000))).expect("a problem");
        assert!(long.detail().len() <= TEXT_CHARS * 10);
    }
}
