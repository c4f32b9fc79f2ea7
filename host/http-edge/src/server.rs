//! The server: accepts connections, each with limits on its size and time, until it is stopped.
//!
//! When it is stopped, no new connection is accepted and requests in flight may end. Requests that do not end in time are
//! dropped.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::connections::{ConnectionService, Connections, TrackedIo};
use crate::{GaugeGuard, Hosts, HttpMetrics, ServerLimits, hosts, metrics, pace};

/// Edge of one HTTP server.
#[derive(Debug)]
pub struct HttpEdge {
    pub(crate) hosts: Hosts,
    pub(crate) limits: ServerLimits,
    pub(crate) metrics: HttpMetrics,
    closing: CancellationToken,
}

/// Result of [`HttpEdge::serve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownSummary {
    /// Number of connections that did not end within `shutdown_ms` and were cut.
    pub cut: usize,
}

impl HttpEdge {
    /// Creates an edge.
    pub fn new(hosts: Hosts, limits: ServerLimits) -> Arc<Self> {
        let (metrics, closing) = (HttpMetrics::default(), CancellationToken::new());
        Arc::new(Self { hosts, limits, metrics, closing })
    }

    /// Returns the limits.
    pub fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }

    /// Returns a token that is cancelled when the server is stopped. Long-lived responses should end then.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Adds the request log, the checks of `Host` and `Origin`, and the limits on bodies and response times to a router.
    pub fn wrap(self: &Arc<Self>, router: Router) -> Router {
        router
            .layer(from_fn_with_state(self.clone(), pace::limit))
            .layer(from_fn_with_state(self.clone(), hosts::check))
            .layer(from_fn_with_state(self.clone(), metrics::observe))
    }

    /// Accepts connections and answers their requests with `router` until `stop` completes. Then waits until the requests
    /// in flight have ended, for at most `shutdown_ms`.
    pub async fn serve<L: Listener>(
        &self,
        router: Router,
        mut listener: L,
        stop: impl Future<Output = ()>,
    ) -> ShutdownSummary {
        let limits = &self.limits;
        let places = Connections::new(limits, self.metrics.connections_evicted.clone());
        let graceful = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let http = http(limits);
        loop {
            // An accepted connection waits for its place here. All others wait in the queue of the system, which is bounded.
            let next = async {
                let io = listener.accept().await.0;
                (io, places.take().await)
            };
            let (io, place) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            let Some(place) = place else { break };
            while connections.try_join_next().is_some() {}
            let mut io = TimeoutStream::new(io);
            io.set_write_timeout(Some(limits.write_timeout()));
            let io = TrackedIo { io: Box::pin(io), connection: place.clone() };
            let router = TowerToHyperService::new(router.clone());
            let service = ConnectionService { router, connection: place.clone() };
            let connection = graceful.watch(http.serve_connection(TokioIo::new(io), service));
            let gauge = GaugeGuard::new(&self.metrics.connections);
            connections.spawn(async move {
                let _gauge = gauge;
                // The result is ignored: a client may close the connection at any time.
                tokio::select! {
                    biased;
                    () = place.evicted() => {}
                    _ = connection => {}
                }
            });
        }
        drop(listener);
        self.closing.cancel();
        let ended = tokio::time::timeout(limits.shutdown_timeout(), graceful.shutdown()).await;
        while connections.try_join_next().is_some() {}
        let cut = if ended.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        ShutdownSummary { cut }
    }
}

fn http(limits: &ServerLimits) -> http1::Builder {
    /// Minimum buffer that hyper accepts, with room for a head.
    const MIN_BUFFER_BYTES: usize = 64 << 10;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout())
        .max_headers(limits.max_headers())
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(MIN_BUFFER_BYTES));
    http
}

impl ServerLimits {
    fn head_timeout(&self) -> Duration {
        crate::limits::duration(self.head_ms)
    }

    fn write_timeout(&self) -> Duration {
        crate::limits::duration(self.write_ms)
    }

    fn shutdown_timeout(&self) -> Duration {
        crate::limits::duration(self.shutdown_ms)
    }
}
