//! The sandbox: compiler, cache and instance pools. It admits components, each for one world.
//!
//! Each kind of guest has an [`Engine`] and a pool of its own. The engines have the same settings for compiling, so
//! machine code fits all of them, and the cache does not distinguish worlds. It is trusted to be machine code and
//! nothing more: names and types are checked against the world at every load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bundles::Digest;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::call;
use crate::compile::cache::{CacheEntry, CompileCache};
use crate::compile::{CompiledKey, Compiler};
use crate::engine::{Allocation, PoolSize, engine, on_demand};
use crate::error::{LoadError, SandboxError};
use crate::limits::{Limits, PluginLimits, PoolLimits, ResolutionLimits};
use crate::plugin::{self, PluginState};
use crate::pool::Pool;
use crate::resolver::{self, Lookups, Resolver};
use crate::service::ServicePlugin;
use crate::tool::ToolPlugin;
use crate::world::World;

/// Configuration of a sandbox. A sandbox reads no environment variables.
#[derive(Debug, Default)]
pub struct SandboxConfig {
    /// Limits on components, calls and bundles.
    pub limits: Limits,
    /// Allocation of the memory of instances.
    pub allocation: Allocation,
    /// The process that compiles.
    pub compiler: Compiler,
    /// Cache of compiled code, shared by all processes that open the same folder.
    pub cache: Option<CompileCache>,
}

/// Runs untrusted components. Cheap to clone; all clones share their pools.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) resolvers: Pool<Lookups>,
    /// Started with the first tool plugin, because many processes run none.
    tool_pool: OnceCell<Arc<Pool<PluginState>>>,
    /// Places for tool calls: as many as the pool has instances.
    pub(crate) tool_places: Semaphore,
    /// Started with the first service plugin.
    service_pool: OnceCell<Arc<Pool<PluginState>>>,
    /// Places for running services.
    pub(crate) service_places: Arc<Semaphore>,
    allocation: Allocation,
    pub(crate) limits: Limits,
    compiler: Compiler,
    cache: Option<CompileCache>,
    /// Allows one compilation at a time, because a compilation uses all cores.
    compiling: tokio::sync::Mutex<()>,
    /// Errors of components that a world refused, so that a repeated load does not check them again.
    refused: Mutex<HashMap<(Digest, World), LoadError>>,
}

/// Number of refused components to remember. Further ones are checked at every load.
const MAX_REMEMBERED_REFUSALS: usize = 4096;

