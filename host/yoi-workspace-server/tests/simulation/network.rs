//! The network between the Backend and the simulated Runtimes, as the Backend sees it: a [`RuntimeLink`] whose requests wait
//! in an outbox until the simulation has decided what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use host_policy::Facts;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;
use yoi_workspace_server::LinkError;
use yoi_workspace_server::runtime_link::{RuntimeLink, SignedManifest};

/// Number of a request.
pub type RequestId = u64;

/// A request to a Runtime.
#[derive(Debug, Clone)]
pub enum Request {
    Status,
    HasBlob(WorkspaceId, Digest),
    PutBlob(WorkspaceId, Digest, Bytes),
    PutManifest(WorkspaceId, SignedManifest),
    SetDesired(WorkspaceId, DesiredBundle),
}

impl Request {
    /// Returns the workspace. `None` for a request that carries nothing of a workspace.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Status => None,
            Self::HasBlob(workspace, ..)
            | Self::PutBlob(workspace, ..)
            | Self::PutManifest(workspace, ..)
            | Self::SetDesired(workspace, ..) => Some(workspace),
        }
    }

    /// Returns the size of the body in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Status | Self::HasBlob(..) | Self::SetDesired(..) => 0,
            Self::PutBlob(_, _, content) => content.len(),
            Self::PutManifest(_, manifest) => manifest.manifest.len(),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::HasBlob(..) => "has-blob",
            Self::PutBlob(..) => "put-blob",
            Self::PutManifest(..) => "put-manifest",
            Self::SetDesired(..) => "set-desired",
        }
    }
}

/// A response of a Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    Status(Box<RuntimeStatus>),
    HasBlob(bool),
    BlobStored,
    Manifest(Option<BTreeSet<Digest>>),
    Acknowledged(AcknowledgedBundle),
}

/// Result of a request.
pub type Reply = Result<Response, LinkError>;

/// A request that was sent.
#[derive(Debug)]
pub struct SentRequest {
    pub id: RequestId,
    pub task: u64,
    pub runtime: usize,
    pub request: Request,
}

#[derive(Debug, Default)]
struct Outbox {
    /// Task that is being polled.
    task: u64,
    last: RequestId,
    sent: Vec<SentRequest>,
    replies: BTreeMap<RequestId, Reply>,
}

/// Requests and replies of all links.
#[derive(Debug, Clone, Default)]
pub struct Network(Arc<Mutex<Outbox>>);

impl Network {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls a task. Its requests are in [`take_sent`](Self::take_sent) afterwards.
    pub fn poll<F: Future + ?Sized>(&self, task: u64, work: Pin<&mut F>) -> Poll<F::Output> {
        self.outbox().task = task;
        work.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    /// Returns the requests that were sent since the last call.
    pub fn take_sent(&self) -> Vec<SentRequest> {
        std::mem::take(&mut self.outbox().sent)
    }

    /// Completes a request. Its task must be polled afterwards.
    pub fn reply(&self, id: RequestId, reply: Reply) {
        self.outbox().replies.insert(id, reply);
    }

    /// Returns the link to a Runtime.
    pub fn link(&self, runtime: usize) -> SimulatedLink {
        SimulatedLink { network: self.clone(), runtime }
    }
}

/// Access to a simulated Runtime.
#[derive(Debug, Clone)]
pub struct SimulatedLink {
    network: Network,
    runtime: usize,
}

impl SimulatedLink {
    async fn send(&self, request: Request) -> Reply {
        let id = {
            let mut outbox = self.network.outbox();
            outbox.last += 1;
            let (id, task) = (outbox.last, outbox.task);
            outbox.sent.push(SentRequest { id, task, runtime: self.runtime, request });
            id
        };
        std::future::poll_fn(|_| match self.network.outbox().replies.remove(&id) {
            Some(reply) => Poll::Ready(reply),
            None => Poll::Pending,
        })
        .await
    }
}

#[async_trait]
impl RuntimeLink for SimulatedLink {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        match self.send(Request::Status).await? {
            Response::Status(status) => Ok(*status),
            _ => Err(LinkError::Unsupported),
        }
    }

    async fn facts(&self, _: &WorkspaceId, _: Digest) -> Result<Facts, LinkError> {
        Err(LinkError::Unsupported)
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        match self.send(Request::PutManifest(workspace.clone(), manifest.clone())).await? {
            Response::Manifest(missing) => Ok(missing),
            _ => Err(LinkError::Unsupported),
        }
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        match self.send(Request::HasBlob(workspace.clone(), digest)).await? {
            Response::HasBlob(has_blob) => Ok(has_blob),
            _ => Err(LinkError::Unsupported),
        }
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        match self.send(Request::PutBlob(workspace.clone(), digest, content)).await? {
            Response::BlobStored => Ok(()),
            _ => Err(LinkError::Unsupported),
        }
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        match self.send(Request::SetDesired(workspace.clone(), *desired)).await? {
            Response::Acknowledged(state) => Ok(state),
            _ => Err(LinkError::Unsupported),
        }
    }
}
