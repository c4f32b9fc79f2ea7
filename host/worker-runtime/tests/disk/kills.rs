//! Kills a process at any moment while eight writers are at work. Everything that it acknowledged exists, and nothing
//! exists in part.
//!
//! An ordinary run does this fifty times. To do it more often, or to repeat a run:
//!
//! ```text
//! YOI_KILL_CYCLES=1000 YOI_SEED=7 cargo test -p worker-runtime --test runner kill_9
//! ```

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::Digest;
use futures_util::future::join_all;
use worker_runtime::content::PutBundle;

use super::recording::Chance;
use super::watched::{child, folder};
use super::workload::{self, ExpectedState, Step, WRITERS, Writer};

/// Environment variables of the process: its folder, the folder of compiled code, and the position of each writer as
/// `round:step`, separated by spaces.
const ROOT: &str = "YOI_KILLED_ROOT";
const CACHE: &str = "YOI_KILLED_CACHE";
const BEGINNINGS: &str = "YOI_KILLED_BEGINNINGS";
/// Prefix of the line that reports an acknowledged step, before the number of the writer.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Position of a writer: a round, and the number of a step in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    round: u64,
    step: usize,
}

impl At {
    fn step(self, writer: &Writer) -> Step {
        writer.steps(self.round)[self.step]
    }

    fn next(self, writer: &Writer) -> Self {
        match self.step + 1 {
            step if step < writer.steps(self.round).len() => Self { step, ..self },
            _ => Self { round: self.round + 1, step: 0 },
        }
    }
}

