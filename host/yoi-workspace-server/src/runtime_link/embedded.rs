//! A Runtime in the process of the Backend.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bundles::{Digest, ToolName, WorkspaceId};
use bytes::Bytes;
use content_store::records::Page;
use futures_util::StreamExt;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::call::CallResult;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::event::{Cursor, PositionedItem};
use runtime_api::history::Entry;
use runtime_api::runtime::RuntimeStatus;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};
use serde_json::Value;
use worker_runtime::blob_store::source_from;
use worker_runtime::content::{ContentError, PutBundle};
use worker_runtime::{Runtime, WorkerError};

use super::{EventStream, RuntimeLink, SignedManifest};
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
        Self::of_library(error)
    }
}

impl From<WorkerError> for LinkError {
    fn from(error: WorkerError) -> Self {
        Self::of_library(error)
    }
}

impl EmbeddedRuntime {
    /// Returns the events of a workspace after a cursor that exist now, at most `limit`.
    pub(crate) async fn available_events(
        &self,
        workspace: &WorkspaceId,
        after: Cursor,
        limit: usize,
    ) -> Result<Vec<PositionedItem>, LinkError> {
        let mut subscription = self.0.observation(workspace).subscribe(after).await.map_err(LinkError::of_library)?;
        subscription.available(limit).await.map_err(LinkError::of_library)
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

    async fn create_worker(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, LinkError> {
        Ok(self.0.catalogue(workspace).create(id.clone(), request.clone()).await?)
    }

    async fn worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Ok(self.0.catalogue(workspace).get(id).await?)
    }

    async fn worker_spec(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Value, LinkError> {
        let spec = self.0.catalogue(workspace).spec(id).await?;
        serde_json::to_value(&spec).map_err(|_| LinkError::Unsupported)
    }

    async fn workers(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> Result<Page<WorkerSummary>, LinkError> {
        Ok(self.0.catalogue(workspace).list_page(after, limit).await?)
    }

    async fn call_tool(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        tool: &ToolName,
        call: Bytes,
    ) -> Result<CallResult, LinkError> {
        self.0.interaction(workspace).call_json(id, tool, &call).await.map_err(LinkError::of_library)
    }

    async fn history(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        after: u64,
        limit: usize,
    ) -> Result<Page<Entry>, LinkError> {
        Ok(self.0.observation(workspace).history_page(id, after, limit).await?)
    }

    async fn worker_services(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Vec<ServiceSummary>, LinkError> {
        Ok(self.0.observation(workspace).services(id).await?)
    }

    async fn record(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Bytes, LinkError> {
        Ok(self.0.content(workspace).blob(digest).await?)
    }

    async fn events(&self, workspace: &WorkspaceId, after: Cursor) -> Result<EventStream, LinkError> {
        let items = self.0.observation(workspace).subscribe(after).await.map_err(LinkError::of_library)?.into_stream();
        let items = items.take_while(|item| std::future::ready(item.is_ok()));
        Ok(items.filter_map(|item| std::future::ready(item.ok())).boxed())
    }

    async fn stop_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Ok(self.0.catalogue(workspace).stop(id).await?)
    }

    async fn remove_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<(), LinkError> {
        Ok(self.0.catalogue(workspace).remove(id).await?)
    }
}
