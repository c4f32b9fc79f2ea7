//! Resolutions of bundles with three sizes and three chain depths: fresh, native, cached, and the host's verification.

use std::hint::black_box;
use std::time::Duration;

use bundles::Manifest;
use component_host::{BundleView, Resolver};
use host_policy::verify_answer;
use tokio::runtime::Runtime;
use worker_runtime::{Inputs, Record, Resolutions};

use crate::Outcome;
use crate::generated::{self, Extent, PROMPT_BYTES};
use crate::measure::{Group, Rounds, median, thread_time, timed};
use crate::native::{NativeCase, ParsedBundle, PreparedBundle};
use crate::sandboxed::{SandboxedCase, proposal};

/// Depths of the chains.
pub(crate) const DEPTHS: [usize; 3] = [1, 4, 16];

/// Measurements of one bundle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeResult {
    /// Size of the manifest in bytes.
    pub(crate) bytes: usize,
    /// Depth of the chain.
    pub(crate) depth: usize,
    /// Fuel of one resolution.
    pub(crate) fuel: u64,
    /// Seconds of a resolution in a fresh instance.
    pub(crate) fresh: f64,
    /// Seconds of a native resolution of a parsed bundle.
    pub(crate) parsed: f64,
    /// Seconds of parsing the manifest and resolving natively.
    pub(crate) native: f64,
    pub(crate) fresh_vs_parsed: f64,
    pub(crate) fresh_vs_native: f64,
    pub(crate) memo_vs_parsed: f64,
    pub(crate) verify_vs_parsed: f64,
    /// The resolution with the host's check, all digests and the record ÷ the fresh resolution.
    pub(crate) recorded_vs_fresh: f64,
}

/// Measures bundles of one size.
pub(crate) fn measure(runtime: &Runtime, resolver: &Resolver, bytes: usize, rounds: usize) -> Outcome<Vec<SizeResult>> {
    DEPTHS.iter().map(|&depth| one(runtime, resolver, bytes, depth, rounds)).collect()
}

/// Returns the median over the depths.
pub(crate) fn over_depths(found: &[SizeResult], ratio: impl Fn(&SizeResult) -> f64) -> f64 {
    median(found.iter().map(ratio).collect())
}

fn one(runtime: &Runtime, resolver: &Resolver, bytes: usize, depth: usize, rounds: usize) -> Outcome<SizeResult> {
    let bundle = generated::bundle(Extent::Bytes(bytes), depth, PROMPT_BYTES)?;
    let (facts, request) = (generated::facts()?, generated::request(depth)?);
    let manifest = bundle.manifest();
    let text = bundle.manifest_bytes().clone();
    let question = NativeCase::new(&facts, &request);
    let prepared = PreparedBundle::new(manifest)?;
    let view = BundleView::new(bundle.clone());
    let inputs = Inputs::new(facts.clone(), request.clone());
    let case = SandboxedCase { resolver, view: &view, facts: &facts, request: &request };

    let run = runtime.block_on(resolver.resolve(&view, &facts, &request));
    let fuel = run.cost.fuel;
    let proposed = proposal(run)?;
    check_equal(&proposed, &question.resolve(&prepared)?)?;
    let resolutions = Resolutions::default();
    runtime.block_on(resolutions.resolve(resolver, &view, &inputs))?;

    let mut group = Group::default();
    let parsed = group.case(|times| timed(times, || consume(question.resolve(&prepared))));
    let native = group.case(|times| {
        timed(times, || {
            let manifest: Manifest = serde_json::from_slice(&text)?;
            consume(question.resolve(&ParsedBundle(&manifest)))
        })
    });
    let fresh = group.case(|times| runtime.block_on(case.timed(times)));
    let memo = group.case(|times| {
        runtime.block_on(async {
            let started = thread_time();
            for _ in 0..times {
                black_box(resolutions.resolve(resolver, &view, &inputs).await?);
            }
            Ok(thread_time() - started)
        })
    });
    let recorded = group.case(|times| {
        runtime.block_on(async {
            let resolutions = Resolutions::with_capacity(0);
            let started = thread_time();
            for _ in 0..times {
                let inputs = Inputs::new(facts.clone(), request.clone());
                let resolved = resolutions.resolve(resolver, &view, &inputs).await?;
                black_box(Record::write(&inputs, &resolved, resolved.digests()));
            }
            Ok(thread_time() - started)
        })
    });
    let verify = group.case(|times| {
        let mut taken = Duration::ZERO;
        for _ in 0..times {
            // A verification consumes its proposal, so each run needs a new one from the guest.
            let mut answer = Some(proposal(runtime.block_on(resolver.resolve(&view, &facts, &request)))?);
            taken += timed(1, || match answer.take() {
                Some(answer) => {
                    consume(verify_answer(manifest, &facts, &request, &resolver.limits().bundle, Ok(answer)))
                }
                None => Err("the proposal was already verified".into()),
            })?;
        }
        Ok(taken)
    });
    let rounds: Rounds = group.measure(rounds)?;
    Ok(SizeResult {
        bytes: text.len(),
        depth,
        fuel,
        fresh: rounds.seconds(fresh),
        parsed: rounds.seconds(parsed),
        native: rounds.seconds(native),
        fresh_vs_parsed: rounds.ratio(fresh, parsed),
        fresh_vs_native: rounds.ratio(fresh, native),
        memo_vs_parsed: rounds.ratio(memo, parsed),
        verify_vs_parsed: rounds.ratio(verify, parsed),
        recorded_vs_fresh: rounds.ratio(recorded, fresh),
    })
}

/// Checks that both resolutions are equal.
fn check_equal(sandboxed: &host_policy::Proposal, native: &resolver_guest::Resolution) -> Outcome<()> {
    let same = sandboxed.lineage == native.lineage
        && sandboxed.tools == native.tools
        && sandboxed.instructions == native.instructions
        && sandboxed.settings == native.settings
        && sandboxed.origins.len() == native.origins.len();
    if same { Ok(()) } else { Err("the sandboxed and the native resolution differ".into()) }
}

fn consume<T, E: Into<Box<dyn std::error::Error + Send + Sync>>>(answer: Result<T, E>) -> Outcome<()> {
    black_box(answer.map_err(Into::into)?);
    Ok(())
}
