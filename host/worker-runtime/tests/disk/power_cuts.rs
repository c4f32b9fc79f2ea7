//! Simulates power cuts at any moment. The file operations of a process are recorded, and every state that a cut could
//! leave on the disk is opened. No acknowledged data is lost, and no wrong byte is served.
//!
//! Covers every operation of a small workload, and a sample of the operations of a workload with 200 bundles. The size
//! of the sample and the seed can be set:
//!
//! ```text
//! YOI_POWER_CUTS=2000 YOI_SEED=7 cargo test -p worker-runtime --test runner power_cut
//! ```

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use component_host::Sandbox;

use super::recording::{Chance, Disk, Fate, Operation, Remains, operations};
use super::watched::{self, Control, clear, folder};
use super::workload::{self, ExpectedState, Step, Writer};

const CACHE: &str = "YOI_RECORDED_CACHE";
const ROUNDS: &str = "YOI_RECORDED_ROUNDS";

/// Run as a process that the other tests record.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_that_is_recorded() {
    let (Some(above), Some(cache)) = (watched::root(), std::env::var_os(CACHE)) else { return };
    let rounds: u64 = std::env::var(ROUNDS).expect("rounds").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let sandbox = workload::sandbox(Path::new(&cache));
    let mut marks = std::fs::File::create(above.join("marks")).expect("made");
    let control = Control::of_this_process();
    control.record();
    runtime.block_on(async {
        let writer = Writer::new(0);
        for rounds in parts(rounds) {
            let opened = workload::open(&above.join("data"), &sandbox).await.expect("opened");
            for step in rounds.flat_map(|round| writer.steps(round)) {
                writer.perform(&opened.runtime, step).await.expect("done");
                marks.write_all(b"done").expect("written");
            }
        }
    });
    control.disarm();
    let seen = control.seen();
    assert!(watched::KINDS.iter().zip(seen).all(|(kind, seen)| seen > 0 || ["link", "truncate"].contains(kind)));
}

/// The store is opened again after half of the rounds.
fn parts(rounds: u64) -> [std::ops::Range<u64>; 2] {
    [0..rounds / 2, rounds / 2..rounds]
}

/// Selects which of the changes that are not durable survive a cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Nothing,
    Everything,
    /// All names survive, and this part of their content.
    Names(Fate),
    /// All content survives, and no name that is not durable.
    Contents,
    /// All but one change of a name, or only this one.
    Name(usize, bool),
    /// All but one piece of content, or only this one.
    Content(usize, bool),
    /// Each change at random.
    Chance(u64),
}

impl Cut {
    pub(super) fn of(self, disk: &Disk) -> Remains {
        let by_chance = |number: u64, of: u64| Chance::of(number).below(of);
        let name = |number: usize| match self {
            Self::Nothing | Self::Contents | Self::Content(_, true) => false,
            Self::Everything | Self::Names(_) | Self::Content(_, false) => true,
            Self::Name(one, alone) => (number == one) == alone,
            Self::Chance(seed) => by_chance(seed ^ (number as u64) << 20, 2) == 0,
        };
        let kept = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
        let content = |number: usize| match self {
            Self::Nothing | Self::Name(_, true) => Fate::Lost,
            Self::Everything | Self::Contents | Self::Name(_, false) => Fate::Kept,
            Self::Names(fate) => fate,
            Self::Content(one, alone) => kept((number == one) == alone),
            Self::Chance(seed) => {
                [Fate::Kept, Fate::Lost, Fate::Half, Fate::Zeros][by_chance(seed ^ (number as u64) << 40, 4) as usize]
            }
        };
        disk.left(name, content)
    }

    /// Cuts that are checked after every operation.
    pub(super) fn all(disk: &Disk, chance: &mut Chance) -> Vec<Self> {
        /// Of this number of the newest changes, each is lost alone and kept alone.
        const ALONE: usize = 3;
        let (names, contents) = disk.pending();
        let mut all = vec![Self::Nothing, Self::Everything];
        if contents > 0 {
            all.extend([Fate::Lost, Fate::Half, Fate::Zeros].map(Self::Names));
        }
        if names > 0 && contents > 0 {
            all.push(Self::Contents);
        }
        for alone in [false, true] {
            all.extend((names.saturating_sub(ALONE)..names).map(|one| Self::Name(one, alone)));
            all.extend((contents.saturating_sub(ALONE)..contents).map(|one| Self::Content(one, alone)));
        }
        if names + contents > 1 {
            all.push(Self::Chance(chance.below(u64::MAX)));
        }
        all
    }

    pub(super) fn one(disk: &Disk, chance: &mut Chance) -> Self {
        let mut all = Self::all(disk, chance);
        all.swap_remove(chance.below(all.len() as u64) as usize)
    }
}

/// A recorded trace that is replayed.
struct Replay {
    operations: Vec<Operation>,
    steps: Vec<Step>,
    disk: Disk,
    expected: ExpectedState,
    acknowledged: usize,
    next: usize,
}

impl Replay {
    fn of(log: &Path, rounds: u64) -> Self {
        let writer = Writer::new(0);
        Self {
            operations: operations(log),
            steps: parts(rounds).into_iter().flatten().flat_map(|round| writer.steps(round)).collect(),
            disk: Disk::empty(),
            expected: ExpectedState::nothing(writer),
            acknowledged: 0,
            next: 0,
        }
    }

