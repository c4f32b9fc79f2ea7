//! HTTP client of a Runtime's API.
//!
//! The client does not trust the server. It limits the size of each body, verifies the digest of content, checks the order of
//! lists, and reduces texts to one line. It sends the token only over `https://` or to this machine, and never includes it in
//! `Debug` output, errors or URLs. It follows no redirects and uses no proxy.
//!
//! ```no_run
//! use runtime_client::{Client, ClientOptions};
//!
//! # async fn example(token: secrecy::SecretString) -> Result<(), runtime_client::ClientError> {
//! let client = Client::new(ClientOptions::new("https://runtime.example.com", token))?;
//! for worker in client.workers(None, 1000).await? {
//!     println!("{}: {:?}", worker.id, worker.state);
//! }
//! # Ok(())
//! # }
//! ```

mod blobs;
mod bundles;
mod error;
mod events;
mod fault;
mod health;
mod operator;
pub mod request;
mod sse;
mod status;
mod workers;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::bundles::WorkspaceId;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_client::Trust;
use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

pub use bundles::{StoredBundle, UploadedBlobs, UploadedBundle, UploadedManifest, signed_manifest};
pub use error::{ClientError, ConnectError, ProblemDocument, UnexpectedResponse};
pub use events::{Events, StreamItem};
pub use workers::Pages;

/// Content of a blob as a stream of pieces.
type BodyStream = BoxStream<'static, Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// Options of a client.
#[derive(Clone)]
pub struct ClientOptions {
    /// Base URL of the Runtime: `https://HOST[:PORT][/PATH]`, or `http://` to this machine (see `allow_http`).
    pub base_url: String,
    /// Token of the caller. Without a token only [`Client::live`], [`Client::ready`] and [`Client::readiness`] succeed.
    pub token: Option<SecretString>,
    /// Workspace of the requests. Optional if the token serves only one.
    pub workspace: Option<WorkspaceId>,
    /// Trusted certificates besides those of the system, each in DER.
    pub certificates: Vec<Vec<u8>>,
    /// `false` to trust only `certificates`, and not those of the system.
    pub system_certificates: bool,
    /// `true` if the URL may be `http://` to another machine. Anyone on the network path can then read the token and change
    /// responses.
    pub allow_http: bool,
    /// Timeouts of requests.
    pub timeouts: Timeouts,
    /// Retries of failed requests.
    pub retries: RetryPolicy,
    /// Maximum size of a JSON response.
    pub max_response_bytes: usize,
    /// Maximum size of a manifest. The default is the default limit of bundles.
    pub max_manifest_bytes: usize,
    /// Maximum number of blobs of a bundle that are uploaded concurrently. Zero counts as one.
    pub max_concurrent_uploads: usize,
}

/// Timeouts of a client. `response`, `transfer` and `work` cover one attempt, from its start to the last byte of the
/// response; each retry has a new timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Timeout of short requests.
    pub response: Duration,
    /// Timeout of uploads and downloads.
    pub transfer: Duration,
    /// Timeout of requests that the Runtime may queue and then works on for long, such as a tool call.
    pub work: Duration,
    /// Maximum time without data on a stream of events. A Runtime sends a comment every 15 seconds.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response: Duration::from_secs(30),
            transfer: Duration::from_secs(600),
            // The default limit of a call is 120 s.
            work: Duration::from_secs(150),
            silence: Duration::from_secs(45),
        }
    }
}

/// Retries of a client. It retries idempotent requests to which the Runtime responds with 429 or 503 and a `Retry-After`
/// header. [`Events`] also reconnects after failed connections, at most `max_retries` times in a row; `max_wait` does not
/// apply there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of retries of one request.
    pub max_retries: u32,
    /// Maximum wait before a retry. If the Runtime asks for a longer wait, the client returns its response.
    pub max_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 3, max_wait: Duration::from_secs(5) }
    }
}

impl ClientOptions {
    /// Returns options with a token and default values.
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        Self { token: Some(token), ..Self::without_token(base_url) }
    }

    /// Returns options without a token, for health checks.
    pub fn without_token(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            token: None,
            workspace: None,
            certificates: Vec::new(),
            system_certificates: true,
            allow_http: false,
            timeouts: Timeouts::default(),
            retries: RetryPolicy::default(),
            max_response_bytes: 32 << 20,
            max_manifest_bytes: ::bundles::BundleLimits::default().manifest_bytes,
            max_concurrent_uploads: 4,
        }
    }
}

