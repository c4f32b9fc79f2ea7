//! A simulated fleet: the real reconciler, delivery, policy and verifier on a simulated network and clock, with faults at
//! random times.
//!
//! A failure prints its seed, and the command that replays exactly this seed and prints everything that happens. 10,000 seeds:
//! `cargo test -p yoi-workspace-server --test runner -- --ignored many_fleets_of_20`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub mod bundle_pool;
pub mod checks;
pub mod faults;
pub mod network;
pub mod node;
pub mod scenario;
pub mod state;
pub mod world;

use bundles::Digest;
use jiff::Timestamp;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::WorkspaceStatus;
use yoi_workspace_server::reconciler::ReconcilerLimits;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RuntimeLink};

use crate::support::{config, name, runtime};

use checks::Violation;
use faults::Event;
use network::{Reply, Request, Response};
use world::{Mistake, Report};

/// Seeds of the ordinary test run.
const SEEDS: u64 = 200;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds in all processors, or the one of `YOI_SEED`. Panics with a command for each seed that fails.
fn run_seeds(test: &str, seeds: u64, runtimes: usize) {
    let only = variable("YOI_SEED");
    let (first, end) = only.map_or((0, seeds), |seed| (seed, seed + 1));
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let longest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    match scenario::run(seed, runtimes, None, only.is_some()) {
                        Ok(Report { converged_after, .. }) => {
                            let mut longest = longest.lock().expect("not poisoned");
                            *longest = longest.max(converged_after);
                        }
                        Err(violation) => failures.lock().expect("not poisoned").push((seed, violation)),
                    }
                }
            });
        }
    });
    eprintln!("longest time to converge: {:?}", longest.into_inner().expect("not poisoned"));
    let mut failures = failures.into_inner().expect("not poisoned");
    failures.sort_by_key(|(seed, _)| *seed);
    let line = |(seed, violation): &(u64, Violation)| {
        format!(
            "YOI_SEED={seed} cargo test -p yoi-workspace-server --test runner simulation::{test} -- --exact --include-ignored --nocapture\n    {violation}\n"
        )
    };
    let lines: String = failures.iter().take(20).map(line).collect();
    assert!(failures.is_empty(), "{} seeds failed:\n{lines}", failures.len());
}

#[test]
fn fleets_of_20_converge_to_what_the_policy_allows() {
    run_seeds("fleets_of_20_converge_to_what_the_policy_allows", SEEDS, 20);
}

#[test]
fn fleet_of_1000_converges_to_what_the_policy_allows() {
    run_seeds("fleet_of_1000_converges_to_what_the_policy_allows", 1, 1000);
}

#[test]
#[ignore = "takes about half an hour"]
fn many_fleets_of_20_converge_to_what_the_policy_allows() {
    run_seeds("many_fleets_of_20_converge_to_what_the_policy_allows", 10_000, 20);
}

#[test]
fn same_seed_gives_the_same_run() {
    let run = |seed| scenario::run(seed, 20, None, false).expect("converged");
    let (first, again, other) = (run(3), run(3), run(4));
    assert_eq!(first, again);
    assert_ne!(first.trace, other.trace);
}

/// Returns the first violation that a mistake causes.
fn violation(mistake: Mistake) -> Violation {
    let run = |seed| scenario::run(seed, 20, Some(mistake), false).err();
    (0..50).find_map(run).expect("the checks find the mistake")
}

#[test]
fn checks_find_a_delivery_that_ignores_the_policy() {
    let found = violation(Mistake::DeliveryIgnoresPolicy);
    assert!(matches!(found, Violation::NotAllowed { .. }), "{found}");
}

#[test]
fn checks_find_a_lost_publication() {
    let found = violation(Mistake::PublicationIsLost);
    assert!(matches!(found, Violation::LostPublication { .. }), "{found}");
}

#[test]
fn checks_find_a_runtime_that_goes_back() {
    let found = violation(Mistake::AcknowledgementIsForgotten);
    assert!(matches!(found, Violation::WentBack { .. }), "{found}");
}

#[test]
fn checks_find_a_delivery_that_delivers_nothing() {
    let found = violation(Mistake::DeliveryDoesNothing);
    assert!(matches!(found, Violation::NotConverged { .. }), "{found}");
}

