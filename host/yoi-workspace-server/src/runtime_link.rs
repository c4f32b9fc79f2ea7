//! Access to a Runtime, the same for an embedded and a remote one.

mod embedded;
mod no_access;
mod remote;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bundles::{Digest, ToolName, WorkspaceId};
use bytes::Bytes;
use content_store::records::Page;
use futures_util::stream::BoxStream;
use host_policy::Facts;
use runtime_api::call::CallResult;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::event::{Cursor, PositionedItem};
use runtime_api::history::Entry;
use runtime_api::runtime::RuntimeStatus;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};
use serde_json::Value;

use crate::link_error::LinkError;
use crate::pull::PulledRuntime;

pub use embedded::EmbeddedRuntime;
pub(crate) use no_access::NoAccess;
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

/// Events of a workspace, with their positions.
pub type EventStream = BoxStream<'static, PositionedItem>;

/// A Runtime. Every operation ends within a time limit of its implementation. All operations except
/// [`call_tool`](Self::call_tool) can be repeated. An implementation without operations on workers does not support them.
#[async_trait]
pub trait RuntimeLink: fmt::Debug + Send + Sync + 'static {
    /// Returns the queue of operations, if the Runtime polls for them.
    fn as_pulled(&self) -> Option<&PulledRuntime> {
        None
    }

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

    /// Creates a worker, or returns the one that the same request created before.
    async fn create_worker(
        &self,
        _workspace: &WorkspaceId,
        _id: &WorkerId,
        _request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns a worker.
    async fn worker(&self, _workspace: &WorkspaceId, _id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns the specification of a worker, as JSON.
    async fn worker_spec(&self, _workspace: &WorkspaceId, _id: &WorkerId) -> Result<Value, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns a page of at most `limit` workers after the worker `after`, ordered by id.
    async fn workers(
        &self,
        _workspace: &WorkspaceId,
        _after: Option<&WorkerId>,
        _limit: usize,
    ) -> Result<Page<WorkerSummary>, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Calls a tool of a worker. `call` is a [`ToolCall`](runtime_api::call::ToolCall) as JSON, which the Runtime parses.
    async fn call_tool(
        &self,
        _workspace: &WorkspaceId,
        _id: &WorkerId,
        _tool: &ToolName,
        _call: Bytes,
    ) -> Result<CallResult, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns a page of at most `limit` entries of a worker's history after the entry `after`.
    async fn history(
        &self,
        _workspace: &WorkspaceId,
        _id: &WorkerId,
        _after: u64,
        _limit: usize,
    ) -> Result<Page<Entry>, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns the services of a worker, ordered by plugin.
    async fn worker_services(
        &self,
        _workspace: &WorkspaceId,
        _id: &WorkerId,
    ) -> Result<Vec<ServiceSummary>, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns the record of a worker's resolution.
    async fn record(&self, _workspace: &WorkspaceId, _digest: Digest) -> Result<Bytes, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Returns the past and future events of a workspace after a cursor. The stream ends at the first error.
    async fn events(&self, _workspace: &WorkspaceId, _after: Cursor) -> Result<EventStream, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Stops a worker permanently.
    async fn stop_worker(&self, _workspace: &WorkspaceId, _id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        Err(LinkError::Unsupported)
    }

    /// Removes a stopped worker with its history.
    async fn remove_worker(&self, _workspace: &WorkspaceId, _id: &WorkerId) -> Result<(), LinkError> {
        Err(LinkError::Unsupported)
    }
}
