//! Operations that a Backend passes to a Runtime which it cannot reach, and their answers.
//!
//! The Runtime polls: it takes the next operations, performs them, and sends their answers. Operations and answers are parsed
//! one by one, so one of a newer version affects no other.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bundles::{Digest, ToolName, WorkspaceId};
use error_code::Code;
use runtime_api::call::CallResult;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use runtime_api::event::{Cursor, PositionedItem};
use runtime_api::history::Entry;
use runtime_api::runtime::RuntimeStatus;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, WorkerId, WorkerSummary};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::refusal::RefusalDetails;

/// Maximum size of the body of a poll: one answer, and the ids of the operations in progress.
pub const MAX_POLL_BYTES: usize = 8 << 20;

/// Maximum number of operations of one Runtime that are in progress.
pub const MAX_RUNNING_OPERATIONS: usize = 16;

/// Maximum number of ids in the body of a poll.
pub const MAX_HELD_OPERATIONS: usize = 256;

/// Defines an id of 16 lower-case hexadecimal digits.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $words:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u64);

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if text.len() != 16 || !text.bytes().all(is_digit) {
                    return Err(InvalidId);
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                bundles::openapi::text($words, Some("^[0-9a-f]{16}$"), Some(16))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

/// Error returned for a text that is not an id of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid id: expected 16 lower-case hexadecimal digits")]
pub struct InvalidId;

id! {
    /// Id of an operation.
    OperationId, "id of an operation"
}

id! {
    /// Id of a polling process. Each start of a Runtime takes another one.
    PollerId, "id of a polling process"
}

/// Request of a Runtime for operations, with an answer to an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PollRequest {
    /// The polling process.
    pub poller: PollerId,
    /// `true` to wait for operations. `false` to send an answer only.
    pub wait: bool,
    /// Operations that the Runtime has taken and whose answers the Backend has not acknowledged. An operation that is missing
    /// here did not arrive, and is sent again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub held: BTreeSet<OperationId>,
    /// An answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub answer: Option<SentAnswer>,
}

/// Answer to an operation, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SentAnswer {
    /// Id of the operation.
    pub operation: OperationId,
    /// An [`Outcome`].
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub outcome: Value,
}

/// Operations for a Runtime.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PollResponse {
    /// The operations, at most [`MAX_RUNNING_OPERATIONS`].
    pub operations: Vec<SentOperation>,
}

/// An operation, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentOperation {
    /// Id of the operation.
    pub id: OperationId,
    /// An [`Operation`].
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub operation: Value,
}

/// An operation on a Runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Return the status.
    Status {},
    /// Return the facts for a workspace.
    Facts {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the facts.
        digest: Digest,
    },
    /// Store a bundle.
    PutManifest {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the manifest.
        digest: Digest,
        /// The manifest, or the envelope that signs it.
        text: String,
        /// `true` if the text is an envelope.
        signed: bool,
    },
    /// Return whether the workspace has a blob.
    HasBlob {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the blob.
        digest: Digest,
    },
    /// Fetch a blob from the Backend and store it.
    PutBlob {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        bytes: u64,
    },
    /// Acknowledge the bundle that the workspace should use.
    SetDesired {
        /// The workspace.
        workspace: WorkspaceId,
        /// The decision.
        desired: DesiredBundle,
    },
    /// Create a worker.
    CreateWorker {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// The request.
        request: CreateWorkerRequest,
    },
    /// Return a worker.
    Worker {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
    },
    /// Return the specification of a worker.
    WorkerSpec {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
    },
    /// Return a page of workers.
    Workers {
        /// The workspace.
        workspace: WorkspaceId,
        /// The page begins after this worker.
        after: Option<WorkerId>,
        /// Maximum number of workers.
        limit: u16,
    },
    /// Call a tool.
    CallTool {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// Name of the tool.
        tool: ToolName,
        /// The call as JSON text. The Runtime parses it, like the body of a request.
        call: String,
    },
    /// Return a page of a worker's history.
    History {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// The page begins after this entry.
        after: u64,
        /// Maximum number of entries.
        limit: u16,
    },
    /// Return the services of a worker.
    WorkerServices {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
    },
    /// Return the record of a worker's resolution.
    Record {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the record.
        digest: Digest,
    },
    /// Return the events that exist now.
    Events {
        /// The workspace.
        workspace: WorkspaceId,
        /// Only events after this position are returned.
        after: Cursor,
        /// Maximum number of events.
        limit: u16,
    },
    /// Stop a worker.
    StopWorker {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
    },
    /// Remove a stopped worker.
    RemoveWorker {
        /// The workspace.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
    },
}

