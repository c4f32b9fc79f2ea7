//! What one client may take of the service, so that none holds it up for the others.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::InvalidLimit;

/// Bounds of the service. Errors name the field. No time counts for more than a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceLimits {
    /// Requests of one token a second, on average; twice as many at once.
    pub requests_per_second: u32,
    /// Connections at a time. One more evicts the connection that has been idle for longest, or else a stalled one
    /// of the token or workspace that uses most of its share.
    pub connections: u32,
    /// Percentage of `connections` that one token, and the tokens of one workspace together, may have in use. A
    /// token can have a share of its own.
    pub connection_share_percent: u32,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header fields of a request; never more than 1024.
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
    /// Streams of events of one token at a time. A token can have a number of its own.
    pub event_streams: u32,
    /// Streams of events of one workspace at a time, of all its tokens.
    pub workspace_event_streams: u32,
    /// Time that what is going on has to end when the service is stopped, in milliseconds.
    pub shutdown_ms: u64,
}

impl Default for ServiceLimits {
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

/// No time counts for more than a day: the clock cannot hold what a config can write.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;

/// Room is made for so many fields before a head has come in.
const MOST_HEADERS: usize = 1024;

/// Milliseconds of a config as a time that can be added to any instant.
pub(super) fn time(ms: u64) -> Duration {
    Duration::from_millis(ms.min(LONGEST_MS))
}

impl ServiceLimits {
    pub(crate) fn most_headers(&self) -> usize {
        self.headers.min(MOST_HEADERS)
    }

    /// Returns the first limit with which no request would ever have its answer, or no stream of events would open,
    /// where one call may take `call_ms`. A `shutdown_ms` of zero means "at once" and is valid.
    pub fn invalid(&self, call_ms: u64) -> Option<InvalidLimit> {
        let limits = [
            ("requests_per_second", self.requests_per_second.into(), 1),
            ("connections", self.connections.into(), 1),
            // A head with a token has some hundred bytes in a handful of fields.
            ("head_bytes", self.head_bytes as u64, 1024),
            ("headers", self.headers as u64, 16),
            // What crosses a network takes some of these.
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
        if self.request_ms <= call_ms {
            let expected =
                format!("a whole number of at least {}, more than `call_ms` under [limits]", call_ms.saturating_add(1));
            return Some(InvalidLimit { name: "request_ms", expected });
        }
        InvalidLimit::below(limits)
    }

    /// Connections that a token or workspace without a share of its own may have in use: at least one.
    pub(crate) fn connection_share(&self) -> u32 {
        let share = u64::from(self.connections) * u64::from(self.connection_share_percent.min(100));
        u32::try_from(share.div_ceil(100)).unwrap_or(self.connections).max(1)
    }

    pub(crate) fn request(&self) -> Duration {
        time(self.request_ms)
    }

    /// Time by which so many bytes of a body must be here.
    pub(crate) fn body(&self, bytes: u64) -> Duration {
        let paced = bytes.saturating_mul(1000) / self.body_bytes_per_second.max(1);
        time(self.body_grace_ms.saturating_add(paced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_never_more_than_all() {
        let share = |connections, connection_share_percent| {
            ServiceLimits { connections, connection_share_percent, ..ServiceLimits::default() }.connection_share()
        };
        assert_eq!([share(1024, 25), share(5, 25), share(1, 1), share(8, 400), share(0, 0)], [256, 2, 1, 8, 1]);
        assert_eq!(share(u32::MAX, 100), u32::MAX);
    }
}