/// Returns the time until half of the Runtimes have a publication while the other half says nothing.
fn time_for_the_others(runtimes: usize, silent: impl Fn(usize) -> bool) -> Duration {
    let mut world = scenario::calm(1, runtimes, ReconcilerLimits::default());
    world.run_for(Duration::from_secs(60)).expect("no violation");
    for number in (0..runtimes).filter(|number| silent(*number)) {
        let length = Duration::from_secs(3600);
        world.happens(Event::Partition { runtime: number, requests: true, responses: true, length });
        world.ignore(number);
    }
    let workspace = scenario::workspaces().remove(0);
    let bundle = bundle_pool::bundle(&workspace, 1);
    world.happens(Event::PublishBundle { workspace, bundle });
    world.happens(Event::Healed);
    world.run(Duration::from_secs(300)).expect("converged").converged_after
}

#[test]
fn silent_runtimes_do_not_delay_the_others() {
    let alone = time_for_the_others(100, |_| false);
    for silent in [1, 2, 6] {
        let with_silent = time_for_the_others(100 * silent, |number| !number.is_multiple_of(silent));
        eprintln!("{} silent Runtimes: {with_silent:?} instead of {alone:?}", 100 * (silent - 1));
        // 500 Runtimes that have just become silent give up their places within one minute.
        assert!(with_silent < alone + Duration::from_secs(60), "{with_silent:?}");
    }
}

/// Requests of random kinds, among them those of a delivery.
fn random_request(random: &mut fastrand::Rng, time: u64) -> Request {
    let workspaces = scenario::workspaces();
    let (one, two) = (&workspaces[random.usize(0..2)], &workspaces[random.usize(0..2)]);
    let bundle = bundle_pool::bundle(if random.u8(0..8) == 0 { two } else { one }, random.u64(1..4));
    let (digest, blob) = bundle.blobs.iter().nth(random.usize(0..3)).expect("a blob");
    match random.u8(0..10) {
        0 => Request::Status,
        1 => Request::HasBlob(one.clone(), *digest),
        2 => Request::PutBlob(one.clone(), Digest::of("other"), blob.clone()),
        3 | 4 => Request::PutBlob(one.clone(), *digest, blob.clone()),
        5 | 6 => Request::PutManifest(one.clone(), bundle.manifest.clone()),
        _ => {
            let generation = (1 + time / 8 + random.u64(0..3)).try_into().expect("a generation");
            let bundle = bundle.manifest.digest;
            Request::SetDesired(one.clone(), DesiredBundle { generation, bundle, allow_older: random.u8(0..4) == 0 })
        }
    }
}

async fn ask(link: &EmbeddedRuntime, request: &Request) -> Reply {
    Ok(match request {
        Request::Status => Response::Status(Box::new(link.status().await?)),
        Request::HasBlob(workspace, digest) => Response::HasBlob(link.has_blob(workspace, *digest).await?),
        Request::PutBlob(workspace, digest, content) => {
            link.put_blob(workspace, *digest, content.clone()).await?;
            Response::BlobStored
        }
        Request::PutManifest(workspace, manifest) => Response::Manifest(link.put_manifest(workspace, manifest).await?),
        Request::SetDesired(workspace, desired) => Response::Acknowledged(link.set_desired(workspace, desired).await?),
    })
}

/// Reduces a reply to what does not depend on the id and the clock of the Runtime.
fn comparable(reply: Reply) -> String {
    let state = |state: AcknowledgedBundle| (state.generation, state.bundle);
    match reply {
        Ok(Response::Status(status)) => {
            let workspace = |of: &WorkspaceStatus| (of.newest_revision, of.acknowledged.map(state), of.fault.clone());
            format!("{:?}", status.workspaces.iter().map(|(id, of)| (id.clone(), workspace(of))).collect::<Vec<_>>())
        }
        Ok(Response::Acknowledged(acknowledged)) => format!("{:?}", state(acknowledged)),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn simulated_runtime_decides_like_a_real_one() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut node = scenario::honest(&mut random);
        // The third workspace is not in the config, and in half of the cases the second one is not either.
        let served = if random.bool() { &["acme"][..] } else { &["acme", "beta"] };
        node.served = served.iter().map(|id| name(id)).collect();
        let real = EmbeddedRuntime::from(runtime(config(served)).await);
        for time in 0..200 {
            let request = random_request(&mut random, time);
            let simulated = comparable(node.handle(&request, Timestamp::UNIX_EPOCH, &mut random));
            assert_eq!(simulated, comparable(ask(&real, &request).await), "seed {seed}, request {time}: {request:?}");
        }
    }
}
