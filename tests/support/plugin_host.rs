//! A host for plugins in tests: clocks that stand still, random bytes that are all equal, and connections in memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use component_host::host_api::{
    Clocks, Connection, HostApi, IncomingResponse, LogLine, Message, NoEgress, OutgoingConnection, OutgoingRequest,
    Random, RequestFailure, Requests, WebSocketFailure, WebSockets,
};

/// Clocks and random bytes that are the same at every call.
#[derive(Debug)]
pub struct Fixed;

impl Clocks for Fixed {
    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn wall(&self) -> Duration {
        Duration::from_secs(1_700_000_000)
    }
}

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(7);
        Ok(())
    }
}

/// A source of random bytes that fails.
#[derive(Debug)]
pub struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, _: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Requests that never get a response.
#[derive(Debug)]
pub struct Silent;

#[async_trait]
impl Requests for Silent {
    async fn send(&self, _: OutgoingRequest) -> Result<IncomingResponse, RequestFailure> {
        std::future::pending().await
    }
}

/// Network in memory, with connections that can be counted and made readable.
#[derive(Debug, Clone, Default)]
pub struct Network {
    open: Arc<AtomicUsize>,
    readable: Arc<AtomicBool>,
}

impl Network {
    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Makes all connections readable from now on.
    pub fn make_readable(&self) {
        self.readable.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl WebSockets for Network {
    async fn open(&self, _: OutgoingConnection) -> Result<Box<dyn Connection>, WebSocketFailure> {
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Open(self.clone())))
    }
}

/// An open connection of a [`Network`].
#[derive(Debug)]
struct Open(Network);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Connection for Open {
    fn subprotocol(&self) -> Option<&str> {
        None
    }

    async fn send(&mut self, _: Message) -> Result<(), WebSocketFailure> {
        Ok(())
    }

    async fn receive(&mut self, _: Duration) -> Result<Option<Message>, WebSocketFailure> {
        self.try_receive()
    }

    fn try_receive(&mut self) -> Result<Option<Message>, WebSocketFailure> {
        Ok(self.0.readable.load(Ordering::SeqCst).then(|| Message::Text("hello".to_owned())))
    }

    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.0.readable.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn close(&mut self, _: u16, _: &str) -> Result<(), WebSocketFailure> {
        Ok(())
    }
}

/// Returns a host without network, and the log lines that it receives.
pub fn offline() -> (HostApi, Arc<Mutex<Vec<LogLine>>>) {
    let log = Arc::new(Mutex::default());
    let host = HostApi {
        requests: Arc::new(NoEgress),
        websockets: Arc::new(NoEgress),
        log: log.clone(),
        clocks: Arc::new(Fixed),
        random: Arc::new(Fixed),
    };
    (host, log)
}

/// Returns a host whose connections open, and its network.
pub fn online() -> (HostApi, Network) {
    let network = Network::default();
    (HostApi { websockets: Arc::new(network.clone()), ..offline().0 }, network)
}
