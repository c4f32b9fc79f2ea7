//! What a resolution's cost must not follow, and what its parts cost.

use std::path::Path;

use component_host::measure::{Instantiation, compile, load_compiled};
use component_host::{BundleView, Resolver, Sandbox};
use tokio::runtime::Runtime;
use worker_runtime::shipped;

use crate::Outcome;
use crate::made::{self, Extent, PROMPT_BYTES};
use crate::measure::{Group, median, process_time, thread_time, timed};
use crate::sandboxed::{self, Asked};

/// The chain that is resolved where only something else differs.
pub(crate) const DEPTH: usize = 4;

/// Instantiating and dropping the shipped resolver ÷ an empty component.
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

/// A fresh resolution where prompts have 100 KiB ÷ where they have 100 bytes.
pub(crate) fn prompt_bytes(runtime: &Runtime, resolver: &Resolver, rounds: usize) -> Outcome<f64> {
    let extent = Extent::Bytes(64 << 10);
    compare(runtime, resolver, [(extent, 100 << 10), (extent, 100)], rounds)
}

/// A fresh resolution in a bundle of 2,048 profiles ÷ in one of 8.
pub(crate) fn profile_count(runtime: &Runtime, resolver: &Resolver, rounds: usize) -> Outcome<f64> {
    let of = |count| (Extent::Profiles(count), PROMPT_BYTES);
    compare(runtime, resolver, [of(2048), of(8)], rounds)
}

fn compare(runtime: &Runtime, resolver: &Resolver, made: [(Extent, usize); 2], rounds: usize) -> Outcome<f64> {
    let (facts, request) = (made::facts()?, made::request(DEPTH)?);
    let (facts, request) = (&facts, &request);
    let [one, other] =
        made.map(|(extent, prompt_bytes)| made::bundle(extent, DEPTH, prompt_bytes).map(BundleView::new));
    let (one, other) = (one?, other?);
    let mut group = Group::default();
    let one = group.case(|times| runtime.block_on(Asked { resolver, view: &one, facts, request }.timed(times)));
    let other = group.case(|times| runtime.block_on(Asked { resolver, view: &other, facts, request }.timed(times)));
    Ok(group.measure(rounds)?.ratio(one, other))
}

/// Reading the compiled resolver from the cache, with its proof, and making it executable ÷
/// compiling it. CPU time of all threads, because several compile.
pub(crate) fn load_vs_compile(runtime: &Runtime, cache: &Path, rounds: usize) -> Outcome<(f64, f64)> {
    let sandbox = sandboxed::sandbox(Some(cache))?;
    let resolver = sandboxed::shipped_resolver(runtime, &sandbox)?;
    let mut group = Group::default();
    let load = group.case(|times| {
        timed(times, || match load_compiled(&sandbox, &resolver) {
            true => Ok(()),
            false => Err("the compile cache holds nothing".into()),
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
