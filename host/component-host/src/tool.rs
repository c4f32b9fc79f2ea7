//! A loaded tool plugin: a component that is checked, compiled and linked once, and answers each call in a fresh
//! instance. See the siblings [`resolver`](crate::resolver) and [`service`](crate::service).

use std::sync::Arc;

use bundles::Digest;
use wasmtime::component::{Component, InstancePre};

use crate::bindings::plugin::exports::yoi::plugin::tools::GuestIndices;
use crate::bindings::plugin::yoi::plugin::types as wit;
use crate::call::{self, CallState};
use crate::error::{LoadError, PluginError};
use crate::host_api::HostApi;
use crate::limits::PluginLimits;
use crate::plugin::{GuestStore, Invocation, PluginRun, PluginState, ToolAnswer, convert};
use crate::pool::Pool;
use crate::sandbox::Sandbox;
use crate::world::{TOOLS, World};

/// A tool plugin that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct ToolPlugin(Arc<Loaded>);

struct Loaded {
    digest: Digest,
    sandbox: Sandbox,
    pool: Arc<Pool<PluginState>>,
    pre: InstancePre<CallState<PluginState>>,
    tools: GuestIndices,
}

/// Checks the interface `tools`, which both worlds of plugins export.
pub(crate) fn check_tools(pre: &InstancePre<CallState<PluginState>>) -> wasmtime::Result<()> {
    call::check_function::<(&wit::Invocation,), (Result<String, wit::ToolFailure>,)>(pre, TOOLS, "call")
}

impl ToolPlugin {
    pub(crate) fn link(
        sandbox: &Sandbox,
        pool: &Arc<Pool<PluginState>>,
        digest: Digest,
        component: &Component,
    ) -> Result<Self, LoadError> {
        let linked = pool.linker.instantiate_pre(component).and_then(|pre| {
            check_tools(&pre)?;
            let tools = GuestIndices::new(&pre)?;
            Ok(Loaded { digest, sandbox: sandbox.clone(), pool: pool.clone(), pre, tools })
        });
        linked.map(|loaded| Self(Arc::new(loaded))).map_err(|_| LoadError::Link { world: World::Tool })
    }

    /// Returns the digest of the component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Runs one call within the given limits.
    ///
    /// Waits while as many calls run as `tool_calls` allows. The caller's deadline bounds this wait and the call:
    /// dropping the future ends both. Poll the future on threads for computing, because it runs the guest.
    pub async fn call(&self, invocation: &Invocation, host: HostApi, limits: &PluginLimits) -> PluginRun<ToolAnswer> {
        let Loaded { sandbox, pool, pre, tools, .. } = &*self.0;
        let invocation = match convert::invocation(invocation, limits) {
            Ok(invocation) => invocation,
            Err(error) => return PluginRun::not_started(error),
        };
        // The semaphore is never closed.
        let Ok(_place) = sandbox.0.tool_places.acquire().await else {
            return PluginRun::not_started(PluginError::Busy);
        };
        let mut guest = match GuestStore::new(pool, host, limits) {
            Ok(guest) => guest,
            Err(error) => return PluginRun::not_started(error),
        };
        let started = guest.begin();
        let store = &mut guest.store;
        let call = async {
            let instance = pre.instantiate_async(&mut *store).await?;
            tools.load(&mut *store, &instance)?.call_call(store, &invocation).await
        };
        let result = pool.run(&guest.meter, call).await;
        guest.end(started, result).and_then(|answer| convert::answer(answer, limits))
    }
}

impl std::fmt::Debug for ToolPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolPlugin").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}
