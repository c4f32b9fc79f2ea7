//! A loaded resolver: a component that is checked, compiled and linked once, and runs each resolution in
//! a fresh instance.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use bundles::Digest;
use host_policy::{Facts, Proposal, ProposedFailure, Request};
use wasmtime::component::{Component, InstancePre, Resource};

use crate::bindings::ResolverPre;
use crate::call::{self, CallState, Cost};
use crate::convert;
use crate::error::{CallError, LoadError};
use crate::handle::{BundleRead, BundleView, Handle};
use crate::limits::{Limits, ResolutionLimits};
use crate::meter::CpuMeter;
use crate::sandbox::Sandbox;
use crate::structure::Structure;

/// The only imports that a resolver may have.
const ALLOWED_IMPORTS: [&str; 2] = ["yoi:resolver/bundle@1.0.0", "yoi:resolver/types@1.0.0"];
/// The export that a resolver must have.
const REQUIRED_EXPORT: &str = "yoi:resolver/resolve@1.0.0";

/// A resolver that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Loaded>);

struct Loaded {
    digest: Digest,
    sandbox: Sandbox,
    pre: ResolverPre<CallState>,
}

/// The outcome of one resolution, successful or not.
#[derive(Debug)]
pub struct Run {
    /// The unverified answer of the resolver, or the error that ended the call.
    pub answer: Result<Result<Proposal, ProposedFailure>, CallError>,
    /// Resources that the call used.
    pub cost: Cost,
    /// Look-ups in the bundle, sorted.
    pub reads: Vec<BundleRead>,
}

/// Checks the names of a component's imports and exports. Linking checks their types.
///
/// # Errors
///
/// [`LoadError::ForeignImport`] or [`LoadError::MissingExport`].
pub fn check_contract(structure: &Structure) -> Result<(), LoadError> {
    let foreign = |name: &&str| !ALLOWED_IMPORTS.contains(name);
    let imports: Vec<String> =
        structure.imports().iter().map(|item| item.name()).filter(foreign).map(str::to_owned).collect();
    if !imports.is_empty() {
        return Err(LoadError::ForeignImport { imports });
    }
    if !structure.exports().iter().any(|item| item.name() == REQUIRED_EXPORT) {
        return Err(LoadError::MissingExport { export: REQUIRED_EXPORT });
    }
    Ok(())
}

impl Resolver {
    pub(crate) fn link(sandbox: &Sandbox, digest: Digest, component: &Component) -> Result<Self, LoadError> {
        let pre =
            sandbox.0.linker.instantiate_pre(component).and_then(ResolverPre::new).map_err(|_| LoadError::Link)?;
        Ok(Self(Arc::new(Loaded { digest, sandbox: sandbox.clone(), pre })))
    }

    /// Checks the types of the export, which needs an instance.
    ///
    /// Start functions of the guest run under a small fuel limit. Their other errors are ignored here and
    /// reported by the first resolution.
    pub(crate) async fn check_types(&self) -> Result<(), LoadError> {
        let shared = &self.0.sandbox.0;
        let max_fuel = NonZeroU64::new(10_000_000).unwrap_or(NonZeroU64::MIN);
        let limits = &shared.limits.resolution;
        let limits = ResolutionLimits { fuel: limits.fuel.min(max_fuel), ..limits.clone() };
        let _call = shared.ticker.call();
        let meter = Arc::new(CpuMeter::default());
        let Ok(mut store) = call::new_store(&shared.engine, None, &limits, &meter) else { return Ok(()) };
        let instance = meter.count(self.0.pre.instantiate_async(&mut store)).await;
        match instance.map_err(|error| call::classify(&error, &limits)) {
            Err(CallError::Malformed) => Err(LoadError::Link),
            Err(CallError::OutOfMemory) => Err(LoadError::OutOfMemory),
            _ => Ok(()),
        }
    }

    /// Returns the digest of the component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns the limits of the sandbox that the resolver belongs to.
    pub fn limits(&self) -> &Limits {
        self.0.sandbox.limits()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    pub(crate) fn instance_pre(&self) -> &InstancePre<CallState> {
        self.0.pre.instance_pre()
    }

    /// Runs one resolution within the sandbox's limits.
    pub async fn resolve(&self, view: &BundleView, facts: &Facts, request: &Request) -> Run {
        let limits = self.0.sandbox.limits().resolution.clone();
        self.resolve_within(view, facts, request, &limits).await
    }

    /// Runs one resolution within the given limits.
    pub async fn resolve_within(
        &self,
        view: &BundleView,
        facts: &Facts,
        request: &Request,
        limits: &ResolutionLimits,
    ) -> Run {
        let started = Instant::now();
        let shared = &self.0.sandbox.0;
        let _call = shared.ticker.call();
        let meter = Arc::new(CpuMeter::default());
        let mut store = match call::new_store(&shared.engine, Some(view.clone()), limits, &meter) {
            Ok(store) => store,
            Err(error) => {
                return Run { answer: Err(call::classify(&error, limits)), cost: Cost::default(), reads: Vec::new() };
            }
        };
        let call = async {
            let instance = self.0.pre.instantiate_async(&mut store).await?;
            let (request, facts) = (convert::request(request), convert::facts(facts));
            let handle = Resource::<Handle>::new_own(0);
            instance.yoi_resolver_resolve().call_resolve(&mut store, &request, handle, &facts).await
        };
        let answer = meter.count(call).await;
        let answer = answer.map(convert::answer).map_err(|error| call::classify(&error, limits));
        let (cost, reads) = call::finish(store, limits, started);
        Run { answer, cost, reads }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}
