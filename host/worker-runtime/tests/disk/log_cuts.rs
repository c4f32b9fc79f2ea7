//! Simulates two power cuts, or a power cut after the process was killed. The store opens each time with everything
//! that was acknowledged. The remains of two torn transactions in the write-ahead log are not treated as damage.
//!
//! Covers a sample of first cuts, and of second ones after each. To cover more, or to repeat a run:
//!
//! ```text
//! YOI_POWER_CUTS=500 YOI_SEED=7 cargo test -p worker-runtime --test runner second_power_cut
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use worker_runtime::metadata::{Batch, Key, MetadataStore, SqliteMetadata};

use super::power_cuts::{Cut, describe};
use super::recording::{Chance, Disk, Fate, Operation, Remains, operations};
use super::watched::{self, Control, clear, folder};

const BEGIN: &str = "YOI_LOG_CUTS_BEGIN";
const END: &str = "YOI_LOG_CUTS_END";
/// Environment variable: 1 if the batches are large, so that the log is checkpointed meanwhile.
const IS_LARGE: &str = "YOI_LOG_CUTS_LARGE";

/// Records by key after a number of batches.
type Model = BTreeMap<String, Vec<u8>>;

fn newest() -> Key {
    Key::new("newest")
}

fn key(number: u64) -> Key {
    Key::new("t").part(number)
}

/// Returns a batch: its number, and a record whose size makes it one frame or many.
fn batch(number: u64, is_large: bool) -> Batch {
    let sizes = if is_large { [600_000, 10, 900_000, 9000] } else { [10, 30_000, 300, 9000] };
    let value = vec![number as u8; sizes[number as usize % 4]];
    Batch::default().put(&newest(), number.to_string().into_bytes()).put(&key(number % 5), value)
}

/// Returns the rows that exist after the batches below a number.
fn model(batches: u64, is_large: bool) -> Model {
    let mut model = Model::new();
    for number in 0..batches {
        let sizes = if is_large { [600_000, 10, 900_000, 9000] } else { [10, 30_000, 300, 9000] };
        model.insert(format!("{}", number % 5), vec![number as u8; sizes[number as usize % 4]]);
    }
    model
}

/// Run as a process that the other test records.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_that_commits_batches() {
    let Some(above) = watched::root() else { return };
    let number = |variable: &str| std::env::var(variable).expect("given").parse::<u64>().expect("a number");
    let is_large = number(IS_LARGE) == 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let mut marks = std::fs::File::create(above.join("marks")).expect("made");
    let control = Control::of_this_process();
    control.record();
    runtime.block_on(async {
        let open = async || SqliteMetadata::open(above.join("metadata.sqlite")).await.expect("opened");
        let mut store = open().await;
        for number in number(BEGIN)..number(END) {
            store.commit(batch(number, is_large)).await.expect("committed");
            marks.write_all(b"done").expect("written");
            if number % 7 == 6 {
                drop(store);
                store = open().await;
            }
        }
    });
    control.disarm();
}

/// A recorded process, and the number of batches that were acknowledged when it began.
struct Recording {
    operations: Vec<Operation>,
    begin: u64,
}

impl Recording {
    /// `None` if tracing is not supported.
    fn new(root: &Path, begin: u64, end: u64, is_large: bool) -> Option<Self> {
        let log = root.with_extension("log");
        let variables =
            [(BEGIN, begin.to_string()), (END, end.to_string()), (IS_LARGE, u64::from(is_large).to_string())];
        watched::watched("disk::log_cuts::child_process_that_commits_batches", root, &log, &variables)?;
        Some(Self { operations: operations(&log), begin })
    }

    /// Replays the operations, and calls `look` after each of them with the number of acknowledged batches.
    fn replay(&self, disk: &mut Disk, mut look: impl FnMut(&Disk, u64, &Operation)) {
        let mut acknowledged = self.begin;
        for operation in &self.operations {
            match operation {
                Operation::Mark(_) => acknowledged += 1,
                operation => disk.perform(operation),
            }
            look(disk, acknowledged, operation);
        }
    }
}

