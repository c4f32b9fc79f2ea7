//! Single steps of loading and resolving, so that a benchmark can measure each.
//!
//! Each function runs the same code as the product, which never runs one of these steps alone.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre};

use crate::call::{self, CallState};
use crate::error::{LoadError, RunError, SandboxError};
use crate::meter::CpuMeter;
use crate::resolver::{BundleView, Lookups, Resolver};
use crate::sandbox::Sandbox;

/// An empty component, which consists of the preamble only.
const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// An instantiation without a call: the first and the last step of every resolution.
pub struct Instantiation {
    sandbox: Sandbox,
    component: InstancePre<CallState<Lookups>>,
}

impl Instantiation {
    /// Prepares the instantiation of a resolver.
    pub fn of(resolver: &Resolver) -> Self {
        Self { sandbox: resolver.sandbox().clone(), component: resolver.instance_pre().clone() }
    }

    /// Prepares the instantiation of an empty component.
    pub fn of_empty(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let pool = &sandbox.0.resolvers;
        let component = Component::new(&pool.engine, EMPTY_COMPONENT)
            .and_then(|component| pool.linker.instantiate_pre(&component))
            .map_err(SandboxError::Engine)?;
        Ok(Self { sandbox: sandbox.clone(), component })
    }

    /// Creates a store as for a resolution, instantiates in it, and drops both.
    pub async fn run_once(&self, view: &BundleView) -> Result<(), RunError> {
        let pool = &self.sandbox.0.resolvers;
        let _call = pool.ticker.call();
        let (limits, meter) = (&self.sandbox.limits().resolution, Arc::new(CpuMeter::default()));
        let lookups = Lookups::new(view.clone(), limits.clone());
        let mut store = call::new_store(&pool.engine, lookups, limits.instance(), &meter)
            .map_err(|error| call::classify(&error, |limit| limits.allowed(limit)))?;
        let instance = meter.count(self.component.instantiate_async(&mut store)).await;
        instance.map(drop).map_err(|error| call::classify(&error, |limit| limits.allowed(limit)))
    }
}

impl std::fmt::Debug for Instantiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instantiation").finish_non_exhaustive()
    }
}

/// Compiles a component as the sandbox does on a cache miss, and drops the result.
pub async fn compile(sandbox: &Sandbox, component: &[u8]) -> Result<(), LoadError> {
    sandbox.compile(component).await.map(drop)
}

/// Loads the machine code of a resolver from the sandbox's cache: reads, verifies and maps it. Returns
/// `false` on a cache miss.
pub fn load_compiled(sandbox: &Sandbox, resolver: &Resolver) -> bool {
    sandbox.cached(resolver.digest(), &sandbox.0.resolvers.engine).is_some()
}
