//! The resolver under test.

use async_trait::async_trait;
use bundles::Digest;
use component_host::{BundleView, LoadError, Resolver, Run, Sandbox};
use host_policy::{Facts, Request};

/// A resolver under test: a component in a sandbox, or code that stands for one.
#[async_trait]
pub trait ResolverUnderTest: Send + Sync {
    /// Runs one resolution. The look-ups of the run must be complete.
    async fn resolve(&self, view: &BundleView, facts: &Facts, request: &Request) -> Run;

    /// Returns the same resolver as other hosts run it. Its answers must be the same there.
    fn on_other_hosts(&self) -> Vec<&dyn ResolverUnderTest> {
        Vec::new()
    }
}

/// A component, loaded into one or more sandboxes.
#[derive(Debug)]
pub struct Sandboxed {
    resolver: Resolver,
    others: Vec<Sandboxed>,
}

impl Sandboxed {
    /// Loads a component into each of the sandboxes. Resolutions run in the first one, and the others are other hosts.
    pub async fn load(sandbox: &Sandbox, others: &[Sandbox], component: &[u8]) -> Result<Self, LoadError> {
        let resolver = sandbox.load(component).await?;
        let mut loaded = Vec::new();
        for other in others {
            loaded.push(Self { resolver: other.load(component).await?, others: Vec::new() });
        }
        Ok(Self { resolver, others: loaded })
    }

    /// Returns the digest of the component.
    pub fn digest(&self) -> Digest {
        self.resolver.digest()
    }
}

#[async_trait]
impl ResolverUnderTest for Sandboxed {
    async fn resolve(&self, view: &BundleView, facts: &Facts, request: &Request) -> Run {
        self.resolver.resolve(view, facts, request).await
    }

    fn on_other_hosts(&self) -> Vec<&dyn ResolverUnderTest> {
        self.others.iter().map(|other| other as &dyn ResolverUnderTest).collect()
    }
}
