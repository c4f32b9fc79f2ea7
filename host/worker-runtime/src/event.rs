//! What happened in a workspace, in the order in which it happened. An event tells names, digests and
//! numbers; content is fetched by who may.

use bundles::{Digest, Revision, ToolName};
use serde::{Deserialize, Serialize};

use crate::worker::{StopReason, WorkerId};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Event {
    /// Counts from 1 in its workspace, without gaps, also across restarts.
    pub number: u64,
    /// When.
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A bundle is there.
    BundleStored {
        /// Its digest.
        bundle: Digest,
        /// Its revision.
        revision: Revision,
    },
    /// A bundle is there no more.
    BundleRemoved {
        /// Its digest.
        bundle: Digest,
    },
    /// A bundle must not be used any more.
    BundleRevoked {
        /// Its digest.
        bundle: Digest,
    },
    /// A worker is there.
    WorkerCreated {
        /// Its id.
        worker: WorkerId,
        /// Its bundle.
        bundle: Digest,
        /// Whether the bundle is older than the newest one, which somebody asked for.
        older: bool,
    },
    /// A worker takes no more calls.
    WorkerStopped {
        /// Its id.
        worker: WorkerId,
        /// Why.
        reason: StopReason,
    },
    /// A tool call has ended.
    CallEnded {
        /// The worker.
        worker: WorkerId,
        /// The number of the call's end in the worker's history.
        entry: u64,
        /// The tool.
        tool: ToolName,
        /// `ok`, or the code of the error.
        outcome: String,
    },
    /// The host's config was changed, and something of it concerns this workspace.
    ConfigChanged {
        /// The digest of what is granted now.
        policy: Digest,
    },
}
