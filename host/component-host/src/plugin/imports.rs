//! The imports of a plugin: the interfaces of `yoi:host`, counted and limited.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker, Resource};

use super::{LogCounts, convert};
use crate::bindings::plugin::yoi::host::{log, monotonic_clock, random, request, types, wall_clock, websocket};
use crate::bindings::plugin::{Service, yoi};
use crate::call::{CallState, LimitExceeded};
use crate::host_api::{Connection, HostApi, LogLine, WebSocketFailure};
use crate::limits::PluginLimits;

/// The host type behind the contract's resource `connection`. Its number is a key of [`PluginState`].
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct ConnectionHandle;

/// Bytes that one call of `get-bytes` returns at most, as the contract says.
const MAX_RANDOM_BYTES: u32 = 65_536;

/// Error of the source of random bytes. It passes through the engine as a host error.
#[derive(Debug, thiserror::Error)]
#[error("the source of random bytes failed")]
pub(super) struct RandomFailed;

/// Host data of a plugin's store. Dropping it closes the connections.
pub(crate) struct PluginState {
    host: HostApi,
    limits: PluginLimits,
    connections: BTreeMap<u32, Box<dyn Connection>>,
    next_connection: u32,
    host_calls: u64,
    logs: LogCounts,
    log_bytes: u64,
}

/// Returns the linker with the imports of the worlds `tool` and `service`, which are the same.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState<PluginState>>> {
    let mut linker = Linker::new(engine);
    Service::add_to_linker::<_, HasSelf<PluginState>>(&mut linker, |state: &mut CallState<PluginState>| {
        &mut state.world
    })?;
    Ok(linker)
}

impl PluginState {
    pub(super) fn new(host: HostApi, limits: PluginLimits) -> Self {
        Self {
            host,
            limits,
            connections: BTreeMap::new(),
            next_connection: 0,
            host_calls: 0,
            logs: LogCounts::default(),
            log_bytes: 0,
        }
    }

    /// Resets what is limited for each turn.
    pub(super) fn begin(&mut self) {
        (self.host_calls, self.logs, self.log_bytes) = (0, LogCounts::default(), 0);
    }

    pub(super) fn logs(&self) -> LogCounts {
        self.logs
    }

    /// Returns `Ready` if a connection has a message or was closed. All of them are polled, so that each can wake the task.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let readable = self.connections.values_mut().filter_map(|connection| match connection.poll_readable(context) {
            Poll::Ready(()) => Some(()),
            Poll::Pending => None,
        });
        if readable.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn count_host_call(&mut self) -> wasmtime::Result<()> {
        if self.host_calls >= self.limits.host_calls {
            return Err(LimitExceeded("host_calls").into());
        }
        self.host_calls += 1;
        Ok(())
    }

    /// Counts a host call on a connection and returns the connection. The engine has checked the guest's handle.
    fn connection(&mut self, handle: &Resource<ConnectionHandle>) -> wasmtime::Result<&mut Box<dyn Connection>> {
        self.count_host_call()?;
        self.connections.get_mut(&handle.rep()).ok_or_else(|| wasmtime::Error::msg("connection not found"))
    }
}

impl types::Host for PluginState {}
impl yoi::plugin::types::Host for PluginState {}

impl log::Host for PluginState {
    fn write(&mut self, level: log::Level, mut text: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        let is_truncated = convert::cut(&mut text, usize::try_from(self.limits.log_line_bytes).unwrap_or(usize::MAX));
        let log_bytes = self.log_bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        if self.logs.written >= self.limits.log_lines || log_bytes > self.limits.log_bytes {
            self.logs.dropped += 1;
            return Ok(());
        }
        self.logs.written += 1;
        self.log_bytes = log_bytes;
        self.host.log.write(LogLine { level: convert::level(level), text, is_truncated });
        Ok(())
    }
}

