//! Limits on the network access of plugins.

use runtime_api::limit::InvalidLimit;
use serde::{Deserialize, Serialize};

/// Limits on requests and WebSocket connections. Times are in milliseconds, sizes in bytes.
///
/// A limit of an instance is for one tool call, or for one service as long as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressLimits {
    /// Time to resolve a name, connect, and complete the TLS handshake.
    pub connect_ms: u64,
    /// Time from the sent request to the head of the response.
    pub first_byte_ms: u64,
    /// Time for a whole exchange. A plugin can ask for less.
    pub exchange_ms: u64,
    /// Maximum bytes of the body of a request.
    pub request_bytes: u64,
    /// Maximum bytes of the body of a response.
    pub response_bytes: u64,
    /// Maximum number of header fields of a response.
    pub response_headers: u32,
    /// Maximum bytes of the names and values of all headers of a response.
    pub response_header_bytes: u32,
    /// Concurrent requests of a workspace.
    pub workspace_requests: u32,
    /// Requests and handshakes that an instance may begin in a second.
    pub instance_requests_per_second: u32,
    /// Requests and handshakes that a workspace may begin in a second.
    pub workspace_requests_per_second: u32,
    /// Time to open a WebSocket connection. A plugin can ask for less.
    pub open_ms: u64,
    /// Time without a message in either direction, after which a connection is closed. Pings do not count.
    pub idle_ms: u64,
    /// Time after which a connection is closed in any case.
    pub lifetime_ms: u64,
    /// Time for the remote system to accept a message, and to answer a close.
    pub send_ms: u64,
    /// Longest time that one `receive` waits.
    pub receive_ms: u64,
    /// Open connections of a workspace. An instance has the limit `connections` of the sandbox.
    pub workspace_connections: u32,
    /// Maximum bytes of one message, also if it arrives in fragments.
    pub message_bytes: u32,
    /// Maximum bytes of one frame.
    pub frame_bytes: u32,
    /// Messages that wait until the plugin receives them. Reading pauses while so many wait.
    pub queued_messages: u32,
    /// Messages in a second, in each direction. Received pings and pongs count too.
    pub messages_per_second: u32,
    /// Bytes in a second: of sent messages, where a longer message counts as exactly this many bytes, and of everything that
    /// is received.
    pub bytes_per_second: u32,
}

impl EgressLimits {
    /// Returns the first limit with which every exchange would fail.
    pub fn invalid(&self) -> Option<InvalidLimit> {
        InvalidLimit::below([
            ("connect_ms", self.connect_ms, 1),
            ("first_byte_ms", self.first_byte_ms, 1),
            ("exchange_ms", self.exchange_ms, 1),
            ("response_headers", self.response_headers.into(), 1),
            ("response_header_bytes", self.response_header_bytes.into(), 8192),
            ("instance_requests_per_second", self.instance_requests_per_second.into(), 1),
            ("workspace_requests_per_second", self.workspace_requests_per_second.into(), 1),
            ("open_ms", self.open_ms, 1),
            ("idle_ms", self.idle_ms, 1),
            ("lifetime_ms", self.lifetime_ms, 1),
            ("send_ms", self.send_ms, 1),
            ("message_bytes", self.message_bytes.into(), 1),
            ("frame_bytes", self.frame_bytes.into(), 1),
            ("queued_messages", self.queued_messages.into(), 1),
            ("messages_per_second", self.messages_per_second.into(), 1),
            ("bytes_per_second", self.bytes_per_second.into(), 1),
        ])
    }
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connect_ms: 5_000,
            first_byte_ms: 15_000,
            exchange_ms: 30_000,
            request_bytes: 1 << 20,
            response_bytes: 4 << 20,
            response_headers: 100,
            response_header_bytes: 32 << 10,
            workspace_requests: 64,
            instance_requests_per_second: 50,
            workspace_requests_per_second: 200,
            open_ms: 10_000,
            idle_ms: 300_000,
            lifetime_ms: 24 * 60 * 60 * 1000,
            send_ms: 10_000,
            receive_ms: 30_000,
            workspace_connections: 64,
            message_bytes: 1 << 20,
            frame_bytes: 1 << 20,
            queued_messages: 32,
            messages_per_second: 100,
            bytes_per_second: 2 << 20,
        }
    }
}

/// Converts a limit to `usize`.
pub(crate) fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
