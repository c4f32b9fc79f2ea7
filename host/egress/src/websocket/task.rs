//! The task of an open connection. It reads messages into the queue of the plugin, answers pings, sends what the plugin
//! sends, and closes the connection: when the plugin or the remote system closes it, when the plugin drops it, when it was
//! idle for too long, at the end of its lifetime, and when its permission was withdrawn.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use component_host::host_api::{Message, Side, SizeLimit, Unreachable, WebSocketFailure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Error};

use super::{Command, QueuedMessage, Socket};
use crate::access::{Access, ConnectionPermit};
use crate::credential::SecretEcho;
use crate::failure::Failure;
use crate::limits::size;
use crate::quota::Rate;

type Sink = SplitSink<Socket, tungstenite::Message>;
type Source = SplitStream<Socket>;

/// Reason that the protocol library reports for a close frame with a code that must not be sent.
const VIOLATION: &str = "Protocol violation";

/// State of the task, apart from its streams.
pub(super) struct Task {
    pub(super) access: Arc<Access>,
    pub(super) permit: ConnectionPermit,
    pub(super) echo: SecretEcho,
    /// Set before the queue is closed.
    pub(super) end: Arc<OnceLock<WebSocketFailure>>,
    pub(super) _place: OwnedSemaphorePermit,
}

/// Time of the last message in either direction.
struct Activity(Mutex<Instant>);

impl Activity {
    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// End of a connection.
struct End {
    failure: WebSocketFailure,
    /// Close frame that the remote system gets.
    close: Option<(u16, String)>,
    /// Answer to a close of the plugin.
    done: Option<oneshot::Sender<()>>,
}

impl End {
    fn new(failure: impl Into<WebSocketFailure>, code: u16) -> Self {
        Self { failure: failure.into(), close: Some((code, String::new())), done: None }
    }

    /// Returns the end of a connection that is lost, so that no close frame can be sent.
    fn lost(failure: WebSocketFailure) -> Self {
        Self { failure, close: None, done: None }
    }
}

/// Returns the bytes of a message.
pub(super) fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
    }
}

