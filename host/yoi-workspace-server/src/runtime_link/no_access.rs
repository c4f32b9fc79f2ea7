//! A Runtime that cannot be used because its token or its certificates cannot be read.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;

use super::{RuntimeLink, SignedManifest};
use crate::link_error::LinkError;

/// A Runtime without access to it. Every operation fails with the code of the cause.
#[derive(Debug)]
pub(crate) struct NoAccess(pub(crate) Code);

impl NoAccess {
    fn fail<T>(&self) -> Result<T, LinkError> {
        Err(LinkError::Unauthorized(self.0))
    }
}

#[async_trait]
impl RuntimeLink for NoAccess {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        self.fail()
    }

    async fn facts(&self, _workspace: &WorkspaceId, _digest: Digest) -> Result<Facts, LinkError> {
        self.fail()
    }

    async fn put_manifest(
        &self,
        _workspace: &WorkspaceId,
        _manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        self.fail()
    }

    async fn has_blob(&self, _workspace: &WorkspaceId, _digest: Digest) -> Result<bool, LinkError> {
        self.fail()
    }

    async fn put_blob(&self, _workspace: &WorkspaceId, _digest: Digest, _content: Bytes) -> Result<(), LinkError> {
        self.fail()
    }

    async fn set_desired(
        &self,
        _workspace: &WorkspaceId,
        _desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        self.fail()
    }
}
