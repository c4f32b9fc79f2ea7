//! [`PulledRuntime`]: the operations of a link as operations of the queue.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend_api::pull::{Answer, Operation, OperationId, PollRequest, SentOperation};
use bundles::{Digest, ToolName, WorkspaceId};
use bytes::Bytes;
use content_store::records::Page;
use futures_util::stream::{self, StreamExt};
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
use tokio::time::sleep;

use super::queue::{PullLimits, Queue, Superseded};
use crate::link_error::LinkError;
use crate::runtime_link::{EventStream, RuntimeLink, SignedManifest};

/// Maximum number of items of a page.
const MAX_PAGE_ITEMS: u16 = 1000;

/// Events that are requested at once.
const MAX_EVENTS: u16 = 256;

/// Time after which a Runtime is asked for further events. A request that waited would take the place of another operation.
const EVENT_INTERVAL: Duration = Duration::from_secs(2);

/// A Runtime that polls the Backend. Clones share their queue.
#[derive(Debug, Clone)]
pub struct PulledRuntime(Arc<Queue>);

impl Default for PulledRuntime {
    fn default() -> Self {
        Self::new(PullLimits::default())
    }
}

/// Returns the value of an answer if the answer is of the right kind.
macro_rules! expect {
    ($answer:expr, $pattern:pat => $value:expr) => {
        match $answer? {
            $pattern => Ok($value),
            _ => Err(LinkError::Unsupported),
        }
    };
}

impl PulledRuntime {
    /// Creates the access to a Runtime that has not polled yet.
    pub fn new(limits: PullLimits) -> Self {
        Self(Arc::new(Queue::new(limits)))
    }

    /// Accepts an answer, and returns the next operations if the request waits for them. Only operations in workspaces that
    /// the policy allows are passed on.
    pub async fn poll(
        &self,
        request: PollRequest,
        is_allowed: impl Fn(&WorkspaceId) -> bool,
    ) -> Result<Vec<SentOperation>, Superseded> {
        if let Some(answer) = request.answer {
            self.0.answer(request.poller, answer)?;
        }
        if request.wait { self.0.poll(request.poller, &request.held, is_allowed).await } else { Ok(Vec::new()) }
    }

    /// Returns `true` if the Runtime has not polled for so long that it counts as unreachable.
    pub fn is_silent(&self) -> bool {
        self.0.is_silent()
    }

    /// Returns the blob of an operation that is in progress, with its workspace.
    pub fn content(&self, operation: OperationId) -> Option<(WorkspaceId, Bytes)> {
        self.0.content(operation)
    }

    async fn ask(&self, operation: Operation) -> Result<Answer, LinkError> {
        self.0.perform(operation, None, self.0.limits.response).await
    }

    async fn available_events(&self, workspace: &WorkspaceId, after: Cursor) -> Result<Vec<PositionedItem>, LinkError> {
        let operation = Operation::Events { workspace: workspace.clone(), after, limit: MAX_EVENTS };
        let items = expect!(self.ask(operation).await, Answer::Events(items) => items)?;
        if items.len() <= MAX_EVENTS.into() { Ok(items) } else { Err(LinkError::Unsupported) }
    }

    async fn work(&self, operation: Operation, content: Option<Bytes>) -> Result<Answer, LinkError> {
        self.0.perform(operation, content, self.0.limits.work).await
    }
}

fn text(bytes: &Bytes) -> Result<String, LinkError> {
    let refused = |_| LinkError::of_refusal(Code::InvalidRequest, None, Box::default());
    String::from_utf8(bytes.to_vec()).map_err(refused)
}

fn limit(limit: usize) -> u16 {
    u16::try_from(limit).unwrap_or(MAX_PAGE_ITEMS).min(MAX_PAGE_ITEMS)
}

/// Checks that a worker is the requested one.
fn checked(id: &WorkerId, worker: WorkerSummary) -> Result<WorkerSummary, LinkError> {
    if worker.id == *id { Ok(worker) } else { Err(LinkError::Unsupported) }
}

/// Checks that the items of a page are in order and after `after`.
fn page<T, K: Ord>(
    items: Vec<T>,
    more: bool,
    after: Option<&K>,
    limit: usize,
    key: impl Fn(&T) -> &K,
) -> Result<Page<T>, LinkError> {
    let is_after = items.first().is_none_or(|first| after.is_none_or(|after| key(first) > after));
    let is_ordered = items.is_sorted_by(|one, next| key(one) < key(next));
    let is_page = is_after && is_ordered && items.len() <= limit && !(more && items.is_empty());
    if is_page { Ok(Page { items, more }) } else { Err(LinkError::Unsupported) }
}

