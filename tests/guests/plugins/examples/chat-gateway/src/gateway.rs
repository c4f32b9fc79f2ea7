//! State of the gateway: the connection or the time of the next attempt to connect, and the schedule of turns.
//!
//! Nothing here calls the host: `glue` does what is due, and reports how it ended. Times are milliseconds of the host's
//! monotonic clock. Exactly one thing is scheduled at any time: a heartbeat while the connection is open, and otherwise an
//! attempt to connect.

use crate::config::Config;
use crate::glue::yoi::host::types::{Side, SizeLimit, Unreachable};
use crate::glue::yoi::host::websocket::Failure;
use crate::glue::yoi::plugin::types::{NextTurn, State};
use crate::recent_messages::RecentMessages;

/// Delay after the first failure. It doubles with each further failure.
const FIRST_BACKOFF_MS: u64 = 1_000;

/// Longest delay. It is also the delay after a refusal of the host, which stays until a person changes the grant.
const MAX_BACKOFF_MS: u64 = 60_000;

/// Number of doublings after which the delay exceeds `MAX_BACKOFF_MS`. More of them would overflow.
const MAX_DOUBLINGS: u32 = 6;

/// Time after which an open connection counts as a success. A remote system that closes each connection at once must not
/// reset the delay.
const STABLE_MS: u64 = 10_000;

/// State of the service. `C` is the type of a connection.
#[derive(Debug)]
pub(crate) struct Gateway<C> {
    config: Config,
    link: Link,
    /// A connection that has ended is kept until [`Gateway::take_ended`].
    connection: Option<C>,
    /// Failures since the last connection that was stable.
    failures: u32,
    last_failure: String,
    /// The messages that the remote system has sent.
    pub(crate) messages: RecentMessages,
}

/// State of the connection, with the time that is scheduled.
#[derive(Debug, Clone, Copy)]
enum Link {
    /// The connection is open.
    Open { since: u64, heartbeat_at: u64 },
    /// There is no open connection.
    Down { retry_at: u64 },
}

impl<C> Gateway<C> {
    /// Creates the state without a connection. An attempt to connect is due at once.
    pub(crate) fn new(config: Config, now: u64) -> Self {
        Self {
            config,
            link: Link::Down { retry_at: now },
            connection: None,
            failures: 0,
            last_failure: "none".to_owned(),
            messages: RecentMessages::default(),
        }
    }

    /// Returns the URL of the chat.
    pub(crate) fn url(&self) -> &str {
        &self.config.url
    }

    /// `true` if the connection is open, as far as the last turn or call has found out.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// Returns the connection to send to, which is open.
    pub(crate) fn open_connection(&self) -> Option<&C> {
        self.connection.as_ref().filter(|_| self.is_connected())
    }

    /// Returns the connection to receive from. It may have ended, and messages may still wait.
    pub(crate) fn connection(&self) -> Option<&C> {
        self.connection.as_ref()
    }

    /// Removes the connection if it has ended.
    pub(crate) fn take_ended(&mut self) -> Option<C> {
        if self.is_connected() { None } else { self.connection.take() }
    }

    /// `true` if a heartbeat is due.
    pub(crate) fn is_heartbeat_due(&self, now: u64) -> bool {
        matches!(self.link, Link::Open { heartbeat_at, .. } if heartbeat_at <= now)
    }

    /// Schedules the next heartbeat.
    pub(crate) fn schedule_heartbeat(&mut self, now: u64) {
        if let Link::Open { heartbeat_at, .. } = &mut self.link {
            *heartbeat_at = now.saturating_add(self.config.heartbeat_ms);
        }
    }

    /// `true` if an attempt to connect is due.
    pub(crate) fn is_attempt_due(&self, now: u64) -> bool {
        matches!(self.link, Link::Down { retry_at } if retry_at <= now)
    }

    /// Records that an attempt to connect succeeded.
    pub(crate) fn opened(&mut self, connection: C, now: u64) {
        self.connection = Some(connection);
        self.link = Link::Open { since: now, heartbeat_at: now.saturating_add(self.config.heartbeat_ms) };
    }

