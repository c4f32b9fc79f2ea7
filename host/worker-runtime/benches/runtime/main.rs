//! What the Runtime adds to the work that it takes over: bundles brought in, workers made, stores
//! opened and asked, workers kept, work that is given up.
//!
//! `cargo bench -p worker-runtime --bench runtime` prints a table and writes `bench/runtime.json` in the
//! target folder. All variants of a ratio take turns in one run, so that it means something on any
//! machine; none is a test, so a figure that misses its target is marked and nothing fails.
//!
//! After `--`: `--quick` takes few rounds over small stores, to see that all of it runs; `--only PART` measures
//! one of `put`, `create`, `stores`, `idle` and `dropped`, and writes no file.
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
    /// Everything, with so much patience, or the one part that is named.
    Measure(Patience, Option<String>),
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

/// What can be measured by itself.
const PARTS: [&str; 5] = ["put", "create", "stores", "idle", "dropped"];

const USUAL: Patience = Patience { rounds: 61, bundles: [200, 20_000], workers: 10_000 };
const QUICK: Patience = Patience { rounds: 3, bundles: [20, 200], workers: 100 };

fn main() -> ExitCode {
    furniture::ended(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let (mut patience, mut only) = (USUAL, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own, for every benchmark.
            "--bench" => {}
            "--quick" => patience = QUICK,
            "--only" => only = Some(arguments.next().ok_or("which part?")?),
            idle::ARGUMENT => return Ok(Task::Idle(arguments.next().ok_or("how many?")?.parse()?)),
            other => return Err(format!("`{other}` is no argument of this benchmark").into()),
        }
    }
    match only {
        Some(part) if !PARTS.contains(&part.as_str()) => {
            Err(format!("`{part}` is none of {}", PARTS.join(", ")).into())
        }
        only => Ok(Task::Measure(patience, only)),
    }
}

fn run(task: Task) -> Outcome<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match task {
        Task::Measure(patience, only) => threads.block_on(measured(patience, only.as_deref())),
        Task::Idle(workers) => {
            say(&threads.block_on(idle::child(workers))?.to_string());
            Ok(())
        }
    }
}

async fn measured(Patience { rounds, bundles, workers }: Patience, only: Option<&str>) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(Some(&folder.path().join("compiled")))?;
    let wanted = |part| only.is_none_or(|only| only == part);
    let mut figures = Vec::new();
    let mut at_most = |name, measured, most| figures.push(Figure { name, measured, target: Target::AtMost(most) });
    let mut details = String::new();
    if wanted("put") {
        let put = put::measure(&folder.path().join("put"), &sandbox, rounds).await?;
        at_most("put_vs_body_read", put.vs_read, 4.0);
        at_most("put_vs_parse_and_sync", put.vs_native, 2.2);
        details = put.details;
    }
    if wanted("create") {
        at_most("create_vs_resolve", create::measure(&sandbox, rounds).await?, 4.0);
    }
    if wanted("stores") {
        let stores = stores::measure(&folder.path().join("stores"), &sandbox, bundles, rounds).await?;
        at_most("open_20000_vs_200", stores.open, 2.0);
        at_most("get_20000_vs_200", stores.get, 1.2);
    }
    if wanted("idle") {
        at_most("idle_worker_kib", idle::measure(workers)?, 16.0);
    }
    if wanted("dropped") {
        at_most("dropped_ends_ms", dropped::measure(&folder.path().join("dropped"), &sandbox, rounds).await?, 50.0);
    }
    say(&figures::table(&figures));
    say(&details);
    match only {
        None => figures::write("runtime", &figures),
        Some(_) => Ok(()),
    }
}
