//! A loaded service plugin, and a running service: one instance that the host gives one turn at a time. See the
//! siblings [`resolver`](crate::resolver) and [`tool`](crate::tool).
//!
//! A turn that traps, exceeds a limit or is dropped before its end leaves the instance in an unknown state. The instance
//! is therefore dropped with its connections, and every later turn is [`PluginError::Ended`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bundles::Digest;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre};

use crate::bindings::plugin::yoi::plugin::types as wit;
use crate::bindings::plugin::{Service as Exports, ServicePre};
use crate::call::{self, CallState};
use crate::error::{LoadError, PluginError};
use crate::host_api::HostApi;
use crate::limits::PluginLimits;
use crate::plugin::{GuestStore, Invocation, PluginRun, PluginState, ToolAnswer, convert};
use crate::pool::Pool;
use crate::sandbox::Sandbox;
use crate::tool::check_tools;
use crate::world::{LIFECYCLE, World};

/// A service plugin that can be started. Cheap to clone.
#[derive(Clone)]
pub struct ServicePlugin(Arc<Loaded>);

struct Loaded {
    digest: Digest,
    sandbox: Sandbox,
    pool: Arc<Pool<PluginState>>,
    pre: ServicePre<CallState<PluginState>>,
}

/// A service. It ends when it is dropped.
pub struct Service {
    digest: Digest,
    limits: PluginLimits,
    /// `None` once the service has ended, and during a turn.
    running: Option<Running>,
}

struct Running {
    guest: GuestStore,
    exports: Exports,
    pool: Arc<Pool<PluginState>>,
    _place: OwnedSemaphorePermit,
}

/// One event from outside.
#[derive(Debug, Clone)]
pub struct ServiceEvent {
    /// Id of the event, the same for each delivery.
    pub id: String,
    /// Name of the ingress.
    pub ingress: String,
    /// Content.
    pub payload: Value,
    /// Number of the delivery, from 1.
    pub attempt: u32,
}

/// Failure of a service to handle an event. The texts are the plugin's, within the limit `failure_message_bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandleFailure {
    /// A later delivery may succeed.
    Temporary(String),
    /// No delivery will succeed.
    Permanent(String),
}

/// Cause of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// The time of the last [`NextTurn`] has passed.
    Timer,
    /// A connection is readable.
    Readable,
}

/// The next turn that a service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextTurn {
    /// Time until the next turn with the reason [`WakeReason::Timer`].
    pub after: Option<Duration>,
    /// `true` if the service wants a turn when [`Service::readable`] returns.
    pub when_readable: bool,
}

/// State of a service, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedState {
    /// `true` if the service can do its work.
    pub is_ready: bool,
    /// Text of the plugin, at most 256 bytes. It may contain control characters.
    pub detail: String,
}

type GuestFuture<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

fn check_lifecycle(pre: &InstancePre<CallState<PluginState>>) -> wasmtime::Result<()> {
    type Next = (Result<wit::NextTurn, String>,);
    call::check_function::<(&str,), Next>(pre, LIFECYCLE, "start")?;
    call::check_function::<(&wit::Event,), (Result<(), wit::HandleFailure>,)>(pre, LIFECYCLE, "handle")?;
    call::check_function::<(wit::WakeReason,), Next>(pre, LIFECYCLE, "wake")?;
    call::check_function::<(), (wit::State,)>(pre, LIFECYCLE, "status")?;
    call::check_function::<(), ()>(pre, LIFECYCLE, "stop")
}

impl ServicePlugin {
    pub(crate) fn link(
        sandbox: &Sandbox,
        pool: &Arc<Pool<PluginState>>,
        digest: Digest,
        component: &Component,
    ) -> Result<Self, LoadError> {
        let linked = pool.linker.instantiate_pre(component).and_then(|pre| {
            check_tools(&pre)?;
            check_lifecycle(&pre)?;
            Ok(Loaded { digest, sandbox: sandbox.clone(), pool: pool.clone(), pre: ServicePre::new(pre)? })
        });
        linked.map(|loaded| Self(Arc::new(loaded))).map_err(|_| LoadError::Link { world: World::Service })
    }

