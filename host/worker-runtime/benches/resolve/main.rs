//! Comparison of sandboxed and native resolutions.
//!
//! `cargo bench -p worker-runtime --bench resolve` prints a table and writes `bench/resolve.json` in the target folder.
//! Figures are ratios, so they are comparable between machines. A missed target is marked; nothing fails. With
//! `-- --quick` the benchmark runs few rounds, to check that it works.
//!
//! Compared are:
//!
//! - *fresh*: a resolution in a fresh instance, from the host's facts and request to the proposal in the host's types,
//!   with fuel and deadline. The host's verification of the proposal is a separate figure.
//! - *parsed*: the same resolver, compiled natively, with all profiles converted to the resolver's types in advance
//!   (see [`native`]).
//! - *native*: parsing the manifest with serde, then resolving natively. The manifest is not verified again, because a
//!   Runtime verifies it when it is received.
//!
//! A figure for a size is the median over chains of depth 1, 4 and 16.

mod cold;
mod native;
mod parts;
mod runaway;
mod sizes;
#[path = "../support/mod.rs"]
mod support;
mod threads;

use std::path::PathBuf;
use std::process::ExitCode;

use component_host::Allocation;

use crate::cold::Side;
use crate::figures::{Figure, Target};
use crate::measure::median;
use crate::sizes::{SizeResult, over_depths};

pub(crate) use support::{Outcome, figures, generated, measure, print, sandboxed};

/// Task of this process.
enum Task {
    /// Measures everything.
    Measure(Effort),
    /// Runs one resolution, the first of the process.
    Child(Side, PathBuf),
}

/// Numbers of rounds of each kind of measurement.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    turns: usize,
    processes: usize,
}

const FULL: Effort = Effort { rounds: 101, turns: 81, processes: 41 };
const QUICK: Effort = Effort { rounds: 3, turns: 3, processes: 1 };

fn main() -> ExitCode {
    support::exit_code(task(std::env::args().skip(1)).and_then(run))
}

fn task(mut arguments: impl Iterator<Item = String>) -> Outcome<Task> {
    let mut task = Task::Measure(FULL);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo passes this argument to every benchmark.
            "--bench" => {}
            "--quick" => task = Task::Measure(QUICK),
            "--child" => {
                let words = (arguments.next(), arguments.next());
                let (Some(side), Some(folder)) = words else {
                    return Err("`--child` needs a side and a folder".into());
                };
                let side = [Side::Native, Side::Sandboxed].into_iter().find(|known| known.word() == side);
                task = Task::Child(side.ok_or("`--child` needs `native` or `sandboxed`")?, folder.into());
            }
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    Ok(task)
}

fn run(task: Task) -> Outcome<()> {
    match task {
        Task::Measure(effort) => measure(effort),
        Task::Child(side, folder) => {
            print(&cold::child(side, &folder)?.to_string());
            Ok(())
        }
    }
}

fn measure(effort: Effort) -> Outcome<()> {
    let Effort { rounds, turns, processes } = effort;
    let folder = tempfile::tempdir()?;
    let runtime = sandboxed::runtime()?;
    let sandbox = sandboxed::sandbox(None)?;
    let resolver = sandboxed::shipped_resolver(&runtime, &sandbox)?;
    if sandboxed::allocation() != Allocation::PooledResident {
        print("this machine can swap, so memory is not kept resident and a call costs about twice as much\n");
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

    let all: Vec<SizeResult> = sizes.iter().flatten().copied().collect();
    let of_size = |index: usize, ratio: fn(&SizeResult) -> f64| {
        sizes.get(index).map(|found| over_depths(found, ratio)).unwrap_or_default()
    };
    let parsed = |index| of_size(index, |found| found.fresh_vs_parsed);
    let native = |index| of_size(index, |found| found.fresh_vs_native);
    let figure = |name, measured, target| Figure { name, measured, target };
    let at_most = |name, measured, limit| figure(name, measured, Target::AtMost(limit));
    let figures = [
        at_most("fresh_vs_parsed_4k", parsed(0), 2.8),
        at_most("fresh_vs_parsed_64k", parsed(1), 2.8),
        at_most("fresh_vs_parsed_1m", parsed(2), 2.8),
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
        at_most("recorded_vs_fresh", median(all.iter().map(|found| found.recorded_vs_fresh).collect()), 1.4),
        figure("threads_2_vs_1", threads_2_vs_1, Target::AtLeast(1.55)),
    ];

    print(&figures::table(&figures));
    print(&details(&all));
    print(&format!(
        "two native threads have {native_threads:.2} times the throughput of one; compiling the resolver takes {:.0} ms \
         of CPU time; a process that resolves natively takes {:.1} ms",
        compile * 1e3,
        cold_native * 1e3
    ));
    figures::write("resolve", &figures)
}

/// Formats the durations behind the ratios.
fn details(all: &[SizeResult]) -> String {
    let mut text = format!(
        "{:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>8}\n",
        "manifest", "depth", "fuel", "fresh", "parsed", "native", "÷parsed", "÷native", "memo", "verify", "recorded"
    );
    for found in all {
        let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        text.push_str(&format!(
            "{:>9} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7.2} {:>7.3} {:>7.3} {:>7.2} {:>8.2}\n",
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
            found.recorded_vs_fresh,
        ));
    }
    text
}
