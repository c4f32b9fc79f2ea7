//! Parts of loading and of resolving by themselves, so that a benchmark can say what each costs. The
//! product never does one of them alone, and nothing here does more than the product.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre};

use crate::call::{self, CallState};
use crate::error::{CallError, LoadError, SandboxError};
use crate::handle::BundleView;
use crate::meter::Meter;
use crate::resolver::Resolver;
use crate::sandbox::Sandbox;

/// A component that holds nothing: its preamble.
const NOTHING: &[u8] = b"\0asm\x0d\0\x01\0";

/// Instantiating without asking anything, which every resolution begins and ends with.
pub struct Instantiation {
    sandbox: Sandbox,
    component: InstancePre<CallState>,
}

impl Instantiation {
    /// Of a resolver.
    pub fn of(resolver: &Resolver) -> Self {
        Self { sandbox: resolver.sandbox().clone(), component: resolver.instance_pre().clone() }
    }

    /// Of a component that holds nothing.
    pub fn of_nothing(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let component = Component::new(&sandbox.0.engine, NOTHING)
            .and_then(|component| sandbox.0.linker.instantiate_pre(&component))
            .map_err(SandboxError::Engine)?;
        Ok(Self { sandbox: sandbox.clone(), component })
    }

    /// Makes a store as for a resolution, instantiates in it, and drops both.
    pub async fn once(&self, view: &BundleView) -> Result<(), CallError> {
        let shared = &self.sandbox.0;
        let _ticking = shared.ticker.call();
        let (limits, meter) = (&shared.limits.resolution, Arc::new(Meter::default()));
        let mut store = call::store(&shared.engine, Some(view.clone()), limits, &meter)
            .map_err(|error| call::classify(&error, limits))?;
        let instance = meter.count(self.component.instantiate_async(&mut store)).await;
        instance.map(drop).map_err(|error| call::classify(&error, limits))
    }
}

impl std::fmt::Debug for Instantiation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instantiation").finish_non_exhaustive()
    }
}

/// Compiles a component as the sandbox does when its cache has none, and keeps nothing.
pub async fn compile(sandbox: &Sandbox, component: &[u8]) -> Result<(), LoadError> {
    sandbox.compile(component).await.map(drop)
}

/// Loads the machine code of a resolver from the sandbox's cache: read, proved, made executable.
/// Whether there was any.
pub fn load_compiled(sandbox: &Sandbox, resolver: &Resolver) -> bool {
    sandbox.cached(resolver.digest()).is_some()
}
