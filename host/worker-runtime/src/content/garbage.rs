//! Garbage collection of unused blobs.
//!
//! A blob that is in use is never removed. Its row is deleted under the workspace's lock for changes, and its content
//! is removed while the blob's lock excludes puts.

use bundles::Digest;
use runtime_api::referrer::Referrer;
use runtime_api::runtime::CollectionResult;

use super::{Content, ContentError};
use crate::ledger::{
    BlobRow, BundleRow, Change, Decision, Mark, blob_key, blobs_key, bundle_key, bundles_key, holders_key,
    packages_recorded_key, uses_key,
};

/// Rows that are read in one request.
const PAGE: usize = 512;

impl Content {
    /// Removes every blob of this workspace that has been unused for `unused_blob_seconds`. The content stays in the
    /// store while another workspace has the blob. Removes nothing if the metadata is damaged.
    pub async fn collect_garbage(&self) -> Result<CollectionResult, ContentError> {
        // A damaged store can lack the row that records the use of a blob.
        self.workspace.shared.ledger.check().await?;
        self.collect_unused().await
    }

    /// Removes unused blobs. The caller must have checked the metadata.
    pub(crate) async fn collect_unused(&self) -> Result<CollectionResult, ContentError> {
        let mut collected = CollectionResult::default();
        if !self.record_package_uses().await? {
            tracing::warn!(workspace = %self.workspace.id, "garbage collection skipped: a manifest is damaged, so the packages of its bundle are unknown");
            return Ok(collected);
        }
        let mut after = None;
        loop {
            let below = blobs_key(&self.workspace.id);
            let page = self.workspace.shared.ledger.rows::<BlobRow>(&below, after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(collected) };
            after = Some(last.clone());
            for (key, row) in page {
                if let Ok(digest) = key.last().parse::<Digest>() {
                    self.collect(digest, row, &mut collected).await?;
                }
            }
        }
    }

    async fn collect(
        &self,
        digest: Digest,
        row: BlobRow,
        collected: &mut CollectionResult,
    ) -> Result<(), ContentError> {
        if self.is_used(&digest).await? {
            return Ok(());
        }
        let now = self.workspace.shared.ledger.now();
        let retention = i64::try_from(self.workspace.shared.limits.unused_blob_seconds).unwrap_or(i64::MAX);
        if now.as_second().saturating_sub(row.at.as_second()) < retention
            || self.workspace.tenant().pending().protects(&digest, now)
        {
            collected.young += 1;
            return Ok(());
        }
        let bytes = row.bytes;
        if self.remove_unused(digest, row).await? {
            collected.blobs += 1;
            collected.bytes += bytes;
        }
        Ok(())
    }

    /// Removes a blob whose last use has just ended and that no client has put. Does nothing if it is in use.
    pub(crate) async fn remove_released(&self, digest: Digest) -> Result<(), ContentError> {
        if let Some(found) = self.workspace.shared.ledger.row(&blob_key(&self.workspace.id, &digest)).await? {
            self.remove_unused(digest, found.value).await?;
        }
        Ok(())
    }

    /// Removes a blob of this workspace unless it is in use, is being put or referred to, or has another row than `row`.
    /// Returns `true` if it was removed.
    async fn remove_unused(&self, digest: Digest, row: BlobRow) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        // No put of this blob runs while this lock is held.
        let _lock = self.workspace.shared.stripes.removing(&digest).await;
        {
            let _changing = tenant.changing.lock().await;
            let found = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
            let is_pending = tenant.pending().protects(&digest, self.workspace.shared.ledger.now());
            if found.is_none_or(|found| found.value != row) || is_pending || self.is_used(&digest).await? {
                return Ok(false);
            }
            self.delete_blob_rows(digest, row.bytes).await?;
        }
        if self.workspace.shared.ledger.keys(&holders_key(&digest), None, 1).await?.is_empty() {
            self.workspace.shared.blobs.remove(digest).await?;
        }
        Ok(true)
    }

    /// Records the use of packages by bundles of an earlier version, which did not record packages that were put after
    /// the bundle. Runs once for each workspace. Returns `false` if a damaged manifest makes the packages of a bundle
    /// unknown.
    async fn record_package_uses(&self) -> Result<bool, ContentError> {
        let (ledger, recorded) = (&self.workspace.shared.ledger, packages_recorded_key(&self.workspace.id));
        if ledger.exists(&recorded).await? {
            return Ok(true);
        }
        let (below, mut after) = (bundles_key(&self.workspace.id), None);
        loop {
            let page = ledger.keys(&below, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for key in &page {
                let Ok(bundle) = key.last().parse::<Digest>() else { continue };
                if !self.record_packages_of(bundle).await? {
                    return Ok(false);
                }
            }
        }
        ledger.commit(&self.workspace.id, Change::default().put(&recorded, &Mark {})).await?;
        Ok(true)
    }

    async fn record_packages_of(&self, bundle: Digest) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let key = bundle_key(&self.workspace.id, &bundle);
        let decide = || async {
            // The bundle was removed since it was listed.
            let Some(row) = self.workspace.shared.ledger.row::<BundleRow>(&key).await? else {
                return Ok(Decision::Keep(true));
            };
            let Some(manifest) = self.manifest_of(bundle).await? else { return Ok(Decision::Keep(false)) };
            let mut change = Change::default().expect(&key, Some(&row));
            for (_, package) in manifest.packages() {
                change =
                    change.put(&uses_key(&self.workspace.id, &package.digest).part(Referrer::Bundle(bundle)), &Mark {});
            }
            Ok(Decision::Commit(change, true))
        };
        self.workspace.shared.ledger.update(&self.workspace.id, decide).await
    }
}