    /// Returns the digest of the component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Starts a service with the config that its grant gives. Its first turn instantiates the component.
    ///
    /// Does not wait for a place: if as many services run as `services` allows, the result is that limit.
    pub async fn start(&self, config: &Value, host: HostApi, limits: &PluginLimits) -> PluginRun<(Service, NextTurn)> {
        let Loaded { digest, sandbox, pool, pre } = &*self.0;
        let config = match convert::json(config, limits) {
            Ok(config) => config,
            Err(error) => return PluginRun::not_started(error),
        };
        let Ok(place) = sandbox.0.service_places.clone().try_acquire_owned() else {
            let allowed = sandbox.limits().pools.services;
            return PluginRun::not_started(PluginError::Limit { limit: "services", allowed });
        };
        let mut guest = match GuestStore::new(pool, host, limits) {
            Ok(guest) => guest,
            Err(error) => return PluginRun::not_started(error),
        };
        let started = guest.begin();
        let store = &mut guest.store;
        let start = async {
            let exports = pre.instantiate_async(&mut *store).await?;
            let next = exports.yoi_plugin_lifecycle().call_start(store, &config).await?;
            Ok((exports, next))
        };
        let result = pool.run(&guest.meter, start).await;
        let run = guest.end(started, result);
        run.and_then(|(exports, next)| {
            let next = convert::next_turn(next, limits)?;
            let running = Running { guest, exports, pool: pool.clone(), _place: place };
            Ok((Service { digest: *digest, limits: limits.clone(), running: Some(running) }, next))
        })
    }
}

impl Service {
    /// Returns the digest of the component.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// `true` if the service can take another turn.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Calls a tool.
    pub async fn call(&mut self, invocation: &Invocation) -> PluginRun<ToolAnswer> {
        let invocation = match convert::invocation(invocation, &self.limits) {
            Ok(invocation) => invocation,
            Err(error) => return PluginRun::not_started(error),
        };
        let call = self.turn(|exports, store| {
            Box::pin(async move { exports.yoi_plugin_tools().call_call(store, &invocation).await })
        });
        call.await.and_then(|answer| convert::answer(answer, &self.limits))
    }

    /// Delivers an event.
    pub async fn handle(&mut self, event: &ServiceEvent) -> PluginRun<Result<(), HandleFailure>> {
        let event = match convert::event(event, &self.limits) {
            Ok(event) => event,
            Err(error) => return PluginRun::not_started(error),
        };
        let call = self.turn(|exports, store| {
            Box::pin(async move { exports.yoi_plugin_lifecycle().call_handle(store, &event).await })
        });
        call.await.and_then(|result| Ok(convert::handled(result, &self.limits)))
    }

    /// Gives the service a turn. An error that it reports ends it.
    pub async fn wake(&mut self, reason: WakeReason) -> PluginRun<NextTurn> {
        let reason = convert::wake_reason(reason);
        let call = self.turn(|exports, store| Box::pin(exports.yoi_plugin_lifecycle().call_wake(store, reason)));
        let run = call.await.and_then(|result| convert::next_turn(result, &self.limits));
        if run.result.is_err() {
            self.running = None;
        }
        run
    }

    /// Asks the service for its state.
    pub async fn status(&mut self) -> PluginRun<ReportedState> {
        let call = self.turn(|exports, store| Box::pin(exports.yoi_plugin_lifecycle().call_status(store)));
        call.await.and_then(|state| Ok(convert::state(state)))
    }

    /// Gives the service its last turn and ends it. Dropping the future ends it as well.
    pub async fn stop(mut self) -> PluginRun<()> {
        self.turn(|exports, store| Box::pin(exports.yoi_plugin_lifecycle().call_stop(store))).await
    }

    /// Waits until a connection of the service has a message or was closed. Waits forever if the service has no
    /// connection or has ended.
    pub async fn readable(&mut self) {
        std::future::poll_fn(|context| match &mut self.running {
            Some(running) => running.guest.store.data_mut().world.poll_readable(context),
            None => std::task::Poll::Pending,
        })
        .await;
    }

    /// Runs one turn. The instance is owned by the future meanwhile, and returned only if the turn succeeds.
    async fn turn<T>(
        &mut self,
        call: impl for<'a> FnOnce(&'a Exports, &'a mut Store<CallState<PluginState>>) -> GuestFuture<'a, T>,
    ) -> PluginRun<T> {
        let Some(mut running) = self.running.take() else {
            return PluginRun::not_started(PluginError::Ended);
        };
        let started = running.guest.begin();
        let call = call(&running.exports, &mut running.guest.store);
        let result = running.pool.run(&running.guest.meter, call).await;
        let run = running.guest.end(started, result);
        if run.result.is_ok() {
            self.running = Some(running);
        }
        run
    }
}

impl std::fmt::Debug for ServicePlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServicePlugin").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("digest", &self.digest).field("is_running", &self.is_running()).finish()
    }
}
