//! A Runtime behind its HTTP API.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bundles::{Digest, ToolName, WorkspaceId};
use bytes::Bytes;
use content_store::records::Page;
use futures_util::stream::{self, StreamExt};
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::body::{HistoryPage, WorkerPage};
use runtime_api::call::CallResult;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::event::{Cursor, PositionedItem, SubscriptionItem};
use runtime_api::history::Entry;
use runtime_api::runtime::RuntimeStatus;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};
use runtime_client::{Client, ClientError, Events, StreamItem, UploadedManifest};
use serde_json::Value;

use super::{EventStream, RuntimeLink, SignedManifest};
use crate::link_error::LinkError;

/// A Runtime behind its HTTP API. The token needs the scopes `status`, `read` and `bundles`, and for workers `workers` and
/// `call`.
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
                Self::of_problem(problem.known_code().unwrap_or(Code::UnexpectedAnswer), problem.details())
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

    async fn create_worker(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, LinkError> {
        Ok(self.client(workspace).create_worker(id, request).await?)
    }

    async fn worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Ok(self.client(workspace).worker(id).await?)
    }

    async fn worker_spec(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Value, LinkError> {
        Ok(self.client(workspace).worker_spec(id).await?)
    }

    async fn workers(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> Result<Page<WorkerSummary>, LinkError> {
        let WorkerPage { workers, next } = self.client(workspace).workers_page(after, limit).await?;
        Ok(Page { items: workers, more: next.is_some() })
    }

    async fn call_tool(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        tool: &ToolName,
        call: Bytes,
    ) -> Result<CallResult, LinkError> {
        Ok(self.client(workspace).call_json(id, tool, call).await?)
    }

    async fn history(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        after: u64,
        limit: usize,
    ) -> Result<Page<Entry>, LinkError> {
        let HistoryPage { entries, next } = self.client(workspace).history_page(id, after, limit).await?;
        Ok(Page { items: entries, more: next.is_some() })
    }

    async fn worker_services(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Vec<ServiceSummary>, LinkError> {
        Ok(self.client(workspace).worker_services(id).await?)
    }

    async fn record(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Bytes, LinkError> {
        let max_bytes = worker_runtime::RECORD_BOUNDS.bytes.1;
        Ok(self.client(workspace).content(["v1", "blobs", &digest.to_string()], digest, max_bytes).await?)
    }

    async fn events(&self, workspace: &WorkspaceId, after: Cursor) -> Result<EventStream, LinkError> {
        let next = |mut events: Events| async move {
            loop {
                let item = match events.next().await.ok()? {
                    StreamItem::Event(event) => SubscriptionItem::Event(event),
                    StreamItem::Gap { after, first_kept } => SubscriptionItem::Gap { after, first_kept },
                    // A newer Runtime has events that this program does not know.
                    StreamItem::Other { .. } => continue,
                };
                return Some((PositionedItem { cursor: events.cursor(), item }, events));
            }
        };
        Ok(stream::unfold(self.client(workspace).events(after), next).boxed())
    }

    async fn stop_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Ok(self.client(workspace).stop_worker(id).await?)
    }

    async fn remove_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<(), LinkError> {
        Ok(self.client(workspace).remove_worker(id).await?)
    }
}
