//! Resolutions: [`Resolutions`] calls a sandboxed resolver, verifies its answer and caches the result.

use std::sync::Arc;

use bundles::Digest;
use bundles::canonical::Canonical;
use component_host::{BundleView, Cost, Resolver, Run, RunError};
use host_policy::{Facts, Proposal, ProposedFailure, Request, Resolution, verify_answer};

use crate::digests::Digests;
use crate::error::ResolveError;
use crate::memo::Memo;
use crate::record::ReadSet;

/// Maximum number of cached resolutions.
const MAX_CACHED_RESOLUTIONS: usize = 1024;

/// Cache key: the inputs of a resolution. A resolution is a pure function of them, so a cached one never becomes stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    resolver: Digest,
    bundle: Digest,
    facts: Digest,
    request: Digest,
}

/// Facts and request of a resolution, with their digests. Each digest is computed once.
#[derive(Debug, Clone)]
pub struct Inputs {
    facts: Arc<KnownFacts>,
    request: Request,
    canonical_request: Canonical,
    request_digest: Digest,
}

/// Facts with their canonical form and digest. The facts of a workspace change only with its config.
#[derive(Debug)]
pub(crate) struct KnownFacts {
    facts: Facts,
    canonical: Canonical,
    digest: Digest,
}

impl From<Facts> for KnownFacts {
    fn from(facts: Facts) -> Self {
        let canonical = facts.canonical();
        Self { digest: canonical.digest(), canonical, facts }
    }
}

