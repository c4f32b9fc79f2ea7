//! Hostile resolvers, one for each kind of attack or fault. Each ends in the expected typed error, and the next
//! resolution works.

use component_host::{Limits, LoadError, RunError};
use worker_runtime::report::ResolutionReport;
use worker_runtime::{Outcome, Resolutions, ResolveError};
use yoi_tests::hostile::{self, Expect, Hostile};
use yoi_tests::{fixtures, sandboxes};

/// Returns limits with more fuel than an honest resolver needs, which a loop uses up quickly even on a slow machine.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.resolution.fuel = 50_000_000.try_into().expect("not zero");
    limits.resolution.lookup_bytes = 3 << 20;
    // Lower than `lookup_bytes`, so that the names of a single look-up reach it first.
    limits.resolution.hostcall_bytes = 5 << 19;
    limits
}

/// Runs a component and returns the outcome, in the words of [`Expect`].
async fn run(sandbox: &component_host::Sandbox, component: &[u8]) -> (Outcome, String) {
    let resolver = match sandbox.load(component).await {
        Ok(resolver) => resolver,
        Err(error @ LoadError::Link { .. }) => return (Outcome::RefusedLink, error.code().to_string()),
        Err(LoadError::Exceeds { limit, .. }) => return (Outcome::Limit, limit.to_owned()),
        Err(error) => return (Outcome::RefusedLoad, error.code().to_string()),
    };
    match Resolutions::with_capacity(0).resolve(&resolver, &fixtures::simple_view(), &fixtures::simple_inputs()).await {
        Ok(resolved) => {
            let report = ResolutionReport::new(fixtures::simple().manifest(), &resolved, None);
            let report = serde_json::to_string(&report).expect("JSON");
            assert!(!report.contains("canary-secret") && !report.contains("canary-capability"), "{report}");
            (Outcome::Resolved, String::new())
        }
        Err(error) => {
            let word = match &error {
                ResolveError::Misbehaved(misbehaved) => misbehaved.field.clone(),
                ResolveError::Call(RunError::Limit { limit, .. }) => (*limit).to_owned(),
                error => error.code().to_string(),
            };
            assert_nothing_leaks(&error.to_string());
            (error.outcome(), word)
        }
    }
}

/// Asserts that a message contains no canary. The facts contain canaries, which a guest can copy into any text.
fn assert_nothing_leaks(message: &str) {
    assert!(!message.contains("canary-secret") && !message.contains("canary-capability"), "{message}");
    assert!(message.len() < 400 && !message.chars().any(char::is_control), "{message:?}");
}

fn expected(expect: Expect) -> (Outcome, Option<&'static str>) {
    match expect {
        Expect::Resolved => (Outcome::Resolved, None),
        Expect::Failed(code) => (Outcome::Failed, Some(code)),
        Expect::Misbehaved(field) => (Outcome::Misbehaved, Some(field)),
        Expect::RefusedLoad(code) => (Outcome::RefusedLoad, Some(code)),
        Expect::RefusedLink => (Outcome::RefusedLink, None),
        Expect::Limit(limit) => (Outcome::Limit, Some(limit)),
        Expect::Trap => (Outcome::Trap, None),
    }
}

