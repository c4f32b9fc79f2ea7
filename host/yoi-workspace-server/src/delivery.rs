//! Brings a bundle to a Runtime: only what the Runtime lacks, and only while the policy allows it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bundles::{Digest, Manifest, WorkspaceId};
use bytes::Bytes;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};

use crate::link_error::LinkError;
use crate::runtime_link::{RuntimeLink, SignedManifest};

/// Maximum number of uploads of a manifest. The first one usually reports missing blobs. If a further one does, the Runtime
/// was restarted or blobs were removed meanwhile.
const MAX_MANIFEST_UPLOADS: usize = 8;

/// Where the Backend reads what it delivers.
#[async_trait]
pub trait BundleSource: Send + Sync {
    /// Returns the manifest of a bundle of the workspace.
    async fn manifest(&self, workspace: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError>;

    /// Returns a blob of the workspace. `None` if the workspace does not have it.
    async fn blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Option<Bytes>, LinkError>;
}

/// Brings the desired bundle to a Runtime and sets its desired state. `is_allowed` is asked again before each transfer, so
/// that a change of the policy ends a delivery.
pub async fn deliver(
    source: &dyn BundleSource,
    link: &dyn RuntimeLink,
    workspace: &WorkspaceId,
    desired: &DesiredBundle,
    is_allowed: impl Fn() -> bool + Send + Sync,
) -> Result<AcknowledgedBundle, LinkError> {
    let check = || if is_allowed() { Ok(()) } else { Err(LinkError::NotAllowed) };
    check()?;
    let signed = source.manifest(workspace, desired.bundle).await?;
    let manifest: Manifest =
        serde_json::from_slice(&signed.manifest).map_err(|_| LinkError::Source(Code::BundleDamaged))?;
    // Before the bundle, so that workers have their plugins as soon as the bundle is there. A package that the Backend does
    // not have may be on the Runtime already; otherwise the Runtime reports it as missing.
    let packages: BTreeSet<Digest> = manifest.packages().map(|(_, package)| package.digest).collect();
    for digest in packages {
        check()?;
        if !link.has_blob(workspace, digest).await?
            && let Some(content) = source.blob(workspace, digest).await?
        {
            check()?;
            link.put_blob(workspace, digest, content).await?;
        }
    }
    let carried = manifest.carried();
    let mut sent = BTreeMap::new();
    for _ in 0..MAX_MANIFEST_UPLOADS {
        check()?;
        let Some(missing) = link.put_manifest(workspace, &signed).await? else {
            check()?;
            return link.set_desired(workspace, desired).await;
        };
        for digest in missing {
            // A Runtime may only ask for blobs of this bundle, and not again and again.
            let times = sent.entry(digest).or_insert(0_usize);
            *times += 1;
            if !carried.contains(&digest) || *times >= MAX_MANIFEST_UPLOADS {
                return Err(LinkError::Unsupported);
            }
            let content = source.blob(workspace, digest).await?.ok_or(LinkError::Source(Code::BlobNotFound))?;
            check()?;
            link.put_blob(workspace, digest, content).await?;
        }
    }
    Err(LinkError::Busy(Code::BlobsVanished))
}