impl Sandbox {
    /// Starts the engine of resolvers. If its pool does not fit into the address space, instances are allocated on demand.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let size = PoolSize {
            instances: PoolLimits::size(config.limits.pools.resolutions),
            // A resolver of a toolchain has one to three memories and one to three tables.
            memories_each: 2,
            tables_each: 4,
            ceiling: ResolutionLimits::CEILING,
        };
        Ok(Self(Arc::new(Shared {
            resolvers: Pool::start(engine(config.allocation, size), resolver::linker)?,
            tool_pool: OnceCell::new(),
            tool_places: Semaphore::new(places(config.limits.pools.tool_calls)),
            service_pool: OnceCell::new(),
            service_places: Arc::new(Semaphore::new(places(config.limits.pools.services))),
            allocation: config.allocation,
            limits: config.limits,
            compiler: config.compiler,
            cache: config.cache,
            compiling: tokio::sync::Mutex::new(()),
            refused: Mutex::default(),
        })))
    }

    /// Returns the limits of this sandbox.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Loads a resolver: checks its structure, compiles it or finds it in the cache, and links it.
    ///
    /// This may take seconds. Call it when a component is added, not as part of a resolution.
    pub async fn load(&self, component: &[u8]) -> Result<Resolver, LoadError> {
        let link = |digest, component: &_| Resolver::link(self, digest, component);
        self.admit(World::Resolver, &self.0.resolvers.engine, component, link).await
    }

    /// Loads a tool plugin, like [`Sandbox::load`].
    pub async fn load_tool(&self, component: &[u8]) -> Result<ToolPlugin, LoadError> {
        let start = async {
            let ceiling = PluginLimits::CEILING;
            let size = PoolSize {
                instances: PoolLimits::size(self.0.limits.pools.tool_calls),
                // A call that has a place must not wait for memory or tables of other calls.
                memories_each: ceiling.memories,
                tables_each: ceiling.tables,
                ceiling,
            };
            Pool::start(engine(self.0.allocation, size), plugin::linker).map(Arc::new)
        };
        let pool = self.0.tool_pool.get_or_try_init(|| start).await.map_err(|_| LoadError::OutOfMemory)?;
        let link = |digest, component: &_| ToolPlugin::link(self, pool, digest, component);
        self.admit(World::Tool, &pool.engine, component, link).await
    }

    /// Loads a service plugin, like [`Sandbox::load`].
    pub async fn load_service(&self, component: &[u8]) -> Result<ServicePlugin, LoadError> {
        // Instances of services are few and live long, so a pool would reserve memory and save nothing.
        let start = async { Pool::start(on_demand(), plugin::linker).map(Arc::new) };
        let pool = self.0.service_pool.get_or_try_init(|| start).await.map_err(|_| LoadError::OutOfMemory)?;
        let link = |digest, component: &_| ServicePlugin::link(self, pool, digest, component);
        self.admit(World::Service, &pool.engine, component, link).await
    }

    /// Admits a component for a world, and links it with a function that checks its types.
    async fn admit<L>(
        &self,
        world: World,
        engine: &Engine,
        component: &[u8],
        link: impl Fn(Digest, &Component) -> Result<L, LoadError>,
    ) -> Result<L, LoadError> {
        let digest = Digest::of(component);
        if let Some(error) = self.refused().get(&(digest, world)) {
            return Err(error.clone());
        }
        let admitted = self.admit_new(world, engine, digest, component, link).await;
        if let Err(error) = &admitted
            && !error.is_temporary()
        {
            let mut refused = self.refused();
            if refused.len() < MAX_REMEMBERED_REFUSALS {
                refused.insert((digest, world), error.clone());
            }
        }
        admitted
    }

    async fn admit_new<L>(
        &self,
        world: World,
        engine: &Engine,
        digest: Digest,
        component: &[u8],
        link: impl Fn(Digest, &Component) -> Result<L, LoadError>,
    ) -> Result<L, LoadError> {
        let shared = &self.0;
        let structure = shared.compiler.examine(component, &shared.limits)?;
        world.check_contract(&structure)?;
        if let Some(component) = self.cached(digest, engine) {
            return link(digest, &component);
        }
        let _one_at_a_time = shared.compiling.lock().await;
        // Another load may have compiled the same component while this one waited.
        if let Some(component) = self.cached(digest, engine) {
            return link(digest, &component);
        }
        let compiled = self.compile(component).await?;
        let component =
            deserialize(engine, &compiled).map_err(|error| match call::limit_in_message(&format!("{error:#}")) {
                // The component needs more than one slot of the pool has.
                Some(limit) => LoadError::Exceeds { limit, allowed: shared.limits.allowed(world, limit) },
                None if call::is_out_of_memory(&error) => LoadError::OutOfMemory,
                None => LoadError::Compiler { problem: "the compiled code does not fit this engine" },
            })?;
        let linked = link(digest, &component)?;
        if let Some(cache) = &shared.cache {
            // A refused component does not take space in the cache. A failed write is ignored: the next process just
            // compiles the component again.
            let _ = cache.put(&CompiledKey::new(digest, engine), &compiled);
        }
        Ok(linked)
    }

    /// Compiles a component that passed the structure check to machine code.
    pub(crate) async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.0.compiler.compile(&self.0.resolvers.engine, component, &self.0.limits).await
    }

    /// Returns the component from the cache, if this host compiled it before.
    pub(crate) fn cached(&self, digest: Digest, engine: &Engine) -> Option<Component> {
        let key = CompiledKey::new(digest, engine);
        let cache = self.0.cache.as_ref()?;
        let mut entry = cache.get(&key, self.0.limits.compile.compiled_bytes)?;
        // The code is copied if it cannot be mapped (no `/proc`, or a file system mounted `noexec`), or if the
        // file was changed since it was verified.
        map(engine, &entry).or_else(|| deserialize(engine, &cache.copy(&key, &mut entry)?).ok())
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashMap<(Digest, World), LoadError>> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn places(limit: u64) -> usize {
    usize::try_from(PoolLimits::size(limit)).unwrap_or(usize::MAX)
}

/// Maps a cache entry as executable code.
#[allow(unsafe_code, reason = "the MAC of the cache exists to make loading machine code safe")]
fn map(engine: &Engine, entry: &CacheEntry) -> Option<Component> {
    let path = entry.path()?;
    if !entry.is_unchanged() {
        return None;
    }
    // SAFETY: the path refers to the open file whose MAC under this host's key was verified. Its content is
    // written once, before the file gets its name. Only this user can change it, and this user could
    // change this process as well.
    unsafe { Component::deserialize_file(engine, path) }.ok()
}

/// Loads machine code that this process, its child or, as verified by its MAC, this host has compiled.
#[allow(unsafe_code, reason = "the MAC of the cache exists to make loading machine code safe")]
fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `compiled` came from the compiler in this process, from its child over a pipe, or from the
    // cache, which returns only bytes with a valid MAC under this host's key.
    unsafe { Component::deserialize(engine, compiled) }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
