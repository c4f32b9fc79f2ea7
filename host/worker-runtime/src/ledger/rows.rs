//! Contents of the rows. A row that this program cannot parse counts as damaged, and never as a default value.

use bundles::{Digest, Revision};
use runtime_api::event::{Cursor, Epoch, Event};
use runtime_api::worker::{CreateWorkerRequest, FailedResolutionSummary, StopReason};
use serde::{Deserialize, Serialize};

use crate::limits::RuntimeLimits;

/// A blob of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlobRow {
    pub(crate) bytes: u64,
    pub(crate) at: jiff::Timestamp,
}

/// A row without content. Its key is the whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {}

/// A bundle of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundleRow {
    pub(crate) revision: Revision,
    pub(crate) bytes: u64,
    pub(crate) blobs: u32,
    pub(crate) stored_at: jiff::Timestamp,
    pub(crate) signed_by: Vec<String>,
    /// The envelope with the signatures, a blob.
    pub(crate) envelope: Option<Digest>,
    pub(crate) revoked_at: Option<jiff::Timestamp>,
}

/// The failed resolutions of a workspace that are recorded, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailureRow {
    pub(crate) failures: Vec<FailedResolutionSummary>,
}

/// A revision and the bundle that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevisionRow {
    pub(crate) revision: Revision,
    pub(crate) bundle: Digest,
}

/// Storage usage of a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) bundles: u64,
    pub(crate) workers: u64,
}

impl Usage {
    pub(crate) fn bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(crate) fn plus(self, more: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more.bytes),
            bundles: self.bundles.saturating_add(more.bundles),
            workers: self.workers.saturating_add(more.workers),
        }
    }

    pub(crate) fn minus(self, less: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(less.bytes),
            bundles: self.bundles.saturating_sub(less.bundles),
            workers: self.workers.saturating_sub(less.workers),
        }
    }

    /// Returns the first limit that the new usage exceeds and that this change exceeds further. A workspace above a
    /// limit that was lowered can still reduce its usage.
    pub(crate) fn over(&self, before: &Self, limits: &RuntimeLimits) -> Option<(&'static str, u64)> {
        let passed = |now: u64, then: u64, limit: u64, name| (now > limit && now > then).then_some((name, limit));
        passed(self.bytes, before.bytes, limits.stored_bytes, "stored_bytes")
            .or_else(|| passed(self.bundles, before.bundles, limits.bundles, "bundles"))
            .or_else(|| passed(self.workers, before.workers, limits.workers, "workers"))
    }
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerRow {
    pub(crate) request: CreateWorkerRequest,
    pub(crate) bundle: Digest,
    pub(crate) resolver: Digest,
    pub(crate) record: Digest,
    pub(crate) policy: Digest,
    pub(crate) created_at: jiff::Timestamp,
    /// Entries of its history, those included whose call goes on.
    pub(crate) entries: u64,
    /// How often each tool was called.
    pub(crate) calls: std::collections::BTreeMap<bundles::ToolName, u32>,
    pub(crate) state: StoredState,
}

/// State of a worker as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoredState {
    Running,
    Stopped { reason: StopReason, at: jiff::Timestamp },
}

/// An event that a worker received under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceivedRow {
    /// Number of the entry in the worker's history.
    pub(crate) number: u64,
}

/// An event that waits for its delivery. Its content is in the worker's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueuedRow {
    /// Deliveries that failed.
    pub(crate) attempts: u32,
}

/// A resolver that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolverRow {
    pub(crate) bytes: u64,
    pub(crate) at: jiff::Timestamp,
    pub(crate) revoked: Option<Revocation>,
}

/// A record with which resolvers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorpusRow {
    pub(crate) record: Digest,
}

/// A comparison of a resolver with the one that was active then. Its report is a blob of the Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComparisonRow {
    pub(crate) before: Digest,
    /// Time at which the records were listed.
    pub(crate) at: jiff::Timestamp,
    pub(crate) report: Digest,
    pub(crate) report_bytes: u64,
}

/// Revocation of a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    pub(crate) at: jiff::Timestamp,
}

/// An event, with the epoch of the Runtime that wrote it. Events of earlier versions have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<Epoch>,
    #[serde(flatten)]
    pub(crate) event: Event,
}

impl EventRow {
    /// Returns the position of a subscriber that has seen this event.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor::new(self.epoch, self.event.number)
    }
}
