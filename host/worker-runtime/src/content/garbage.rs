//! Taking away what nothing uses. What is used is never taken: a blob is forgotten under the lock of
//! its workspace, and its content removed only while nobody is keeping it.

use bundles::Digest;
use runtime_api::referrer::Referrer;
use runtime_api::runtime::Collected;

use super::{Content, ContentError};
use crate::ledger::{
    ATTEMPTS, BlobRow, BundleRow, Change, ChangeError, Mark, blob_key, blobs_key, bundle_key, bundles_key, holders_key,
    packages_recorded_key, uses_key,
};

/// Rows that are read at a time.
const PAGE: usize = 512;

impl Content {
    /// Forgets every blob of this workspace that nothing has used for a while, and removes its content
    /// where no other workspace has it. Removes nothing while metadata is damaged.
    pub async fn collect_garbage(&self) -> Result<Collected, ContentError> {
        // A damaged store can lack the very row that says who uses a blob.
        self.workspace.shared.ledger.check().await?;
        self.collect_unused().await
    }

    /// Collects garbage, after metadata was checked.
    pub(crate) async fn collect_unused(&self) -> Result<Collected, ContentError> {
        let mut collected = Collected::default();
        if !self.record_package_uses().await? {
            tracing::warn!(workspace = %self.workspace.id, "a manifest is damaged: its packages are unknown, nothing is collected");
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

    async fn collect(&self, digest: Digest, row: BlobRow, collected: &mut Collected) -> Result<(), ContentError> {
        if self.is_used(&digest).await? {
            return Ok(());
        }
        let tenant = self.workspace.tenant();
        let is_pending = || tenant.pending().protects(&digest, self.workspace.shared.ledger.now());
        let kept = i64::try_from(self.workspace.shared.limits.unused_blob_seconds).unwrap_or(i64::MAX);
        if self.workspace.shared.ledger.now().as_second().saturating_sub(row.at.as_second()) < kept || is_pending() {
            collected.young += 1;
            return Ok(());
        }
        // Nobody puts this blob from here on.
        let _removing = self.workspace.shared.stripes.removing(&digest).await;
        {
            let _changing = tenant.changing.lock().await;
            let found = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
            if found.is_none_or(|found| found.value != row) || is_pending() || self.is_used(&digest).await? {
                return Ok(());
            }
            self.disown(digest, row.bytes).await?;
        }
        collected.blobs += 1;
        collected.bytes += row.bytes;
        if self.workspace.shared.ledger.keys(&holders_key(&digest), None, 1).await?.is_empty() {
            self.workspace.shared.blobs.remove(digest).await?;
        }
        Ok(())
    }

    /// Records the use of packages by bundles that were stored before a use was recorded for packages that come later.
    /// Done once for each workspace. Returns `false` if the packages of a bundle cannot be told because its manifest is
    /// damaged.
    async fn record_package_uses(&self) -> Result<bool, ContentError> {
        let (ledger, recorded) = (&self.workspace.shared.ledger, packages_recorded_key(&self.workspace.id));
        if ledger.is_there(&recorded).await? {
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
        for _ in 0..ATTEMPTS {
            // Removed since it was listed.
            let Some(row) = self.workspace.shared.ledger.row::<BundleRow>(&key).await? else { return Ok(true) };
            let Some(manifest) = self.manifest_of(bundle).await? else { return Ok(false) };
            let mut change = Change::default().expect(&key, Some(&row));
            for (_, package) in manifest.packages() {
                change =
                    change.put(&uses_key(&self.workspace.id, &package.digest).part(Referrer::Bundle(bundle)), &Mark {});
            }
            match self.workspace.shared.ledger.commit(&self.workspace.id, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done.map(|()| true)?),
            }
        }
        Err(ContentError::Contended)
    }
}
