//! Resolution in the sandbox, configured like the `yoi` program: with fuel, a deadline, and resident memory on machines
//! that never swap.

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

/// Returns the allocation strategy that `yoi` uses on this machine.
pub(crate) fn allocation() -> Allocation {
    if component_host::memory_is_never_swapped() { Allocation::PooledResident } else { Allocation::Pooled }
}

/// Creates a sandbox like that of `yoi`, with a compile cache in `folder`.
pub(crate) fn sandbox(folder: Option<&Path>) -> Outcome<Sandbox> {
    let cache = folder.map(CompileCache::open).transpose()?;
    Ok(Sandbox::new(SandboxConfig { allocation: allocation(), cache, ..SandboxConfig::default() })?)
}

/// Creates a tokio runtime for resolutions on the current thread.
pub(crate) fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Loads the built-in resolver.
pub(crate) fn shipped_resolver(runtime: &Runtime, sandbox: &Sandbox) -> Outcome<Resolver> {
    Ok(runtime.block_on(sandbox.load(shipped::RESOLVER))?)
}

/// Inputs of a sandboxed resolution.
pub(crate) struct SandboxedCase<'a> {
    pub(crate) resolver: &'a Resolver,
    pub(crate) view: &'a BundleView,
    pub(crate) facts: &'a Facts,
    pub(crate) request: &'a Request,
}

impl SandboxedCase<'_> {
    /// Resolves in a fresh instance.
    pub(crate) async fn once(&self) -> Outcome<()> {
        black_box(proposal(self.resolver.resolve(self.view, self.facts, self.request).await)?);
        Ok(())
    }

    /// Resolves in a fresh instance each time, and returns the thread CPU time.
    pub(crate) async fn timed(&self, times: u32) -> Outcome<Duration> {
        let started = thread_time();
        for _ in 0..times {
            self.once().await?;
        }
        Ok(thread_time() - started)
    }
}

/// Returns the proposal of a run, or an error if there is none.
pub(crate) fn proposal(run: Run) -> Outcome<Proposal> {
    run.answer?.map_err(|failure| format!("{failure:?}").into())
}
