//! Scenarios: fleets, and faults at random times.

use std::collections::BTreeMap;
use std::time::Duration;

use backend_api::desired::Stage;
use backend_api::policy::Labels;
use bundles::{Digest, RuntimeName, WorkspaceId};
use yoi_workspace_server::reconciler::ReconcilerLimits;
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules, WorkspaceRules};

use super::bundle_pool::bundle;
use super::checks::Violation;
use super::faults::{DataLoss, Event};
use super::node::{Conduct, Data, Node};
use super::state::Policy;
use super::world::{Mistake, Report, Weather, World};

/// Time with faults.
const FAULTS: Duration = Duration::from_secs(600);

/// Maximum time from the end of the faults to the convergence. A Runtime may have to wait for the timeout of a transfer, which
/// is ten minutes, and for a retry of the whole Runtime, one of a workspace, and raises of a generation, each of which takes
/// five minutes at most.
pub const MAX_CONVERGENCE: Duration = Duration::from_secs(1800);

/// Names of the workspaces.
pub fn workspaces() -> Vec<WorkspaceId> {
    ["acme", "beta", "gamma"].map(|name| name.parse().expect("an id")).to_vec()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (key.parse().expect("a key"), value.parse().expect("a value"))).collect()
}

/// Returns random rules of a workspace.
pub fn workspace_rules(random: &mut fastrand::Rng, names: &[RuntimeName]) -> WorkspaceRules {
    let accepted = match random.u8(0..4) {
        0 => Names::Only(names.iter().filter(|_| random.u8(0..4) > 0).cloned().collect()),
        _ => Names::All,
    };
    let required = if random.u8(0..4) == 0 { labels(&[("region", "eu")]) } else { Labels::new() };
    let tier = if random.bool() { "prod" } else { "test" };
    WorkspaceRules { labels: labels(&[("tier", tier)]), rules: Rules { accepted, required } }
}

/// Returns random rules of a Runtime.
pub fn runtime_rules(random: &mut fastrand::Rng, workspaces: &[WorkspaceId]) -> RuntimeRules {
    let accepted = match random.u8(0..4) {
        0 => Names::Only(workspaces.iter().filter(|_| random.u8(0..3) > 0).cloned().collect()),
        _ => Names::All,
    };
    let required = if random.u8(0..8) == 0 { labels(&[("tier", "prod")]) } else { Labels::new() };
    let region = if random.u8(0..4) == 0 { "us" } else { "eu" };
    let ring = if random.u8(0..4) == 0 { "canary" } else { "rest" };
    RuntimeRules { labels: labels(&[("region", region), ("ring", ring)]), rules: Rules { accepted, required } }
}

/// Returns a random stage.
pub fn stage(random: &mut fastrand::Rng) -> Stage {
    match random.bool() {
        true => Stage::Labels(labels(&[("ring", "canary")])),
        false => Stage::Percent(random.u8(5..=80).try_into().expect("a percentage")),
    }
}

/// Returns a Runtime that serves all workspaces.
pub fn honest(random: &mut fastrand::Rng) -> Node {
    let served = workspaces().into_iter().collect();
    Node { conduct: Conduct::Honest, served, data: Data::empty(random), foreign: Vec::new() }
}

pub fn runtime_name(number: usize) -> RuntimeName {
    format!("runtime-{number:04}").parse().expect("a name")
}

/// Returns a policy that allows everything.
pub fn open_policy(runtimes: usize) -> Policy {
    let workspace =
        || WorkspaceRules { labels: Labels::new(), rules: Rules { accepted: Names::All, required: Labels::new() } };
    let runtime =
        || RuntimeRules { labels: Labels::new(), rules: Rules { accepted: Names::All, required: Labels::new() } };
    Policy {
        workspaces: workspaces().into_iter().map(|id| (id, workspace())).collect(),
        runtimes: (0..runtimes).map(|number| (runtime_name(number), runtime())).collect(),
    }
}

/// Returns a world of honest Runtimes without faults.
pub fn calm(seed: u64, runtimes: usize, limits: ReconcilerLimits) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let nodes = (0..runtimes).map(|number| (runtime_name(number), honest(&mut random))).collect();
    World::new(seed, limits, open_policy(runtimes), nodes)
}

/// Runs the scenario of a seed: random rules, lying, silent and refusing Runtimes, and ten minutes of faults.
pub fn run(seed: u64, runtimes: usize, mistake: Option<Mistake>, is_printed: bool) -> Result<Report, Violation> {
    let mut world = random_world(seed, runtimes);
    world.mistake = mistake;
    if is_printed {
        world.print_trace();
    }
    world.run(MAX_CONVERGENCE)
}

