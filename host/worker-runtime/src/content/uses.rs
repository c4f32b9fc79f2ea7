//! What uses what: the reason why something does not go away.

use std::fmt;
use std::str::FromStr;

use bundles::Digest;
use serde::Serialize;

use super::{Content, ContentError};
use crate::event::EventKind;
use crate::ledger::{ATTEMPTS, BundleRow, Change, ChangeError, Mark, Usage, blob_key, bundle_key, uses_key};
use crate::runtime::{Catalogue, WorkerError};
use crate::worker::{StopReason, WorkerId};

/// Something that uses a bundle or a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// A bundle that names the blob.
    Bundle(Digest),
    /// The bundle whose manifest it is.
    Manifest,
    /// A worker that is made from the bundle, or whose record it is.
    Worker(WorkerId),
    /// A pin of that name.
    Pin(WorkerId),
}

/// Uses that are told at the most.
const MOST_TOLD: usize = 100;

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(digest) => write!(f, "bundle:{digest}"),
            Self::Manifest => f.write_str("manifest"),
            Self::Worker(id) => write!(f, "worker:{id}"),
            Self::Pin(name) => write!(f, "pin:{name}"),
        }
    }
}

impl FromStr for User {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            None if text == "manifest" => Ok(Self::Manifest),
            Some(("bundle", digest)) => digest.parse().map(Self::Bundle).map_err(drop),
            Some(("worker", id)) => id.parse().map(Self::Worker).map_err(drop),
            Some(("pin", name)) => name.parse().map(Self::Pin).map_err(drop),
            _ => Err(()),
        }
    }
}

impl Serialize for User {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Content {
    /// Who uses a bundle or blob of this workspace, at most a hundred of them. Also of a plugin package that a bundle
    /// names and that is not here yet.
    pub async fn users(&self, digest: Digest) -> Result<Vec<User>, ContentError> {
        let keys = self.shared.ledger.keys(&uses_key(&self.workspace, &digest), None, MOST_TOLD + 1).await?;
        if keys.is_empty() && matches!(self.blob_size(digest).await, Err(ContentError::BlobNotFound(_))) {
            return Err(ContentError::BundleNotFound(digest));
        }
        let users = keys.iter().filter_map(|key| key.last().parse().ok()).filter(|user| *user != User::Manifest);
        Ok(users.take(MOST_TOLD).collect())
    }

