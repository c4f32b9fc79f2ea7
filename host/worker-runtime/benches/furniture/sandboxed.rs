//! Resolving in the sandbox, which is configured as the product configures it: fuel, deadline, and
//! memory that is kept resident where it is never swapped.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use component_host::compile::cache::CompileCache;
use component_host::{Allocation, BundleView, Resolver, Run, Sandbox, SandboxConfig};
use host_policy::{Facts, Proposal, Request};
use tokio::runtime::{Builder, Runtime};
use worker_runtime::shipped;

use super::Outcome;
use super::measure::thread_time;

/// The allocation that the product would use on this machine.
pub(crate) fn allocation() -> Allocation {
    if component_host::memory_is_never_swapped() { Allocation::PooledResident } else { Allocation::Pooled }
}

/// A sandbox as the product makes it, with a compile cache in `folder`.
pub(crate) fn sandbox(folder: Option<&Path>) -> Outcome<Sandbox> {
    let cache = folder.map(CompileCache::open).transpose()?;
    Ok(Sandbox::new(SandboxConfig { allocation: allocation(), cache, ..SandboxConfig::default() })?)
}

/// What a thread runs resolutions on.
pub(crate) fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// The shipped resolver, taken in.
pub(crate) fn shipped_resolver(runtime: &Runtime, sandbox: &Sandbox) -> Outcome<Resolver> {
    Ok(runtime.block_on(sandbox.load(shipped::RESOLVER))?)
}

/// A resolver, a bundle and a question.
pub(crate) struct Asked<'a> {
    pub(crate) resolver: &'a Resolver,
    pub(crate) view: &'a BundleView,
    pub(crate) facts: &'a Facts,
    pub(crate) request: &'a Request,
}

impl Asked<'_> {
    /// Resolves in a fresh instance.
    pub(crate) async fn once(&self) -> Outcome<()> {
        black_box(proposal(self.resolver.resolve(self.view, self.facts, self.request).await)?);
        Ok(())
    }

    /// Resolves in a fresh instance each, and says what that took of the thread's time.
    pub(crate) async fn timed(&self, times: u32) -> Outcome<Duration> {
        let started = thread_time();
        for _ in 0..times {
            self.once().await?;
        }
        Ok(thread_time() - started)
    }
}

/// What was proposed, where something was.
pub(crate) fn proposal(run: Run) -> Outcome<Proposal> {
    run.answer?.map_err(|failure| format!("{failure:?}").into())
}
