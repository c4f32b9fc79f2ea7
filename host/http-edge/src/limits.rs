//! Limits of a server, so that one client cannot keep it from answering others.

use std::time::Duration;

use runtime_api::limit::InvalidLimit;
use serde::{Deserialize, Serialize};

/// Limits of an HTTP server. Errors name the field. Times above one day count as one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerLimits {
    /// Requests of one token per second, on average. Bursts may have twice as many.
    pub requests_per_second: u32,
    /// Concurrent connections. A further one evicts the connection that has been idle for longest, or else a stalled one of
    /// the token or workspace that uses most of its share.
    pub connections: u32,
    /// Percentage of `connections` that one token, and the tokens of one workspace together, may have in use. A token can
    /// have a share of its own.
    pub connection_share_percent: u32,
    /// Size of a request's head in bytes.
    pub head_bytes: usize,
    /// Header fields of a request. Values above 1024 count as 1024.
    pub headers: usize,
    /// Time in which the head of a request must arrive, in milliseconds. It is also the time for which a connection may be
    /// idle.
    pub head_ms: u64,
    /// Minimum average rate at which a body must arrive, in bytes per second.
    pub body_bytes_per_second: u64,
    /// Time before `body_bytes_per_second` applies, in milliseconds.
    pub body_grace_ms: u64,
    /// Time until the response to a request must begin, in milliseconds. It must be longer than the longest operation, such
    /// as a tool call.
    pub request_ms: u64,
    /// Time in which a client must read some part of the response, in milliseconds.
    pub write_ms: u64,
    /// Concurrent event streams of one token. A token can have a limit of its own.
    pub event_streams: u32,
    /// Concurrent event streams of one workspace, of all its tokens together.
    pub workspace_event_streams: u32,
    /// Time that requests in flight have when the server is stopped, in milliseconds.
    pub shutdown_ms: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 100,
            connections: 1024,
            connection_share_percent: 25,
            head_bytes: 16 << 10,
            headers: 64,
            head_ms: 15_000,
            body_bytes_per_second: 4 << 10,
            body_grace_ms: 10_000,
            request_ms: 150_000,
            write_ms: 30_000,
            event_streams: 16,
            workspace_event_streams: 64,
            shutdown_ms: 30_000,
        }
    }
}

/// Maximum of a configured time. The clock cannot represent every number of milliseconds that a config can hold.
const MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Maximum of `headers`: hyper reserves memory for as many fields before a head arrives.
const MAX_HEADERS: usize = 1024;

/// Returns a configured time, which is at most a day.
pub(crate) fn duration(ms: u64) -> Duration {
    Duration::from_millis(ms.min(MAX_MS))
}

impl ServerLimits {
    /// Returns the first limit with which no request would succeed or no event stream would open, for a server whose longest
    /// operation takes `longest_ms`. A `shutdown_ms` of zero means "at once" and is valid.
    pub fn invalid(&self, longest_ms: u64) -> Option<InvalidLimit> {
        let limits = [
            ("requests_per_second", self.requests_per_second.into(), 1),
            ("connections", self.connections.into(), 1),
            // A head with a token has some hundred bytes in a handful of fields.
            ("head_bytes", self.head_bytes as u64, 1024),
            ("headers", self.headers as u64, 16),
            // A round trip between continents takes more than 100 ms.
            ("head_ms", self.head_ms, 100),
            ("body_bytes_per_second", self.body_bytes_per_second, 1),
            ("body_grace_ms", self.body_grace_ms, 100),
            ("write_ms", self.write_ms, 100),
            ("event_streams", self.event_streams.into(), 1),
            ("workspace_event_streams", self.workspace_event_streams.into(), 1),
        ];
        if !(1..=100).contains(&self.connection_share_percent) {
            let expected = "a whole number from 1 to 100".to_owned();
            return Some(InvalidLimit { name: "connection_share_percent", expected });
        }
        if self.request_ms <= longest_ms {
            let minimum = longest_ms.saturating_add(1);
            let expected = format!("a whole number of at least {minimum}, more than `call_ms` under [limits]");
            return Some(InvalidLimit { name: "request_ms", expected });
        }
        InvalidLimit::below(limits)
    }

    /// Returns the connections that a token or workspace without a share of its own may have in use: at least one.
    pub(crate) fn connection_share(&self) -> u32 {
        let share = u64::from(self.connections) * u64::from(self.connection_share_percent.min(100));
        u32::try_from(share.div_ceil(100)).unwrap_or(self.connections).max(1)
    }

    pub(crate) fn max_headers(&self) -> usize {
        self.headers.min(MAX_HEADERS)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        duration(self.request_ms)
    }

    /// Returns the time after which a body of which `bytes` have arrived is too slow, from its beginning.
    pub(crate) fn body_timeout(&self, bytes: u64) -> Duration {
        let paced = bytes.saturating_mul(1000) / self.body_bytes_per_second.max(1);
        duration(self.body_grace_ms.saturating_add(paced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_never_more_than_all() {
        let share = |connections, connection_share_percent| {
            ServerLimits { connections, connection_share_percent, ..ServerLimits::default() }.connection_share()
        };
        assert_eq!([share(1024, 25), share(5, 25), share(1, 1), share(8, 400), share(0, 0)], [256, 2, 1, 8, 1]);
        assert_eq!(share(u32::MAX, 100), u32::MAX);
    }
}