    /// Keeps a bundle from being removed, under a name. Pinning twice is pinning once.
    pub async fn pin(&self, digest: Digest, name: WorkerId) -> Result<(), ContentError> {
        let key = bundle_key(&self.workspace, &digest);
        for _ in 0..ATTEMPTS {
            let row = self.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            let pin = uses_key(&self.workspace, &digest).part(User::Pin(name.clone()));
            // Written anew, so that a removal that is decided at the same time finds it changed.
            let change = Change::default().expect(&key, Some(&row)).put(&key, &row.value).put(&pin, &Mark {});
            match self.shared.ledger.commit(&self.workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Err(ContentError::Contended)
    }

    /// Takes a pin away. One that is not there is away.
    pub async fn unpin(&self, digest: Digest, name: WorkerId) -> Result<(), ContentError> {
        let pin = uses_key(&self.workspace, &digest).part(User::Pin(name));
        Ok(self.shared.ledger.commit(&self.workspace, Change::default().delete(&pin)).await?)
    }

    /// Removes a bundle that nothing uses. Its revision stays taken, and its blobs are there until
    /// garbage is collected.
    pub async fn remove_bundle(&self, digest: Digest) -> Result<(), ContentError> {
        let tenant = self.shared.tenants.tenant(&self.workspace);
        let _changing = tenant.changing.lock().await;
        let key = bundle_key(&self.workspace, &digest);
        for _ in 0..ATTEMPTS {
            let row = self.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            let users = self.users(digest).await?;
            if !users.is_empty() {
                return Err(ContentError::InUse { digest, users });
            }
            let mut change = Change::default()
                .expect(&key, Some(&row))
                .delete(&key)
                .delete(&uses_key(&self.workspace, &digest).part(User::Manifest))
                .gives_back(Usage { bundles: 1, ..Usage::default() })
                .event(EventKind::BundleRemoved { bundle: digest });
            for blob in self.named_by(digest).await? {
                change = change.delete(&uses_key(&self.workspace, &blob).part(User::Bundle(digest)));
            }
            match self.shared.ledger.commit(&self.workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    self.shared.views.remove(&digest);
                    return Ok(());
                }
            }
        }
        Err(ContentError::Contended)
    }

    /// A stored manifest; none if it is damaged.
    pub(super) async fn manifest_of(&self, digest: Digest) -> Result<Option<bundles::Manifest>, ContentError> {
        match self.blob(digest).await {
            Err(error) if error.is_passing() => Err(error),
            Err(_) => Ok(None),
            Ok(manifest) => Ok(serde_json::from_slice(&manifest).ok()),
        }
    }

    /// The blobs and packages that a stored manifest names. A manifest that is damaged names none that could still
    /// be told; they stay until it is put again.
    async fn named_by(&self, digest: Digest) -> Result<Vec<Digest>, ContentError> {
        let manifest = self.manifest_of(digest).await?;
        let mut named: Vec<Digest> = manifest
            .map(|manifest| manifest.blobs().into_iter().map(|(_, blob)| blob.digest).collect())
            .unwrap_or_default();
        named.sort();
        named.dedup();
        Ok(named)
    }

    /// Declares that a bundle must not be used any more. It stays, so that it cannot come back; its
    /// workers take no more calls, and are stopped. Doing it again finishes what was begun.
    pub async fn revoke_bundle(&self, digest: Digest) -> Result<(), ContentError> {
        self.mark_revoked(digest).await?;
        self.shared.views.remove(&digest);
        let catalogue = Catalogue { content: self.clone() };
        for key in self.shared.ledger.keys(&uses_key(&self.workspace, &digest), None, usize::MAX).await? {
            let Ok(User::Worker(worker)) = key.last().parse() else { continue };
            match catalogue.stop_because(&worker, StopReason::BundleRevoked).await {
                Ok(_) | Err(WorkerError::NotFound(_)) => {}
                Err(WorkerError::Content(error)) => return Err(error),
                Err(_) => return Err(ContentError::Contended),
            }
        }
        Ok(())
    }

    async fn mark_revoked(&self, digest: Digest) -> Result<(), ContentError> {
        let key = bundle_key(&self.workspace, &digest);
        for _ in 0..ATTEMPTS {
            let row = self.shared.ledger.row::<BundleRow>(&key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(digest))?;
            if row.value.revoked_at.is_some() {
                return Ok(());
            }
            let revoked = BundleRow { revoked_at: Some(self.shared.ledger.now()), ..row.value.clone() };
            let change = Change::default()
                .expect(&key, Some(&row))
                .put(&key, &revoked)
                .event(EventKind::BundleRevoked { bundle: digest });
            match self.shared.ledger.commit(&self.workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Err(ContentError::Contended)
    }

    /// Whether a blob is used by anything.
    pub(super) async fn is_used(&self, digest: &Digest) -> Result<bool, ContentError> {
        Ok(!self.shared.ledger.keys(&uses_key(&self.workspace, digest), None, 1).await?.is_empty())
    }

    /// Forgets a blob of this workspace that nothing uses.
    pub(super) async fn disown(&self, digest: Digest, bytes: u64) -> Result<(), ContentError> {
        let key = blob_key(&self.workspace, &digest);
        let change = Change::default()
            .delete(&key)
            .delete(&crate::ledger::holder_key(&digest, &self.workspace))
            .gives_back(Usage::bytes(bytes));
        Ok(self.shared.ledger.commit(&self.workspace, change).await?)
    }
}
