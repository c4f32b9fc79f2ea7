//! Functions of the host for plugins: one trait for each interface of `yoi:host`, implemented by the embedder.
//!
//! An implementation belongs to one worker and plugin, and judges every operation by their grants. All functions run
//! while the future of a call is polled. They must not block: a function that waits returns `Pending`, and dropping its
//! future must end the operation. [`NoEgress`] is the implementation for a host without network access.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

/// The interfaces that one plugin of one worker may use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostApi {
    /// HTTP requests.
    pub requests: Arc<dyn Requests>,
    /// WebSocket connections.
    pub websockets: Arc<dyn WebSockets>,
    /// Log lines for the operator.
    pub log: Arc<dyn LogSink>,
    /// Clocks.
    pub clocks: Arc<dyn Clocks>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
}

/// Implementation of the interface `request`.
#[async_trait]
pub trait Requests: fmt::Debug + Send + Sync + 'static {
    /// Sends a request and waits for the response. Bounds the time and the size of both.
    async fn send(&self, request: OutgoingRequest) -> Result<IncomingResponse, RequestFailure>;
}

/// Implementation of the interface `websocket`.
#[async_trait]
pub trait WebSockets: fmt::Debug + Send + Sync + 'static {
    /// Opens a connection.
    async fn open(&self, connection: OutgoingConnection) -> Result<Box<dyn Connection>, WebSocketFailure>;
}

/// An open WebSocket connection. It belongs to one instance of a plugin; dropping it closes it.
#[async_trait]
pub trait Connection: fmt::Debug + Send + 'static {
    /// Returns the subprotocol that the remote system selected.
    fn subprotocol(&self) -> Option<&str>;

    /// Sends a message.
    async fn send(&mut self, message: Message) -> Result<(), WebSocketFailure>;

    /// Waits for the next message. Returns `None` if there is none after `timeout`.
    async fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, WebSocketFailure>;

    /// Returns the next message that has arrived already.
    fn try_receive(&mut self) -> Result<Option<Message>, WebSocketFailure>;

    /// Returns `Ready` if a message has arrived or the connection was closed.
    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Closes the connection. The code is 1000 or 3000 to 4999, and the reason has at most 123 bytes.
    async fn close(&mut self, code: u16, reason: &str) -> Result<(), WebSocketFailure>;
}

/// Receiver of a plugin's log lines.
pub trait LogSink: fmt::Debug + Send + Sync + 'static {
    /// Takes a line. The number and size of the lines of one call are within [`PluginLimits`](crate::PluginLimits). The
    /// text is not escaped.
    fn write(&self, line: LogLine);
}

/// Clocks of a plugin.
pub trait Clocks: fmt::Debug + Send + Sync + 'static {
    /// Returns the time since an arbitrary moment. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns the time since 1970-01-01T00:00:00Z, which may be rounded down to a multiple of up to a second.
    fn wall(&self) -> Duration;
}

/// Random bytes of a plugin.
pub trait Random: fmt::Debug + Send + Sync + 'static {
    /// Fills a buffer with cryptographically secure random bytes. An error ends the call.
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// Network access that refuses everything, with the code `egress_unavailable`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEgress;

impl NoEgress {
    fn denial() -> Denial {
        Denial { code: "egress_unavailable", message: "this host has no network access for plugins".to_owned() }
    }
}

#[async_trait]
impl Requests for NoEgress {
    async fn send(&self, _: OutgoingRequest) -> Result<IncomingResponse, RequestFailure> {
        Err(RequestFailure::Denied(Self::denial()))
    }
}

#[async_trait]
impl WebSockets for NoEgress {
    async fn open(&self, _: OutgoingConnection) -> Result<Box<dyn Connection>, WebSocketFailure> {
        Err(WebSocketFailure::Denied(Self::denial()))
    }
}

/// Keeps the lines in memory, in the order in which they were written.
impl LogSink for Mutex<Vec<LogLine>> {
    fn write(&self, line: LogLine) {
        self.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Severity.
    pub level: LogLevel,
    /// Text of the plugin. It may contain control characters.
    pub text: String,
    /// `true` if the line was longer than the limit, and its end was cut off.
    pub is_truncated: bool,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Detail for the plugin's author.
    Debug,
    /// Normal operation.
    Info,
    /// Unexpected, but handled.
    Warn,
    /// Failure.
    Error,
}

/// HTTP method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request that a plugin wants to send. Nothing about it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// Method.
    pub method: Method,
    /// URL as text.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Name of the secret that the host adds.
    pub credential: Option<String>,
    /// Time for the whole exchange, as the plugin wants it.
    pub timeout: Option<Duration>,
}

/// Response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingResponse {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body, as it was received.
    pub body: Vec<u8>,
}

/// A WebSocket connection that a plugin wants to open. Nothing about it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingConnection {
    /// URL as text.
    pub url: String,
    /// Subprotocols, in order of preference.
    pub subprotocols: Vec<String>,
    /// Name of the secret that the host adds to the handshake.
    pub credential: Option<String>,
    /// Time until the connection must be open, as the plugin wants it.
    pub timeout: Option<Duration>,
}

/// A WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text message.
    Text(String),
    /// Binary message.
    Binary(Vec<u8>),
}

/// Refusal by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Stable error code.
    pub code: &'static str,
    /// Description without host paths and secrets. The plugin sees it.
    pub message: String,
}

/// Exceeded size limit of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeLimit {
    /// Side whose data was too large.
    pub side: Side,
    /// Limit in bytes.
    pub bytes: u64,
}

/// Side of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Data that the plugin sent.
    Sent,
    /// Data that the remote system sent.
    Received,
}

/// Part of an exchange in which a remote system could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// The name could not be resolved.
    Dns,
    /// No connection could be established.
    Connect,
    /// TLS failed.
    Tls,
    /// The connection was closed or reset before the exchange was complete.
    Reset,
    /// The remote system violated the protocol.
    Protocol,
}

/// Failure of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFailure {
    /// The host refused the request. Nothing was sent.
    Denied(Denial),
    /// The URL is invalid. The text says why.
    InvalidUrl(String),
    /// A size limit was exceeded.
    TooLarge(SizeLimit),
    /// A rate limit was exceeded. A retry makes sense after this time.
    RateLimited(Duration),
    /// The time was up.
    TimedOut,
    /// The call or the worker ended.
    Cancelled,
    /// The remote system could not be reached.
    Unreachable(Unreachable),
}

/// Failure of an operation on a WebSocket connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebSocketFailure {
    /// The host refused the connection. Nothing was sent.
    Denied(Denial),
    /// The URL is invalid. The text says why.
    InvalidUrl(String),
    /// The remote system answered the handshake with this HTTP status.
    Refused(u16),
    /// As many connections are open as the plugin may have. This package checks
    /// [`PluginLimits::connections`](crate::PluginLimits::connections); a grant can be narrower.
    TooManyConnections(u32),
    /// A size limit was exceeded. If the remote system exceeded it, the connection is closed.
    TooLarge(SizeLimit),
    /// A rate limit was exceeded. A retry makes sense after this time.
    RateLimited(Duration),
    /// The time was up.
    TimedOut,
    /// The call or the worker ended.
    Cancelled,
    /// The connection is closed.
    Closed {
        /// Close code of the remote system.
        code: Option<u16>,
        /// Reason of the remote system.
        reason: String,
    },
    /// The remote system could not be reached.
    Unreachable(Unreachable),
    /// The close code or the reason is not allowed.
    InvalidClose,
}
