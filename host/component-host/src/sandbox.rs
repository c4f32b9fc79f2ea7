//! The sandbox: one engine, its compiler and cache, and the components that it has taken in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bundles::Digest;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::call::{self, CallState};
use crate::compile::cache::{CompileCache, Entry};
use crate::compile::child::WALL;
use crate::compile::{CompiledKey, Compiler};
use crate::engine::{Allocation, Ticker, engine};
use crate::error::{LoadError, SandboxError};
use crate::limits::Limits;
use crate::resolver::{Resolver, check_contract};

/// What a sandbox is made with. Nothing is read from the surroundings.
#[derive(Debug, Default)]
pub struct SandboxConfig {
    /// Every bound.
    pub limits: Limits,
    /// How instances get their memory.
    pub allocation: Allocation,
    /// Who compiles.
    pub compiler: Compiler,
    /// Where compiled code is kept between processes.
    pub cache: Option<CompileCache>,
}

/// Runs untrusted components. Cheap to clone; all clones share one engine.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<CallState>,
    pub(crate) ticker: Ticker,
    pub(crate) limits: Limits,
    compiler: Compiler,
    cache: Option<CompileCache>,
    /// One compilation at a time: it takes all cores by itself.
    compiling: tokio::sync::Mutex<()>,
    /// Components that were refused, so that asking again costs nothing.
    refused: Mutex<HashMap<Digest, LoadError>>,
}

/// Refusals that are remembered. What comes after is examined again.
const MOST_REMEMBERED: usize = 4096;

impl Sandbox {
    /// Starts an engine. A pool that does not fit into the address space is done without.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        let engine = match engine(config.allocation) {
            Err(_) if config.allocation != Allocation::OnDemand => engine(Allocation::OnDemand),
            other => other,
        };
        let engine = engine.map_err(SandboxError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(SandboxError::Thread)?;
        let linker = call::linker(&engine).map_err(SandboxError::Engine)?;
        Ok(Self(Arc::new(Shared {
            engine,
            linker,
            ticker,
            limits: config.limits,
            compiler: config.compiler,
            cache: config.cache,
            compiling: tokio::sync::Mutex::new(()),
            refused: Mutex::default(),
        })))
    }

    /// The bounds that this sandbox keeps.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Takes a resolver in: examined, compiled or found in the cache, linked. Call it when a
    /// component comes in, never while somebody waits for a resolution.
    pub async fn load(&self, component: &[u8]) -> Result<Resolver, LoadError> {
        let digest = Digest::of(component);
        if let Some(error) = self.refused().get(&digest) {
            return Err(error.clone());
        }
        let loaded = self.load_new(digest, component).await;
        if let Err(error) = &loaded
            && is_final(error)
        {
            let mut refused = self.refused();
            if refused.len() < MOST_REMEMBERED {
                refused.insert(digest, error.clone());
            }
        }
        loaded
    }

    async fn load_new(&self, digest: Digest, component: &[u8]) -> Result<Resolver, LoadError> {
        let shared = &self.0;
        let structure = shared.compiler.examine(component, &shared.limits)?;
        check_contract(&structure)?;
        if let Some(component) = self.cached(digest) {
            return Resolver::link(self, digest, &component);
        }
        let _one_at_a_time = shared.compiling.lock().await;
        // Another load may have compiled the same component while this one waited.
        if let Some(component) = self.cached(digest) {
            return Resolver::link(self, digest, &component);
        }
        let compiled = self.compile(component).await?;
        let component = self.deserialize(&compiled).map_err(|error| match call::limit_in(&format!("{error:#}")) {
            // It asks for more than a place of the pool has, whatever it would do with it.
            Some(limit) => LoadError::Exceeds { limit, allowed: shared.limits.resolution.allowed(limit) },
            None if call::is_out_of_memory(&error) => LoadError::OutOfMemory,
            None => LoadError::Compiler { problem: "the compiled code is for another engine" },
        })?;
        let resolver = Resolver::link(self, digest, &component)?;
        resolver.check_types().await?;
        if let Some(cache) = &shared.cache {
            // Only what fits the contract is kept, so what is found there need not be tried again. A
            // cache that cannot be written costs the next process a compilation, and nothing else.
            let _ = cache.put(&CompiledKey::new(digest, &shared.engine), &compiled);
        }
        Ok(resolver)
    }

    /// Machine code for a component that has been examined.
    pub(crate) async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.0.compiler.compile(&self.0.engine, component, &self.0.limits).await
    }

    /// A component that this host has compiled before.
    pub(crate) fn cached(&self, digest: Digest) -> Option<Component> {
        let key = CompiledKey::new(digest, &self.0.engine);
        let cache = self.0.cache.as_ref()?;
        let mut entry = cache.get(&key, self.0.limits.compile.compiled_bytes)?;
        // Where it cannot be mapped (no such paths, or a file system that lets nothing execute), or
        // was touched meanwhile, it is copied.
        self.map(&entry).or_else(|| self.deserialize(&cache.copy(&key, &mut entry)?).ok())
    }

    #[allow(unsafe_code, reason = "loading machine code is what makes the cache's proof necessary")]
    fn map(&self, entry: &Entry) -> Option<Component> {
        let path = entry.path()?;
        if !entry.is_unchanged() {
            return None;
        }
        // SAFETY: the path names the open file that carries this host's keyed proof. Its content is
        // written once, before it has its name, and only this user could change it, who could
        // change this process as well.
        unsafe { Component::deserialize_file(&self.0.engine, path) }.ok()
    }

    /// Machine code that this process, its child or, by proof, this host has made.
    #[allow(unsafe_code, reason = "loading machine code is what makes the cache's proof necessary")]
    fn deserialize(&self, compiled: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `compiled` came from this process's own compiler, from its child over a pipe, or
        // from the cache, which returns only bytes that carry this host's keyed proof.
        unsafe { Component::deserialize(&self.0.engine, compiled) }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, LoadError>> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `true` if the same component would be refused again. That the compiler could not be started, did not get to
/// compute, or had too little memory says nothing about the component.
fn is_final(error: &LoadError) -> bool {
    !matches!(error, LoadError::Compiler { .. } | LoadError::OutOfMemory | LoadError::CompileLimit { limit: WALL, .. })
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
