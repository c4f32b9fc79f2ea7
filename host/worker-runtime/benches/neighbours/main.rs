//! Effect of 64 attackers in one workspace on 8 honest clients in other workspaces.
//!
//! `cargo bench -p worker-runtime --bench neighbours` runs the honest clients alone for one minute, and then together
//! with the attackers for another. It prints a table and writes `bench/neighbours.json` in the target folder. With
//! `-- --quick` each period takes five seconds; `--only KIND` runs the attackers of one kind. The benchmark fails only
//! if an honest client receives an error. A missed target is marked in the table.
//!
//! Three processes on one machine communicate over TCP: the service (the router of a Runtime on local files and SQLite,
//! every write synced, default limits), the honest clients (this process), and the attackers. Real attackers use other
//! machines, so their computations must not slow the service down: their process has the lowest priority.
//!
//! An honest client has its own workspace and acts like the host of an agent. It creates workers, each of which is
//! resolved anew, calls a tool of each, reads its state, and pauses for a few milliseconds between requests. It checks
//! each response. One more connection requests `/livez` in intervals.
//!
//! The module [`attackers`] describes the attacks. Attackers have a token of one workspace, like a customer. Only the
//! operator can admit components, so a tenant can only cause the compilation of tool schemas. The service has hostile
//! resolvers that loop or allocate, as if the operator had been deceived.

mod attackers;
mod honest;
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::figures::{Figure, Target};
use crate::honest::ClientStats;
use crate::service::Place;

pub(crate) use support::{Outcome, figures, hostile, print, sandboxed, server, wire};

/// Task of this process.
enum Task {
    /// Measures with a duration of each period, and optionally with attackers of one kind only.
    Measure(Duration, Option<String>),
    /// Runs the service, in its own process.
    Serve,
    /// Runs the attackers, in their own process.
    Attack(String, Option<String>),
}

const SERVE: &str = "--serve";
const ATTACK: &str = "--attack";
const ONLY: &str = "--only";

fn main() -> ExitCode {
    support::exit_code(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let (mut time, mut only) = (Duration::from_secs(60), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo passes this argument to every benchmark.
            "--bench" => {}
            "--quick" => time = Duration::from_secs(5),
            ONLY => only = Some(arguments.next().ok_or("`--only` needs a kind")?),
            SERVE => return Ok(Task::Serve),
            ATTACK => return Ok(Task::Attack(arguments.next().ok_or("`--attack` needs a service")?, arguments.nth(1))),
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    Ok(Task::Measure(time, only))
}

fn run(task: Task) -> Outcome<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match task {
        Task::Measure(time, only) => threads.block_on(measure(time, only.as_deref())),
        Task::Serve => threads.block_on(service::serve()),
        Task::Attack(place, only) => {
            threads.block_on(attackers::attack(serde_json::from_str(&place)?, only.as_deref()))
        }
    }
}

/// A child process, which is killed when the value is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this program as a child, and waits for the line that the child prints when it is ready.
fn start(arguments: &[&str]) -> Outcome<(Process, String)> {
    let child =
        Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut process = Process(child);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    if line.is_empty() {
        return Err("a process ended before it was ready".into());
    }
    Ok((process, line))
}

async fn measure(time: Duration, only: Option<&str>) -> Outcome<()> {
    let (_service, line) = start(&[SERVE])?;
    let place: Place = serde_json::from_str(&line)?;
    // Warm-up: the first requests of a process are slower.
    honest::work(&place, 0, Duration::from_secs(1)).await?;
    let alone = honest::work(&place, 1, time).await?;
    let mut arguments = vec![ATTACK, line.trim()];
    arguments.extend(only.into_iter().flat_map(|only| [ONLY, only]));
    let (_attackers, _) = start(&arguments)?;
    let beside = honest::work(&place, 2, time).await?;

    let p99 = |stats: &ClientStats| stats.percentile(0.99);
    let figure = |name, measured, target| Figure { name, measured, target };
    let figures = [
        figure("honest_errors", beside.errors.len() as f64, Target::AtMost(0.0)),
        // The latency may grow to twice the undisturbed one plus 10 ms. The figure is the used share of that.
        figure("p99_vs_allowed", p99(&beside) / (2.0 * p99(&alone) + 10.0), Target::AtMost(1.0)),
        figure("throughput_vs_alone", beside.throughput() / alone.throughput(), Target::AtLeast(0.7)),
        figure("livez_slowest_ms", beside.livez_ms, Target::AtMost(50.0)),
    ];
    print(&figures::table(&figures));
    for (name, stats) in [("alone", &alone), ("beside", &beside)] {
        print(&format!(
            "{name:>6}: {:.0} requests a second, median {:.2} ms, 99th percentile {:.2} ms, slowest {:.1} ms; /livez slowest {:.1} ms",
            stats.throughput(),
            stats.percentile(0.5),
            p99(stats),
            stats.percentile(1.0),
            stats.livez_ms,
        ));
        print(&stats.by_kind());
    }
    figures::write("neighbours", &figures)?;
    match alone.errors.first().or(beside.errors.first()) {
        None => Ok(()),
        Some(first) => {
            Err(format!("honest clients received {} errors: {first}", alone.errors.len() + beside.errors.len()).into())
        }
    }
}
