//! A resolver: a component that has been examined, compiled and linked once, and answers each
//! resolution in a fresh instance.

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
use crate::handle::{BundleView, Handle, Read};
use crate::limits::{Limits, ResolutionLimits};
use crate::meter::Meter;
use crate::sandbox::Sandbox;
use crate::structure::Structure;

const IMPORTS: [&str; 2] = ["yoi:resolver/bundle@1.0.0", "yoi:resolver/types@1.0.0"];
const EXPORT: &str = "yoi:resolver/resolve@1.0.0";

/// A resolver, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Loaded>);

struct Loaded {
    digest: Digest,
    sandbox: Sandbox,
    pre: ResolverPre<CallState>,
}

/// What one resolution came to, whatever became of it.
#[derive(Debug)]
pub struct Run {
    /// What the resolver answered, which nobody has checked yet, or why there is no answer.
    pub answer: Result<Result<Proposal, ProposedFailure>, CallError>,
    /// What it cost.
    pub cost: Cost,
    /// What it asked the bundle for, sorted.
    pub reads: Vec<Read>,
}

/// Whether a component could be a resolver, by its imports and exports. Whether the types fit is
/// seen when it is linked.
pub fn check_contract(structure: &Structure) -> Result<(), LoadError> {
    let foreign = |name: &&str| !IMPORTS.contains(name);
    let imports: Vec<String> =
        structure.imports().iter().map(|item| item.name()).filter(foreign).map(str::to_owned).collect();
    if !imports.is_empty() {
        return Err(LoadError::ForeignImport { imports });
    }
    if !structure.exports().iter().any(|item| item.name() == EXPORT) {
        return Err(LoadError::MissingExport { export: EXPORT });
    }
    Ok(())
}

impl Resolver {
    pub(crate) fn link(sandbox: &Sandbox, digest: Digest, component: &Component) -> Result<Self, LoadError> {
        let pre =
            sandbox.0.linker.instantiate_pre(component).and_then(ResolverPre::new).map_err(|_| LoadError::Link)?;
        Ok(Self(Arc::new(Loaded { digest, sandbox: sandbox.clone(), pre })))
    }

    /// Whether the export has the contract's types, which is known only of an instance. What a guest
    /// does while it is instantiated is bounded here and judged when it is asked.
    pub(crate) async fn check_types(&self) -> Result<(), LoadError> {
        let shared = &self.0.sandbox.0;
        let most = NonZeroU64::new(10_000_000).unwrap_or(NonZeroU64::MIN);
        let limits = &shared.limits.resolution;
        let limits = ResolutionLimits { fuel: limits.fuel.min(most), ..limits.clone() };
        let _ticking = shared.ticker.call();
        let meter = Arc::new(Meter::default());
        let Ok(mut store) = call::store(&shared.engine, None, &limits, &meter) else { return Ok(()) };
        let instance = meter.count(self.0.pre.instantiate_async(&mut store)).await;
        match instance.map_err(|error| call::classify(&error, &limits)) {
            Err(CallError::Malformed) => Err(LoadError::Link),
            Err(CallError::OutOfMemory) => Err(LoadError::OutOfMemory),
            _ => Ok(()),
        }
    }

    /// The component's digest.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The bounds of the sandbox that it runs in.
    pub fn limits(&self) -> &Limits {
        self.0.sandbox.limits()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    pub(crate) fn instance_pre(&self) -> &InstancePre<CallState> {
        self.0.pre.instance_pre()
    }

    /// Asks for one resolution, within the sandbox's limits.
    pub async fn resolve(&self, view: &BundleView, facts: &Facts, request: &Request) -> Run {
        let limits = self.0.sandbox.limits().resolution.clone();
        self.resolve_within(view, facts, request, &limits).await
    }

    /// Asks for one resolution, within other limits.
    pub async fn resolve_within(
        &self,
        view: &BundleView,
        facts: &Facts,
        request: &Request,
        limits: &ResolutionLimits,
    ) -> Run {
        let started = Instant::now();
        let shared = &self.0.sandbox.0;
        let _ticking = shared.ticker.call();
        let meter = Arc::new(Meter::default());
        let mut store = match call::store(&shared.engine, Some(view.clone()), limits, &meter) {
            Ok(store) => store,
            Err(error) => {
                return Run { answer: Err(call::classify(&error, limits)), cost: Cost::default(), reads: Vec::new() };
            }
        };
        let answered = async {
            let instance = self.0.pre.instantiate_async(&mut store).await?;
            let (request, facts) = (convert::request(request), convert::facts(facts));
            let handle = Resource::<Handle>::new_own(0);
            instance.yoi_resolver_resolve().call_resolve(&mut store, &request, handle, &facts).await
        };
        let answered = meter.count(answered).await;
        let answer = answered.map(convert::answer).map_err(|error| call::classify(&error, limits));
        let (cost, reads) = call::settle(store, limits, started);
        Run { answer, cost, reads }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}
