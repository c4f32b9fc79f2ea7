//! Makes every file operation fail once, in every way: the Nth call of each kind, for every N and each error. The
//! caller gets an error code, nothing panics, and the operation succeeds as soon as the disk works again. The same
//! store stays usable without repair, and so does one that is opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bundles::Digest;
use component_host::Sandbox;
use component_host::compile::CompiledKey;
use component_host::compile::cache::{CacheError, CompileCache};
use worker_runtime::metadata::MetadataStore;

use super::watched::{self, Control, Fault, KINDS, clear};
use super::workload::{self, ExpectedState, Failure, OpenRuntime, Step, Writer};

/// Errno values of Linux. The last one is no error but a partial write.
pub(super) const ERRORS: [(&str, i32); 5] =
    [("ENOSPC", 28), ("EIO", 5), ("EMFILE", 24), ("EDQUOT", 122), ("short write", 0)];

/// Environment variable of the process: an index into the kinds.
const PART: &str = "YOI_FAULTS_OF";
const CACHE: &str = "YOI_FAULTS_CACHE";

/// Number of injected faults by kind, and how many of them were reported to a caller.
pub(super) type Tally = BTreeMap<&'static str, (usize, usize)>;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Returns all faults of the kind at `index` in `KINDS`, in order. Empty if the kind has none.
fn errors_of(kind: usize) -> impl Iterator<Item = (&'static str, i32)> {
    ERRORS.into_iter().filter(move |(_, error)| *error != 0 || KINDS[kind] == "write")
}

/// Repeats `work` with a fault at each call in turn, until it makes fewer calls than that. `work` arms the control
/// itself, and returns `true` if the fault was injected.
pub(super) async fn at_every_call(kind: usize, mut work: impl AsyncFnMut(Fault, &str) -> bool) {
    for (called, error) in errors_of(kind) {
        for call in 1.. {
            let context = format!("{called} at {} {call}", KINDS[kind]);
            if !work(Fault { kind, call, error }, &context).await {
                break;
            }
        }
    }
}

/// Checks that an error has the right code and contains no path. If the disk cannot read, SQLite reports damage.
fn is_typed(failure: &Failure, root: &Path, context: &str) {
    let damaged = context.starts_with("EIO at read") && failure.code == "metadata_damaged";
    assert!(damaged || ["store_full", "store_unavailable"].contains(&failure.code.as_str()), "{context}: {failure:?}");
    assert!(!failure.text.contains(&*root.to_string_lossy()), "{context}: {failure:?}");
}

struct Place<'a> {
    root: &'a Path,
    sandbox: Sandbox,
    control: Control,
}

impl Place<'_> {
    async fn open(&self, context: &str) -> OpenRuntime {
        workload::open(self.root, &self.sandbox).await.unwrap_or_else(|failure| panic!("{context}: {failure:?}"))
    }

    /// Opens a new or existing store with a fault, and then without.
    async fn opening(&self, kind: usize, new: bool, tally: &mut Tally) {
        let writer = Writer::new(0);
        let mut expected = ExpectedState::nothing(writer.clone());
        if !new {
            let opened = self.open("before").await;
            for step in writer.steps(1).into_iter().chain(writer.steps(2)) {
                writer.perform(&opened.runtime, step).await.expect("done");
                expected.acknowledged(step);
            }
        }
        at_every_call(kind, async |fault, context| {
            self.control.arm(fault);
            let opened = workload::open(self.root, &self.sandbox).await;
            let happened = self.control.disarm();
            let count = tally.entry(KINDS[kind]).or_default();
            count.0 += usize::from(happened);
            match opened {
                Err(failure) => {
                    count.1 += 1;
                    is_typed(&failure, self.root, context);
                }
                Ok(opened) => expected.check(&opened, None, context).await,
            }
            // Most calls create one of 256 equal folders, for which checking the stores is enough.
            if fault.call % 16 < 2 || fault.call < 12 {
                let opened = self.open(context).await;
                expected.check(&opened, None, context).await;
                writer.perform(&opened.runtime, Step::Blob(3, 0)).await.expect(context);
            } else {
                let (_, metadata) = workload::stores(self.root).await.expect(context);
                assert_eq!(metadata.check().await, Ok(()), "{context}");
            }
            if new {
                clear(self.root);
            }
            happened
        })
        .await;
        if !new {
            clear(self.root);
        }
    }

    /// Creates a store with a round that remains.
    async fn begun(&self, writer: &Writer) -> (OpenRuntime, ExpectedState) {
        let opened = self.open("before").await;
        let mut expected = ExpectedState::nothing(writer.clone());
        for step in writer.steps(1) {
            writer.perform(&opened.runtime, step).await.expect("done");
            expected.acknowledged(step);
        }
        drop(opened);
        (self.open("before").await, expected)
    }

    /// Runs a round in an open store with a fault.
    async fn working(&self, kind: usize, tally: &mut Tally) {
        let writer = Writer::new(0);
        let (there, mut expected) = self.begun(&writer).await;
        let mut opened = Some(there);
        let mut round = 4;
        at_every_call(kind, async |fault, context| {
            let there = opened.take().expect("opened");
            self.control.arm(fault);
            // Begins with a worker of an earlier round, because this Runtime was just opened and has nothing cached.
            for step in [Step::Call(1, 10)].into_iter().chain(writer.steps(round)) {
                let earlier = self.control.happened();
                let done = writer.perform(&there.runtime, step).await;
                // A change that is not durable is not acknowledged. The name of SQLite's log is durable since the store
                // was opened. SQLite syncs it once more and ignores the result, which does not matter.
                let unsynced = KINDS[kind] == "sync" && self.control.happened() && !earlier;
                let unsynced = unsynced && self.control.place() != self.root;
                assert!(!unsynced || done.is_err(), "{context}: {step:?} was acknowledged");
                if let Err(failure) = done {
                    assert!(self.control.disarm(), "{context}: {step:?}: {failure:?}");
                    tally.entry(KINDS[kind]).or_default().1 += 1;
                    is_typed(&failure, self.root, context);
                    expected.check(&there, Some(step), context).await;
                    writer.perform(&there.runtime, step).await.expect(context);
                }
                expected.acknowledged(step);
            }
            // Closing checkpoints the log. A failure of the checkpoint is not reported.
            if self.control.happened() {
                self.control.disarm();
                expected.check(&there, None, context).await;
            }
            drop(there);
            let happened = self.control.disarm();
            tally.entry(KINDS[kind]).or_default().0 += usize::from(happened);
            round += 4;
            let mut again = self.open(context).await;
            expected.check(&again, None, context).await;
            if round % 40 == 0 {
                workload::check_all(&again, context).await;
                drop(again);
                clear(self.root);
                (again, expected) = self.begun(&writer).await;
            }
            opened = Some(again);
            happened
        })
        .await;
        let opened = opened.take().expect("opened");
        workload::check_all(&opened, KINDS[kind]).await;
        drop(opened);
        clear(self.root);
    }

    /// Uses the compile cache. A failure to write it is not an error.
    async fn compiled(&self, kind: usize, tally: &mut Tally) {
        let key = CompiledKey { component: Digest::of("component"), engine: 7 };
        let code = [7; 5000];
        at_every_call(kind, async |fault, context| {
            self.control.arm(fault);
            let mut reported = 0;
            match CompileCache::open(self.root) {
                Err(CacheError::Io(_)) => reported += 1,
                Err(error) => panic!("{context}: {error}"),
                Ok(cache) => {
                    reported += usize::from(cache.put(&key, &code).is_err());
                    let found = cache.get(&key, 1 << 20).is_some();
                    let happened = self.control.disarm();
                    assert!(found || happened, "{context}");
                }
            }
            let happened = self.control.disarm();
            let count = tally.entry(KINDS[kind]).or_default();
            *count = (count.0 + usize::from(happened), count.1 + reported);
            let cache = CompileCache::open(self.root).unwrap_or_else(|error| panic!("{context}: {error}"));
            cache.put(&key, &code).expect(context);
            assert!(cache.get(&key, 1 << 20).is_some(), "{context}");
            clear(self.root);
            happened
        })
        .await;
    }
}

