//! The bundles of the Backend. They are kept by a Runtime without grants, so that the Backend accepts exactly what a Runtime
//! accepts: the same verification, the same limits, the same store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use backend_api::body::{Publication, WorkspaceMetadata};
use bundles::canonical::to_canonical;
use bundles::{Digest, Manifest, Revision, WorkspaceId};
use bytes::Bytes;
use runtime_api::Code;
use runtime_api::bundle::BundleSummary;
use tokio::sync::OnceCell;
use worker_runtime::Runtime;
use worker_runtime::content::{ContentError, PutBundle};

use crate::delivery::BundleSource;
use crate::link_error::LinkError;
use crate::runtime_link::SignedManifest;

/// The bundles of all workspaces.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) runtime: Runtime,
    /// Newest result of [`metadata`](Self::metadata) for each workspace, because a manifest can be large.
    metadata: Mutex<BTreeMap<WorkspaceId, (Digest, WorkspaceMetadata)>>,
    /// Blobs that are being delivered. A rollout sends the same blobs to hundreds of Runtimes, and a package has up to 40 MiB.
    in_delivery: Mutex<HashMap<Digest, Weak<OnceCell<Bytes>>>>,
}

/// Content of a blob that several deliveries share.
struct SharedBlob(Arc<OnceCell<Bytes>>);

impl AsRef<[u8]> for SharedBlob {
    fn as_ref(&self) -> &[u8] {
        self.0.get().map_or(&[], |content| content)
    }
}

impl Catalogue {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime, metadata: Mutex::default(), in_delivery: Mutex::default() }
    }

    /// Returns what a bundle says about its workspace. `None` if the bundle cannot be read.
    pub(crate) async fn metadata(&self, workspace: &WorkspaceId, digest: Digest) -> Option<WorkspaceMetadata> {
        let known = || self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known().get(workspace).filter(|(of, _)| *of == digest) {
            return Some(found.clone());
        }
        let manifest = self.runtime.content(workspace).manifest(digest).await.ok()?;
        let Manifest { workspace: about, .. } = serde_json::from_slice(&manifest).ok()?;
        let bundles::manifest::Workspace { name, description, repository, labels, .. } = about;
        let metadata = WorkspaceMetadata { name, description, repository, labels };
        known().insert(workspace.clone(), (digest, metadata.clone()));
        Some(metadata)
    }

    /// Stores a bundle as the newest revision, if it differs from the newest one in more than revision, time and provenance.
    pub(crate) async fn publish(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Publication, ContentError> {
        let content = self.runtime.content(workspace);
        let newest = self.newest(workspace).await?;
        if let Some((_, newest)) = newest.filter(|(_, newest)| *newest != manifest.digest)
            && let Some(meaning) = meaning(&manifest.manifest)
            && self::meaning(&content.manifest(newest).await?) == Some(meaning)
        {
            return Ok(Publication::Unchanged { bundle: content.bundle(newest).await? });
        }
        let put = match &manifest.envelope {
            Some(envelope) => content.put_signed_bundle(manifest.digest, envelope.clone()).await?,
            None => content.put_manifest(manifest.digest, manifest.manifest.clone()).await?,
        };
        Ok(match put {
            PutBundle::Missing(missing) => Publication::Missing { missing: missing.into_iter().collect() },
            PutBundle::Stored { known } => {
                Publication::Published { bundle: content.bundle(manifest.digest).await?, new: !known }
            }
        })
    }

    /// Returns the place of a blob that other deliveries may have read already.
    fn shared_blob(&self, digest: Digest) -> Arc<OnceCell<Bytes>> {
        let mut blobs = self.in_delivery.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = blobs.get(&digest).and_then(Weak::upgrade) {
            return shared;
        }
        blobs.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(OnceCell::new());
        blobs.insert(digest, Arc::downgrade(&shared));
        shared
    }

    /// Returns the newest revision with its bundle, if the bundle can be used.
    async fn newest(&self, workspace: &WorkspaceId) -> Result<Option<(Revision, Digest)>, ContentError> {
        let content = self.runtime.content(workspace);
        let Some((revision, digest)) = content.newest_revision().await? else { return Ok(None) };
        match content.bundle(digest).await {
            Ok(bundle) => Ok(bundle.revoked_at.is_none().then_some((revision, digest))),
            Err(ContentError::BundleNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns all bundles of a workspace, the newest revision first.
    pub(crate) async fn bundles(&self, workspace: &WorkspaceId) -> Result<Vec<BundleSummary>, ContentError> {
        let mut bundles = self.runtime.content(workspace).bundles(None, usize::MAX).await?;
        bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.revision));
        Ok(bundles)
    }
}

/// Returns the digest of what a manifest means: all of it but revision, time and provenance. `None` if it is not a manifest.
fn meaning(manifest: &[u8]) -> Option<Digest> {
    let mut value = serde_json::from_slice::<serde_json::Value>(manifest).ok()?;
    let fields = value.as_object_mut()?;
    for field in ["revision", "created_at", "provenance"] {
        fields.remove(field);
    }
    to_canonical(&value).ok().map(Digest::of)
}

/// Returns the revision of a manifest. `None` if it is not a manifest.
pub(crate) fn revision(manifest: &[u8]) -> Option<Revision> {
    serde_json::from_slice::<Manifest>(manifest).ok().map(|manifest| manifest.revision)
}

#[async_trait]
impl BundleSource for Catalogue {
    async fn manifest(&self, workspace: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError> {
        let content = self.runtime.content(workspace);
        let unreadable = |error: ContentError| LinkError::Source(error.code());
        let manifest = content.manifest(digest).await.map_err(unreadable)?;
        let envelope = content.envelope(digest).await.map_err(unreadable)?;
        if content.bundle(digest).await.map_err(unreadable)?.revoked_at.is_some() {
            return Err(LinkError::Source(Code::BundleRevoked));
        }
        Ok(SignedManifest { digest, manifest, envelope })
    }

    async fn blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Option<Bytes>, LinkError> {
        let content = self.runtime.content(workspace);
        // Checked for each delivery, because another workspace may share the content.
        let read = match content.blob_size(digest).await {
            Ok(_) => {
                let shared = self.shared_blob(digest);
                shared
                    .get_or_try_init(|| content.blob(digest))
                    .await
                    .map(|_| Bytes::from_owner(SharedBlob(shared.clone())))
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(content) => Ok(Some(content)),
            Err(ContentError::BlobNotFound(_)) => Ok(None),
            Err(error) => Err(LinkError::Source(error.code())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_revision_time_and_provenance_have_no_meaning() {
        let one =
            br#"{"revision":"1","created_at":"2026-01-01T00:00:00Z","language":"en","provenance":{"source":"a"}}"#;
        let same = br#"{"revision":"2","created_at":"2026-02-01T00:00:00Z","language":"en"}"#;
        let other = br#"{"revision":"1","created_at":"2026-01-01T00:00:00Z","language":"de"}"#;
        assert!(meaning(one).is_some() && meaning(one) == meaning(same) && meaning(one) != meaning(other));
        assert_eq!((meaning(b"[]"), meaning(b"{")), (None, None));
    }
}
