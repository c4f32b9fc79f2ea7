//! A client of a Runtime's API over HTTP.
//!
//! What a server says is believed as far as it can be checked: every body is bounded before it is read,
//! content is digested, lists must be in order, texts are one line. The token is sent over `https://` or
//! to this machine; it is in no `Debug`, no error and no URL. No redirect is followed and no proxy used.
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

mod ask;
mod blobs;
mod bundles;
mod error;
mod events;
mod fault;
mod health;
mod operator;
mod sse;
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

pub use bundles::SentBundle;
pub use error::{ClientError, NoConnection, Problem, Unexpected};
pub use events::{Events, Watched};

/// Content of a blob, in pieces.
type BodyStream = BoxStream<'static, Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// What a client is made from.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where the Runtime is: `https://HOST[:PORT]`, and a path where it is not at the top.
    pub base_url: String,
    /// Who asks. Without one only [`Client::live`] and [`Client::ready`] are answered.
    pub token: Option<SecretString>,
    /// The workspace that is meant; none where the token serves one alone.
    pub workspace: Option<WorkspaceId>,
    /// Certificates that are trusted besides those of the system, each in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Whether the URL may be `http://` to another machine, where anybody on the way can read the token
    /// and change what is answered.
    pub allow_http: bool,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// How often to ask again.
    pub retries: Retries,
    /// Most bytes of an answer in JSON.
    pub answer_bytes: usize,
    /// Most bytes of a manifest; the default is what bundles may have by default.
    pub manifest_bytes: usize,
    /// Blobs of a bundle that are sent at a time.
    pub uploads: usize,
}

/// How long a client waits. Each is for one request as a whole, from asking to the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For what is answered at once.
    pub answer: Duration,
    /// For content that goes either way.
    pub transfer: Duration,
    /// For making a worker and calling a tool, which may wait for their turn and then take a while.
    pub work: Duration,
    /// For a sign of life on a stream of events: a Runtime gives one every 15 seconds.
    pub silence: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            transfer: Duration::from_secs(600),
            // A call may take 120 s by default.
            work: Duration::from_secs(150),
            silence: Duration::from_secs(45),
        }
    }
}

/// How often a client asks again by itself: where the Runtime has no time (429, 503) and says when it
/// will, and only what is the same when it is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Times; 0 for never.
    pub most: u32,
    /// The longest wait before each. Where the Runtime wants more, its answer is the answer.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { most: 3, longest_wait: Duration::from_secs(5) }
    }
}

impl ClientOptions {
    /// Options for a token's holder, with the defaults for the rest.
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        Self { token: Some(token), ..Self::without_token(base_url) }
    }

    /// Options for who wants to know whether a Runtime is there.
    pub fn without_token(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            token: None,
            workspace: None,
            certificates: Vec::new(),
            allow_http: false,
            deadlines: Deadlines::default(),
            retries: Retries::default(),
            answer_bytes: 32 << 20,
            manifest_bytes: ::bundles::BundleLimits::default().manifest_bytes,
            uploads: 4,
        }
    }
}

/// Neither the token nor the address.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

/// A client of one Runtime. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    workspace: Option<WorkspaceId>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    deadlines: Deadlines,
    retries: Retries,
    answer_bytes: usize,
    manifest_bytes: usize,
    uploads: usize,
}

impl Client {
    /// A client. Nothing is sent yet.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let base = base_url(&options.base_url)?;
        let secure = base.scheme() == "https";
        if !secure && !options.allow_http && !is_this_machine(&base) {
            return Err(ClientError::InsecureUrl);
        }
        let authorization = options.token.as_ref().map(authorization).transpose()?;
        let trust = if secure { Trust::System { extra_roots: &options.certificates } } else { Trust::None };
        let builder = http_client::builder(trust).map_err(|_| ClientError::NoTls)?.https_only(secure);
        // The port is the URL's. So nobody who answers for names can make that one mean another machine.
        let here = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let http = builder.resolve_to_addrs("localhost", &here).build().map_err(|_| ClientError::NoTls)?;
        let shared = Shared {
            http,
            base,
            authorization,
            deadlines: options.deadlines,
            retries: options.retries,
            answer_bytes: options.answer_bytes,
            manifest_bytes: options.manifest_bytes,
            uploads: options.uploads.max(1),
        };
        Ok(Self { shared: Arc::new(shared), workspace: options.workspace })
    }

    /// The same client, for another workspace that the token serves.
    pub fn in_workspace(&self, workspace: WorkspaceId) -> Self {
        Self { shared: self.shared.clone(), workspace: Some(workspace) }
    }
}

/// An address with nothing in it that has no place in one.
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

    fn made(url: &str, allow_http: bool) -> Result<Client, ClientError> {
        Client::new(ClientOptions { allow_http, ..ClientOptions::new(url, "yoi_token".to_owned().into()) })
    }

    #[test]
    fn a_token_travels_where_nobody_else_can_read_it() {
        for url in ["http://127.0.0.1:7070", "http://127.9.9.9", "http://[::1]:1/", "http://localhost:7070/below"] {
            assert!(made(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://runtime.example.com",
            "http://10.0.0.1:7070",
            "http://0.0.0.0",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::ffff:10.0.0.1]",
        ] {
            assert_eq!(made(url, false).map(|_| ()), Err(ClientError::InsecureUrl), "{url}");
            assert!(made(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_runtime_is_refused() {
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
            let refused = made(url, true).map(|_| ());
            assert_eq!(refused, Err(ClientError::InvalidUrl), "{url}");
        }
    }

    #[test]
    fn a_token_is_in_no_debug_output_and_cannot_be_two_headers() {
        let options = ClientOptions::new("http://localhost", "yoi_CANARY".to_owned().into());
        let client = Client::new(options.clone()).expect("a client");
        let said = format!("{options:?} {client:?} {:?}", client.shared.authorization);
        assert!(!said.contains("CANARY") && !said.contains("localhost"), "{said}");
        for token in ["", "a b", "a\r\nX-Forged: 1", "ä", "a\u{7f}"] {
            let options = ClientOptions::new("http://localhost", token.to_owned().into());
            assert_eq!(Client::new(options).map(|_| ()), Err(ClientError::InvalidToken), "{token:?}");
        }
    }
}