/// Run as a process that the other test traces.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_with_injected_faults() {
    let (Some(above), Some(part)) = (watched::root(), std::env::var_os(PART)) else { return };
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tell(panic);
    }));
    let cache = std::env::var_os(CACHE).expect("a cache");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let place = Place {
        root: &above.join("data"),
        sandbox: workload::sandbox(Path::new(&cache)),
        control: Control::of_this_process(),
    };
    let kind = part.to_str().expect("a kind").parse().expect("a kind");
    let mut tallies: [Tally; 4] = Default::default();
    runtime.block_on(async {
        place.opening(kind, true, &mut tallies[0]).await;
        place.opening(kind, false, &mut tallies[1]).await;
        place.working(kind, &mut tallies[2]).await;
        place.compiled(kind, &mut tallies[3]).await;
    });
    // The line begins with the name of the test.
    println!();
    for (what, tally) in ["making", "opening", "working", "compiled"].iter().zip(tallies) {
        for (kind, (faults, reported)) in tally {
            println!("tally {what} {kind} {faults} {reported}");
        }
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[test]
fn store_stays_usable_after_a_fault_in_any_system_call() {
    let folder = watched::folder();
    let cache = folder.path().join("cache");
    let run = |kind: usize| {
        let root = folder.path().join(KINDS[kind]);
        std::fs::create_dir(&root).expect("made");
        let variables = [(PART, kind.to_string()), (CACHE, cache.display().to_string())];
        watched::watched(
            "disk::faults::child_process_with_injected_faults",
            &root,
            &root.with_extension("log"),
            &variables,
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    runtime.block_on(workload::open(&folder.path().join("other"), &workload::sandbox(&cache))).expect("opened");
    // Two kinds at a time, those with the most calls first.
    let left = Mutex::new((0..KINDS.len()).collect::<Vec<_>>());
    left.lock().expect("kinds").sort_by_key(|kind| ["write", "stat", "mkdir"].contains(&KINDS[*kind]));
    let reported = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(kind) = left.lock().expect("kinds").pop() else { break };
                    let Some(printed) = run(kind) else { break };
                    let tallies = printed.lines().filter_map(|line| line.strip_prefix("tally "));
                    reported.lock().expect("tallies").extend(tallies.map(str::to_owned));
                }
            });
        }
    });
    let reported = reported.into_inner().expect("tallies");
    if reported.is_empty() {
        return;
    }
    eprintln!("faults, and how many of them were reported: {}", reported.join(", "));
    let faults = |begin: &str| {
        let of = reported.iter().filter(|line| line.starts_with(begin));
        of.filter_map(|line| line.split(' ').nth(2)?.parse::<usize>().ok()).sum::<usize>()
    };
    for kind in KINDS.iter().filter(|kind| **kind != "truncate") {
        let all = ["making", "opening", "working", "compiled"].map(|what| faults(&format!("{what} {kind} ")));
        assert!(all.iter().sum::<usize>() > 0, "no fault at `{kind}`: {reported:?}");
    }
    for (what, least) in [("making", 1000), ("opening", 1000), ("working", 500), ("compiled", 30)] {
        assert!(faults(what) > least, "{what}: {reported:?}");
    }
}