impl Operation {
    /// Returns the workspace. `None` for the status, which concerns all workspaces.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Status {} => None,
            Self::Facts { workspace, .. }
            | Self::PutManifest { workspace, .. }
            | Self::HasBlob { workspace, .. }
            | Self::PutBlob { workspace, .. }
            | Self::SetDesired { workspace, .. }
            | Self::CreateWorker { workspace, .. }
            | Self::Worker { workspace, .. }
            | Self::WorkerSpec { workspace, .. }
            | Self::Workers { workspace, .. }
            | Self::CallTool { workspace, .. }
            | Self::History { workspace, .. }
            | Self::WorkerServices { workspace, .. }
            | Self::Record { workspace, .. }
            | Self::Events { workspace, .. }
            | Self::StopWorker { workspace, .. }
            | Self::RemoveWorker { workspace, .. } => Some(workspace),
        }
    }
}

/// Outcome of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The operation succeeded.
    Answer(Box<Answer>),
    /// The Runtime refused the operation.
    Refused {
        /// Error code.
        code: Code,
        /// Generation that the Runtime acknowledged, if it is higher than that of a decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledged: Option<Generation>,
        /// Further details.
        #[serde(default)]
        details: Box<RefusalDetails>,
    },
    /// The Runtime does not know the operation.
    Unsupported,
}

/// Answer of a Runtime to an operation that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The operation has no result.
    Done,
    /// The status.
    Status(RuntimeStatus),
    /// Facts, as canonical JSON.
    Facts(String),
    /// Blobs of a bundle that are missing. Empty if the bundle was stored.
    Missing(BTreeSet<Digest>),
    /// `true` if the workspace has the blob.
    HasBlob(bool),
    /// The acknowledged decision.
    Acknowledged(AcknowledgedBundle),
    /// A worker that was created, or found.
    Created {
        /// The worker.
        worker: WorkerSummary,
        /// `true` if the request created it.
        new: bool,
    },
    /// A worker.
    Worker(WorkerSummary),
    /// The specification of a worker.
    Spec(Value),
    /// A page of workers.
    Workers {
        /// Workers of the page.
        workers: Vec<WorkerSummary>,
        /// `true` if workers come after the last one.
        more: bool,
    },
    /// Result of a call.
    Called(CallResult),
    /// A page of a history.
    History {
        /// Entries of the page.
        entries: Vec<Entry>,
        /// `true` if entries come after the last one.
        more: bool,
    },
    /// Services of a worker.
    Services(Vec<ServiceSummary>),
    /// A record, as canonical JSON.
    Record(String),
    /// Events with their positions.
    Events(Vec<PositionedItem>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_with_an_unknown_field_or_kind_is_refused() {
        let read = |text: &str| serde_json::from_str::<Operation>(text);
        let good = r#"{"operation":"worker","workspace":"acme","worker":"w"}"#;
        let operation = read(good).expect("an operation");
        assert_eq!(serde_json::to_string(&operation).expect("JSON"), good);
        assert_eq!(operation.workspace().map(WorkspaceId::as_str), Some("acme"));
        assert_eq!(read(r#"{"operation":"status"}"#).expect("an operation"), Operation::Status {});
        for bad in [
            r#"{"operation":"status","more":1}"#,
            r#"{"operation":"worker","workspace":"acme","worker":"w","more":1}"#,
            r#"{"operation":"worker","workspace":"../x","worker":"w"}"#,
            r#"{"operation":"format_disk"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!("00000000000000ff".parse(), Ok(OperationId::from(255)));
        for bad in ["", "ff", "00000000000000FF", "+0000000000000ff"] {
            assert_eq!(bad.parse::<PollerId>(), Err(InvalidId), "{bad}");
        }
    }
}
