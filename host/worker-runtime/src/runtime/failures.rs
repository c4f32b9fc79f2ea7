//! Records of failed resolutions, for later comparison of resolvers.
//!
//! The same inputs are recorded once. A workspace has at most `failed_resolutions` records; the oldest one makes room.

use bundles::{Blob, Digest};
use runtime_api::referrer::Referrer;
use runtime_api::worker::FailedResolutionSummary;

use super::Catalogue;
use super::catalogue::WorkerError;
use crate::content::ContentError;
use crate::ledger::{Change, Decision, FailureRow, failures_key, uses_key};
use crate::record::Record;
use crate::resolutions::{FailedResolution, Inputs};

/// Record of a failed resolution that is not stored yet.
#[derive(Debug)]
pub(super) struct NewFailure {
    summary: FailedResolutionSummary,
    record: Blob,
}

impl NewFailure {
    /// Returns `None` for an error that does not depend on the inputs alone.
    pub(super) fn of(inputs: &Inputs, failed: &FailedResolution, at: jiff::Timestamp) -> Option<Self> {
        let record = Blob::new(Record::of_failure(inputs, failed).to_json());
        let summary = FailedResolutionSummary {
            record: record.digest(),
            at,
            profile: inputs.request().profile().clone(),
            bundle: failed.digests.bundle,
            resolver: failed.digests.resolver,
            code: failed.error.code().to_string(),
        };
        failed.error.is_deterministic().then_some(Self { summary, record })
    }
}

impl Catalogue {
    /// Records a failed resolution, unless the same failure is recorded already.
    pub(super) async fn record_failure(&self, failure: NewFailure) -> Result<(), ContentError> {
        let workspace = &self.workspace;
        let (shared, key) = (&workspace.shared, failures_key(&workspace.id));
        let NewFailure { summary, record } = failure;
        if shared.limits.failed_resolutions == 0 {
            return Ok(());
        }
        let is_known = |row: &FailureRow| row.failures.iter().any(|known| known.record == summary.record);
        if shared.ledger.row::<FailureRow>(&key).await?.is_some_and(|found| is_known(&found.value)) {
            return Ok(());
        }
        let record = workspace.store(vec![(record, Referrer::Failure)]).await?;
        let tenant = workspace.tenant();
        let changing = tenant.changing.lock().await;
        let decide = || async {
            let found = shared.ledger.row::<FailureRow>(&key).await?;
            let mut row = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
            if is_known(&row) {
                return Ok(Decision::Keep(Vec::new()));
            }
            row.failures.push(summary.clone());
            let allowed = usize::try_from(shared.limits.failed_resolutions).unwrap_or(usize::MAX);
            let excess = row.failures.len().saturating_sub(allowed);
            let mut change = record.add_rows(Change::default().expect(&key, found.as_ref())).await?;
            let evicted: Vec<Digest> = row.failures.drain(..excess).map(|failure| failure.record).collect();
            for record in &evicted {
                change = change.delete(&uses_key(&workspace.id, record).part(Referrer::Failure));
            }
            Ok(Decision::Commit(change.put(&key, &row), evicted))
        };
        let evicted: Result<_, ContentError> = shared.ledger.update(&workspace.id, decide).await;
        drop((changing, record));
        // A client that causes many failures must not fill its workspace until the next garbage collection.
        for record in evicted? {
            workspace.content().remove_released(record).await?;
        }
        Ok(())
    }

    /// Returns the recorded failed resolutions, the oldest first. The record of each is a blob of the workspace.
    pub async fn failed_resolutions(&self) -> Result<Vec<FailedResolutionSummary>, WorkerError> {
        let row = self.workspace.shared.ledger.row::<FailureRow>(&failures_key(&self.workspace.id)).await?;
        Ok(row.map(|row| row.value.failures).unwrap_or_default())
    }
}