    /// Records that an attempt to connect failed, and schedules the next one.
    pub(crate) fn not_opened(&mut self, failure: &Failure, now: u64) {
        let backoff = (FIRST_BACKOFF_MS << self.failures.min(MAX_DOUBLINGS)).min(MAX_BACKOFF_MS);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = describe(failure);
        let delay = match failure {
            Failure::Denied(_) | Failure::InvalidUrl(_) => MAX_BACKOFF_MS,
            Failure::RateLimited(limit) => backoff.max(limit.retry_after_ms.into()),
            _ => backoff,
        };
        self.link = Link::Down { retry_at: now.saturating_add(delay) };
    }

    /// Records a failure of the open connection, and schedules an attempt to connect if the connection has ended. Returns
    /// `true` in this case.
    pub(crate) fn lost(&mut self, failure: &Failure, now: u64) -> bool {
        let Link::Open { since, .. } = self.link else { return false };
        if !ends_connection(failure) {
            return false;
        }
        if now.saturating_sub(since) >= STABLE_MS {
            self.failures = 0;
        }
        self.not_opened(failure, now);
        true
    }

    /// Returns the next turn: at the time that is scheduled, and while the connection is open, when a message arrives.
    pub(crate) fn next_turn(&self, now: u64) -> NextTurn {
        let (Link::Open { heartbeat_at: at, .. } | Link::Down { retry_at: at }) = self.link;
        let after = u32::try_from(at.saturating_sub(now)).unwrap_or(u32::MAX);
        NextTurn { after_ms: Some(after), when_readable: self.is_connected() }
    }

    /// Returns the state for the operator.
    pub(crate) fn state(&self) -> State {
        let received = self.messages.received();
        let detail = match self.link {
            Link::Open { .. } => format!("connected; messages received: {received}"),
            Link::Down { .. } => {
                format!("not connected; messages received: {received}; last failure: {}", self.last_failure)
            }
        };
        State { ready: self.is_connected(), detail }
    }
}

/// `true` if the connection has ended with the failure, as the contract says.
fn ends_connection(failure: &Failure) -> bool {
    let is_open = matches!(failure, Failure::RateLimited(_) | Failure::TooLarge(SizeLimit { side: Side::Sent, .. }));
    !is_open
}