impl KnownFacts {
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl Inputs {
    /// Creates inputs from facts and a request.
    pub fn new(facts: Facts, request: Request) -> Self {
        Self::of(Arc::new(facts.into()), request)
    }

    /// Creates inputs from facts whose digest is already computed.
    pub(crate) fn of(facts: Arc<KnownFacts>, request: Request) -> Self {
        let canonical_request = request.canonical();
        Self { facts, request, request_digest: canonical_request.digest(), canonical_request }
    }

    /// Returns the facts.
    pub fn facts(&self) -> &Facts {
        &self.facts.facts
    }

    pub(crate) fn canonical_facts(&self) -> &Canonical {
        &self.facts.canonical
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn canonical_request(&self) -> &Canonical {
        &self.canonical_request
    }
}

/// A verified resolution with its inputs, its cost and its read set.
#[derive(Debug)]
pub struct ComputedResolution {
    resolution: Resolution,
    /// The resolver's answer in canonical form, for the resolution record.
    proposal: Canonical,
    digests: Digests,
    cost: Cost,
    reads: ReadSet,
}

impl ComputedResolution {
    /// Returns the verified resolution.
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// Returns the answer of the resolver.
    pub fn proposal(&self) -> Proposal {
        // Parsing cannot fail: the text was serialised from a `Proposal`.
        serde_json::from_slice(self.proposal.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn canonical_proposal(&self) -> &Canonical {
        &self.proposal
    }

    /// Creates the resolution of an empty profile, with an unrelated proposal.
    #[cfg(test)]
    pub(crate) fn made_up(proposal: &Proposal, digests: Digests) -> Self {
        let manifest: bundles::Manifest = serde_json::from_value(serde_json::json!({
            "schema": "yoi.config-bundle/1", "workspace": { "id": "acme" }, "revision": "1", "language": "en",
            "created_at": "2026-06-25T15:49:30Z", "profiles": { "coder": {} },
        }))
        .expect("a manifest");
        let facts = Facts::bare("linux".parse().expect("a name"), "x86_64".parse().expect("a name"));
        let request = Request::new("coder".parse().expect("a name"), []);
        let honest = Proposal { lineage: vec!["coder".to_owned()], settings: "{}".to_owned(), ..Proposal::default() };
        let limits = bundles::BundleLimits::default();
        let resolution = host_policy::verify(&manifest, &facts, &request, &limits, honest).expect("a resolution");
        let proposal = Canonical::of(proposal).expect("JSON");
        let read = |kind, name: &str, found| component_host::BundleRead { kind, name: name.into(), found };
        let reads = ReadSet::of(vec![read("profile", "coder", true), read("prompt", "chosen by the guest", false)]);
        Self { resolution, proposal, digests, cost: Cost::default(), reads }
    }

    /// Returns the digests of all inputs and of the resolution.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Returns the resources that the computation used. A cached resolution keeps the cost of its computation.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Returns the names that the resolver looked up in the bundle.
    pub fn reads(&self) -> &ReadSet {
        &self.reads
    }
}

/// A resolution that failed, with its inputs and cost.
#[derive(Debug)]
pub struct FailedResolution {
    /// The error.
    pub error: ResolveError,
    /// Digests of the inputs.
    pub digests: Digests,
    /// Resources that the run used.
    pub cost: Cost,
    /// Names that the resolver looked up in the bundle.
    pub reads: ReadSet,
}

/// Resolves profiles and caches the results.
#[derive(Debug)]
pub struct Resolutions {
    memo: Memo<Key, Arc<ComputedResolution>>,
}

impl Default for Resolutions {
    fn default() -> Self {
        Self::with_capacity(MAX_CACHED_RESOLUTIONS)
    }
}

impl Resolutions {
    /// Creates a cache of at most `capacity` resolutions. 0 disables the cache.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { memo: Memo::new(capacity) }
    }

    /// Resolves a profile, or returns the cached result. The same inputs always give the same result.
    pub async fn resolve(
        &self,
        resolver: &Resolver,
        view: &BundleView,
        inputs: &Inputs,
    ) -> Result<Arc<ComputedResolution>, ResolveError> {
        self.run(resolver, view, inputs).await.map_err(|failed| failed.error)
    }

    /// Like [`resolve`](Self::resolve), and returns the cost and the read set of a failed resolution too.
    pub async fn run(
        &self,
        resolver: &Resolver,
        view: &BundleView,
        inputs: &Inputs,
    ) -> Result<Arc<ComputedResolution>, Box<FailedResolution>> {
        let key = Key {
            resolver: resolver.digest(),
            bundle: view.bundle().digest(),
            facts: inputs.facts.digest,
            request: inputs.request_digest,
        };
        if let Some(known) = self.memo.get(&key) {
            return Ok(known);
        }
        let Run { answer, cost, reads } = resolver.resolve(view, inputs.facts(), &inputs.request).await;
        let reads = ReadSet::of(reads);
        let (bundle, facts, request) = (key.bundle, key.facts, key.request);
        let digests = Digests { bundle, resolver: key.resolver, facts, policy: None, request, resolution: None };
        match verified(answer, resolver, view, inputs) {
            Ok((resolution, proposal)) => {
                let digests = Digests { resolution: Some(resolution.digest()), ..digests };
                let resolved = Arc::new(ComputedResolution { resolution, proposal, digests, cost, reads });
                self.memo.insert(key, resolved.clone());
                Ok(resolved)
            }
            Err(error) => Err(Box::new(FailedResolution { error, digests, cost, reads })),
        }
    }
}

/// Verifies an answer, and returns the resolution with the answer in canonical form.
fn verified(
    answer: Result<Result<Proposal, ProposedFailure>, RunError>,
    resolver: &Resolver,
    view: &BundleView,
    inputs: &Inputs,
) -> Result<(Resolution, Canonical), ResolveError> {
    let (answer, limits) = (answer?, &resolver.limits().bundle);
    // Serialised before the verification, which consumes the answer.
    let proposal = answer.as_ref().ok().map(Canonical::of).transpose();
    let resolution = verify_answer(view.bundle().manifest(), inputs.facts(), &inputs.request, limits, answer)??;
    // Serialising cannot fail: a proposal holds only texts and small numbers, which JSON can represent.
    Ok((resolution, proposal.ok().flatten().unwrap_or_default()))
}