#[test]
fn each_hostile_resolver_ends_in_its_typed_error_and_the_next_resolution_works() {
    let all = hostile::all();
    assert!(all.len() > 60, "only {} of them", all.len());
    let sandbox = sandboxes::with_limits(limits());
    let mut wrong = Vec::new();
    sandboxes::wait(async {
        let honest = sandbox.load(worker_runtime::shipped::RESOLVER).await.expect("the shipped resolver");
        let (view, inputs) = (fixtures::simple_view(), fixtures::simple_inputs());
        let resolutions = Resolutions::with_capacity(0);
        let first = resolutions.resolve(&honest, &view, &inputs).await.expect("a resolution").digests().resolution;
        for Hostile { name, bytes, expect } in &all {
            let (outcome, word) = run(&sandbox, bytes).await;
            let (right, said) = expected(*expect);
            if outcome != right || said.is_some_and(|said| !word.starts_with(said)) {
                wrong.push(format!("{name}: expected {expect:?}, ended {outcome:?} {word}"));
            }
            let next = resolutions.resolve(&honest, &view, &inputs).await.expect("a resolution").digests().resolution;
            assert_eq!(next, first, "after {name}");
        }
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn loop_with_unlimited_fuel_is_ended_by_the_deadline() {
    let mut limits = Limits::default();
    limits.resolution.fuel = u64::MAX.try_into().expect("not zero");
    limits.resolution.deadline_ms = 50;
    let sandbox = sandboxes::with_limits(limits);
    let looping = hostile::all().into_iter().filter(|hostile| hostile.expect == Expect::Limit("fuel"));
    sandboxes::wait(async {
        for Hostile { name, bytes, .. } in looping {
            let ended = tokio::time::timeout(std::time::Duration::from_secs(30), run(&sandbox, &bytes)).await;
            let (outcome, word) = ended.unwrap_or_else(|_| panic!("{name} was not stopped"));
            // Some exceed another limit before the deadline.
            assert_eq!(outcome, Outcome::Limit, "{name}: {word}");
        }
    });
}

#[test]
fn loop_that_gets_too_little_processor_time_is_ended_by_the_wall_clock_limit() {
    let mut limits = Limits::default();
    limits.resolution.fuel = u64::MAX.try_into().expect("not zero");
    limits.resolution.deadline_ms = u64::MAX;
    limits.resolution.wall_ms = 50;
    let sandbox = sandboxes::with_limits(limits);
    let looping = hostile::all().into_iter().filter(|hostile| hostile.name == "loop_in_resolve");
    let mut ended_by_the_clock = 0;
    sandboxes::wait(async {
        for Hostile { name, bytes, .. } in looping {
            let resolver = sandbox.load(&bytes).await.expect("a component");
            let (view, facts, request) = (fixtures::simple_view(), fixtures::simple_facts(), fixtures::request("main"));
            let error = resolver.resolve(&view, &facts, &request).await.answer.expect_err(name);
            assert_eq!(error, RunError::Limit { limit: "wall_ms", allowed: 50 }, "{name}");
            assert_eq!(error.to_string(), "the resolver did not end within 50 ms of wall-clock time (`wall_ms`)");
            ended_by_the_clock += 1;
        }
    });
    assert!(ended_by_the_clock > 0);
}

#[test]
fn deadline_counts_only_the_processor_time_of_the_resolver() {
    let mut limits = limits();
    let deadline = std::time::Duration::from_secs(2);
    limits.resolution.deadline_ms = 2_000;
    let sandbox = sandboxes::with_limits(limits);
    let looping = hostile::all().into_iter().find(|hostile| hostile.name == "loop_in_resolve").expect("a loop");
    let (view, facts, request) = (fixtures::simple_view(), fixtures::simple_facts(), fixtures::request("main"));
    let run = sandboxes::wait(async {
        let resolver = sandbox.load(&looping.bytes).await.expect("a component");
        let mut run = std::pin::pin!(resolver.resolve(&view, &facts, &request));
        let mut busy = 0;
        std::future::poll_fn(|context| {
            let polled = run.as_mut().poll(context);
            // Other work on the same thread, in total for longer than the deadline.
            if polled.is_pending() && busy < 10 {
                busy += 1;
                let began = std::time::Instant::now();
                while began.elapsed() < deadline / 8 {
                    std::hint::spin_loop();
                }
            }
            polled
        })
        .await
    });
    assert!(run.cost.elapsed > deadline, "{:?}", run.cost);
    assert_eq!(run.answer, Err(RunError::Limit { limit: "fuel", allowed: 50_000_000 }));
}

#[test]
fn refused_component_is_refused_again_with_the_same_error() {
    let sandbox = sandboxes::with_limits(limits());
    sandboxes::wait(async {
        for Hostile { name, bytes, expect } in hostile::all() {
            if matches!(expect, Expect::RefusedLoad(_) | Expect::RefusedLink) {
                let one = sandbox.load(&bytes).await.expect_err(name).code();
                let two = sandbox.load(&bytes).await.expect_err(name).code();
                assert_eq!(one, two, "{name}");
            }
        }
    });
}