/// Opens the state after a cut, and checks that the acknowledged batches exist. The interrupted batch exists completely
/// or not at all.
fn look(remains: &Remains, acknowledged: u64, is_large: bool, root: &Path, context: &str) {
    std::fs::create_dir(root).expect("made");
    remains.write_to(root);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    runtime.block_on(async {
        let store = SqliteMetadata::open(root.join("metadata.sqlite")).await;
        let store = store.unwrap_or_else(|error| panic!("{context}: {error}"));
        let found = store.get(&newest()).await.expect(context);
        let found =
            found.map(|record| String::from_utf8(record.value).expect("text").parse::<u64>().expect("a number"));
        let batches = found.map_or(0, |newest| newest + 1);
        assert!((acknowledged..=acknowledged + 1).contains(&batches), "{context}: {batches} of {acknowledged}");
        let records = store.scan(&Key::new("t"), None, 100).await.expect(context);
        let records: Model = records.into_iter().map(|(key, record)| (key.last().to_owned(), record.value)).collect();
        assert!(records == model(batches, is_large), "{context}: wrong records");
        assert_eq!(store.check().await, Ok(()), "{context}");
        store.commit(batch(batches, is_large)).await.expect(context);
    });
    clear(root);
}

#[test]
fn second_power_cut_loses_nothing_that_was_acknowledged() {
    let cuts: u64 = std::env::var("YOI_POWER_CUTS").map_or(24, |cuts| cuts.parse().expect("a number"));
    /// Second cuts after each first one.
    const SECOND: u64 = 40;
    let mut chance = Chance::new("power cuts after power cuts");
    let place = folder();
    let began = std::time::Instant::now();
    let (mut first_states, mut second_states) = (0, 0);
    for is_large in [false, true] {
        let root = place.path().join(format!("first-{is_large}"));
        std::fs::create_dir(&root).expect("made");
        let Some(first) = Recording::new(&root, 0, if is_large { 12 } else { 20 }, is_large) else { return };
        clear(&root);
        for number in 0..if is_large { cuts.div_ceil(4) } else { cuts } {
            let moment = chance.below(first.operations.len() as u64) as usize;
            let is_killed = number % 3 == 2;
            // The disk and the number of acknowledged batches at that moment.
            let mut disk = Disk::empty();
            let mut seen = 0;
            let mut at = None;
            first.replay(&mut disk, |disk, acknowledged, _| {
                if seen == moment {
                    at = Some((disk.clone(), acknowledged));
                }
                seen += 1;
            });
            let (mut disk, acknowledged) = at.expect("a moment");
            let cut = Cut::one(&disk, &mut chance);
            let context = format!("cut {number} after operation {moment}, large: {is_large}");
            let remains = if is_killed { disk.left(|_| true, |_| Fate::Kept) } else { cut.of(&disk) };
            let context = if is_killed { format!("{context}, killed") } else { format!("{context}, {cut:?}") };
            look(&remains, acknowledged, is_large, &place.path().join("looked"), &context);
            first_states += 1;
            // Continues from there until the second cut.
            let root = place.path().join("second");
            std::fs::create_dir(&root).expect("made");
            remains.write_to(&root);
            if !is_killed {
                disk = Disk::of(&remains);
            }
            let end = acknowledged + if is_large { 3 } else { 6 };
            let second = Recording::new(&root, acknowledged, end, is_large).expect("recorded, as before");
            clear(&root);
            std::fs::remove_file(root.with_extension("log")).expect("removed");
            let all = second.operations.len() as u64;
            second.replay(&mut disk, |disk, acknowledged, operation| {
                if chance.below(all) < SECOND {
                    let cut = Cut::one(disk, &mut chance);
                    let context = format!("{context}, then {cut:?} after {}", describe(Some(operation)));
                    look(&cut.of(disk), acknowledged, is_large, &place.path().join("looked"), &context);
                    second_states += 1;
                }
            });
        }
    }
    eprintln!("{first_states} first states and {second_states} second ones in {:?}", began.elapsed());
    assert!(second_states > first_states * 10, "{second_states}");
}