fn random_world(seed: u64, runtimes: usize) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let ids = workspaces();
    let names: Vec<RuntimeName> = (0..runtimes).map(runtime_name).collect();
    let policy = Policy {
        workspaces: ids.iter().map(|id| (id.clone(), workspace_rules(&mut random, &names))).collect(),
        runtimes: names.iter().map(|name| (name.clone(), runtime_rules(&mut random, &ids))).collect(),
    };
    let nodes = names.iter().map(|name| (name.clone(), random_node(&mut random, &ids))).collect();
    let mut world = World::new(seed, ReconcilerLimits::default(), policy, nodes);
    world.weather = Weather { loss: random.f64() * 0.05, duplication: random.f64() * 0.05, delay: random.f64() * 0.05 };
    for (at, event) in events(&mut random, runtimes, &ids) {
        world.at(at, event);
    }
    for id in &ids {
        if random.u8(0..3) > 0 {
            world.at(FAULTS, Event::FinishRollout { workspace: id.clone() });
        }
    }
    // Everything that is interrupted lasts at most a minute.
    world.at(FAULTS + Duration::from_secs(60), Event::Healed);
    world
}

fn random_node(random: &mut fastrand::Rng, ids: &[WorkspaceId]) -> Node {
    let mut node = honest(random);
    match random.u8(0..20) {
        0..=3 => node.conduct = Conduct::LIES[random.usize(0..Conduct::LIES.len())],
        4 => node.conduct = Conduct::Silent,
        // The config of the host does not name one of the workspaces, so the Runtime refuses it.
        5 | 6 => drop(node.served.remove(&ids[random.usize(0..ids.len())])),
        _ => {}
    }
    let foreign = ids.iter().flat_map(|id| bundle(id, 1).blobs.keys().copied().collect::<Vec<_>>());
    node.foreign = foreign.chain([Digest::of("nothing")]).collect();
    node
}

/// Returns faults and the work of people at random times.
fn events(random: &mut fastrand::Rng, runtimes: usize, ids: &[WorkspaceId]) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    times.insert("partition", random.usize(0..=runtimes * 2));
    times.insert("stop-runtime", random.usize(0..=runtimes / 2));
    times.insert("back-up-runtime", random.usize(0..=runtimes / 4));
    times.insert("stop-backend", random.usize(0..=3));
    times.insert("clock", random.usize(0..=3));
    times.insert("rules", random.usize(0..=8));
    times.insert("remove", random.usize(0..=3));
    times.insert("publish", random.usize(3..=24));
    times.insert("roll-back", random.usize(0..=4));
    times.insert("move", random.usize(0..=6));
    times.insert("finish", random.usize(0..=6));
    for (kind, times) in times {
        for _ in 0..times {
            let at = Duration::from_millis(random.u64(0..FAULTS.as_millis() as u64));
            let runtime = random.usize(0..runtimes);
            let workspace = ids[random.usize(0..ids.len())].clone();
            let length = Duration::from_millis(random.u64(100..60_000));
            let event = match kind {
                "partition" => {
                    let requests = random.bool();
                    Event::Partition { runtime, requests, responses: !requests || random.bool(), length }
                }
                "stop-runtime" => {
                    let losses = [DataLoss::Nothing, DataLoss::Nothing, DataLoss::SinceBackup, DataLoss::Everything];
                    Event::StopRuntime { runtime, loss: losses[random.usize(0..4)], length }
                }
                "back-up-runtime" => Event::BackUpRuntime { runtime },
                "stop-backend" => Event::StopBackend { length: length / 4 },
                "clock" => Event::ClockJump { seconds: random.i64(-100_000_000..100_000_000) },
                "rules" if random.bool() => Event::ChangeRuntimeRules { runtime },
                "rules" => Event::ChangeWorkspaceRules { workspace },
                "remove" => Event::RemoveRuntime { runtime, length },
                "publish" => Event::Publish { workspace, is_staged: random.u8(0..3) == 0 },
                "roll-back" => Event::RollBack { workspace },
                "move" => Event::MoveRollout { workspace },
                _ => Event::FinishRollout { workspace },
            };
            events.push((at, event));
        }
    }
    // Every second seed restores a backup of the Backend.
    if random.bool() {
        let backup = random.u64(0..400);
        let restore = random.u64(backup..500);
        events.push((Duration::from_secs(backup), Event::BackUpBackend));
        let length = Duration::from_secs(random.u64(1..30));
        events.push((Duration::from_secs(restore), Event::RestoreBackend { length }));
    }
    events
}
