//! Workers of the fleet: which Runtime has which worker, and the operations that are passed on to that Runtime.
//!
//! A row names the Runtime of a worker. It is written before the worker is created, so a repeated request reaches the same
//! Runtime. The policy is checked before each operation. A change runs in a task of its own, so that the row and the audit log
//! are written even if the caller goes away. Texts of a Runtime are replaced ([`texts`]).

mod explanation;
mod owners;
mod texts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backend_api::audit::{Action, Actor};
use backend_api::fleet::Condition;
use backend_api::worker::{UnavailableRuntime, WorkerView, WorkerViewPage};
use bundles::{Digest, RuntimeName, ToolName, WorkspaceId};
use bytes::Bytes;
use content_store::records::{Page, Records};
use futures_util::{StreamExt, stream};
use host_policy::ProfileSelector;
use runtime_api::Code;
use runtime_api::call::CallResult;
use runtime_api::event::{Cursor, PositionedItem, SubscriptionItem};
use runtime_api::history::Entry;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, WorkerId, WorkerSummary};
use serde_json::Value;

use self::owners::{Outcome, OwnerRow};
use crate::backend::{Backend, BackendError};
use crate::link_error::LinkError;
use crate::runtime_link::{EventStream, RuntimeLink};
use crate::visibility::is_allowed;

pub use explanation::{ExplainedValue, ExplainedWorker};

/// Runtimes that are asked for their workers at the same time.
const MAX_CONCURRENT_LISTS: usize = 16;

/// Pages of a Runtime that are read for one page of the fleet. A Runtime may have workers that this Backend did not create.
const MAX_PAGES_OF_RUNTIME: usize = 128;

/// Workers of a page that is requested of a Runtime.
const PAGE_WORKERS: usize = 1000;

/// Time in which a Runtime must list its workers. A Runtime that needs longer is reported as unavailable.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a page of workers, unless its first worker alone has more.
const PAGE_BYTES: usize = 256 << 10;

/// A worker that was created, or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedWorker {
    /// The worker and its Runtime.
    pub view: WorkerView,
    /// `true` if the request created the worker.
    pub new: bool,
}

impl Backend {
    /// Creates a worker on the named Runtime. Without a name, the Backend chooses a Runtime that has the desired bundle: the
    /// one with the fewest workers. The operation is idempotent.
    pub async fn create_worker(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
        on: Option<&RuntimeName>,
    ) -> Result<PlacedWorker, BackendError> {
        let (backend, actor, workspace) = (self.clone(), actor.clone(), workspace.clone());
        let (id, request, on) = (id.clone(), request.clone(), on.cloned());
        complete(async move { backend.create_and_record(&actor, &workspace, &id, request, on.as_ref()).await }).await
    }

