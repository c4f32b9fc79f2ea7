//! History of a worker: its tool calls, and the events that its services received, in order.
//!
//! A history is append-only and has a limit. When the limit is reached, calls and events are refused; entries are never
//! removed one by one. A history is deleted as a whole, when its worker is removed.

use bundles::{Digest, IngressName, PluginName, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ingress::EventId;

/// An entry of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    /// Number of the entry, from 1. A call and an event take two numbers each, one for the begin and one for the end. If
    /// the second one of a call is missing, the process ended or the caller went away before the call ended. If the second
    /// one of an event is missing, the event was not delivered yet.
    pub number: u64,
    /// Time of the entry.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// Content of the entry.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// Content of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum EntryKind {
    /// A tool was called. The entry is durable before the tool begins.
    CallBegan {
        /// Name of the tool.
        tool: ToolName,
        /// Input of the call.
        input: Payload,
    },
    /// The call succeeded.
    CallEnded {
        /// Number of the entry that began the call.
        began: u64,
        /// Output of the call.
        output: Payload,
    },
    /// The call failed.
    CallFailed {
        /// Number of the entry that began the call.
        began: u64,
        /// Error code.
        code: String,
        /// Description of the error.
        message: String,
    },
    /// An event from outside was accepted. The entry is durable before the sender gets its response.
    EventReceived {
        /// Name of the ingress.
        ingress: IngressName,
        /// Plugin whose service receives the event.
        plugin: PluginName,
        /// Id of the event, from its sender.
        id: EventId,
        /// Content of the event.
        payload: Payload,
    },
    /// A service handled an event.
    EventHandled {
        /// Number of the entry of the event.
        received: u64,
        /// Number of deliveries.
        attempts: u32,
    },
    /// No service handled an event. It is not delivered again.
    EventFailed {
        /// Number of the entry of the event.
        received: u64,
        /// Number of deliveries.
        attempts: u32,
        /// Code of the last error.
        code: String,
        /// Description of the last error.
        message: String,
    },
}

/// Input or output of a call, or content of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The JSON value itself, if it is small.
    Json(Value),
    /// A blob of the workspace that holds the JSON value.
    Blob {
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        bytes: u64,
    },
}