/// Run as a process that the other test kills.
#[test]
#[ignore = "is run by another test, and killed"]
fn child_process_with_eight_writers() {
    let (Some(root), Some(cache)) = (std::env::var_os(ROOT), std::env::var_os(CACHE)) else { return };
    let beginnings = std::env::var(BEGINNINGS).expect("beginnings");
    let beginnings = beginnings.split(' ').map(|at| {
        let (round, step) = at.split_once(':').expect("a beginning");
        At { round: round.parse().expect("a round"), step: step.parse().expect("a step") }
    });
    let work = async |opened: &workload::OpenRuntime, number: usize, mut at: At| {
        let writer = Writer::new(number);
        loop {
            writer.perform(&opened.runtime, at.step(&writer)).await.expect("done");
            // A line is written with a single call, so it arrives as a whole or not at all.
            std::io::stdout().write_all(format!("\n{ACKNOWLEDGED}{number}\n").as_bytes()).expect("a reader");
            at = at.next(&writer);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("started");
    let opened = runtime.block_on(workload::open(Path::new(&root), &workload::sandbox(Path::new(&cache))));
    let opened = opened.expect("opened");
    let all: Vec<_> = beginnings.enumerate().collect();
    runtime.block_on(join_all(all.into_iter().map(|(number, at)| work(&opened, number, at))));
}

/// Records an acknowledgement, if the line is one.
fn note(line: &str, at: &mut [At], expected: &mut [ExpectedState]) -> bool {
    let Some(number) = line.strip_prefix(ACKNOWLEDGED) else { return false };
    let number: usize = number.parse().expect("a writer");
    let writer = expected[number].writer.clone();
    expected[number].acknowledged(at[number].step(&writer));
    at[number] = at[number].next(&writer);
    true
}

/// Reads this number of acknowledgements, or all that remain.
fn read(lines: &mut impl Iterator<Item = String>, most: u64, at: &mut [At], expected: &mut [ExpectedState]) -> u64 {
    let mut read = 0;
    while read < most {
        let Some(line) = lines.next() else { break };
        read += u64::from(note(&line, at, expected));
    }
    read
}

fn lines(stdout: ChildStdout) -> impl Iterator<Item = String> {
    BufReader::new(stdout).lines().map_while(Result::ok)
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let cycles: u64 = std::env::var("YOI_KILL_CYCLES").map_or(50, |cycles| cycles.parse().expect("a number"));
    let mut chance = Chance::new("kills");
    let place = folder();
    let (root, cache) = (place.path().join("data"), place.path().join("cache"));
    let sandbox = workload::sandbox(&cache);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("started");
    // Compiles the resolver once for all processes.
    runtime.block_on(workload::open(&place.path().join("other"), &sandbox)).expect("opened");
    let mut expected: Vec<ExpectedState> =
        (0..WRITERS).map(|number| ExpectedState::nothing(Writer::new(number))).collect();
    let mut at = vec![At { round: 0, step: 0 }; WRITERS];
    let (mut acknowledged, mut slowest) = (0, Duration::ZERO);
    for cycle in 0..cycles {
        let beginnings: Vec<String> = at.iter().map(|at| format!("{}:{}", at.round, at.step)).collect();
        let mut child = child("disk::kills::child_process_with_eight_writers")
            .env(ROOT, &root)
            .env(CACHE, &cache)
            .env(BEGINNINGS, beginnings.join(" "))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut lines = lines(child.stdout.take().expect("a pipe"));
        let (most, pause) = (chance.below(120), Duration::from_micros(chance.below(3000)));
        let read_before = read(&mut lines, most, &mut at, &mut expected);
        assert_eq!(read_before, most, "cycle {cycle}: the writers ended by themselves");
        let until = Instant::now() + pause;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        acknowledged += read_before + read(&mut lines, u64::MAX, &mut at, &mut expected);
        let context = format!("cycle {cycle}, killed after {most} and {pause:?}");
        let began = Instant::now();
        let opened = runtime.block_on(workload::open(&root, &sandbox)).expect(&context);
        slowest = slowest.max(began.elapsed());
        runtime.block_on(async {
            let checks = expected
                .iter()
                .zip(&at)
                .map(|(expected, at)| expected.check(&opened, Some(at.step(&expected.writer)), &context));
            join_all(checks).await;
            workload::check_all(&opened, &context).await;
        });
        // Earlier rounds are not checked again each time.
        if (cycle + 1) % 25 == 0 {
            drop(opened);
            std::fs::remove_dir_all(&root).expect("removed");
            expected = (0..WRITERS).map(|number| ExpectedState::nothing(Writer::new(number))).collect();
            at.fill(At { round: 0, step: 0 });
        }
    }
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    eprintln!("{cycles} kills, {acknowledged} acknowledgements, the slowest restart {slowest:?}");
    assert!(acknowledged > cycles * 20, "{acknowledged}");
}

/// Opening should take less than 1 s. The clocks of test machines are unreliable, so the test fails only after 20 s.
#[test]
fn store_with_10_000_bundles_opens_within_a_second() {
    const BUNDLES: u64 = 10_000;
    let place = folder();
    let sandbox = workload::sandbox(&place.path().join("cache"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("started");
    let root = place.path().join("data");
    let opened = Arc::new(runtime.block_on(workload::open(&root, &sandbox)).expect("opened"));
    let began = Instant::now();
    runtime.block_on(async {
        let put = async |opened: Arc<workload::OpenRuntime>, number: usize| {
            let writer = Writer::new(number);
            for step in writer.bundle_alone(0) {
                writer.perform(&opened.runtime, step).await.expect("done");
            }
            // The other bundles differ only in their revision, so that most of the time is spent on storing them.
            let content = opened.runtime.content(&writer.workspace);
            let manifest = String::from_utf8(writer.bundle(0).manifest_bytes().to_vec()).expect("text");
            for revision in 2..=BUNDLES / WRITERS as u64 {
                let manifest = manifest.replace(r#""revision":"1""#, &format!(r#""revision":"{revision}""#));
                let put = content.put_manifest(Digest::of(&manifest), manifest.into()).await.expect("put");
                assert_eq!(put, PutBundle::Stored { known: false });
            }
        };
        join_all((0..WRITERS).map(|number| put(opened.clone(), number))).await;
    });
    eprintln!("{BUNDLES} bundles were put in {:?}", began.elapsed());
    drop(opened);
    let began = Instant::now();
    let opened = runtime.block_on(workload::open(&root, &sandbox)).expect("opened");
    let took = began.elapsed();
    eprintln!("a store with {BUNDLES} bundles was open after {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let stored = runtime.block_on(async {
        let usage = async |number| {
            let management = opened.runtime.management();
            management.usage(&Writer::new(number).workspace).await.expect("known").bundles
        };
        join_all((0..WRITERS).map(usage)).await.into_iter().sum::<u64>()
    });
    assert_eq!(stored, BUNDLES);
}
