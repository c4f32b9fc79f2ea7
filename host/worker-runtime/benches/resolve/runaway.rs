//! Time to stop a resolver that never ends.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use component_host::{BundleView, ResolutionLimits, RunError, Sandbox};
use tokio::runtime::Runtime;
use worker_runtime::shipped;

use crate::Outcome;
use crate::generated;
use crate::measure::median;

/// Deadline of the resolution.
const DEADLINE: Duration = Duration::from_millis(20);

/// Core module with an endless loop. Its parameters and result are those of the contract in flattened form.
const CORE: &str = r#"
    (module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "yoi:resolver/resolve@1.0.0#resolve") (param i32) (result i32)
            (loop $again (br $again))
            unreachable))
"#;

/// Returns the ratio of the elapsed time until the stop ÷ the deadline.
pub(crate) fn stop_vs_limit(runtime: &Runtime, sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    let resolver = runtime.block_on(sandbox.load(&component()?))?;
    let limits = ResolutionLimits {
        fuel: NonZeroU64::MAX,
        deadline_ms: DEADLINE.as_millis().try_into()?,
        ..ResolutionLimits::default()
    };
    let view = BundleView::new(shipped::bundle()?);
    let (facts, request) = (generated::facts()?, generated::request(1)?);
    let mut ratios = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        let run = runtime.block_on(resolver.resolve_within(&view, &facts, &request, &limits));
        let taken = started.elapsed();
        match run.answer {
            Err(RunError::Limit { limit: "deadline_ms", .. }) => {}
            other => return Err(format!("unexpected end of the runaway resolver: {other:?}").into()),
        }
        ratios.push(taken.as_secs_f64() / DEADLINE.as_secs_f64());
    }
    Ok(median(ratios))
}

/// Encodes the core module as a component of the resolver world.
fn component() -> Outcome<Vec<u8>> {
    let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut contract = wit_parser::Resolve::default();
    let (package, _) = contract.push_dir(wit)?;
    let world = contract.select_world(&[package], Some("resolver"))?;
    let mut core = wat::parse_str(CORE)?;
    wit_component::embed_component_metadata(&mut core, &contract, world, wit_component::StringEncoding::UTF8)?;
    Ok(wit_component::ComponentEncoder::default().module(&core)?.validate(true).encode()?)
}
