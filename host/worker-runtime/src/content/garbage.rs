//! Taking away what nothing uses. What is used is never taken: a blob is forgotten under the lock of
//! its workspace, and its content removed only while nobody is keeping it.

use bundles::Digest;
use futures_util::StreamExt;
use serde::Serialize;

use super::{Content, ContentError};
use crate::ledger::{BlobRow, blob_key, blobs_key, holders_key};
use crate::runtime::Management;

/// What a collection came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Blobs that the workspace has no more.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are kept though nothing uses them, because they came in a short while ago.
    pub young: u64,
}

/// Rows that are read at a time.
const PAGE: usize = 512;

impl Content {
    /// Forgets every blob of this workspace that nothing has used for a while, and removes its content
    /// where no other workspace has it.
    pub async fn collect_garbage(&self) -> Result<Collected, ContentError> {
        let mut collected = Collected::default();
        let mut after = None;
        loop {
            let below = blobs_key(&self.workspace);
            let page = self.shared.ledger.rows::<BlobRow>(&below, after.as_ref(), PAGE).await?;
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
        let kept = i64::try_from(self.shared.limits.unused_blob_seconds).unwrap_or(i64::MAX);
        if self.shared.ledger.now().as_second().saturating_sub(row.at.as_second()) < kept {
            collected.young += 1;
            return Ok(());
        }
        // Nobody puts this blob from here on.
        let _removing = self.shared.stripes.removing(&digest).await;
        {
            let tenant = self.shared.tenants.tenant(&self.workspace);
            let _changing = tenant.changing.lock().await;
            let found = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &digest)).await?;
            if found.is_none_or(|found| found.value != row) || self.is_used(&digest).await? {
                return Ok(());
            }
            self.disown(digest, row.bytes).await?;
        }
        collected.blobs += 1;
        collected.bytes += row.bytes;
        if self.shared.ledger.keys(&holders_key(&digest), None, 1).await?.is_empty() {
            self.shared.blobs.remove(digest).await?;
        }
        Ok(())
    }
}

impl Management {
    /// Removes content that no workspace has: what a process that was killed, or a caller that was
    /// dropped, had brought in and not named yet.
    pub async fn collect_unowned(&self) -> Result<Collected, ContentError> {
        let shared = &self.shared;
        let mut collected = Collected::default();
        let mut list = shared.blobs.list();
        while let Some(found) = list.next().await {
            let (digest, bytes) = found?;
            // Whoever brings it at this moment keeps it until its rows are there.
            let _removing = shared.stripes.removing(&digest).await;
            if shared.ledger.keys(&holders_key(&digest), None, 1).await?.is_empty() {
                shared.blobs.remove(digest).await?;
                collected.blobs += 1;
                collected.bytes += bytes;
            }
        }
        Ok(collected)
    }
}
