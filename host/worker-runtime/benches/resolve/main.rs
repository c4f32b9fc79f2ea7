//! How a sandboxed resolution compares with a native one.
//!
//! `cargo bench -p worker-runtime --bench resolve` prints a table and writes `bench/resolve.json` in
//! the target folder. Figures are ratios, so that they mean something on any machine; none of them
//! is a test, so a figure that misses its target is marked and nothing fails.
//!
//! After `--`: `--quick` takes few rounds, to see that all of it runs.
//!
//! What is compared:
//!
//! - *fresh*: a resolution in a fresh instance, from the host's facts and request to the proposal in
//!   the host's types. Fuel and deadline are on. The host's check of the proposal is a figure of its own.
//! - *parsed*: the same resolver, compiled natively, with a bundle whose profiles are all in the
//!   resolver's own types already (see [`native`]).
//! - *native*: reading the manifest's bytes into the manifest's types, then resolving natively. The
//!   reading is serde's alone, as a Runtime would do that has verified the bytes when they came in:
//!   nothing is proved canonical, sound or free of leaks again.
//!
//! A figure of a size is the median over chains of depth 1, 4 and 16.

mod cold;
#[path = "../furniture/mod.rs"]
mod furniture;
mod native;
mod parts;
mod runaway;
mod sizes;
mod threads;

use std::path::PathBuf;
use std::process::ExitCode;

use component_host::Allocation;

use crate::cold::Side;
use crate::figures::{Figure, Target};
use crate::measure::median;
use crate::sizes::{Found, over_depths};

pub(crate) use furniture::{Outcome, figures, made, measure, sandboxed, say};

/// What this program is to do.
enum Task {
    /// Everything, with so much patience.
    Measure(Patience),
    /// One resolution, as the first of a process.
    Child(Side, PathBuf),
}

/// Rounds of each kind of measurement.
#[derive(Clone, Copy)]
struct Patience {
    rounds: usize,
    turns: usize,
    processes: usize,
}

const USUAL: Patience = Patience { rounds: 101, turns: 81, processes: 41 };
const QUICK: Patience = Patience { rounds: 3, turns: 3, processes: 1 };

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
            "--child" => {
                let words = (arguments.next(), arguments.next());
                let (Some(side), Some(folder)) = words else {
                    return Err("`--child` needs a side and a folder".into());
                };
                let side = [Side::Native, Side::Sandboxed].into_iter().find(|one| one.word() == side);
                task = Task::Child(side.ok_or("`--child` knows no such side")?, folder.into());
            }
            other => return Err(format!("`{other}` is no argument of this benchmark").into()),
        }
    }
    Ok(task)
}

fn run(task: Task) -> Outcome<()> {
    match task {
        Task::Measure(patience) => measure(patience),
        Task::Child(side, folder) => {
            say(&cold::child(side, &folder)?.to_string());
            Ok(())
        }
    }
}

fn measure(patience: Patience) -> Outcome<()> {
    let Patience { rounds, turns, processes } = patience;
    let folder = tempfile::tempdir()?;
    let runtime = sandboxed::runtime()?;
    let sandbox = sandboxed::sandbox(None)?;
    let resolver = sandboxed::shipped_resolver(&runtime, &sandbox)?;
    if sandboxed::allocation() != Allocation::PooledResident {
        say("memory can be swapped here, so none is kept resident: a call costs about twice as much\n");
    }

    let mut sizes = Vec::new();
    for bytes in [4 << 10, 64 << 10, 1 << 20] {
        sizes.push(sizes::measure(&runtime, &resolver, bytes, rounds)?);
    }
    let instantiate_vs_empty = parts::instantiate_vs_empty(&runtime, &sandbox, &resolver, rounds)?;
    let prompt_bytes = parts::prompt_bytes(&runtime, &resolver, rounds)?;
    let profile_count = parts::profile_count(&runtime, &resolver, rounds)?;
    let (cold_vs_native, cold_native) = cold::cold_vs_native(&runtime, folder.path(), processes)?;
    let (load_vs_compile, compile) = parts::load_vs_compile(&runtime, &folder.path().join("compiled"), rounds)?;
    let stop_vs_limit = runaway::stop_vs_limit(&runtime, &sandbox, turns)?;
    let (threads_2_vs_1, native_threads) = threads::two_vs_one(&resolver, turns)?;

    let all: Vec<Found> = sizes.iter().flatten().copied().collect();
    let of_size = |index: usize, ratio: fn(&Found) -> f64| {
        sizes.get(index).map(|found| over_depths(found, ratio)).unwrap_or_default()
    };
    let parsed = |index| of_size(index, |found| found.fresh_vs_parsed);
    let native = |index| of_size(index, |found| found.fresh_vs_native);
    let figure = |name, measured, target| Figure { name, measured, target };
    let at_most = |name, measured, most| figure(name, measured, Target::AtMost(most));
    let figures = [
        at_most("fresh_vs_parsed_4k", parsed(0), 6.0),
        at_most("fresh_vs_parsed_64k", parsed(1), 5.5),
        at_most("fresh_vs_parsed_1m", parsed(2), 5.5),
        at_most("fresh_vs_native_4k", native(0), 1.35),
        at_most("fresh_vs_native_64k", native(1), 0.3),
        at_most("fresh_vs_native_1m", native(2), 0.03),
        at_most("instantiate_vs_empty", instantiate_vs_empty, 11.0),
        at_most("prompt_bytes", prompt_bytes, 1.2),
        at_most("profile_count", profile_count, 1.4),
        at_most("memo_vs_parsed", median(all.iter().map(|found| found.memo_vs_parsed).collect()), 0.3),
        at_most("cold_vs_native", cold_vs_native, 1.5),
        at_most("load_vs_compile", load_vs_compile, 0.001),
        at_most("stop_vs_limit", stop_vs_limit, 1.25),
        at_most("verify_vs_parsed", median(all.iter().map(|found| found.verify_vs_parsed).collect()), 1.0),
        figure("threads_2_vs_1", threads_2_vs_1, Target::AtLeast(1.55)),
    ];

    say(&figures::table(&figures));
    say(&details(&all));
    say(&format!(
        "two native threads do {native_threads:.2} times what one does; compiling the resolver takes {:.0} ms of CPU \
         time; a process that resolves natively takes {:.1} ms",
        compile * 1e3,
        cold_native * 1e3
    ));
    figures::write("resolve", &figures)
}

/// What the ratios were made of.
fn details(all: &[Found]) -> String {
    let mut text = format!(
        "{:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7}\n",
        "manifest", "depth", "fuel", "fresh", "parsed", "native", "÷parsed", "÷native", "memo", "verify"
    );
    for found in all {
        let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        text.push_str(&format!(
            "{:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7.2} {:>7.3} {:>7.3} {:>7.2}\n",
            found.bytes,
            found.depth,
            found.fuel,
            micros(found.fresh),
            micros(found.parsed),
            micros(found.native),
            found.fresh_vs_parsed,
            found.fresh_vs_native,
            found.memo_vs_parsed,
            found.verify_vs_parsed,
        ));
    }
    text
}
