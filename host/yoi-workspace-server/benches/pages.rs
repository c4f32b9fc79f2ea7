//! The fleet page: time to render it for 1,000 Runtimes and 20 workspaces, divided by the time for 100 Runtimes.
//!
//! `cargo bench -p yoi-workspace-server --bench pages` prints a table and writes `bench/pages.json` in the target folder. The
//! two sizes take turns in one run. A missed target is marked; nothing fails. With `-- --quick` few rounds run, to check that
//! the benchmark works.

#[path = "../../worker-runtime/benches/support/figures.rs"]
#[allow(dead_code, reason = "shared with other benchmarks")]
mod figures;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use backend_api::body::WorkspaceView;
use backend_api::desired::Desired;
use backend_api::fleet::{Access, Condition, ContactFailure, PairView, Refusal, RuntimeView};
use bundles::Digest;
use figures::{Figure, Target};
use jiff::Timestamp;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use yoi_workspace_server::pages::render_fleet;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Maximum ratio of the times. The large fleet has ten times as many rows.
const MAX_RATIO: f64 = 11.0;

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
fn print(text: &str) {
    println!("{text}");
}

fn run(is_quick: bool) -> Outcome<()> {
    let rounds = if is_quick { 3 } else { 51 };
    let workspaces = (0..20).map(workspace).collect::<Outcome<Vec<_>>>()?;
    let runtimes = (0..1000).map(|number| runtime(number, &workspaces)).collect::<Outcome<Vec<_>>>()?;
    let (few, _) = runtimes.split_at(100);
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        small.push(seconds(|| render_fleet(&workspaces, few).len()));
        large.push(seconds(|| render_fleet(&workspaces, &runtimes).len()));
    }
    let (small, large) = (median(small), median(large));
    let figures =
        [Figure { name: "fleet_page_1000_vs_100", measured: large / small, target: Target::AtMost(MAX_RATIO) }];
    print(&figures::table(&figures));
    let bytes = render_fleet(&workspaces, &runtimes).len();
    print(&format!("1000 Runtimes: {:.1} ms, {} KiB; 100: {:.2} ms", large * 1e3, bytes >> 10, small * 1e3));
    if is_quick { Ok(()) } else { figures::write("pages", &figures) }
}

fn seconds(run: impl FnOnce() -> usize) -> f64 {
    let began = Instant::now();
    std::hint::black_box(run());
    began.elapsed().as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn desired() -> DesiredBundle {
    DesiredBundle { generation: Generation::FIRST, bundle: Digest::of("a bundle"), allow_older: false }
}

fn workspace(number: usize) -> Outcome<WorkspaceView> {
    Ok(WorkspaceView {
        id: format!("workspace-{number}").parse()?,
        about: None,
        labels: BTreeMap::new(),
        desired: Some(Desired { target: desired(), rollout: None }),
        halted: false,
        earlier: Vec::new(),
    })
}

/// Returns a Runtime of a fleet in which one of ten pairs is refused and one of ten Runtimes does not answer.
fn runtime(number: usize, workspaces: &[WorkspaceView]) -> Outcome<RuntimeView> {
    let failure = ContactFailure { code: Code::Unreachable, since: Timestamp::UNIX_EPOCH };
    let failure = (number % 10 == 3).then_some(failure);
    let pair = |at: usize| {
        let DesiredBundle { generation, bundle, .. } = desired();
        let state = AcknowledgedBundle { generation, bundle, acknowledged_at: Timestamp::UNIX_EPOCH };
        let refused = (number + at).is_multiple_of(10);
        let refusal = Refusal { generation, code: Code::BundleRevoked, at: Timestamp::UNIX_EPOCH };
        let condition = match failure {
            Some(failure) => Condition::Unavailable(failure),
            None if refused => Condition::Refused { code: refusal.code },
            None => Condition::InSync,
        };
        PairView {
            condition,
            desired: Some(desired()),
            acknowledged: Some(state),
            last_good: Some(state),
            refusal: refused.then_some(refusal),
        }
    };
    Ok(RuntimeView {
        name: format!("runtime-{number}").parse()?,
        access: Access::Remote,
        labels: BTreeMap::new(),
        last_seen: Some(Timestamp::UNIX_EPOCH),
        failure,
        report: None,
        workspaces: workspaces.iter().enumerate().map(|(at, workspace)| (workspace.id.clone(), pair(at))).collect(),
    })
}
