//! The services of all workers: which ones run, their states, and the way to call them.
//!
//! A worker has at most one instance of a plugin. [`Services::sync`] compares what a worker should have under the config
//! in force with what it has, and starts and ends services. It returns at once: each service has a task of its own, the
//! `supervisor`. Read that next.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bundles::{Digest, PluginName, ToolName};
use component_host::{PluginError, PluginLimits, ServicePlugin, ToolAnswer};
use host_policy::PluginGrant;
use runtime_api::service::{ServiceState, ServiceSummary};
use runtime_api::worker::WorkerId;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::host_api::PluginHost;
use super::logs::PluginOwner;
use super::packages::LoadedPackage;
use super::supervisor::Supervisor;
use crate::compute_pool::ComputePool;
use crate::limits::RuntimeLimits;
use crate::runtime::Shared;
use crate::tenants::Tenants;

/// A service that a worker should have.
#[derive(Debug, Clone)]
pub(crate) struct ServicePlan {
    pub(crate) package: Arc<LoadedPackage>,
    pub(crate) component: ServicePlugin,
    pub(crate) grant: PluginGrant,
    /// Config for `start`.
    pub(crate) config: Value,
}

impl ServicePlan {
    /// `true` if an instance of this plan can go on under another one. Package and grant determine all the rest.
    fn is_same(&self, other: &Self) -> bool {
        self.package.digest() == other.package.digest() && self.grant == other.grant
    }
}

/// The services that a worker should have, by plugin.
pub(crate) type ServicePlans = BTreeMap<PluginName, Arc<ServicePlan>>;

/// Parts of the Runtime that all services use.
#[derive(Debug)]
pub(crate) struct ServiceHost {
    pub(crate) compute_pool: Arc<ComputePool>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) plugin_host: PluginHost,
    pub(crate) plugin_limits: PluginLimits,
    pub(crate) limits: RuntimeLimits,
}

/// The services of all workers.
#[derive(Debug)]
pub(crate) struct Services {
    host: Arc<ServiceHost>,
    /// State of the Runtime. Weak, because a service must not keep a Runtime that was dropped.
    shared: OnceLock<Weak<Shared>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    each: HashMap<PluginOwner, BTreeMap<PluginName, RunningService>>,
    /// Tasks of all services, also of those that are ending. Dropping it aborts them.
    tasks: JoinSet<()>,
    /// `true` if no further service is started.
    is_closed: bool,
}

/// A service whose task may be running.
#[derive(Debug)]
struct RunningService {
    plan: Arc<ServicePlan>,
    status: Arc<ServiceStatus>,
    calls: mpsc::Sender<ServiceCall>,
    /// Time until which the last turns must have ended.
    stop: watch::Sender<Option<Instant>>,
    events: Arc<Notify>,
    /// Held by the task while it has an instance. The task of a replacement waits for it.
    place: Arc<tokio::sync::Mutex<()>>,
}

/// State of a service, as its task last set it.
#[derive(Debug)]
pub(super) struct ServiceStatus(Mutex<(ServiceState, u32)>);

/// A call that waits for its turn.
#[derive(Debug)]
pub(super) struct ServiceCall {
    pub(super) id: String,
    pub(super) tool: ToolName,
    pub(super) input: Value,
    pub(super) deadline: Instant,
    /// Closed if the caller has gone away.
    pub(super) reply: oneshot::Sender<ServiceReply>,
}

/// The answer of a service to a call, or the reason why it does not run.
pub(super) type ServiceReply = Result<Result<ToolAnswer, PluginError>, NotServing>;

/// Error for a call of a service that does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the service does not run{}", .code.as_deref().map(|code| format!(": its instance ended with `{code}`")).unwrap_or_default())]
pub(super) struct NotServing {
    /// Code of the error with which its instance ended.
    pub(super) code: Option<String>,
}

impl ServiceStatus {
    pub(super) fn new() -> Self {
        Self(Mutex::new((ServiceState::Starting, 0)))
    }

    /// Sets the state and the number of restarts in a row.
    pub(super) fn set(&self, state: ServiceState, restarts: u32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (state, restarts);
    }

