//! Referrers of bundles and blobs, which prevent their removal. Includes pins, removal and revocation of bundles.

use bundles::Digest;
use runtime_api::event::EventKind;
use runtime_api::referrer::Referrer;
use runtime_api::worker::WorkerId;

use super::{Content, ContentError};
use crate::ledger::{BundleRow, Change, Decision, Mark, Usage, blob_key, bundle_key, uses_key};
use crate::workspace::Workspace;

/// Limit on the referrers that are returned.
const MAX_REFERRERS: usize = 100;

impl Content {
    /// Returns at most 100 referrers of a bundle or blob of this workspace. The blob can also be a plugin package that
    /// a bundle names and that is not stored yet.
    pub async fn referrers(&self, digest: Digest) -> Result<Vec<Referrer>, ContentError> {
        let Workspace { shared, id } = &self.workspace;
        let keys = shared.ledger.keys(&uses_key(id, &digest), None, MAX_REFERRERS + 1).await?;
        if keys.is_empty() && matches!(self.blob_size(digest).await, Err(ContentError::BlobNotFound(_))) {
            return Err(ContentError::BundleNotFound(digest));
        }
        let users = keys.iter().filter_map(|key| key.last().parse().ok()).filter(|user| *user != Referrer::Manifest);
        Ok(users.take(MAX_REFERRERS).collect())
    }

    /// Pins a bundle under a name, which prevents its removal. The operation is idempotent.
    pub async fn pin(&self, digest: Digest, name: WorkerId) -> Result<(), ContentError> {
        let key = bundle_key(&self.workspace.id, &digest);
        let decide = || async {
            let row = self.workspace.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            let pin = uses_key(&self.workspace.id, &digest).part(Referrer::Pin(name.clone()));
            // The row is rewritten so that a concurrent removal, which expects the row unchanged, conflicts.
            let change = Change::default().expect(&key, Some(&row)).put(&key, &row.value).put(&pin, &Mark {});
            Ok(Decision::Commit(change, ()))
        };
        self.workspace.shared.ledger.update(&self.workspace.id, decide).await
    }

    /// Removes a pin. The operation is idempotent.
    pub async fn unpin(&self, digest: Digest, name: WorkerId) -> Result<(), ContentError> {
        let pin = uses_key(&self.workspace.id, &digest).part(Referrer::Pin(name));
        Ok(self.workspace.shared.ledger.commit(&self.workspace.id, Change::default().delete(&pin)).await?)
    }

    /// Removes an unused bundle. Its revision is not available again. Its blobs are left to garbage collection.
    pub async fn remove_bundle(&self, digest: Digest) -> Result<(), ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let key = bundle_key(&self.workspace.id, &digest);
        let decide = || async {
            let row = self.workspace.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            let users = self.referrers(digest).await?;
            if !users.is_empty() {
                return Err(ContentError::InUse { digest, users });
            }
            let mut change = Change::default()
                .expect(&key, Some(&row))
                .delete(&key)
                .delete(&uses_key(&self.workspace.id, &digest).part(Referrer::Manifest))
                .subtract_usage(Usage { bundles: 1, ..Usage::default() })
                .event(EventKind::BundleRemoved { bundle: digest });
            for blob in self.named_blobs(digest).await? {
                change = change.delete(&uses_key(&self.workspace.id, &blob).part(Referrer::Bundle(digest)));
            }
            Ok(Decision::Commit(change, ()))
        };
        self.workspace.shared.ledger.update::<_, ContentError, _>(&self.workspace.id, decide).await?;
        self.workspace.shared.views.remove(&digest);
        Ok(())
    }

    /// Returns a stored manifest, or `None` if it is damaged.
    pub(super) async fn manifest_of(&self, digest: Digest) -> Result<Option<bundles::Manifest>, ContentError> {
        match self.blob(digest).await {
            Err(error) if error.is_temporary() => Err(error),
            Err(_) => Ok(None),
            Ok(manifest) => Ok(serde_json::from_slice(&manifest).ok()),
        }
    }

    /// Returns the blobs and packages that a stored manifest names. Returns none for a damaged manifest; the blobs of
    /// its bundle then stay in use until the bundle is put again.
    async fn named_blobs(&self, digest: Digest) -> Result<Vec<Digest>, ContentError> {
        let manifest = self.manifest_of(digest).await?;
        let mut named: Vec<Digest> = manifest
            .map(|manifest| manifest.blobs().into_iter().map(|(_, blob)| blob.digest).collect())
            .unwrap_or_default();
        named.sort();
        named.dedup();
        Ok(named)
    }

    /// Marks a bundle as revoked. The operation is idempotent.
    pub(crate) async fn mark_revoked(&self, digest: Digest) -> Result<(), ContentError> {
        let key = bundle_key(&self.workspace.id, &digest);
        let decide = || async {
            let row = self.workspace.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            if row.value.revoked_at.is_some() {
                return Ok(Decision::Keep(()));
            }
            let revoked = BundleRow { revoked_at: Some(self.workspace.shared.ledger.now()), ..row.value.clone() };
            let change = Change::default()
                .expect(&key, Some(&row))
                .put(&key, &revoked)
                .event(EventKind::BundleRevoked { bundle: digest });
            Ok(Decision::Commit(change, ()))
        };
        self.workspace.shared.ledger.update::<_, ContentError, _>(&self.workspace.id, decide).await?;
        self.workspace.shared.views.remove(&digest);
        Ok(())
    }

    /// `true` if a blob has a referrer.
    pub(super) async fn is_used(&self, digest: &Digest) -> Result<bool, ContentError> {
        Ok(!self.workspace.shared.ledger.keys(&uses_key(&self.workspace.id, digest), None, 1).await?.is_empty())
    }

    /// Deletes the rows of an unused blob of this workspace.
    pub(super) async fn delete_blob_rows(&self, digest: Digest, bytes: u64) -> Result<(), ContentError> {
        let key = blob_key(&self.workspace.id, &digest);
        let change = Change::default()
            .delete(&key)
            .delete(&crate::ledger::holder_key(&digest, &self.workspace.id))
            .subtract_usage(Usage::bytes(bytes));
        Ok(self.workspace.shared.ledger.commit(&self.workspace.id, change).await?)
    }
}