    async fn create_and_record(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: CreateWorkerRequest,
        on: Option<&RuntimeName>,
    ) -> Result<PlacedWorker, BackendError> {
        let action = |runtime| Action::CreateWorker { workspace: workspace.clone(), worker: id.clone(), runtime };
        let (owner, is_new) = match self.claim(workspace, id, &request, on).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.record(actor, action(None), Some(error.code())).await?;
                return Err(error);
            }
        };
        let OwnerRow { runtime, bundle, .. } = owner.clone();
        let request = CreateWorkerRequest { bundle: request.bundle.or(bundle), ..request };
        let created = match self.allowed_link(workspace, &runtime) {
            Ok(link) => link.create_worker(workspace, id, &request).await.map_err(on_runtime(&runtime)),
            Err(error) => Err(error),
        };
        let outcome = match &created {
            Ok(created) if created.new => Outcome::Created,
            Ok(_) => Outcome::Exists,
            Err(error) if !is_definite(error) => Outcome::Unknown,
            Err(_) if is_new => Outcome::DoesNotExist,
            // An earlier attempt may have created the worker: some refusals come before the Runtime looks for it.
            Err(_) => Outcome::NotCreated,
        };
        let refused = created.as_ref().err().map(BackendError::code);
        self.settle((workspace, id), owner, outcome, (actor, action(Some(runtime.clone())), refused)).await?;
        let created = created?;
        let worker = texts::of_worker(created.worker, &runtime);
        Ok(PlacedWorker { view: WorkerView { worker, runtime }, new: created.new })
    }

    /// Chooses the Runtime of a new worker, and the bundle if the request needs one and names none.
    fn choose(
        &self,
        workspace: &WorkspaceId,
        request: &CreateWorkerRequest,
        on: Option<&RuntimeName>,
        counts: &BTreeMap<RuntimeName, u64>,
    ) -> Result<OwnerRow, BackendError> {
        let needs_bundle = matches!(request.profile, ProfileSelector::Bundle(_));
        if let Some(runtime) = on {
            self.allowed_link(workspace, runtime)?;
        }
        let fleet = self.0.fleet();
        let acknowledged =
            |name: &RuntimeName| fleet.reconciler.pair(name, workspace)?.acknowledged.map(|state| state.bundle);
        let is_usable = |name: &RuntimeName| match fleet.reconciler.pair(name, workspace).map(|pair| pair.condition) {
            Some(Condition::InSync) => true,
            Some(Condition::NotAllowed | Condition::Unavailable(_) | Condition::Unknown) | None => false,
            // A profile of the built-in bundle needs no bundle of the workspace.
            Some(_) => !needs_bundle,
        };
        let rank = |name: &RuntimeName| {
            let lacks_bundle = request.bundle.is_some() && acknowledged(name) != request.bundle;
            (lacks_bundle, counts.get(name).copied().unwrap_or_default(), name.clone())
        };
        let runtime = match on {
            Some(runtime) => runtime.clone(),
            None => {
                let usable = fleet.runtimes.keys().filter(|name| is_usable(name));
                usable.min_by_key(|name| rank(name)).ok_or_else(|| BackendError::NoRuntime(workspace.clone()))?.clone()
            }
        };
        let bundle: Option<Digest> = match (needs_bundle, request.bundle) {
            (true, None) => Some(acknowledged(&runtime).ok_or(BackendError::NothingDesired(workspace.clone()))?),
            _ => None,
        };
        Ok(OwnerRow { runtime, bundle, confirmed: false })
    }

    /// Returns the access to a Runtime, if the policy allows the workspace there.
    pub(crate) fn allowed_link(
        &self,
        workspace: &WorkspaceId,
        runtime: &RuntimeName,
    ) -> Result<Arc<dyn RuntimeLink>, BackendError> {
        let fleet = self.0.fleet();
        let entry = fleet.runtimes.get(runtime).ok_or_else(|| BackendError::RuntimeNotFound(runtime.clone()))?;
        let of_workspace =
            fleet.workspaces.get(workspace).ok_or_else(|| BackendError::WorkspaceNotFound(workspace.clone()))?;
        if is_allowed((runtime, &entry.rules), (workspace, &of_workspace.rules)) {
            Ok(entry.link.clone())
        } else {
            Err(BackendError::NotAllowed { runtime: runtime.clone(), workspace: workspace.clone() })
        }
    }

    /// Returns the Runtime of a worker with the access to it.
    async fn owner(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<(RuntimeName, Arc<dyn RuntimeLink>), BackendError> {
        let runtime = self.owner_row(workspace, id).await?.value.runtime;
        let link = self.allowed_link(workspace, &runtime)?;
        Ok((runtime, link))
    }

    /// Returns a worker.
    pub async fn worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerView, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        let worker = link.worker(workspace, id).await.map_err(on_runtime(&runtime))?;
        Ok(WorkerView { worker: texts::of_worker(worker, &runtime), runtime })
    }

    /// Returns the specification of a worker, as JSON.
    pub async fn worker_spec(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<Value, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        let spec = link.worker_spec(workspace, id).await.map_err(on_runtime(&runtime))?;
        texts::of_spec(spec).ok_or_else(|| on_runtime(&runtime)(LinkError::Unsupported))
    }

    /// Calls a tool of a worker. `call` is a [`ToolCall`](runtime_api::call::ToolCall) as JSON.
    pub async fn call_tool(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        tool: &ToolName,
        call: Bytes,
    ) -> Result<CallResult, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        link.call_tool(workspace, id, tool, call).await.map_err(on_runtime(&runtime))
    }

    /// Returns a page of at most `limit` entries of a worker's history after the entry `after`.
    pub async fn history(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        after: u64,
        limit: usize,
    ) -> Result<Page<Entry>, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        let page = link.history(workspace, id, after, limit).await.map_err(on_runtime(&runtime))?;
        Ok(Page { items: page.items.into_iter().map(texts::of_entry).collect(), more: page.more })
    }

    /// Returns the services of a worker, ordered by plugin.
    pub async fn worker_services(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<Vec<ServiceSummary>, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        let services = link.worker_services(workspace, id).await.map_err(on_runtime(&runtime))?;
        Ok(services.into_iter().map(texts::of_service).collect())
    }

    /// Returns the events of a worker after a cursor of its Runtime, and those to come. Gaps in the events of the Runtime are
    /// passed on. The stream ends when the Runtime does not answer, or when the policy no longer allows the workspace there.
    pub async fn worker_events(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        after: Cursor,
    ) -> Result<EventStream, BackendError> {
        let (runtime, link) = self.owner(workspace, id).await?;
        // A subscription to a Runtime that does not answer would stay silent.
        link.worker(workspace, id).await.map_err(on_runtime(&runtime))?;
        let items = link.events(workspace, after).await.map_err(on_runtime(&runtime))?;
        let still_allowed = {
            // Asked for each event, because the policy may have changed since the stream began.
            let (backend, workspace, runtime, link) = (self.clone(), workspace.clone(), runtime.clone(), link.clone());
            move |_: &PositionedItem| {
                let current = backend.allowed_link(&workspace, &runtime);
                std::future::ready(current.is_ok_and(|current| Arc::ptr_eq(&current, &link)))
            }
        };
        let id = id.clone();
        let of_worker = move |PositionedItem { cursor, item }: PositionedItem| {
            let item = match item {
                SubscriptionItem::Event(event) if event.kind.worker() != Some(&id) => None,
                SubscriptionItem::Event(event) => Some(SubscriptionItem::Event(texts::of_event(event, &runtime))),
                gap @ SubscriptionItem::Gap { .. } => Some(gap),
            };
            std::future::ready(item.map(|item| PositionedItem { cursor, item }))
        };
        Ok(items.take_while(still_allowed).filter_map(of_worker).boxed())
    }

    /// Stops a worker permanently. The operation is idempotent.
    pub async fn stop_worker(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<WorkerView, BackendError> {
        let (backend, actor, workspace, id) = (self.clone(), actor.clone(), workspace.clone(), id.clone());
        complete(async move {
            let owner = backend.owner(&workspace, &id).await;
            let runtime = owner.as_ref().ok().map(|(runtime, _)| runtime.clone());
            let stopped = match owner {
                Ok((runtime, link)) => {
                    let stopped = link.stop_worker(&workspace, &id).await.map_err(on_runtime(&runtime));
                    stopped.map(|worker| WorkerView { worker: texts::of_worker(worker, &runtime), runtime })
                }
                Err(error) => Err(error),
            };
            let refused = stopped.as_ref().err().map(BackendError::code);
            backend.record(&actor, Action::StopWorker { workspace, worker: id, runtime }, refused).await?;
            stopped
        })
        .await
    }

    /// Removes a stopped worker with its history. Afterwards the id can be used again, on any Runtime.
    pub async fn remove_worker(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<(), BackendError> {
        let (backend, actor, workspace, id) = (self.clone(), actor.clone(), workspace.clone(), id.clone());
        complete(async move {
            let (owner, removed) = match backend.owner_row(&workspace, &id).await {
                Ok(owner) => {
                    let runtime = &owner.value.runtime;
                    let removed = match backend.allowed_link(&workspace, runtime) {
                        Ok(link) => link.remove_worker(&workspace, &id).await.map_err(on_runtime(runtime)),
                        Err(error) => Err(error),
                    };
                    (Some(owner), removed)
                }
                Err(error) => (None, Err(error)),
            };
            let runtime = owner.as_ref().map(|owner| owner.value.runtime.clone());
            let refused = removed.as_ref().err().map(BackendError::code);
            let is_gone = matches!(refused, None | Some(Code::WorkerNotFound));
            let action = Action::RemoveWorker { workspace: workspace.clone(), worker: id.clone(), runtime };
            match owner.filter(|_| is_gone) {
                Some(owner) => backend.forget((&workspace, &id), &owner, (&actor, action, refused)).await?,
                None => backend.record(&actor, action, refused).await?,
            }
            removed
        })
        .await
    }

    /// Returns a page of at most `limit` workers after the worker `after`, ordered by id. Only workers that were created
    /// through this Backend are listed.
    pub async fn workers(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> Result<WorkerViewPage, BackendError> {
        self.check_workspace(workspace)?;
        let mut after = after.cloned();
        let mut unavailable = BTreeMap::new();
        // A page without workers would look like the last one, so further rows are read until there is a worker.
        loop {
            let owners = self.owners_page(workspace, after.as_ref(), limit).await?;
            let Some((last, _)) = owners.items.last().cloned() else {
                return Ok(page(Vec::new(), false, unavailable));
            };
            let (mut workers, failed) = self.workers_of(workspace, after.as_ref(), &last, &owners.items).await;
            unavailable.extend(failed);
            workers.sort_by(|one, other| one.worker.id.cmp(&other.worker.id));
            let is_cut = cut(&mut workers);
            if !workers.is_empty() || !owners.more {
                return Ok(page(workers, owners.more || is_cut, unavailable));
            }
            after = Some(last);
        }
    }

    /// Returns the workers of rows, and the Runtimes that did not list theirs. The rows are all those after `after` up to
    /// `last`.
    async fn workers_of(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        last: &WorkerId,
        owners: &[(WorkerId, RuntimeName)],
    ) -> (Vec<WorkerView>, BTreeMap<RuntimeName, Code>) {
        let names: std::collections::BTreeSet<&RuntimeName> = owners.iter().map(|(_, runtime)| runtime).collect();
        let owner_of: &BTreeMap<&WorkerId, &RuntimeName> = &owners.iter().map(|(id, runtime)| (id, runtime)).collect();
        let lists = stream::iter(names.into_iter().cloned()).map(|runtime| async move {
            let listed = async {
                let link = self.allowed_link(workspace, &runtime)?;
                let is_owned = |id: &WorkerId| owner_of.get(id) == Some(&&runtime);
                let list = list_between(&*link, workspace, after, last, is_owned);
                let list = tokio::time::timeout(LIST_TIMEOUT, list).await;
                list.unwrap_or(Err(LinkError::TimedOut)).map_err(on_runtime(&runtime))
            };
            let listed = listed.await;
            (runtime, listed)
        });
        let mut lists = std::pin::pin!(lists.buffer_unordered(MAX_CONCURRENT_LISTS));
        let (mut workers, mut failed) = (Vec::new(), BTreeMap::new());
        while let Some((runtime, listed)) = lists.next().await {
            match listed {
                Ok(listed) => {
                    let view =
                        |worker| WorkerView { worker: texts::of_worker(worker, &runtime), runtime: runtime.clone() };
                    workers.extend(listed.into_iter().map(view));
                }
                Err(error) => {
                    failed.insert(runtime, error.code());
                }
            }
        }
        (workers, failed)
    }

    pub(crate) fn records(&self) -> &Records {
        &self.0.records
    }
}

/// Returns the owned workers of a Runtime after `after` up to `last`. Others are dropped page by page: a Runtime can list as many
/// as it wants.
async fn list_between(
    link: &dyn RuntimeLink,
    workspace: &WorkspaceId,
    after: Option<&WorkerId>,
    last: &WorkerId,
    is_owned: impl Fn(&WorkerId) -> bool,
) -> Result<Vec<WorkerSummary>, LinkError> {
    let (mut workers, mut after) = (Vec::new(), after.cloned());
    for _ in 0..MAX_PAGES_OF_RUNTIME {
        let page = link.workers(workspace, after.as_ref(), PAGE_WORKERS).await?;
        let next = page.items.last().map(|worker| worker.id.clone()).filter(|next| page.more && next < last);
        workers.extend(page.items.into_iter().filter(|worker| worker.id <= *last && is_owned(&worker.id)));
        match next {
            None => return Ok(workers),
            // A page that does not advance is not one of a Runtime.
            Some(next) if after.as_ref().is_some_and(|after| next <= *after) => return Err(LinkError::Unsupported),
            Some(next) => after = Some(next),
        }
    }
    Err(LinkError::Unsupported)
}

/// Shortens a page to its size in bytes. Returns `true` if workers were cut off.
fn cut(workers: &mut Vec<WorkerView>) -> bool {
    let mut bytes = 0;
    let sizes = workers.iter().map(|worker| serde_json::to_vec(worker).map_or(0, |json| json.len()));
    let ends = sizes.map(|size| {
        bytes += size;
        bytes
    });
    let fitting = ends.take_while(|end| *end <= PAGE_BYTES).count().max(1);
    let is_cut = fitting < workers.len();
    workers.truncate(fitting);
    is_cut
}

fn page(workers: Vec<WorkerView>, more: bool, unavailable: BTreeMap<RuntimeName, Code>) -> WorkerViewPage {
    let next = workers.last().filter(|_| more).map(|view| view.worker.id.clone());
    let unavailable = unavailable.into_iter().map(|(runtime, code)| UnavailableRuntime { runtime, code }).collect();
    WorkerViewPage { workers, next, unavailable }
}

/// Names the Runtime of an error.
pub(crate) fn on_runtime(runtime: &RuntimeName) -> impl Fn(LinkError) -> BackendError + use<> {
    let runtime = runtime.clone();
    move |error| BackendError::Link { runtime: runtime.clone(), error }
}

/// Returns `true` if the request certainly created no worker.
fn is_definite(error: &BackendError) -> bool {
    match error {
        BackendError::Link { error, .. } => error.is_definite() && error.code() != Code::WorkerExists,
        _ => true,
    }
}

/// Runs a change in a task of its own, so that it is completed even if the caller goes away.
async fn complete<T: Send + 'static>(
    change: impl Future<Output = Result<T, BackendError>> + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(BackendError::Contended),
        },
    }
}
