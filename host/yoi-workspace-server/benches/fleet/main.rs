//! The reconciliation of simulated fleets: what a small change sends, how the time to converge grows, and what an idle fleet
//! costs.
//!
//! `cargo bench -p yoi-workspace-server --bench fleet` prints a table and writes `bench/fleet.json` in the target folder. A missed
//! target is marked; nothing fails. With `-- --quick` few rounds run, to check that the benchmark works. The fleet page has a
//! benchmark of its own, `pages`.
//!
//! The Runtimes and the network are those of the simulation in `tests/simulation`, without faults. The time to converge is
//! simulated, so it is the same in every run. The processor time of the simulation counts for the idle fleet, so the real cost of
//! the reconciler is lower.

#[path = "../../../worker-runtime/benches/support/figures.rs"]
#[allow(dead_code, reason = "shared with other benchmarks")]
mod figures;
#[path = "../../../worker-runtime/benches/support/measure.rs"]
#[allow(dead_code, reason = "shared with other benchmarks")]
mod measure;
#[path = "../../tests/simulation"]
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "shared with the tests"
)]
mod simulation {
    pub(crate) mod bundle_pool;
    pub(crate) mod checks;
    pub(crate) mod faults;
    pub(crate) mod network;
    pub(crate) mod node;
    pub(crate) mod scenario;
    pub(crate) mod state;
    pub(crate) mod world;
}

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bundles::WorkspaceId;
use figures::{Figure, Target};
use measure::thread_time;
use simulation::bundle_pool::{PublishedBundle, built};
use simulation::faults::Event;
use simulation::scenario::{MAX_CONVERGENCE, calm, workspaces};
use simulation::world::World;
use yoi_workspace_server::reconciler::ReconcilerLimits;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Size of the bundle of which one prompt changes, and the number of its prompts.
const BUNDLE_BYTES: usize = 1 << 20;
const PROMPTS: usize = 128;

/// Sizes of the fleets.
const FEW: usize = 100;
const MANY: usize = 1000;

fn main() -> ExitCode {
    match run(std::env::args().any(|argument| argument == "--quick")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the result of a benchmark")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

fn run(is_quick: bool) -> Outcome<()> {
    let idle = Duration::from_secs(if is_quick { 60 } else { 3600 });
    let workspace = workspaces().into_iter().next().ok_or("no workspace")?;
    let mut figures = Vec::new();
    let mut at_most = |name, measured, limit| figures.push(Figure { name, measured, target: Target::AtMost(limit) });
    at_most("change_vs_full_copies", change_vs_full_copies(&workspace)?, 0.03);
    let small = simulation::bundle_pool::bundle(&workspace, 1);
    let converged = converge(&workspace, &small, MANY)? / converge(&workspace, &small, FEW)?;
    at_most("converge_1000_vs_100", converged, 11.0);
    at_most("idle_1000_of_a_core", idle_share(&workspace, &small, idle)?, 0.02);
    print(&figures::table(&figures));
    if is_quick { Ok(()) } else { figures::write("fleet", &figures) }
}

/// Publishes a bundle and runs until all Runtimes have it.
fn publish(world: &mut World, workspace: &WorkspaceId, bundle: &Arc<PublishedBundle>) -> Outcome<(u64, Duration)> {
    world.happens(Event::PublishBundle { workspace: workspace.clone(), bundle: bundle.clone() });
    world.happens(Event::Healed);
    let report = world.run(MAX_CONVERGENCE).map_err(|violation| violation.to_string())?;
    Ok((report.bytes, report.converged_after))
}

/// Returns the bytes that a change of one prompt sends to many Runtimes, divided by those of full copies.
fn change_vs_full_copies(workspace: &WorkspaceId) -> Outcome<f64> {
    let text = |number: usize, version: u64| {
        let line = format!("Rule {number}, version {version}: say what you did, and which file you did it in.\n");
        // The manifest has about 130 bytes for each prompt.
        let bytes = BUNDLE_BYTES / PROMPTS - 130;
        line.repeat(bytes / line.len() + 1).chars().take(bytes).collect::<String>()
    };
    let names: Vec<String> = (0..PROMPTS).map(|number| format!("rule-{number}")).collect();
    let bundle = |version: u64| {
        let prompts = names.iter().enumerate().map(|(number, name)| {
            let version = if number == PROMPTS / 2 { version } else { 1 };
            (name.as_str(), text(number, version))
        });
        built(workspace, version, &prompts.collect::<Vec<_>>())
    };
    let (first, second) = (bundle(1), bundle(2));
    let mut world = calm(1, FEW, ReconcilerLimits::default());
    let (before, _) = publish(&mut world, workspace, &first)?;
    let (after, _) = publish(&mut world, workspace, &second)?;
    let full = second.manifest.manifest.len() + second.blobs.values().map(|blob| blob.len()).sum::<usize>();
    print(&format!(
        "a bundle of {} KiB with {PROMPTS} prompts: {} KiB to each Runtime at first, and {:.1} KiB after the change",
        full >> 10,
        (before / FEW as u64) >> 10,
        (after - before) as f64 / FEW as f64 / 1024.0,
    ));
    Ok((after - before) as f64 / (FEW * full) as f64)
}

/// Returns the simulated time in seconds until all Runtimes of a fleet have a publication.
fn converge(workspace: &WorkspaceId, bundle: &Arc<PublishedBundle>, runtimes: usize) -> Outcome<f64> {
    let mut world = calm(1, runtimes, ReconcilerLimits::default());
    world.look_interval = Duration::from_millis(100);
    // All Runtimes have been read.
    world.run_for(Duration::from_secs(30)).map_err(|violation| violation.to_string())?;
    let (_, simulated) = publish(&mut world, workspace, bundle)?;
    Ok(simulated.as_secs_f64())
}

/// Returns the processor time of a fleet that has what it should have, divided by the simulated time.
fn idle_share(workspace: &WorkspaceId, bundle: &Arc<PublishedBundle>, time: Duration) -> Outcome<f64> {
    let mut world = calm(1, MANY, ReconcilerLimits::default());
    publish(&mut world, workspace, bundle)?;
    let started = thread_time();
    world.run_for(time).map_err(|violation| violation.to_string())?;
    Ok((thread_time() - started).as_secs_f64() / time.as_secs_f64())
}
