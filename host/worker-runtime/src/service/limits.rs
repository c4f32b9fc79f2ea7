//! What one client may take of the service, so that none holds it up for the others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of the service. Errors name the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceLimits {
    /// Requests of one token a second, on average; twice as many at once.
    pub requests_per_second: u32,
    /// Connections at a time. More wait in the system's queue until one ends.
    pub connections: u32,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Time for a request's head to come in, in milliseconds; also how long a connection may idle.
    pub head_ms: u64,
    /// Bytes a second that a body must come in with, on average.
    pub body_bytes_per_second: u64,
    /// Time that a body may take before its pace counts, in milliseconds.
    pub body_grace_ms: u64,
    /// Time until a request has its answer, in milliseconds. More than a tool call may take.
    pub request_ms: u64,
    /// Time in which a client must take something of its answer, in milliseconds.
    pub write_ms: u64,
    /// Streams of events of one token at a time.
    pub event_streams: u32,
    /// Time that what is going on has to end when the service is stopped, in milliseconds.
    pub shutdown_ms: u64,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 100,
            connections: 1024,
            head_bytes: 16 << 10,
            headers: 64,
            head_ms: 15_000,
            body_bytes_per_second: 4 << 10,
            body_grace_ms: 10_000,
            request_ms: 150_000,
            write_ms: 30_000,
            event_streams: 16,
            shutdown_ms: 30_000,
        }
    }
}

impl ServiceLimits {
    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    /// Time by which so many bytes of a body must be here.
    pub(crate) fn body(&self, bytes: u64) -> Duration {
        let paced = bytes.saturating_mul(1000) / self.body_bytes_per_second.max(1);
        Duration::from_millis(self.body_grace_ms.saturating_add(paced))
    }
}