impl Task {
    pub(super) async fn run(
        self,
        socket: Socket,
        mut commands: mpsc::Receiver<Command>,
        queue: mpsc::Sender<QueuedMessage>,
    ) {
        let limits = &self.access.shared.limits;
        let (mut sink, mut source) = socket.split();
        let active = Activity(Mutex::new(Instant::now()));
        let lifetime = Duration::from_millis(limits.lifetime_ms);
        let end = tokio::select! {
            end = self.read(&mut source, &queue, &active) => end,
            end = self.write(&mut sink, &mut commands, &active) => end,
            end = self.idle(&active) => end,
            end = self.withdrawn() => end,
            () = sleep(lifetime) => End::new(WebSocketFailure::TimedOut, 1001),
        };
        // An error means that it is set, which does not happen.
        let _ = self.end.set(end.failure);
        drop((queue, commands));
        if let Some((code, reason)) = end.close {
            let wait = Duration::from_millis(limits.send_ms);
            let _ = timeout(wait, close(&mut sink, &mut source, code, reason)).await;
        }
        if let Some(done) = end.done {
            // The plugin may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Reads until the connection ends.
    async fn read(&self, source: &mut Source, queue: &mpsc::Sender<QueuedMessage>, active: &Activity) -> End {
        let limits = &self.access.shared.limits;
        let messages = Rate::new(limits.messages_per_second);
        let max_queued = size(limits.message_bytes).clamp(1, Semaphore::MAX_PERMITS);
        let free_bytes = Arc::new(Semaphore::new(max_queued));
        loop {
            let received = match source.next().await {
                Some(Ok(received)) => received,
                Some(Err(error)) => return of_error(&error),
                None => return End::lost(WebSocketFailure::Unreachable(Unreachable::Reset)),
            };
            // A ping is no use of the connection, which would otherwise stay open for as long as the remote system wants.
            if !received.is_ping() && !received.is_pong() {
                active.mark();
            }
            if self.echo.is_in(text_of(&received)) {
                return End::new(Failure::secret_echoed(), 1008);
            }
            // Reading pauses above the rate, so that the remote system has to wait.
            messages.wait(1).await;
            let message = match received {
                tungstenite::Message::Text(text) => Message::Text(text.as_str().to_owned()),
                tungstenite::Message::Binary(bytes) => Message::Binary(bytes.into()),
                tungstenite::Message::Close(frame) => return of_close(frame),
                // The protocol library answers a ping with its next operation.
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_) => {
                    continue;
                }
            };
            let taken = u32::try_from(length(&message).min(max_queued)).unwrap_or(u32::MAX);
            let Ok(permit) = free_bytes.clone().acquire_many_owned(taken).await else { return dropped() };
            if queue.send(QueuedMessage { message, _bytes: permit }).await.is_err() {
                return dropped();
            }
        }
    }

    /// Sends what the plugin sends, until it closes or drops the connection.
    async fn write(&self, sink: &mut Sink, commands: &mut mpsc::Receiver<Command>, active: &Activity) -> End {
        let wait = Duration::from_millis(self.access.shared.limits.send_ms);
        loop {
            match commands.recv().await {
                Some(Command::Send { message, done }) => {
                    let message = match message {
                        Message::Text(text) => tungstenite::Message::text(text),
                        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
                    };
                    match timeout(wait, sink.send(message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return of_error(&error),
                        // A part of the message may be sent, so that nothing can follow it.
                        Err(_) => return End::lost(WebSocketFailure::TimedOut),
                    }
                    active.mark();
                    // The plugin may have stopped waiting.
                    let _ = done.send(());
                }
                Some(Command::Close { code, reason, done }) => {
                    let failure = WebSocketFailure::Closed { code: None, reason: String::new() };
                    return End { failure, close: Some((code, reason)), done: Some(done) };
                }
                None => return dropped(),
            }
        }
    }

    /// Returns when no message came or went for too long.
    async fn idle(&self, active: &Activity) -> End {
        let longest = Duration::from_millis(self.access.shared.limits.idle_ms);
        loop {
            let until = active.last() + longest;
            if until <= Instant::now() {
                return End::new(WebSocketFailure::TimedOut, 1001);
            }
            sleep_until(until).await;
        }
    }

    /// Returns when the permissions in force do not cover the connection any more.
    async fn withdrawn(&self) -> End {
        End::new(self.access.refusal(|| self.access.check_again(&self.permit)).await, 1008)
    }
}

/// Returns the end of a connection that the plugin dropped.
fn dropped() -> End {
    End::new(WebSocketFailure::Closed { code: None, reason: String::new() }, 1000)
}

/// Returns the bytes of a message in which a secret could be.
fn text_of(message: &tungstenite::Message) -> &[u8] {
    match message {
        tungstenite::Message::Text(text) => text.as_str().as_bytes(),
        tungstenite::Message::Binary(bytes) => bytes,
        tungstenite::Message::Close(Some(frame)) => frame.reason.as_str().as_bytes(),
        // Neither reaches the plugin.
        _ => &[],
    }
}

/// Returns the end of a connection that the remote system closed. The protocol library has queued the reply.
fn of_close(frame: Option<CloseFrame>) -> End {
    let failure = match frame {
        Some(frame) if frame.code == CloseCode::Protocol && frame.reason.as_str() == VIOLATION => {
            WebSocketFailure::Unreachable(Unreachable::Protocol)
        }
        Some(frame) => {
            WebSocketFailure::Closed { code: Some(frame.code.into()), reason: frame.reason.as_str().to_owned() }
        }
        None => WebSocketFailure::Closed { code: None, reason: String::new() },
    };
    End::new(failure, 1000)
}

/// Returns the end of a connection that failed.
fn of_error(error: &Error) -> End {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => {
            End::lost(WebSocketFailure::Closed { code: None, reason: String::new() })
        }
        Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            End::lost(WebSocketFailure::Unreachable(Unreachable::Reset))
        }
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            let bytes = u64::try_from(*max_size).unwrap_or(u64::MAX);
            End::new(WebSocketFailure::TooLarge(SizeLimit { side: Side::Received, bytes }), 1009)
        }
        // The remote system does not read, so that replies to its pings cannot be sent.
        Error::WriteBufferFull(_) => End::lost(WebSocketFailure::TimedOut),
        Error::Utf8(_) => End::new(WebSocketFailure::Unreachable(Unreachable::Protocol), 1007),
        _ => End::new(WebSocketFailure::Unreachable(Unreachable::Protocol), 1002),
    }
}

/// Closes the connection, and reads until the remote system has closed it too.
async fn close(sink: &mut Sink, source: &mut Source, code: u16, reason: String) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    // Fails if the remote system has closed the connection before. Then its answer is flushed below.
    let _ = sink.send(tungstenite::Message::Close(Some(frame))).await;
    let _ = sink.flush().await;
    while let Some(Ok(_)) = source.next().await {}
}
