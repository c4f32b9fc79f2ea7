//! A Runtime in the process of the Backend.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;
use worker_runtime::Runtime;
use worker_runtime::blob_store::source_from;
use worker_runtime::content::{ContentError, PutBundle};

use super::{RuntimeLink, SignedManifest};
use crate::link_error::LinkError;

/// A Runtime in this process.
#[derive(Debug, Clone)]
pub struct EmbeddedRuntime(Runtime);

impl From<Runtime> for EmbeddedRuntime {
    fn from(runtime: Runtime) -> Self {
        Self(runtime)
    }
}

impl From<ContentError> for LinkError {
    fn from(error: ContentError) -> Self {
        let acknowledged = match error {
            ContentError::GenerationOlder { acknowledged, .. } => Some(acknowledged),
            _ => None,
        };
        refused(error.code(), acknowledged)
    }
}

/// Returns the error for a code of a Runtime.
pub(super) fn refused(code: Code, acknowledged: Option<runtime_api::desired::Generation>) -> LinkError {
    match code {
        Code::Unauthenticated | Code::TokenExpired | Code::ScopeMissing => LinkError::Unauthorized(code),
        Code::NotFound | Code::MethodNotAllowed | Code::UnexpectedAnswer => LinkError::Unsupported,
        code if matches!(code.http_status(), 429 | 503) => LinkError::Busy(code),
        code => LinkError::Refused { code, acknowledged },
    }
}

#[async_trait]
impl RuntimeLink for EmbeddedRuntime {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        let management = self.0.management();
        Ok(management.status(&management.workspaces()).await?)
    }

    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError> {
        let facts = self.0.management().facts(workspace);
        // The config was changed after the digest was read.
        if facts.digest() == digest { Ok(facts) } else { Err(LinkError::Busy(Code::DigestMismatch)) }
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        let content = self.0.content(workspace);
        let put = match &manifest.envelope {
            Some(envelope) => content.put_signed_bundle(manifest.digest, envelope.clone()).await?,
            None => content.put_manifest(manifest.digest, manifest.manifest.clone()).await?,
        };
        Ok(match put {
            PutBundle::Stored { .. } => None,
            PutBundle::Missing(missing) => Some(missing.into_iter().collect()),
        })
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        match self.0.content(workspace).confirm_blob(digest).await {
            Ok(_) => Ok(true),
            Err(ContentError::BlobNotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        let bytes = content.len() as u64;
        self.0.content(workspace).put_blob(digest, source_from(content), Some(bytes)).await?;
        Ok(())
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        Ok(self.0.content(workspace).set_desired(*desired).await?)
    }
}
