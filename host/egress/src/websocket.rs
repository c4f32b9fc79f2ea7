//! WebSocket connections: the handshake, and the plugin's side of an open connection. The other side is the task in
//! `websocket::task`.

mod metered_stream;
mod task;

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use component_host::host_api::{
    Connection, Message, OutgoingConnection, Side, SizeLimit, Unreachable, WebSocketFailure, WebSockets,
};
use host_policy::EgressRequest;
use http_body_util::Empty;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::access::{Access, ConnectionPermit, NetworkAccess, PermittedConnection};
use crate::credential::SecretEcho;
use crate::failure::Failure;
use crate::limits::{EgressLimits, size};
use crate::quota::Rate;
use crate::request::{AbortOnDrop, authority, check_headers, driven, first_byte, header_value, http1};
use crate::tls::Protocol;
use metered_stream::MeteredStream;

/// Bytes that are read at once. Larger frames grow the buffer.
const READ_BUFFER_BYTES: usize = 4096;

/// Bytes of pongs and of a close frame that may wait to be written, beside a message.
const MAX_CONTROL_BYTES: usize = 64 << 10;

/// The stream of an open connection.
type Socket = WebSocketStream<MeteredStream<TokioIo<hyper::upgrade::Upgraded>>>;

/// An open connection, as an instance owns it. Dropping it makes the task close the connection.
#[derive(Debug)]
struct OpenConnection {
    subprotocol: Option<String>,
    access: Arc<Access>,
    commands: mpsc::Sender<Command>,
    messages: mpsc::Receiver<QueuedMessage>,
    /// Message that `poll_readable` has taken from the queue.
    next: Option<QueuedMessage>,
    end: Arc<OnceLock<WebSocketFailure>>,
    sent_messages: Rate,
    sent_bytes: Rate,
}

/// A received message. The permit bounds the bytes of all messages that wait.
#[derive(Debug)]
struct QueuedMessage {
    message: Message,
    _bytes: OwnedSemaphorePermit,
}

/// Command of the plugin's side to the task.
#[derive(Debug)]
enum Command {
    Send { message: Message, done: oneshot::Sender<()> },
    Close { code: u16, reason: String, done: oneshot::Sender<()> },
}

/// A connection after its handshake.
struct OpenedSocket {
    socket: Socket,
    subprotocol: Option<String>,
    permit: ConnectionPermit,
    echo: SecretEcho,
    place: OwnedSemaphorePermit,
}

/// Failure of a handshake.
enum OpenFailure {
    Shared(Failure),
    WebSocket(WebSocketFailure),
}

impl From<Failure> for OpenFailure {
    fn from(failure: Failure) -> Self {
        Self::Shared(failure)
    }
}

impl From<OpenFailure> for WebSocketFailure {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Shared(failure) => failure.into(),
            OpenFailure::WebSocket(failure) => failure,
        }
    }
}

#[async_trait]
impl WebSockets for NetworkAccess {
    async fn open(&self, outgoing: OutgoingConnection) -> Result<Box<dyn Connection>, WebSocketFailure> {
        let access = self.0.clone();
        // Checked on the thread of the guest, whose processor time is limited.
        access.begin()?;
        let request = EgressRequest::websocket(&outgoing.url, outgoing.subprotocols.clone()).map_err(Failure::from)?;
        let opening = self.0.shared.tasks.spawn(async move { Ok(access.open(request, outgoing).await) });
        let opened = AbortOnDrop(opening).join().await??;
        Ok(Box::new(self.start(opened)))
    }
}

impl NetworkAccess {
    /// Starts the task of a connection.
    fn start(&self, opened: OpenedSocket) -> OpenConnection {
        let limits = &self.0.shared.limits;
        let (commands, received_commands) = mpsc::channel(1);
        let (queue, messages) = mpsc::channel(size(limits.queued_messages).clamp(1, Semaphore::MAX_PERMITS));
        let end = Arc::new(OnceLock::new());
        let OpenedSocket { socket, subprotocol, permit, echo, place } = opened;
        let task = task::Task { access: self.0.clone(), permit, echo, end: end.clone(), _place: place };
        self.0.shared.tasks.spawn(task.run(socket, received_commands, queue));
        OpenConnection {
            subprotocol,
            access: self.0.clone(),
            commands,
            messages,
            next: None,
            end,
            sent_messages: Rate::new(limits.messages_per_second),
            sent_bytes: Rate::new(limits.bytes_per_second),
        }
    }
}

