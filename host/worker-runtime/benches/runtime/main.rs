//! Overhead of the Runtime: uploads of bundles, creation of workers, opening and reading stores, idle workers, abandoned
//! requests, and swaps of resolvers.
//!
//! `cargo bench -p worker-runtime --bench runtime` prints a table and writes `bench/runtime.json` in the target folder.
//! The variants of a ratio take turns in one run, so ratios are comparable between machines. A missed target is marked;
//! nothing fails.
//!
//! After `--`: `--quick` runs few rounds over small stores, to check that the benchmark works. `--only PART` measures
//! one of `put`, `create`, `stores`, `idle`, `dropped` and `swap`, and writes no file.
//!
//! The head of each module describes its comparison.

mod create;
mod dropped;
mod idle;
mod put;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod swap;

use std::process::ExitCode;

use crate::figures::{Figure, Target};

pub(crate) use support::{Outcome, figures, generated, measure, print, sandboxed, server, wire};

/// Task of this process.
enum Task {
    /// Measures everything, or one part.
    Measure(Effort, Option<String>),
    /// Measures idle workers, in its own process.
    Idle(usize),
}

/// Numbers of rounds, of stored bundles, and of idle workers.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    bundles: [usize; 2],
    workers: usize,
}

/// Parts that can be measured alone.
const PARTS: [&str; 6] = ["put", "create", "stores", "idle", "dropped", "swap"];

const FULL: Effort = Effort { rounds: 61, bundles: [200, 20_000], workers: 10_000 };
const QUICK: Effort = Effort { rounds: 3, bundles: [20, 200], workers: 100 };

fn main() -> ExitCode {
    support::exit_code(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let (mut effort, mut only) = (FULL, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo passes this argument to every benchmark.
            "--bench" => {}
            "--quick" => effort = QUICK,
            "--only" => only = Some(arguments.next().ok_or("`--only` needs a part")?),
            idle::ARGUMENT => return Ok(Task::Idle(arguments.next().ok_or("`--idle` needs a number")?.parse()?)),
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    match only {
        Some(part) if !PARTS.contains(&part.as_str()) => {
            Err(format!("unknown part `{part}`: expected one of {}", PARTS.join(", ")).into())
        }
        only => Ok(Task::Measure(effort, only)),
    }
}

fn run(task: Task) -> Outcome<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match task {
        Task::Measure(effort, only) => threads.block_on(measure_parts(effort, only.as_deref())),
        Task::Idle(workers) => {
            print(&threads.block_on(idle::child(workers))?.to_string());
            Ok(())
        }
    }
}

async fn measure_parts(Effort { rounds, bundles, workers }: Effort, only: Option<&str>) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(Some(&folder.path().join("compiled")))?;
    let is_selected = |part| only.is_none_or(|only| only == part);
    let mut figures = Vec::new();
    let mut at_most = |name, measured, limit| figures.push(Figure { name, measured, target: Target::AtMost(limit) });
    let mut details = String::new();
    if is_selected("put") {
        let put = put::measure(&folder.path().join("put"), &sandbox, rounds).await?;
        at_most("put_vs_body_read", put.vs_read, 4.0);
        at_most("put_vs_parse_and_sync", put.vs_native, 2.2);
        details = put.details;
    }
    if is_selected("create") {
        at_most("create_vs_resolve", create::measure(&sandbox, rounds).await?, 4.0);
    }
    if is_selected("stores") {
        let stores = stores::measure(&folder.path().join("stores"), &sandbox, bundles, rounds).await?;
        at_most("open_20000_vs_200", stores.open, 2.0);
        at_most("get_20000_vs_200", stores.get, 1.2);
    }
    if is_selected("idle") {
        at_most("idle_worker_kib", idle::measure(workers)?, 16.0);
    }
    if is_selected("dropped") {
        at_most("dropped_ends_ms", dropped::measure(&folder.path().join("dropped"), &sandbox, rounds).await?, 50.0);
    }
    if is_selected("swap") {
        let swap = swap::measure(&sandbox, rounds).await?;
        at_most("replay_vs_resolve", swap.replay, 1.5);
        at_most("create_p99_during_swaps", swap.during_swaps, 2.0);
        at_most("create_shadowed_10_percent", swap.shadow, 1.15);
    }
    print(&figures::table(&figures));
    print(&details);
    match only {
        None => figures::write("runtime", &figures),
        Some(_) => Ok(()),
    }
}
