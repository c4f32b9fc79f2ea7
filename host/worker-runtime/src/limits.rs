//! What a Runtime allows each of its tenants, so that none takes what belongs to the others.

use runtime_api::limit::InvalidLimit;
use serde::{Deserialize, Serialize};

/// Bounds of a Runtime. Errors name the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeLimits {
    /// Bytes that one workspace may have stored: manifests, blobs, records and histories.
    pub stored_bytes: u64,
    /// Bundles of one workspace.
    pub bundles: u64,
    /// Workers of one workspace, stopped ones included: what ran is kept with its history until it is removed.
    pub workers: u64,
    /// Entries in one worker's history. At the bound calls are refused; nothing is taken out.
    pub history_entries: u64,
    /// Bytes of the input of one call, and of its output.
    pub call_bytes: u64,
    /// Time that one call may take, in milliseconds.
    pub call_ms: u64,
    /// Work that validating one input or output against its schema may take: the applications of subschemas to values,
    /// and the bytes that are compared and matched. A schema of 2 KB can ask for 2^40 applications. The default takes
    /// about a second of one processor at the most.
    pub schema_work: u64,
    /// Resolutions and calls of one workspace that run at a time. One keeps neighbours whole: with
    /// more, a tenant that computes takes every processor.
    pub running_calls: u32,
    /// Requests of one workspace that wait for one that runs.
    pub queued_calls: u32,
    /// Resolutions and calls of all workspaces that run at a time.
    pub running_calls_of_all: u32,
    /// Threads that compute, of all workspaces together: resolvers, the verification of bundles, the schemas
    /// of tools. Their priority is lower than that of the threads that answer; one workspace has one
    /// computation at a time that somebody waits for. Never more than 256. Half as many besides, of a lower
    /// priority still, are for what has computed for 100 ms.
    pub computing_threads: u32,
    /// Bytes of one workspace that are on their way in at a time.
    pub inflight_bytes: u64,
    /// Events of one workspace that are kept. Who was away for longer is told that there is a gap.
    pub kept_events: u64,
    /// Seconds for which a blob that nothing uses is kept: the time between putting blobs and putting
    /// the manifest that names them.
    pub unused_blob_seconds: u64,
    /// Resolvers that may be named at a time; those that are revoked do not count.
    pub resolvers: u64,
    /// Values in the input of one call: each takes many times the memory of its text.
    pub call_values: u64,
    /// Bundles that are kept open in memory, of all workspaces together.
    pub open_bundles: u64,
    /// Bytes of blobs that came in a short while ago and are kept in memory, of all workspaces together: the bundle
    /// that names them is then verified without reading and scanning them again.
    pub recent_blob_bytes: u64,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self {
            stored_bytes: 4 << 30,
            bundles: 20_000,
            workers: 100_000,
            history_entries: 10_000,
            call_bytes: 1 << 20,
            call_ms: 120_000,
            schema_work: 10_000_000,
            running_calls: 1,
            queued_calls: 32,
            running_calls_of_all: 16,
            computing_threads: 4,
            inflight_bytes: 128 << 20,
            kept_events: 10_000,
            unused_blob_seconds: 24 * 60 * 60,
            resolvers: 64,
            call_values: 65_536,
            open_bundles: 64,
            recent_blob_bytes: 32 << 20,
        }
    }
}

impl RuntimeLimits {
    /// Returns the first limit with which no call would ever be done. A zero that means "none", of bundles, workers,
    /// resolvers or waiting requests, or "at once", is valid.
    pub fn invalid(&self) -> Option<InvalidLimit> {
        let limits = [
            ("stored_bytes", self.stored_bytes),
            ("history_entries", self.history_entries),
            ("call_bytes", self.call_bytes),
            ("call_values", self.call_values),
            ("call_ms", self.call_ms),
            ("schema_work", self.schema_work),
            ("running_calls", self.running_calls.into()),
            ("running_calls_of_all", self.running_calls_of_all.into()),
            ("computing_threads", self.computing_threads.into()),
            ("inflight_bytes", self.inflight_bytes),
            ("kept_events", self.kept_events),
            ("open_bundles", self.open_bundles),
        ];
        InvalidLimit::below(limits.map(|(name, is)| (name, is, 1)))
    }
}
