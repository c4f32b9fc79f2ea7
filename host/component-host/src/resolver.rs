//! A loaded resolver: a component that is checked, compiled and linked once, and runs each resolution in
//! a fresh instance. See the siblings [`tool`](crate::tool) and [`service`](crate::service).

mod bundle_view;
mod convert;
mod imports;

use std::sync::Arc;
use std::time::Instant;

use bundles::Digest;
use host_policy::{Facts, Proposal, ProposedFailure, Request};
use wasmtime::component::{Component, InstancePre, Resource};

use crate::bindings::resolver::ResolverPre;
use crate::bindings::resolver::exports::yoi::resolver::resolve::{Failure, Request as WitRequest, Resolution};
use crate::bindings::resolver::yoi::resolver::types::Facts as WitFacts;
use crate::call::{self, CallState, Cost};
use crate::error::{LoadError, RunError};
use crate::limits::{Limits, ResolutionLimits};
use crate::meter::CpuMeter;
use crate::sandbox::Sandbox;
use crate::world::{RESOLVE, World};

#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub use bundle_view::Handle;
pub use bundle_view::{BundleRead, BundleView};
pub(crate) use imports::{Lookups, linker};

/// A resolver that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Loaded>);

struct Loaded {
    digest: Digest,
    sandbox: Sandbox,
    pre: ResolverPre<CallState<Lookups>>,
}

/// The outcome of one resolution, successful or not.
#[derive(Debug)]
pub struct Run {
    /// The unverified answer of the resolver, or the error that ended the call.
    pub answer: Result<Result<Proposal, ProposedFailure>, RunError>,
    /// Resources that the call used.
    pub cost: Cost,
    /// Look-ups in the bundle, sorted.
    pub reads: Vec<BundleRead>,
}

impl Resolver {
    pub(crate) fn link(sandbox: &Sandbox, digest: Digest, component: &Component) -> Result<Self, LoadError> {
        let pre = sandbox.0.resolvers.linker.instantiate_pre(component).and_then(|pre| {
            type Parameters<'a> = (&'a WitRequest, Resource<Handle>, &'a WitFacts);
            call::check_function::<Parameters<'_>, (Result<Resolution, Failure>,)>(&pre, RESOLVE, "resolve")?;
            ResolverPre::new(pre)
        });
        let pre = pre.map_err(|_| LoadError::Link { world: World::Resolver })?;
        Ok(Self(Arc::new(Loaded { digest, sandbox: sandbox.clone(), pre })))
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

    pub(crate) fn instance_pre(&self) -> &InstancePre<CallState<Lookups>> {
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
        let pool = &self.0.sandbox.0.resolvers;
        let _call = pool.ticker.call();
        let meter = Arc::new(CpuMeter::default());
        let classify = |error| call::classify(&error, |limit| limits.allowed(limit));
        let lookups = Lookups::new(view.clone(), limits.clone());
        let mut store = match call::new_store(&pool.engine, lookups, limits.instance(), &meter) {
            Ok(store) => store,
            Err(error) => return Run { answer: Err(classify(error)), cost: Cost::default(), reads: Vec::new() },
        };
        let call = async {
            let instance = self.0.pre.instantiate_async(&mut store).await?;
            let (request, facts) = (convert::request(request), convert::facts(facts));
            let handle = Resource::<Handle>::new_own(0);
            instance.yoi_resolver_resolve().call_resolve(&mut store, &request, handle, &facts).await
        };
        let answer = meter.count(call).await;
        let answer = answer.map(convert::answer).map_err(classify);
        let cost = call::cost(&store, started);
        // The store is never reused, because the guest may have left it in any state.
        Run { answer, cost, reads: store.into_data().world.reads.into_reads() }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}
