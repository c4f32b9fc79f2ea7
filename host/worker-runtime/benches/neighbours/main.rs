//! What 64 attackers in one workspace do to 8 honest clients in others.
//!
//! `cargo bench -p worker-runtime --bench neighbours` has the honest work alone for a minute, then for
//! another beside the attackers, prints a table and writes `bench/neighbours.json` in the target folder.
//! `-- --quick` takes five seconds each, and `--only KIND` has the attackers of one kind alone, to see what
//! each of them costs. It fails only where an honest client sees an error; marks that are missed are shown.
//!
//! There are three processes on one machine, over TCP: the service (the router of a Runtime on local
//! files and SQLite, every write synced, with limits as they are by default); the honest clients, which
//! are this process; and the attackers. In life the attackers have machines of their own, so what they
//! compute must not be taken from the service: their process has the lowest priority, and all of the
//! processors that the others leave.
//!
//! An honest client has a workspace of its own and is what an agent's host is: it makes workers, each
//! resolved anew, calls a tool of each and looks at it, and takes a few milliseconds to think between
//! two requests. What it is told is checked. Beside them one connection asks `/livez` all the time.
//!
//! What the attackers do stands in [`attackers`]. They hold a token of one workspace, as a customer
//! would. Components are admitted by the operator alone, so what a tenant can have compiled are the
//! schemas of its tools; resolvers that loop or allocate are there, as if the operator had been talked into it.

mod attackers;
#[path = "../furniture/mod.rs"]
mod furniture;
mod honest;
mod service;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::figures::{Figure, Target};
use crate::honest::Seen;
use crate::service::Place;

pub(crate) use furniture::{Outcome, figures, hostile, sandboxed, say, served, wire};

/// What this program is to do.
enum Task {
    /// Everything, so long for each part; the attackers of one kind alone, where one is named.
    Measure(Duration, Option<String>),
    /// The service, in a process of its own.
    Serve,
    /// The attackers, in a process of their own.
    Attack(String, Option<String>),
}

const SERVE: &str = "--serve";
const ATTACK: &str = "--attack";
const ONLY: &str = "--only";

fn main() -> ExitCode {
    furniture::ended(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let (mut time, mut only) = (Duration::from_secs(60), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own, for every benchmark.
            "--bench" => {}
            "--quick" => time = Duration::from_secs(5),
            ONLY => only = Some(arguments.next().ok_or("which kind?")?),
            SERVE => return Ok(Task::Serve),
            ATTACK => return Ok(Task::Attack(arguments.next().ok_or("whom?")?, arguments.nth(1))),
            other => return Err(format!("`{other}` is no argument of this benchmark").into()),
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

/// A process that ends with its parent's interest in it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program again. It says one line when it is ready.
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
    // The first requests of a process find everything cold.
    honest::work(&place, 0, Duration::from_secs(1)).await?;
    let alone = honest::work(&place, 1, time).await?;
    let mut arguments = vec![ATTACK, line.trim()];
    arguments.extend(only.into_iter().flat_map(|only| [ONLY, only]));
    let (_attackers, _) = start(&arguments)?;
    let beside = honest::work(&place, 2, time).await?;

    let p99 = |seen: &Seen| seen.percentile(0.99);
    let figure = |name, measured, target| Figure { name, measured, target };
    let figures = [
        figure("honest_errors", beside.errors.len() as f64, Target::AtMost(0.0)),
        // Twice what it was, and ten milliseconds: by how much of that it is used up.
        figure("p99_vs_allowed", p99(&beside) / (2.0 * p99(&alone) + 10.0), Target::AtMost(1.0)),
        figure("throughput_vs_alone", beside.throughput() / alone.throughput(), Target::AtLeast(0.7)),
        figure("livez_slowest_ms", beside.livez_ms, Target::AtMost(50.0)),
    ];
    say(&figures::table(&figures));
    for (name, seen) in [("alone", &alone), ("beside", &beside)] {
        say(&format!(
            "{name:>6}: {:.0} requests a second, median {:.2} ms, 99th percentile {:.2} ms, slowest {:.1} ms; /livez slowest {:.1} ms",
            seen.throughput(),
            seen.percentile(0.5),
            p99(seen),
            seen.percentile(1.0),
            seen.livez_ms,
        ));
        say(&seen.by_kind());
    }
    figures::write("neighbours", &figures)?;
    match alone.errors.first().or(beside.errors.first()) {
        None => Ok(()),
        Some(first) => {
            Err(format!("honest clients saw {} errors: {first}", alone.errors.len() + beside.errors.len()).into())
        }
    }
}