    /// Replays the next operation.
    fn advance(&mut self) -> bool {
        let Some(operation) = self.operations.get(self.next) else { return false };
        self.next += 1;
        match operation {
            Operation::Mark(mark) if mark == "done" => {
                self.expected.acknowledged(self.steps[self.acknowledged]);
                self.acknowledged += 1;
            }
            operation => self.disk.perform(operation),
        }
        true
    }

    /// Opens the state after one cut at this moment, and checks it.
    async fn look(&self, cut: Cut, remains: &Remains, root: &Path, sandbox: &Sandbox) {
        let begun = self.steps.get(self.acknowledged).copied();
        let last = self.next.checked_sub(1).map(|last| &self.operations[last]);
        let context = format!("{cut:?} after operation {}, {}, before {begun:?}", self.next, describe(last));
        remains.write_to(root);
        let opened = workload::open(&root.join("data"), sandbox).await;
        let opened = opened.unwrap_or_else(|failure| panic!("{context}: {failure:?}"));
        workload::collect_strays(&opened, &context).await;
        self.expected.check(&opened, begun, &context).await;
        workload::check_all(&opened, &context).await;
        // The workload continues: the interrupted step is repeated.
        if let Some(step) = begun {
            let done = self.expected.writer.perform(&opened.runtime, step).await;
            done.unwrap_or_else(|failure| panic!("{context}: {failure:?}"));
        }
        drop(opened);
        clear(&root.join("data"));
    }
}

pub(super) fn describe(operation: Option<&Operation>) -> String {
    match operation {
        Some(Operation::Wrote { path, at, bytes }) => format!("{} bytes to `{path}` at {at}", bytes.len()),
        operation => format!("{operation:?}"),
    }
}

/// Records a workload and replays it in two threads, each of which checks every second moment that `moments` selects.
fn at_moments(rounds: u64, look: impl AsyncFn(usize, &mut Replay, &Path, &Sandbox) + Sync) -> bool {
    let place = folder();
    let (root, log, cache) = (place.path().join("root"), place.path().join("log"), place.path().join("cache"));
    std::fs::create_dir(&root).expect("made");
    let variables = [(CACHE, cache.display().to_string()), (ROUNDS, rounds.to_string())];
    if watched::watched("disk::power_cuts::child_process_that_is_recorded", &root, &log, &variables).is_none() {
        return false;
    }
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (look, log, cache, place) = (&look, &log, &cache, &place);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
                let root = place.path().join(thread.to_string());
                std::fs::create_dir(&root).expect("made");
                let mut replay = Replay::of(log, rounds);
                runtime.block_on(look(thread, &mut replay, &root, &workload::sandbox(cache)));
                assert_eq!(replay.acknowledged, replay.steps.len(), "everything was gone through");
            });
        }
    });
    true
}

#[test]
fn power_cut_at_every_operation_loses_nothing_that_was_acknowledged() {
    const ROUNDS: u64 = 2;
    let seed = Chance::new("power cuts at every operation").below(u64::MAX);
    let looked = AtomicUsize::new(0);
    let began = std::time::Instant::now();
    let done = at_moments(ROUNDS, async |thread, replay, root, sandbox| {
        let mut chance = Chance::of(seed);
        let mut seen = HashSet::new();
        while replay.advance() {
            for cut in Cut::all(&replay.disk, &mut chance) {
                let remains = cut.of(&replay.disk);
                let fingerprint = remains.fingerprint();
                if !seen.insert((fingerprint, replay.acknowledged))
                    || usize::from(fingerprint.as_bytes()[0]) % 2 != thread
                {
                    continue;
                }
                replay.look(cut, &remains, root, sandbox).await;
                looked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let looked = looked.into_inner();
    eprintln!("{looked} states of {ROUNDS} rounds in {:?}", began.elapsed());
    assert!(!done || looked > 1000, "{looked}");
}

#[test]
fn power_cut_among_200_bundles_loses_nothing_that_was_acknowledged() {
    const ROUNDS: u64 = 200;
    let cuts: usize = std::env::var("YOI_POWER_CUTS").map_or(30, |cuts| cuts.parse().expect("a number"));
    let seed = Chance::new("power cuts among 200 bundles").below(u64::MAX);
    let began = std::time::Instant::now();
    at_moments(ROUNDS, async |thread, replay, root, sandbox| {
        let mut chance = Chance::of(seed);
        let all = replay.operations.len() as u64;
        let mut moments: Vec<usize> = (0..cuts).map(|_| chance.below(all) as usize).collect();
        moments.sort_unstable();
        for (number, moment) in moments.into_iter().enumerate() {
            while replay.next <= moment {
                replay.advance();
            }
            let cut = Cut::one(&replay.disk, &mut chance);
            if number % 2 == thread {
                replay.look(cut, &cut.of(&replay.disk), root, sandbox).await;
            }
        }
        while replay.advance() {}
    });
    eprintln!("{cuts} states of {ROUNDS} rounds in {:?}", began.elapsed());
}
