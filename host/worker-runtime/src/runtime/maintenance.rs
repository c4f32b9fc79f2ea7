//! Maintenance of the stores: garbage collection and integrity checks.

use bundles::{Digest, WorkspaceId};
use content_store::blob_store::{self, BlobCondition};
use content_store::metadata::MetadataError;
use runtime_api::runtime::Garbage;

use super::Management;
use crate::content::ContentError;
use crate::ledger::{all_holders_key, holders_key, usages_key};
use crate::workspace::Workspace;

impl Management {
    /// Removes unused blobs of every workspace, and blobs that belong to no workspace. The blob store must not be
    /// shared with another Runtime. Removes nothing if the metadata is damaged.
    pub async fn collect_garbage(&self) -> Result<Garbage, ContentError> {
        self.shared.ledger.check().await?;
        let mut garbage = Garbage::default();
        for key in self.shared.ledger.keys(&usages_key(), None, usize::MAX).await? {
            let Ok(workspace) = key.last().parse::<WorkspaceId>() else { continue };
            let content = Workspace { shared: self.shared.clone(), id: workspace.clone() }.content();
            garbage.workspaces.insert(workspace, content.collect_unused().await?);
        }
        garbage.strays = self.remove_strays().await?;
        Ok(garbage)
    }

    /// Removes blobs that belong to no workspace, and returns their number. Such blobs remain if the process ended or
    /// the disk failed after the content was stored and before its rows were written. Blobs that are being uploaded are
    /// kept. Removes nothing if another Runtime may share the blob store, or if the metadata is damaged.
    pub async fn collect_strays(&self) -> Result<u64, ContentError> {
        self.shared.ledger.check().await?;
        self.remove_strays().await
    }

    async fn remove_strays(&self) -> Result<u64, ContentError> {
        let mut collected = 0;
        if self.shared.blobs.is_shared() {
            return Ok(collected);
        }
        let mut strays = Vec::new();
        for digest in blob_store::digests(&*self.shared.blobs).await? {
            if !self.is_held(&digest).await? {
                strays.push(digest);
            }
        }
        for digest in strays {
            // No put of this blob runs while this lock is held, and earlier puts have written their rows.
            let _lock = self.shared.stripes.removing(&digest).await;
            if !self.is_held(&digest).await? {
                self.shared.blobs.remove(digest).await?;
                collected += 1;
            }
        }
        Ok(collected)
    }

    async fn is_held(&self, digest: &Digest) -> Result<bool, MetadataError> {
        Ok(!self.shared.ledger.keys(&holders_key(digest), None, 1).await?.is_empty())
    }

    /// Reads every blob that is stored or should be, and returns its condition. Damaged blobs are moved out of the
    /// store.
    pub async fn check(&self) -> Result<Vec<(Digest, BlobCondition)>, ContentError> {
        let mut digests = blob_store::digests(&*self.shared.blobs).await?;
        for key in self.shared.ledger.keys(&all_holders_key(), None, usize::MAX).await? {
            let parts: Vec<&str> = key.parts().collect();
            let [.., digest, _] = parts.as_slice() else { continue };
            digests.extend(digest.parse::<Digest>());
        }
        Ok(blob_store::check_each(&*self.shared.blobs, digests).await?)
    }
}
