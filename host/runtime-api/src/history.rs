//! History of a worker: its tool calls, in order.
//!
//! A history is append-only and has a limit. When the limit is reached, calls are refused; entries are never removed one
//! by one. A history is deleted as a whole, when its worker is removed.

use bundles::{Digest, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An entry of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    /// Number of the entry, from 1. A call takes two numbers, one for its begin and one for its end. If the second one is
    /// missing, the process ended or the caller went away before the call ended.
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
}

/// Input or output of a call.
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
