//! Resolving: ask the sandbox, check the answer, remember it.

use std::sync::Arc;

use bundles::Digest;
use component_host::{BundleView, Cost, Read, Resolver};
use host_policy::{Facts, Proposal, Request, Resolution, verify_answer};

use crate::digests::Digests;
use crate::error::ResolveError;
use crate::memo::Memo;

/// Resolutions that are remembered.
const MOST_REMEMBERED: usize = 1024;

/// The inputs of a resolution: it is a pure function of them, so what is remembered never goes stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    resolver: Digest,
    bundle: Digest,
    facts: Digest,
    request: Digest,
}

/// What is asked, with its digests, which are taken once.
#[derive(Debug, Clone)]
pub struct Inputs {
    facts: Facts,
    facts_digest: Digest,
    request: Request,
    request_digest: Digest,
}

impl Inputs {
    /// Facts and a request.
    pub fn new(facts: Facts, request: Request) -> Self {
        let (facts_digest, request_digest) = (facts.digest(), request.digest());
        Self { facts, facts_digest, request, request_digest }
    }

    /// The facts.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }
}

/// A resolution with all that is known about how it came about.
#[derive(Debug)]
pub struct Resolved {
    resolution: Resolution,
    proposal: Proposal,
    digests: Digests,
    cost: Cost,
    reads: Vec<Read>,
}

impl Resolved {
    /// What the profile means.
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// What the resolver answered.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// The digests of all inputs and of the resolution.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// What it cost when it was computed.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// What the resolver read of the bundle.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }
}

/// Resolves, and remembers what it resolved.
#[derive(Debug)]
pub struct Resolutions {
    memo: Memo<Key, Arc<Resolved>>,
}

impl Default for Resolutions {
    fn default() -> Self {
        Self::remembering(MOST_REMEMBERED)
    }
}

impl Resolutions {
    /// Remembers at most that many resolutions; 0 computes each anew.
    pub fn remembering(most: usize) -> Self {
        Self { memo: Memo::new(most) }
    }

    /// What the profile means on a host of these facts. The same inputs give the same answer, from
    /// memory where it is there.
    pub async fn resolve(
        &self,
        resolver: &Resolver,
        view: &BundleView,
        inputs: &Inputs,
    ) -> Result<Arc<Resolved>, ResolveError> {
        let key = Key {
            resolver: resolver.digest(),
            bundle: view.bundle().digest(),
            facts: inputs.facts_digest,
            request: inputs.request_digest,
        };
        if let Some(known) = self.memo.get(&key) {
            return Ok(known);
        }
        let limits = &resolver.limits().bundle;
        let run = resolver.resolve(view, &inputs.facts, &inputs.request).await;
        let answer = run.answer?;
        let proposal = answer.as_ref().ok().cloned().unwrap_or_default();
        let resolution = verify_answer(view.bundle().manifest(), &inputs.facts, &inputs.request, limits, answer)??;
        let digests = Digests {
            bundle: key.bundle,
            resolver: key.resolver,
            facts: key.facts,
            policy: None,
            request: key.request,
            resolution: resolution.digest(),
        };
        let resolved = Arc::new(Resolved { resolution, proposal, digests, cost: run.cost, reads: run.reads });
        self.memo.insert(key, resolved.clone());
        Ok(resolved)
    }
}
