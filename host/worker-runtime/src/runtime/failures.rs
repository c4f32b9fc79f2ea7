//! Records of resolutions that are kept beside the sample of the corpus, for later comparison of resolvers: failed resolutions,
//! those whose worker the host denies, and those that differed after an activation.
//!
//! The same inputs are recorded once. A workspace has at most `failed_resolutions` records; the oldest one makes room.

use bundles::{Blob, Digest};
use runtime_api::Code;
use runtime_api::referrer::Referrer;
use runtime_api::worker::FailedResolutionSummary;

use super::Catalogue;
use super::catalogue::WorkerError;
use crate::content::ContentError;
use crate::digests::Digests;
use crate::ledger::{Change, Decision, FailureRow, failures_key, uses_key};
use crate::record::Record;
use crate::resolutions::{ComputedResolution, FailedResolution, Inputs};

/// A record that is not stored yet.
#[derive(Debug)]
pub(super) struct NewRecord {
    summary: FailedResolutionSummary,
    record: Blob,
}

impl NewRecord {
    /// Returns the record of a failed resolution. `None` for an error that does not depend on the inputs alone.
    pub(super) fn of_failure(inputs: &Inputs, failed: &FailedResolution, at: jiff::Timestamp) -> Option<Self> {
        let record = Record::of_failure(inputs, failed).to_json();
        failed.error.is_deterministic().then(|| Self::new(inputs, &failed.digests, record, failed.error.code(), at))
    }

    /// Returns the record of a resolution that is recorded for the reason `code`.
    pub(super) fn of_resolution(
        inputs: &Inputs,
        resolved: &ComputedResolution,
        code: Code,
        at: jiff::Timestamp,
    ) -> Self {
        let digests = resolved.digests();
        Self::new(inputs, digests, Record::write(inputs, resolved, digests), code, at)
    }

    fn new(inputs: &Inputs, digests: &Digests, record: Vec<u8>, code: Code, at: jiff::Timestamp) -> Self {
        let record = Blob::new(record);
        let summary = FailedResolutionSummary {
            record: record.digest(),
            at,
            profile: inputs.request().profile().clone(),
            bundle: digests.bundle,
            resolver: digests.resolver,
            code: code.to_string(),
        };
        Self { summary, record }
    }
}

impl Catalogue {
    /// Stores a record, unless the same one is stored already. A failure is logged: the record is not what the caller waits
    /// for.
    pub(super) async fn record_beside_sample(&self, record: NewRecord) {
        if let Err(error) = self.store_record(record).await {
            tracing::warn!(workspace = %self.workspace.id, code = error.code().as_str(), "cannot record a resolution");
        }
    }

    async fn store_record(&self, record: NewRecord) -> Result<(), ContentError> {
        let workspace = &self.workspace;
        let (shared, key) = (&workspace.shared, failures_key(&workspace.id));
        let NewRecord { summary, record } = record;
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

    /// Returns the recorded resolutions that failed, that the host denied, or that differed after an activation, the oldest
    /// first. The record of each is a blob of the workspace.
    pub async fn failed_resolutions(&self) -> Result<Vec<FailedResolutionSummary>, WorkerError> {
        let row = self.workspace.shared.ledger.row::<FailureRow>(&failures_key(&self.workspace.id)).await?;
        Ok(row.map(|row| row.value.failures).unwrap_or_default())
    }
}