/// Prints neither the token nor the URL.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

/// A client of one Runtime. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    workspace: Option<WorkspaceId>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    timeouts: Timeouts,
    retries: RetryPolicy,
    max_response_bytes: usize,
    max_manifest_bytes: usize,
    max_concurrent_uploads: usize,
}

impl Client {
    /// Creates a client. Sends nothing.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let base = base_url(&options.base_url)?;
        let secure = base.scheme() == "https";
        if !secure && !options.allow_http && !is_this_machine(&base) {
            return Err(ClientError::InsecureUrl);
        }
        let authorization = options.token.as_ref().map(authorization).transpose()?;
        let trust = match (secure, options.system_certificates) {
            (false, _) => Trust::None,
            (true, true) => Trust::System { extra_roots: &options.certificates },
            (true, false) => Trust::Only(&options.certificates),
        };
        let builder = http_client::builder(trust).map_err(|_| ClientError::NoTls)?.https_only(secure);
        // `localhost` is pinned to the loopback addresses, so that a name server cannot make it mean another machine. Port 0
        // stands for the port of the URL.
        let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let http = builder.resolve_to_addrs("localhost", &loopback).build().map_err(|_| ClientError::NoTls)?;
        let shared = Shared {
            http,
            base,
            authorization,
            timeouts: options.timeouts,
            retries: options.retries,
            max_response_bytes: options.max_response_bytes,
            max_manifest_bytes: options.max_manifest_bytes,
            max_concurrent_uploads: options.max_concurrent_uploads.max(1),
        };
        Ok(Self { shared: Arc::new(shared), workspace: options.workspace })
    }

    /// Returns a client for another workspace that the token serves.
    pub fn in_workspace(&self, workspace: WorkspaceId) -> Self {
        Self { shared: self.shared.clone(), workspace: Some(workspace) }
    }
}

/// Parses a base URL. It has no user, password, query or fragment.
fn base_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|_| ClientError::InvalidUrl)?;
    let plain = url.username().is_empty() && url.password().is_none();
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if plain && is_http && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(ClientError::InvalidUrl)
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn authorization(token: &SecretString) -> Result<HeaderValue, ClientError> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let plain = token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::InvalidToken)?;
    value.set_sensitive(true);
    if plain && !token.expose_secret().is_empty() { Ok(value) } else { Err(ClientError::InvalidToken) }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, allow_http: bool) -> Result<Client, ClientError> {
        Client::new(ClientOptions { allow_http, ..ClientOptions::new(url, "yoi_token".to_owned().into()) })
    }

    #[test]
    fn a_token_is_sent_over_https_or_to_this_machine() {
        for url in ["http://127.0.0.1:7070", "http://127.9.9.9", "http://[::1]:1/", "http://localhost:7070/below"] {
            assert!(client(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://runtime.example.com",
            "http://10.0.0.1:7070",
            "http://0.0.0.0",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::ffff:10.0.0.1]",
        ] {
            assert_eq!(client(url, false).map(|_| ()), Err(ClientError::InsecureUrl), "{url}");
            assert!(client(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_invalid_base_url_is_refused() {
        for url in [
            "",
            "127.0.0.1:7070",
            "ftp://127.0.0.1",
            "http://",
            "https://user@runtime.example.com",
            "https://:secret@runtime.example.com",
            "https://runtime.example.com/?a=b",
            "https://runtime.example.com/#a",
            "file:///etc/passwd",
            "data:,x",
        ] {
            let refused = client(url, true).map(|_| ());
            assert_eq!(refused, Err(ClientError::InvalidUrl), "{url}");
        }
    }

    #[test]
    fn a_token_is_in_no_debug_output_and_cannot_be_two_headers() {
        let options = ClientOptions::new("http://localhost", "yoi_CANARY".to_owned().into());
        let client = Client::new(options.clone()).expect("a client");
        let debug = format!("{options:?} {client:?} {:?}", client.shared.authorization);
        assert!(!debug.contains("CANARY") && !debug.contains("localhost"), "{debug}");
        for token in ["", "a b", "a\r\nX-Forged: 1", "ä", "a\u{7f}"] {
            let options = ClientOptions::new("http://localhost", token.to_owned().into());
            assert_eq!(Client::new(options).map(|_| ()), Err(ClientError::InvalidToken), "{token:?}");
        }
    }
}
