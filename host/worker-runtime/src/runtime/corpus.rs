//! The recorded resolutions of a workspace, with which another resolver can be compared.
//!
//! The same request with the same facts is recorded once, with the bundle that was used last: otherwise earlier revisions, which
//! differ by little, would take the place of other requests. A workspace has at most `resolution_records` records: those whose
//! facts and request have the smallest digests. Digests are evenly distributed, so the records are a sample of all requests that
//! does not depend on their order. Failed resolutions are recorded beside them, see `failures`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::canonical::to_canonical;
use bundles::{Digest, WorkspaceId};
use content_store::metadata::{Key, MetadataError, MetadataStore};
use content_store::records::Records;
use runtime_api::referrer::Referrer;

use super::{Management, Shared};
use crate::digests::Digests;
use crate::ledger::{
    Change, CorpusRow, FailureRow, Mark, Row, all_corpora_key, all_failures_key, corpus_key, failures_key, uses_key,
};

/// Maximum number of records of a snapshot, of all workspaces together.
const MAX_SNAPSHOT_RECORDS: usize = 10_000;

/// Returns the digest of the facts and the request of a resolution. A profile of the built-in bundle is another one than that
/// with the same name in a bundle of the workspace.
fn case_digest(digests: &Digests, is_builtin: bool) -> Digest {
    // Digests can always be serialized.
    Digest::of(to_canonical(&(is_builtin, digests.facts, digests.request)).unwrap_or_default())
}

impl Shared {
    /// Adds the record of a worker's resolution to the records of the workspace, if it belongs to the sample. Returns the
    /// record that was evicted or replaced. The caller has the lock of the workspace.
    pub(super) async fn add_to_corpus(
        &self,
        mut change: Change,
        workspace: &WorkspaceId,
        digests: &Digests,
        record: Digest,
    ) -> Result<(Change, Option<Digest>), MetadataError> {
        let allowed = usize::try_from(self.limits.resolution_records).unwrap_or(usize::MAX);
        if allowed == 0 {
            return Ok((change, None));
        }
        let prefix = corpus_key(workspace);
        let is_builtin = digests.bundle == self.builtin.bundle().digest();
        let key = prefix.clone().part(case_digest(digests, is_builtin));
        let existing = self.ledger.row::<CorpusRow>(&key).await?;
        let mut replaced = existing.as_ref().map(|row| row.value.record);
        if replaced == Some(record) {
            return Ok((change, None));
        }
        if replaced.is_none() {
            let keys = self.ledger.keys(&prefix, None, allowed.saturating_add(1)).await?;
            if keys.len() >= allowed
                && let Some(largest) = keys.last()
            {
                if *largest < key {
                    return Ok((change, None));
                }
                let evicted: Option<Row<CorpusRow>> = self.ledger.row(largest).await?;
                replaced = evicted.map(|row| row.value.record);
                change = change.delete(largest);
            }
        }
        if let Some(replaced) = &replaced {
            change = change.delete(&uses_key(workspace, replaced).part(Referrer::Corpus));
        }
        change = change
            .expect(&key, existing.as_ref())
            .put(&key, &CorpusRow { record })
            .put(&uses_key(workspace, &record).part(Referrer::Corpus), &Mark {});
        Ok((change, replaced))
    }
}

/// Returns the digests of all recorded resolutions of a store, sorted. The records are blobs.
pub async fn recorded_resolutions(store: Arc<dyn MetadataStore>) -> Result<Vec<Digest>, MetadataError> {
    let records = Records::new(store);
    let found: Vec<(Key, CorpusRow)> = records.rows(&all_corpora_key(), None, usize::MAX).await?;
    let failed: Vec<(Key, FailureRow)> = records.rows(&all_failures_key(), None, usize::MAX).await?;
    let failed = failed.into_iter().flat_map(|(_, row)| row.failures);
    let all: BTreeSet<Digest> =
        found.into_iter().map(|(_, row)| row.record).chain(failed.map(|failure| failure.record)).collect();
    Ok(all.into_iter().collect())
}

/// Records of a Runtime that a comparison uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot(pub(super) BTreeSet<(Digest, WorkspaceId)>);

impl Management {
    /// Returns the records of all workspaces that use the active resolver: workspaces for which the config pins a resolver are
    /// left out.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, MetadataError> {
        let config = self.shared.config.load_full();
        let mut found = BTreeSet::new();
        for workspace in self.tenants().await? {
            if config.pinned_resolver(&workspace).is_some() {
                continue;
            }
            let rows: Vec<(Key, CorpusRow)> =
                self.shared.ledger.rows(&corpus_key(&workspace), None, MAX_SNAPSHOT_RECORDS).await?;
            found.extend(rows.into_iter().map(|(_, row)| (row.record, workspace.clone())));
            let failures = self.shared.ledger.row::<FailureRow>(&failures_key(&workspace)).await?;
            let failures = failures.into_iter().flat_map(|row| row.value.failures);
            found.extend(failures.map(|failure| (failure.record, workspace.clone())));
            while found.len() > MAX_SNAPSHOT_RECORDS {
                found.pop_last();
            }
        }
        Ok(Snapshot(found))
    }
}
