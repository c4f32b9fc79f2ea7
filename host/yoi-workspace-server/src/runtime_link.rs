//! Access to a Runtime, the same for an embedded and a remote one.

mod embedded;
mod remote;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;

use crate::link_error::LinkError;

pub use embedded::EmbeddedRuntime;
pub use remote::RemoteRuntime;

/// A manifest, and its envelope if it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// Digest of the manifest, which is the digest of the bundle.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Bytes,
    /// The envelope with the signatures.
    pub envelope: Option<Bytes>,
}

/// A Runtime. Every operation ends within a time limit of its implementation, and can be repeated.
#[async_trait]
pub trait RuntimeLink: fmt::Debug + Send + Sync + 'static {
    /// Returns the status of the Runtime, with that of each workspace that the Backend may use there.
    async fn status(&self) -> Result<RuntimeStatus, LinkError>;

    /// Returns the facts about the host of the Runtime that have this digest.
    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError>;

    /// Stores a bundle, or returns the blobs that the Runtime lacks. Nothing is stored in that case.
    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError>;

    /// Returns `true` if the workspace has the blob on the Runtime. The blob is then kept for some hours.
    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError>;

    /// Stores a blob.
    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError>;

    /// Tells the Runtime which bundle the workspace should use.
    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError>;
}
