//! What the Runtime adds to the work that it takes over: bundles brought in, workers made, stores
//! opened and asked, workers kept, work that is given up.
//!
//! `cargo bench -p worker-runtime --bench runtime` prints a table and writes `bench/runtime.json` in the
//! target folder. All variants of a ratio take turns in one run, so that it means something on any
//! machine; none is a test, so a figure that misses its target is marked and nothing fails.
//!
//! After `--`: `--quick` takes few rounds over small stores, to see that all of it runs.
//!
//! What is compared stands at the head of each module.

mod create;
mod dropped;
#[path = "../furniture/mod.rs"]
mod furniture;
mod idle;
mod put;
mod stores;

use std::process::ExitCode;

use crate::figures::{Figure, Target};

pub(crate) use furniture::{Outcome, figures, made, measure, sandboxed, say, served, wire};

/// What this program is to do.
enum Task {
    /// Everything, with so much patience.
    Measure(Patience),
    /// Keeping so many workers, in a process of its own.
    Idle(usize),
}

/// Rounds of each kind of measurement, and how much is kept.
#[derive(Clone, Copy)]
struct Patience {
    rounds: usize,
    bundles: [usize; 2],
    workers: usize,
}

const USUAL: Patience = Patience { rounds: 61, bundles: [200, 20_000], workers: 10_000 };
const QUICK: Patience = Patience { rounds: 3, bundles: [20, 200], workers: 100 };

fn main() -> ExitCode {
    furniture::ended(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let mut task = Task::Measure(USUAL);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own, for every benchmark.
            "--bench" => {}
            "--quick" => task = Task::Measure(QUICK),
            idle::ARGUMENT => task = Task::Idle(arguments.next().ok_or("how many?")?.parse()?),
            other => return Err(format!("`{other}` is no argument of this benchmark").into()),
        }
    }
    Ok(task)
}

fn run(task: Task) -> Outcome<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match task {
        Task::Measure(patience) => threads.block_on(measured(patience)),
        Task::Idle(workers) => {
            say(&threads.block_on(idle::child(workers))?.to_string());
            Ok(())
        }
    }
}

async fn measured(Patience { rounds, bundles, workers }: Patience) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(Some(&folder.path().join("compiled")))?;
    let put = put::measure(&folder.path().join("put"), &sandbox, rounds).await?;
    let create_vs_resolve = create::measure(&sandbox, rounds).await?;
    let stores = stores::measure(&folder.path().join("stores"), &sandbox, bundles, rounds).await?;
    let idle_kib = idle::measure(workers)?;
    let dropped_ms = dropped::measure(&folder.path().join("dropped"), &sandbox, rounds).await?;

    let at_most = |name, measured, most| Figure { name, measured, target: Target::AtMost(most) };
    let figures = [
        at_most("put_vs_body_read", put.vs_read, 2.3),
        at_most("put_vs_parse_and_sync", put.vs_native, 1.5),
        at_most("create_vs_resolve", create_vs_resolve, 4.0),
        at_most("open_20000_vs_200", stores.open, 2.0),
        at_most("get_20000_vs_200", stores.get, 1.2),
        at_most("idle_worker_kib", idle_kib, 16.0),
        at_most("dropped_ends_ms", dropped_ms, 50.0),
    ];
    say(&figures::table(&figures));
    say(&put.details);
    figures::write("runtime", &figures)
}