#[async_trait]
impl RuntimeLink for PulledRuntime {
    fn as_pulled(&self) -> Option<&Self> {
        Some(self)
    }

    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        expect!(self.ask(Operation::Status {}).await, Answer::Status(status) => status)
    }

    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError> {
        let operation = Operation::Facts { workspace: workspace.clone(), digest };
        let json: String = expect!(self.ask(operation).await, Answer::Facts(json) => json)?;
        let facts = Facts::from_json(json.as_bytes()).map_err(|_| LinkError::Unsupported)?;
        if facts.digest() == digest { Ok(facts) } else { Err(LinkError::Unsupported) }
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        let SignedManifest { digest, manifest, envelope } = manifest;
        let (signed, text) = (envelope.is_some(), text(envelope.as_ref().unwrap_or(manifest))?);
        let operation = Operation::PutManifest { workspace: workspace.clone(), digest: *digest, text, signed };
        let missing = expect!(self.work(operation, None).await, Answer::Missing(missing) => missing)?;
        Ok(Some(missing).filter(|missing| !missing.is_empty()))
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        let operation = Operation::HasBlob { workspace: workspace.clone(), digest };
        expect!(self.ask(operation).await, Answer::HasBlob(has) => has)
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        let operation = Operation::PutBlob { workspace: workspace.clone(), digest, bytes: content.len() as u64 };
        expect!(self.work(operation, Some(content)).await, Answer::Done => ())
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        let operation = Operation::SetDesired { workspace: workspace.clone(), desired: *desired };
        let state = expect!(self.work(operation, None).await, Answer::Acknowledged(state) => state)?;
        let is_right = (state.generation, state.bundle) == (desired.generation, desired.bundle);
        if is_right { Ok(state) } else { Err(LinkError::Unsupported) }
    }

    async fn create_worker(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, LinkError> {
        let (workspace, worker) = (workspace.clone(), id.clone());
        let operation = Operation::CreateWorker { workspace, worker, request: request.clone() };
        let (worker, new) =
            expect!(self.work(operation, None).await, Answer::Created { worker, new } => (worker, new))?;
        Ok(CreatedWorker { worker: checked(id, worker)?, new, findings: Vec::new() })
    }

    async fn worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        let operation = Operation::Worker { workspace: workspace.clone(), worker: id.clone() };
        checked(id, expect!(self.ask(operation).await, Answer::Worker(worker) => worker)?)
    }

    async fn worker_spec(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Value, LinkError> {
        let operation = Operation::WorkerSpec { workspace: workspace.clone(), worker: id.clone() };
        expect!(self.ask(operation).await, Answer::Spec(spec) => spec)
    }

    async fn workers(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> Result<Page<WorkerSummary>, LinkError> {
        let limit = self::limit(limit);
        let operation = Operation::Workers { workspace: workspace.clone(), after: after.cloned(), limit };
        let (workers, more) = expect!(self.ask(operation).await, Answer::Workers { workers, more } => (workers, more))?;
        page(workers, more, after, limit.into(), |worker| &worker.id)
    }

    async fn call_tool(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        tool: &ToolName,
        call: Bytes,
    ) -> Result<CallResult, LinkError> {
        let (workspace, worker) = (workspace.clone(), id.clone());
        let operation = Operation::CallTool { workspace, worker, tool: tool.clone(), call: text(&call)? };
        expect!(self.work(operation, None).await, Answer::Called(result) => result)
    }

    async fn history(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        after: u64,
        limit: usize,
    ) -> Result<Page<Entry>, LinkError> {
        let limit = self::limit(limit);
        let operation = Operation::History { workspace: workspace.clone(), worker: id.clone(), after, limit };
        let (entries, more) = expect!(self.ask(operation).await, Answer::History { entries, more } => (entries, more))?;
        page(entries, more, Some(&after), limit.into(), |entry| &entry.number)
    }

    async fn worker_services(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Vec<ServiceSummary>, LinkError> {
        let operation = Operation::WorkerServices { workspace: workspace.clone(), worker: id.clone() };
        expect!(self.ask(operation).await, Answer::Services(services) => services)
    }

    async fn record(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Bytes, LinkError> {
        let operation = Operation::Record { workspace: workspace.clone(), digest };
        let record: String = expect!(self.ask(operation).await, Answer::Record(text) => text)?;
        let record = Bytes::from(record);
        if Digest::of(&record) == digest { Ok(record) } else { Err(LinkError::Unsupported) }
    }

    async fn events(&self, workspace: &WorkspaceId, after: Cursor) -> Result<EventStream, LinkError> {
        // The first request is sent here, so that its error is returned.
        let first = self.available_events(workspace, after).await?;
        let state = (self.clone(), workspace.clone(), after, VecDeque::from(first));
        let next = |(link, workspace, after, mut items): (Self, _, _, VecDeque<PositionedItem>)| async move {
            loop {
                if let Some(item) = items.pop_front() {
                    let after = item.cursor;
                    return Some((item, (link, workspace, after, items)));
                }
                sleep(EVENT_INTERVAL).await;
                items = link.available_events(&workspace, after).await.ok()?.into();
            }
        };
        Ok(stream::unfold(state, next).boxed())
    }

    async fn stop_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        let operation = Operation::StopWorker { workspace: workspace.clone(), worker: id.clone() };
        checked(id, expect!(self.ask(operation).await, Answer::Worker(worker) => worker)?)
    }

    async fn remove_worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<(), LinkError> {
        let operation = Operation::RemoveWorker { workspace: workspace.clone(), worker: id.clone() };
        expect!(self.work(operation, None).await, Answer::Done => ())
    }
}