    fn get(&self) -> (ServiceState, u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RunningService {
    /// `true` if the task has ended, for example because the grant changed between two turns.
    fn has_ended(&self) -> bool {
        self.calls.is_closed()
    }
}

impl Services {
    pub(crate) fn new(host: ServiceHost) -> Self {
        Self { host: Arc::new(host), shared: OnceLock::new(), state: Mutex::default() }
    }

    /// Sets the Runtime to which the services belong. Before that, no service is started.
    pub(crate) fn attach(&self, shared: Weak<Shared>) {
        // Set once, by the builder.
        let _ = self.shared.set(shared);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a worker exactly these services: starts those that are missing, ends the others, and replaces a service
    /// whose grant has changed. `record` is the resolution record of the worker.
    pub(crate) fn sync(&self, owner: &PluginOwner, record: Digest, plans: &ServicePlans) {
        let Some(shared) = self.shared.get() else { return };
        let mut state = self.state();
        if state.is_closed || (plans.is_empty() && !state.each.contains_key(owner)) {
            return;
        }
        while state.tasks.try_join_next().is_some() {}
        let mut running = state.each.remove(owner).unwrap_or_default();
        let mut wanted = BTreeMap::new();
        for (plugin, plan) in plans {
            let place = match running.remove(plugin) {
                Some(service) if service.plan.is_same(plan) && !service.has_ended() => {
                    wanted.insert(plugin.clone(), service);
                    continue;
                }
                Some(other) => {
                    self.stop(&other);
                    other.place
                }
                None => Arc::default(),
            };
            let (service, supervisor) = self.prepare(shared, owner, plugin, record, plan, place);
            let (shared, owner) = (shared.clone(), owner.clone());
            state.tasks.spawn(async move {
                supervisor.run().await;
                if let Some(shared) = shared.upgrade() {
                    shared.services.forget_ended(&owner);
                }
            });
            wanted.insert(plugin.clone(), service);
        }
        running.values().for_each(|service| self.stop(service));
        if !wanted.is_empty() {
            state.each.insert(owner.clone(), wanted);
        }
    }

    fn prepare(
        &self,
        shared: &Weak<Shared>,
        owner: &PluginOwner,
        plugin: &PluginName,
        record: Digest,
        plan: &Arc<ServicePlan>,
        place: Arc<tokio::sync::Mutex<()>>,
    ) -> (RunningService, Supervisor) {
        // A caller waits in `send`, so a call of a caller that has gone away takes no room.
        let (calls, receiver) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(None);
        let (status, events) = (Arc::new(ServiceStatus::new()), Arc::new(Notify::new()));
        let supervisor = Supervisor {
            host: self.host.clone(),
            shared: shared.clone(),
            owner: owner.clone(),
            plugin: plugin.clone(),
            record,
            plan: plan.clone(),
            status: status.clone(),
            calls: receiver,
            stop: stopped,
            events: events.clone(),
            place: place.clone(),
            delivery: Some(Instant::now()),
        };
        (RunningService { plan: plan.clone(), status, calls, stop, events, place }, supervisor)
    }

    fn stop(&self, service: &RunningService) {
        let until = Instant::now() + Duration::from_millis(self.host.limits.service_stop_ms);
        service.stop.send_replace(Some(until));
    }

    /// Ends all services of a worker. Their last turns go on in the background.
    pub(crate) fn end(&self, owner: &PluginOwner) {
        let services = self.state().each.remove(owner).unwrap_or_default();
        services.values().for_each(|service| self.stop(service));
    }

    /// Ends all services, and waits for their last turns. No service is started afterwards.
    pub(crate) async fn close(&self) {
        let mut tasks = {
            let mut state = self.state();
            state.is_closed = true;
            state.each.drain().for_each(|(_, services)| services.values().for_each(|service| self.stop(service)));
            std::mem::take(&mut state.tasks)
        };
        while tasks.join_next().await.is_some() {}
    }

    /// Spawns a task that ends with the services.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.state().tasks.spawn(task);
    }

    /// Forgets services of a worker whose tasks have ended by themselves.
    fn forget_ended(&self, owner: &PluginOwner) {
        let mut state = self.state();
        let Some(services) = state.each.get_mut(owner) else { return };
        services.retain(|_, service| !service.has_ended());
        if services.is_empty() {
            state.each.remove(owner);
        }
    }

    /// Returns the services of a worker, ordered by plugin.
    pub(crate) fn summaries(&self, owner: &PluginOwner) -> Vec<ServiceSummary> {
        let state = self.state();
        let services = state.each.get(owner).into_iter().flatten();
        let summary = |(plugin, service): (&PluginName, &RunningService)| {
            let (state, restarts) = service.status.get();
            ServiceSummary { plugin: plugin.clone(), restarts, state }
        };
        services.map(summary).collect()
    }

    /// Tells a service that an event waits for it.
    pub(crate) fn notify(&self, workspace: &bundles::WorkspaceId, worker: &WorkerId, plugin: &PluginName) {
        let owner = PluginOwner { workspace: workspace.clone(), worker: worker.clone() };
        if let Some(service) = self.state().each.get(&owner).and_then(|services| services.get(plugin)) {
            service.events.notify_one();
        }
    }

    /// Calls a tool of a service, when the turns before it have ended. A call that is dropped before its turn is not made.
    /// A turn that has begun goes on until `deadline`, because ending it would end the instance.
    pub(super) async fn call(
        &self,
        owner: &PluginOwner,
        plugin: &PluginName,
        id: String,
        tool: ToolName,
        input: Value,
        deadline: Instant,
    ) -> ServiceReply {
        let calls = {
            let state = self.state();
            let service = state.each.get(owner).and_then(|services| services.get(plugin));
            service.ok_or(NotServing { code: None })?.calls.clone()
        };
        let (reply, answer) = oneshot::channel();
        let call = ServiceCall { id, tool, input, deadline, reply };
        calls.send(call).await.map_err(|_| NotServing { code: None })?;
        answer.await.unwrap_or(Err(NotServing { code: None }))
    }
}