impl monotonic_clock::Host for PluginState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.count_host_call()?;
        Ok(u64::try_from(self.host.clocks.monotonic().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl wall_clock::Host for PluginState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.count_host_call()?;
        Ok(u64::try_from(self.host.clocks.wall().as_millis()).unwrap_or(u64::MAX))
    }
}

impl random::Host for PluginState {
    fn get_bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        self.count_host_call()?;
        let mut bytes = vec![0; usize::try_from(count.min(MAX_RANDOM_BYTES)).unwrap_or_default()];
        self.host.random.fill(&mut bytes).map_err(|_| RandomFailed)?;
        Ok(bytes)
    }
}

impl request::Host for PluginState {
    async fn send(
        &mut self,
        request: request::Outgoing,
    ) -> wasmtime::Result<Result<request::Incoming, request::Failure>> {
        self.count_host_call()?;
        let response = self.host.requests.send(convert::outgoing_request(request)).await;
        Ok(response.map(convert::incoming_response).map_err(convert::request_failure))
    }
}

impl websocket::Host for PluginState {}

impl websocket::HostConnection for PluginState {
    async fn open(
        &mut self,
        connection: websocket::Outgoing,
    ) -> wasmtime::Result<Result<Resource<ConnectionHandle>, websocket::Failure>> {
        self.count_host_call()?;
        let allowed = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        if self.connections.len() >= usize::try_from(allowed).unwrap_or(usize::MAX) {
            return Ok(Err(convert::websocket_failure(WebSocketFailure::TooManyConnections(allowed))));
        }
        match self.host.websockets.open(convert::outgoing_connection(connection)).await {
            Ok(connection) => {
                // A service opens at most `host_calls` connections in a turn, so a number is taken again only after
                // years. Numbers of open connections are skipped all the same.
                while self.connections.contains_key(&self.next_connection) {
                    self.next_connection = self.next_connection.wrapping_add(1);
                }
                let number = self.next_connection;
                self.next_connection = number.wrapping_add(1);
                self.connections.insert(number, connection);
                Ok(Ok(Resource::new_own(number)))
            }
            Err(failure) => Ok(Err(convert::websocket_failure(failure))),
        }
    }

    fn subprotocol(&mut self, handle: Resource<ConnectionHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.connection(&handle)?.subprotocol().map(str::to_owned))
    }

    async fn send(
        &mut self,
        handle: Resource<ConnectionHandle>,
        message: websocket::Message,
    ) -> wasmtime::Result<Result<(), websocket::Failure>> {
        let sent = self.connection(&handle)?.send(convert::message_out(message)).await;
        Ok(sent.map_err(convert::websocket_failure))
    }

    async fn receive(
        &mut self,
        handle: Resource<ConnectionHandle>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<Option<websocket::Message>, websocket::Failure>> {
        let received = self.connection(&handle)?.receive(Duration::from_millis(timeout_ms.into())).await;
        Ok(received.map(|message| message.map(convert::message_in)).map_err(convert::websocket_failure))
    }

    fn try_receive(
        &mut self,
        handle: Resource<ConnectionHandle>,
    ) -> wasmtime::Result<Result<Option<websocket::Message>, websocket::Failure>> {
        let received = self.connection(&handle)?.try_receive();
        Ok(received.map(|message| message.map(convert::message_in)).map_err(convert::websocket_failure))
    }

    async fn close(
        &mut self,
        handle: Resource<ConnectionHandle>,
        code: u16,
        reason: String,
    ) -> wasmtime::Result<Result<(), websocket::Failure>> {
        let connection = self.connection(&handle)?;
        if !matches!(code, 1000 | 3000..=4999) || reason.len() > convert::CLOSE_REASON_BYTES {
            return Ok(Err(convert::websocket_failure(WebSocketFailure::InvalidClose)));
        }
        Ok(connection.close(code, &reason).await.map_err(convert::websocket_failure))
    }

    fn drop(&mut self, handle: Resource<ConnectionHandle>) -> wasmtime::Result<()> {
        self.connections.remove(&handle.rep());
        Ok(())
    }
}
