//! Limits of a Runtime on each workspace and on all of them together. They protect workspaces from each other.

use runtime_api::limit::InvalidLimit;
use serde::{Deserialize, Serialize};

/// Limits of a Runtime. Errors name the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeLimits {
    /// Stored bytes of one workspace: manifests, blobs, records and histories.
    pub stored_bytes: u64,
    /// Stored bundles of one workspace.
    pub bundles: u64,
    /// Workers of one workspace. Stopped workers count until they are removed with their histories.
    pub workers: u64,
    /// Entries in one worker's history. At the limit, calls and events are refused; old entries are not deleted.
    pub history_entries: u64,
    /// Bytes of the input of one call, of its output, and of one event.
    pub call_bytes: u64,
    /// Duration of one call, and of one turn of a service, in milliseconds.
    pub call_ms: u64,
    /// Work of validating one input or output against its schema. The unit is one application of a subschema to a
    /// value, or one byte that is compared or matched. A schema of 2 KB can cause 2^40 applications. The default takes
    /// at most about one second of processor time.
    pub schema_work: u64,
    /// Concurrent resolutions and calls of one workspace. With more than one, a single workspace that computes can
    /// occupy every processor.
    pub running_calls: u32,
    /// Requests of one workspace that wait for a running one to end.
    pub queued_calls: u32,
    /// Concurrent resolutions and calls of all workspaces together.
    pub running_calls_of_all: u32,
    /// Threads for computations of all workspaces: resolvers, verification of bundles, validation against tool schemas.
    /// At most 256. Their priority is lower than that of the threads that serve requests. Half as many additional
    /// threads, with a lower priority still, run computations that have taken 100 ms. One workspace has one requested
    /// computation at a time.
    pub computing_threads: u32,
    /// Bytes of the uploads and downloads of one workspace that are in progress.
    pub inflight_bytes: u64,
    /// Retained events of one workspace. A subscriber that missed deleted events receives a gap.
    pub kept_events: u64,
    /// Seconds for which an unused blob is kept. It limits the time between putting blobs and putting the manifest that
    /// names them.
    pub unused_blob_seconds: u64,
    /// Admitted resolvers. Active, retired and revoked resolvers do not count.
    pub resolvers: u64,
    /// Recorded resolutions of one workspace that failed, that the policy denied, or that showed a change after an activation. A
    /// new one replaces the oldest one.
    pub failed_resolutions: u64,
    /// Recorded resolutions of one workspace, with which resolvers are compared: a sample of all requests. 0 records none.
    pub resolution_records: u64,
    /// Seconds for which a comparison allows the activation of a resolver.
    pub comparison_seconds: u64,
    /// Highest cost of a resolver that is activated without acceptance, in percent of the cost of the active one.
    pub comparison_cost_percent: u64,
    /// Percentage of new resolutions that are repeated with the previous resolver after an activation.
    pub shadow_percent: u32,
    /// JSON values in one call or event. A parsed value takes many times the memory of its text.
    pub call_values: u64,
    /// Open bundles in memory, of all workspaces.
    pub open_bundles: u64,
    /// Bytes of recently received blobs in memory, of all workspaces. A bundle that names such blobs is verified
    /// without reading and scanning them again.
    pub recent_blob_bytes: u64,
    /// Restarts of one service in a row. At the limit, the service is stopped.
    pub service_restarts: u32,
    /// Milliseconds before the first restart of a service, and before the second delivery of an event. Each further one
    /// waits twice as long, at most 64 times as long.
    pub service_backoff_ms: u64,
    /// Milliseconds after which a service that still runs begins again at no restarts.
    pub service_healthy_ms: u64,
    /// Milliseconds for the last turns of a service that is ended: the turn in progress, and `stop`.
    pub service_stop_ms: u64,
    /// Events of one worker that wait for their delivery.
    pub ingress_queue: u32,
    /// Deliveries of one event.
    pub ingress_attempts: u32,
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
            failed_resolutions: 64,
            resolution_records: 256,
            comparison_seconds: 24 * 60 * 60,
            comparison_cost_percent: 150,
            shadow_percent: 10,
            call_values: 65_536,
            open_bundles: 64,
            recent_blob_bytes: 32 << 20,
            service_restarts: 5,
            service_backoff_ms: 1000,
            service_healthy_ms: 600_000,
            service_stop_ms: 5000,
            ingress_queue: 64,
            ingress_attempts: 8,
        }
    }
}

impl RuntimeLimits {
    /// Returns the first limit that must not be zero but is, if there is one. Zero is valid where it means "none", as
    /// for bundles, workers, resolvers, restarts and queued requests, or "immediately", as for unused blobs.
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
            ("service_healthy_ms", self.service_healthy_ms),
            ("ingress_attempts", self.ingress_attempts.into()),
        ];
        InvalidLimit::below(limits.map(|(name, value)| (name, value, 1)))
    }
}