/// Returns a short description of a failure, without text of the remote system.
pub(crate) fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Denied(denial) => format!("denied by the host ({})", denial.code),
        Failure::InvalidUrl(reason) => format!("invalid URL: {reason}"),
        Failure::Refused(status) => format!("handshake answered with status {status}"),
        Failure::TooManyConnections(allowed) => format!("too many connections ({allowed} allowed)"),
        Failure::TooLarge(limit) => format!("message too large ({} bytes allowed)", limit.bytes),
        Failure::RateLimited(limit) => format!("rate limited for {} ms", limit.retry_after_ms),
        Failure::TimedOut => "timed out".to_owned(),
        Failure::Cancelled => "cancelled".to_owned(),
        Failure::Closed(closed) => match closed.code {
            Some(code) => format!("closed with code {code}"),
            None => "closed without a code".to_owned(),
        },
        Failure::Unreachable(part) => {
            let part = match part {
                Unreachable::Dns => "name not resolved",
                Unreachable::Connect => "no connection established",
                Unreachable::Tls => "TLS failed",
                Unreachable::Reset => "connection reset",
                Unreachable::Protocol => "protocol violated",
            };
            part.to_owned()
        }
        Failure::InvalidClose => "invalid close code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::yoi::host::types::{Denial, RateLimit};
    use crate::glue::yoi::host::websocket::Closed;

    const CLOSED: Failure = Failure::Closed(Closed { code: None, reason: String::new() });

    fn gateway() -> Gateway<u32> {
        Gateway::new(Config { url: "wss://a.example/gateway".to_owned(), heartbeat_ms: 30_000 }, 0)
    }

    fn next(gateway: &Gateway<u32>, now: u64) -> (Option<u32>, bool) {
        let NextTurn { after_ms, when_readable } = gateway.next_turn(now);
        (after_ms, when_readable)
    }

    #[test]
    fn first_attempt_is_due_at_once() {
        let gateway = gateway();
        assert!(gateway.is_attempt_due(0) && !gateway.is_heartbeat_due(u64::MAX));
        assert_eq!((next(&gateway, 0), gateway.url()), ((Some(0), false), "wss://a.example/gateway"));
    }

    #[test]
    fn delay_of_attempts_doubles_to_one_minute() {
        let (mut gateway, mut now) = (gateway(), 5);
        for delay in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            gateway.not_opened(&Failure::TimedOut, now);
            assert_eq!(next(&gateway, now), (Some(delay * 1000), false));
            assert!(!gateway.is_attempt_due(now + u64::from(delay) * 1000 - 1));
            now += u64::from(delay) * 1000;
            assert!(gateway.is_attempt_due(now));
        }
        gateway.failures = u32::MAX;
        gateway.not_opened(&Failure::TimedOut, now);
        assert_eq!(next(&gateway, now), (Some(60_000), false));
    }

    #[test]
    fn refusal_of_the_host_is_not_tried_again_within_a_minute() {
        let denial = Denial { code: "not_granted".to_owned(), message: String::new() };
        for failure in [Failure::Denied(denial), Failure::InvalidUrl(String::new())] {
            let mut gateway = gateway();
            gateway.not_opened(&failure, 0);
            assert_eq!(next(&gateway, 0), (Some(60_000), false));
        }
        for (retry_after_ms, delay) in [(90_000, 90_000), (10, 1000)] {
            let mut gateway = gateway();
            gateway.not_opened(&Failure::RateLimited(RateLimit { retry_after_ms }), 0);
            assert_eq!(next(&gateway, 0), (Some(delay), false));
        }
    }

    #[test]
    fn only_a_stable_connection_resets_the_delay() {
        let mut gateway = gateway();
        gateway.not_opened(&Failure::TimedOut, 0);
        gateway.opened(1, 1_000);
        assert!(gateway.lost(&CLOSED, 10_999));
        assert_eq!(next(&gateway, 10_999), (Some(2_000), false));
        gateway.opened(2, 20_000);
        assert!(gateway.lost(&CLOSED, 30_000));
        assert_eq!(next(&gateway, 30_000), (Some(1_000), false));
    }

    #[test]
    fn heartbeat_is_due_after_each_interval() {
        let mut gateway = gateway();
        gateway.opened(1, 1_000);
        assert_eq!(next(&gateway, 1_500), (Some(29_500), true));
        assert!(!gateway.is_heartbeat_due(30_999) && gateway.is_heartbeat_due(31_000));
        assert!(!gateway.is_attempt_due(u64::MAX));
        gateway.schedule_heartbeat(31_200);
        assert_eq!(next(&gateway, 31_200), (Some(30_000), true));
        assert_eq!(next(&gateway, 90_000), (Some(0), true));
    }

    #[test]
    fn connection_that_has_ended_is_kept_until_it_is_taken() {
        let mut gateway = gateway();
        gateway.opened(7, 0);
        assert_eq!(gateway.take_ended(), None);
        assert_eq!(gateway.open_connection(), Some(&7));
        assert!(gateway.lost(&CLOSED, 100));
        // The second failure of the same connection changes nothing.
        assert!(!gateway.lost(&CLOSED, 900));
        assert_eq!(next(&gateway, 100), (Some(1_000), false));
        assert_eq!((gateway.open_connection(), gateway.connection()), (None, Some(&7)));
        assert_eq!((gateway.take_ended(), gateway.connection()), (Some(7), None));
    }

    #[test]
    fn connection_stays_open_after_a_message_that_was_not_sent() {
        let too_large = |side| Failure::TooLarge(SizeLimit { side, bytes: 1 });
        let mut gateway = gateway();
        gateway.opened(1, 0);
        assert!(!gateway.lost(&Failure::RateLimited(RateLimit { retry_after_ms: 1 }), 5));
        assert!(!gateway.lost(&too_large(Side::Sent), 5));
        assert!(gateway.is_connected());
        assert!(gateway.lost(&too_large(Side::Received), 5));
        assert!(!gateway.is_connected());
    }

    #[test]
    fn state_names_the_last_failure() {
        let mut gateway = gateway();
        gateway.messages.push("hello".to_owned());
        gateway.opened(1, 0);
        let state = gateway.state();
        assert_eq!((state.ready, state.detail.as_str()), (true, "connected; messages received: 1"));
        gateway.lost(&Failure::Closed(Closed { code: Some(1001), reason: "restart".to_owned() }), 1);
        let state = gateway.state();
        let detail = "not connected; messages received: 1; last failure: closed with code 1001";
        assert_eq!((state.ready, state.detail.as_str()), (false, detail));
    }
}
