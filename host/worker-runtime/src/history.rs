//! What a worker did, in order: append-only and bounded. At the bound calls are refused; nothing is
//! taken out. A history is deleted as a whole, when its worker is removed.

use bundles::{Digest, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Entry {
    /// Counts from 1. A call takes two numbers, one for its beginning and one for its end; where the
    /// second is missing, the process ended or the caller went away before the call did.
    pub number: u64,
    /// When.
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum EntryKind {
    /// A tool was called. This is durable before the tool begins.
    CallBegan {
        /// The tool.
        tool: ToolName,
        /// What it was given.
        input: Content,
    },
    /// The call ended well.
    CallEnded {
        /// The number of its beginning.
        began: u64,
        /// What it answered.
        output: Content,
    },
    /// The call ended otherwise.
    CallFailed {
        /// The number of its beginning.
        began: u64,
        /// The stable machine word.
        code: String,
        /// What is wrong, in a sentence.
        message: String,
    },
}

/// What went in or came out of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Itself, where it is small.
    Json(Value),
    /// A blob of the workspace, which is JSON.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its bytes.
        bytes: u64,
    },
}
