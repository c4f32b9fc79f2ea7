//! A Runtime behind its HTTP API.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use runtime_api::runtime::RuntimeStatus;
use runtime_client::{Client, ClientError, UploadedManifest};

use super::embedded::refused;
use super::{RuntimeLink, SignedManifest};
use crate::link_error::LinkError;

/// A Runtime behind its HTTP API. The token needs the scopes `status`, `read` and `bundles`.
#[derive(Debug, Clone)]
pub struct RemoteRuntime(Client);

impl From<Client> for RemoteRuntime {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl From<ClientError> for LinkError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(_) | ClientError::Interrupted | ClientError::NoTls => Self::Unreachable,
            ClientError::TimedOut { .. } => Self::TimedOut,
            ClientError::Problem(problem) => {
                let acknowledged = problem.details().get("acknowledged").and_then(|value| value.as_u64());
                let acknowledged = acknowledged.and_then(|number| Generation::try_from(number).ok());
                refused(problem.known_code().unwrap_or(Code::UnexpectedAnswer), acknowledged)
            }
            ClientError::InvalidUrl | ClientError::InsecureUrl | ClientError::InvalidToken => {
                Self::Unauthorized(error.known_code().unwrap_or(Code::InvalidConfig))
            }
            ClientError::Unexpected(_)
            | ClientError::BlobsVanished { .. }
            | ClientError::DigestMismatch { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Source => Self::Unsupported,
        }
    }
}

impl RemoteRuntime {
    fn client(&self, workspace: &WorkspaceId) -> Client {
        self.0.in_workspace(workspace.clone())
    }
}

#[async_trait]
impl RuntimeLink for RemoteRuntime {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        Ok(self.0.status().await?)
    }

    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError> {
        Ok(self.client(workspace).facts(digest).await?)
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        let SignedManifest { digest, manifest, envelope } = manifest.clone();
        Ok(match self.client(workspace).put_manifest(digest, manifest, envelope).await? {
            UploadedManifest::Complete(_) => None,
            UploadedManifest::Missing(missing) => Some(missing),
        })
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        // If the Runtime does not tell, the upload does.
        Ok(self.client(workspace).has_blob(digest).await?.unwrap_or(false))
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        self.client(workspace).put_blob(digest, content).await?;
        Ok(())
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        Ok(self.client(workspace).set_desired(desired).await?)
    }
}
