//! Blobs between the write of their content and the commit of their rows.
//!
//! Without rows, a blob counts as unused. Its lock prevents garbage collection from removing it until the rows are
//! committed. Every put takes the workspace's store slot first and the locks afterwards; another order could deadlock.

use bundles::{Blob, Digest};
use content_store::metadata::MetadataError;
use runtime_api::referrer::Referrer;
use tokio::sync::{OwnedSemaphorePermit, RwLockReadGuard};

use super::ContentError;
use crate::ledger::{BlobRow, Change, Mark, Usage, blob_key, holder_key, uses_key};
use crate::tenants::Busy;
use crate::workspace::Workspace;

/// Permission to store blobs: the store slot of the workspace, and the locks of the blobs.
pub(crate) struct PutGuard<'a> {
    _slot: OwnedSemaphorePermit,
    locks: Vec<RwLockReadGuard<'a, ()>>,
}

/// Blobs that are stored, and not removed while this value exists. It is held until their rows are committed.
#[must_use]
pub(crate) struct StoredBlobs<'a> {
    workspace: &'a Workspace,
    blobs: Vec<StoredBlob>,
    _locks: Vec<RwLockReadGuard<'a, ()>>,
}

struct StoredBlob {
    digest: Digest,
    bytes: u64,
    referrer: Referrer,
}

impl Workspace {
    /// Waits until the workspace may store these blobs.
    pub(crate) async fn acquire_put(&self, digests: &[Digest]) -> Result<PutGuard<'_>, Busy> {
        let slot = self.shared.tenants.acquire_store_slot(&self.id).await?;
        Ok(PutGuard { _slot: slot, locks: self.shared.stripes.keeping(digests).await })
    }

    /// Stores blobs that are in memory, each with the referrer that will use it.
    pub(crate) async fn store(&self, blobs: Vec<(Blob, Referrer)>) -> Result<StoredBlobs<'_>, ContentError> {
        let digests: Vec<Digest> = blobs.iter().map(|(blob, _)| blob.digest()).collect();
        let guard = self.acquire_put(&digests).await?;
        let mut stored = Vec::with_capacity(blobs.len());
        for (blob, referrer) in blobs {
            let digest = blob.digest();
            let bytes = self.shared.blobs.put_hashed(blob).await?.bytes;
            stored.push(StoredBlob { digest, bytes, referrer });
        }
        Ok(StoredBlobs { workspace: self, blobs: stored, _locks: guard.locks })
    }

    /// Adds the rows of a blob that is new to the workspace to a change.
    pub(crate) fn add_blob(&self, change: Change, digest: Digest, bytes: u64) -> Change {
        let (key, at) = (blob_key(&self.id, &digest), self.shared.ledger.now());
        change
            .expect::<BlobRow>(&key, None)
            .put(&key, &BlobRow { bytes, at })
            .put(&holder_key(&digest, &self.id), &Mark {})
            .add_usage(Usage::bytes(bytes))
    }
}

impl StoredBlobs<'_> {
    /// Adds the rows of the blobs that are new to the workspace to a change, and the use of each blob by its referrer.
    pub(crate) async fn add_rows(&self, mut change: Change) -> Result<Change, MetadataError> {
        let Workspace { shared, id } = self.workspace;
        for StoredBlob { digest, bytes, referrer } in &self.blobs {
            if !shared.ledger.exists(&blob_key(id, digest)).await? {
                change = self.workspace.add_blob(change, *digest, *bytes);
            }
            change = change.put(&uses_key(id, digest).part(referrer), &Mark {});
        }
        Ok(change)
    }
}
