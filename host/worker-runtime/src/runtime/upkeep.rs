//! Keeping the stores in order: what is damaged is found and set aside, what nothing uses is taken away.

use bundles::{Digest, WorkspaceId};
use content_store::blob_store::{self, BlobCondition};
use content_store::metadata::MetadataError;
use runtime_api::runtime::Garbage;

use super::Management;
use crate::content::ContentError;
use crate::ledger::{all_holders_key, holders_key, usages_key};
use crate::workspace::Workspace;

impl Management {
    /// Takes away what nothing uses, in every workspace, and content that belongs to none. The blob store
    /// must not be shared with another Runtime. Removes nothing while metadata is damaged.
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

    /// Removes every blob that belongs to nobody, and says how many there were: what came in, and whose rows
    /// were never written because the process ended, or the disk failed, in between. What is on its way in
    /// is left alone, and so is everything in a store that others may use. Removes nothing while metadata is damaged.
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
            // Nobody puts this blob from here on, and who was about to has written its rows.
            let _removing = self.shared.stripes.removing(&digest).await;
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

    /// Reads every blob that is there or should be, and says which are what their digests say. What is
    /// damaged is set aside.
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
