//! Serving: connections, each of which is bounded in what it may hold and for how long, until the
//! service is stopped. Then nothing new is taken, what is going on ends, and what does not end in time
//! is dropped, which rolls it back.

use std::time::Duration;

use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_io_timeout::TimeoutStream;

use super::RuntimeService;
use super::connections::{Answering, Connections, Flushed};
use super::limits::time;

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that had not ended in the time that there was, and were cut.
    pub cut: usize,
}

impl RuntimeService {
    /// Answers what comes to a listener until `stop` is ready, and then ends what is going on.
    pub async fn serve<L: Listener>(&self, mut listener: L, stop: impl Future<Output = ()>) -> Stopped {
        let limits = &self.0.limits;
        let router = self.router();
        let places = Connections::new(limits, self.0.observed.connections_ended());
        let graceful = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let http = http(time(limits.head_ms), limits.head_bytes, limits.most_headers());
        let write = time(limits.write_ms);
        loop {
            // One that has come waits for its place here, and all others in the system's queue, which is bounded.
            let next = async {
                let io = listener.accept().await.0;
                (io, places.take().await)
            };
            let (io, taken) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            let Some(place) = taken else { break };
            while connections.try_join_next().is_some() {}
            let mut io = TimeoutStream::new(io);
            io.set_write_timeout(Some(write));
            let io = Flushed { io: Box::pin(io), connection: place.clone() };
            let router = TowerToHyperService::new(router.clone());
            let service = Answering { router, connection: place.clone() };
            let connection = graceful.watch(http.serve_connection(TokioIo::new(io), service));
            let gauge = self.0.observed.connection();
            connections.spawn(async move {
                let _held = gauge;
                // How a connection ends is the client's business: it may go away at any time.
                tokio::select! {
                    biased;
                    () = place.evicted() => {}
                    _ = connection => {}
                }
            });
        }
        drop(listener);
        self.0.closing.cancel();
        let ended = tokio::time::timeout(time(limits.shutdown_ms), graceful.shutdown()).await;
        while connections.try_join_next().is_some() {}
        let cut = if ended.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        Stopped { cut }
    }
}

fn http(head: Duration, head_bytes: usize, headers: usize) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(headers)
        .max_header_size(head_bytes)
        // The least that hyper takes, and room for a head.
        .max_buf_size(head_bytes.max(64 << 10));
    http
}