impl Access {
    async fn open(&self, request: EgressRequest, outgoing: OutgoingConnection) -> Result<OpenedSocket, OpenFailure> {
        let limits = &self.shared.limits;
        let longest = Duration::from_millis(limits.open_ms);
        let deadline = Instant::now() + outgoing.timeout.map_or(longest, |wanted| wanted.min(longest));
        let place = self.quota.connection();
        let place = place.map_err(|allowed| OpenFailure::WebSocket(WebSocketFailure::TooManyConnections(allowed)))?;
        let credential = outgoing.credential.as_deref();
        let dialled = self.connect(request, Protocol::WebSocket, credential, &[], deadline).await?;
        let PermittedConnection { stream, permit, secret } = dialled;
        let key = generate_key();
        let url = permit.permitted.request().url();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, header_value(&authority(url))?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, header_value(&key)?);
        if !outgoing.subprotocols.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header_value(&outgoing.subprotocols.join(", "))?);
        }
        let echo = self.sent_secrets(secret.as_ref());
        if let Some(secret) = secret {
            headers.insert(secret.name, secret.value);
        }
        let target = &url[url::Position::BeforePath..];
        let request = Request::builder().uri(target).body(Empty::<Bytes>::new());
        let mut request = request.map_err(|_| Failure::InvalidUrl("the URL cannot be sent".to_owned()))?;
        *request.headers_mut() = headers;

        let failed = |error: hyper::Error| Failure::of_http(&error, limits.response_header_bytes);
        let handshake = async {
            let (mut sender, connection) = http1(limits).handshake(TokioIo::new(stream)).await.map_err(failed)?;
            let upgrade = async {
                let response = first_byte(limits, sender.send_request(request)).await?.map_err(failed)?;
                check_headers(response.headers(), limits, &echo)?;
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(Err(response.status()));
                }
                let subprotocol = check_switch(&response, &key, &outgoing.subprotocols)?;
                Ok(Ok((hyper::upgrade::on(response).await.map_err(failed)?, subprotocol)))
            };
            driven(upgrade, connection.with_upgrades()).await
        };
        let handshake = self.while_permitted(|| self.check_again(&permit), handshake);
        let answered = timeout_at(deadline, handshake).await.map_err(|_| Failure::TimedOut)??;
        let (upgraded, subprotocol) =
            answered.map_err(|status| OpenFailure::WebSocket(WebSocketFailure::Refused(status.as_u16())))?;
        let stream = MeteredStream::new(TokioIo::new(upgraded), limits.bytes_per_second);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            // Pongs wait here if the remote system does not read.
            .max_write_buffer_size(size(limits.message_bytes).saturating_add(MAX_CONTROL_BYTES))
            .max_message_size(Some(size(limits.message_bytes)))
            .max_frame_size(Some(size(limits.frame_bytes)));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
        Ok(OpenedSocket { socket, subprotocol, permit, echo, place })
    }
}

/// Checks the answer to a handshake (RFC 6455, section 4.1), and returns the selected subprotocol.
fn check_switch<B>(response: &Response<B>, key: &str, requested: &[String]) -> Result<Option<String>, Failure> {
    let violation = || Failure::Unreachable(Unreachable::Protocol);
    let headers = response.headers();
    let only = |name: header::HeaderName| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().map(str::trim).map_err(|_| violation())).transpose()?;
        if values.next().is_some() { Err(violation()) } else { Ok(value) }
    };
    let is = |value: Option<&str>, word: &str| value.is_some_and(|value| value.eq_ignore_ascii_case(word));
    let is_switched = is(only(header::UPGRADE)?, "websocket")
        && only(header::CONNECTION)?.is_some_and(|list| list.split(',').any(|word| is(Some(word.trim()), "upgrade")))
        && only(header::SEC_WEBSOCKET_ACCEPT)? == Some(derive_accept_key(key.as_bytes()).as_str());
    // No extension is requested, so none can be accepted.
    if !is_switched || headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(violation());
    }
    match only(header::SEC_WEBSOCKET_PROTOCOL)? {
        None => Ok(None),
        Some(selected) if requested.iter().any(|name| name == selected) => Ok(Some(selected.to_owned())),
        Some(_) => Err(violation()),
    }
}

impl OpenConnection {
    fn limits(&self) -> &EgressLimits {
        &self.access.shared.limits
    }

    /// Returns the reason why the connection has ended.
    fn ended(&self) -> WebSocketFailure {
        self.end.get().cloned().unwrap_or(WebSocketFailure::Cancelled)
    }

    /// Hands a command to the task and waits until it is done, or until the connection has ended.
    async fn command(&self, command: Command, done: oneshot::Receiver<()>) -> Result<(), WebSocketFailure> {
        if self.commands.send(command).await.is_err() || done.await.is_err() {
            // The task sets the reason before it drops the receiver.
            self.commands.closed().await;
            return Err(self.ended());
        }
        Ok(())
    }
}

#[async_trait]
impl Connection for OpenConnection {
    fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    async fn send(&mut self, message: Message) -> Result<(), WebSocketFailure> {
        let allowed = self.limits().message_bytes;
        let bytes = task::length(&message);
        if bytes > size(allowed) {
            return Err(WebSocketFailure::TooLarge(SizeLimit { side: Side::Sent, bytes: allowed.into() }));
        }
        if self.commands.is_closed() {
            return Err(self.ended());
        }
        self.sent_messages.take(1).map_err(WebSocketFailure::RateLimited)?;
        self.sent_bytes.take(bytes).map_err(WebSocketFailure::RateLimited)?;
        let (done, is_done) = oneshot::channel();
        self.command(Command::Send { message, done }, is_done).await
    }

    async fn receive(&mut self, wait: Duration) -> Result<Option<Message>, WebSocketFailure> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next.message));
        }
        let longest = Duration::from_millis(self.limits().receive_ms);
        match timeout(wait.min(longest), self.messages.recv()).await {
            Ok(Some(received)) => Ok(Some(received.message)),
            Ok(None) => Err(self.ended()),
            Err(_) => Ok(None),
        }
    }

    fn try_receive(&mut self) -> Result<Option<Message>, WebSocketFailure> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next.message));
        }
        match self.messages.try_recv() {
            Ok(received) => Ok(Some(received.message)),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(self.ended()),
        }
    }

    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.next.is_some() {
            return Poll::Ready(());
        }
        self.messages.poll_recv(context).map(|received| self.next = received)
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), WebSocketFailure> {
        let (done, is_done) = oneshot::channel();
        self.command(Command::Close { code, reason: reason.to_owned(), done }, is_done).await
    }
}
