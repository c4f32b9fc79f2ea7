//! Costs of the parts of a resolution, and inputs that must not affect its cost.

use std::path::Path;

use component_host::measure::{Instantiation, compile, load_compiled};
use component_host::{BundleView, Resolver, Sandbox};
use tokio::runtime::Runtime;
use worker_runtime::shipped;

use crate::Outcome;
use crate::generated::{self, Extent, PROMPT_BYTES};
use crate::measure::{Group, median, process_time, thread_time, timed};
use crate::sandboxed::{self, SandboxedCase};

/// Depth of the resolved chain in comparisons of other inputs.
pub(crate) const DEPTH: usize = 4;

/// Returns the ratio of instantiating and dropping the built-in resolver ÷ an empty component.
pub(crate) fn instantiate_vs_empty(
    runtime: &Runtime,
    sandbox: &Sandbox,
    resolver: &Resolver,
    rounds: usize,
) -> Outcome<f64> {
    let view = BundleView::new(shipped::bundle()?);
    let once = |what: Instantiation| {
        let view = &view;
        move |times: u32| {
            runtime.block_on(async {
                let started = thread_time();
                for _ in 0..times {
                    what.run_once(view).await?;
                }
                Ok(thread_time() - started)
            })
        }
    };
    let mut group = Group::default();
    let shipped = group.case(once(Instantiation::of(resolver)));
    let empty = group.case(once(Instantiation::of_empty(sandbox)?));
    Ok(group.measure(rounds)?.ratio(shipped, empty))
}

/// Returns the ratio of a fresh resolution with prompts of 100 KiB ÷ with prompts of 100 bytes.
pub(crate) fn prompt_bytes(runtime: &Runtime, resolver: &Resolver, rounds: usize) -> Outcome<f64> {
    let extent = Extent::Bytes(64 << 10);
    compare(runtime, resolver, [(extent, 100 << 10), (extent, 100)], rounds)
}

/// Returns the ratio of a fresh resolution in a bundle of 2,048 profiles ÷ in one of 8.
pub(crate) fn profile_count(runtime: &Runtime, resolver: &Resolver, rounds: usize) -> Outcome<f64> {
    let of = |count| (Extent::Profiles(count), PROMPT_BYTES);
    compare(runtime, resolver, [of(2048), of(8)], rounds)
}

fn compare(runtime: &Runtime, resolver: &Resolver, made: [(Extent, usize); 2], rounds: usize) -> Outcome<f64> {
    let (facts, request) = (generated::facts()?, generated::request(DEPTH)?);
    let (facts, request) = (&facts, &request);
    let [one, other] =
        made.map(|(extent, prompt_bytes)| generated::bundle(extent, DEPTH, prompt_bytes).map(BundleView::new));
    let (one, other) = (one?, other?);
    let mut group = Group::default();
    let one = group.case(|times| runtime.block_on(SandboxedCase { resolver, view: &one, facts, request }.timed(times)));
    let other =
        group.case(|times| runtime.block_on(SandboxedCase { resolver, view: &other, facts, request }.timed(times)));
    Ok(group.measure(rounds)?.ratio(one, other))
}

/// Returns the ratio of loading the resolver from the compile cache ÷ compiling it, and the compile time in seconds.
/// Loading includes the integrity check. Compilation uses several threads, so their CPU times are
/// added.
pub(crate) fn load_vs_compile(runtime: &Runtime, cache: &Path, rounds: usize) -> Outcome<(f64, f64)> {
    let sandbox = sandboxed::sandbox(Some(cache))?;
    let resolver = sandboxed::shipped_resolver(runtime, &sandbox)?;
    let mut group = Group::default();
    let load = group.case(|times| {
        timed(times, || match load_compiled(&sandbox, &resolver) {
            true => Ok(()),
            false => Err("the compile cache is empty".into()),
        })
    });
    let load = group.measure(rounds)?.seconds(load);
    let mut compiled = Vec::new();
    for _ in 0..rounds.min(3) {
        let started = process_time();
        runtime.block_on(compile(&sandbox, shipped::RESOLVER))?;
        compiled.push((process_time() - started).as_secs_f64());
    }
    let compile = median(compiled);
    Ok((load / compile, compile))
}
