//! Simulates a power cut at every operation while files and secrets are written. After a call of `fs.write` returns,
//! the file has its new content, and before that the old or the new one. The same holds for secrets, and a removed
//! secret does not come back. Only temporary files may exist in part.

use std::collections::HashSet;
use std::io::Write;

use super::power_cuts::{Cut, describe};
use super::recording::{Chance, Disk, Operation, operations};
use super::watched::{self, Control, folder};
use super::written::{AcknowledgedState, Places, Step, Strays};

/// The steps, in order. Folders that other programs create are not durable until someone syncs them.
const STEPS: [Step; 17] = [
    Step::New("one", 1),
    Step::New("a/new/folder/one", 1),
    Step::Replace("one", 2),
    Step::Folder("by-hand"),
    Step::Folder("by-hand/below"),
    Step::New("by-hand/below/one", 1),
    Step::Folder("other"),
    Step::New("other/large", 1),
    Step::Replace("a/new/folder/one", 2),
    Step::Replace("other/large", 2),
    Step::Set("token", 1),
    Step::Set("token", 2),
    Step::Set("other", 1),
    Step::Remove("token"),
    Step::Remove("token"),
    Step::Set("token", 3),
    Step::Remove("other"),
];

/// Run as a process that the other test records.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_that_is_recorded() {
    let Some(root) = watched::root() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let mut marks = std::fs::File::create(root.join("marks")).expect("made");
    let control = Control::of_this_process();
    runtime.block_on(async {
        let places = Places::below(&root).await;
        control.record();
        std::fs::create_dir(&places.mount).expect("made");
        std::fs::File::open(&root).and_then(|root| root.sync_all()).expect("synced");
        let mut held = AcknowledgedState::default();
        marks.write_all(b"begun").expect("written");
        for step in STEPS {
            places.perform(step, &held).await.expect("done");
            held.acknowledged(step);
            marks.write_all(b"done").expect("written");
        }
    });
    control.disarm();
}

#[test]
fn power_cut_while_files_and_secrets_are_written_leaves_the_old_content_or_the_new_one() {
    let place = folder();
    let (watched, root, log) = (place.path().join("watched"), place.path().join("root"), place.path().join("log"));
    std::fs::create_dir(&watched).expect("made");
    if watched::watched("disk::written_cuts::child_process_that_is_recorded", &watched, &log, &[]).is_none() {
        return;
    }
    let began = std::time::Instant::now();
    let mut chance = Chance::new("power cuts while files and secrets are written");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let looked = runtime.block_on(async {
        let places = Places::below(&root).await;
        let (mut disk, mut held, mut seen) = (Disk::empty(), AcknowledgedState::default(), HashSet::new());
        let (mut looked, mut acknowledged, mut begun) = (0, 0, false);
        for (number, operation) in operations(&log).iter().enumerate() {
            match operation {
                Operation::Mark(mark) if mark == "begun" => begun = true,
                Operation::Mark(_) => {
                    held.acknowledged(STEPS[acknowledged]);
                    acknowledged += 1;
                }
                operation => disk.perform(operation),
            }
            // The mount does not exist before that.
            if !begun {
                continue;
            }
            let step = STEPS.get(acknowledged).copied();
            for cut in Cut::all(&disk, &mut chance) {
                let remains = cut.of(&disk);
                if !seen.insert((remains.fingerprint(), acknowledged)) {
                    continue;
                }
                let context =
                    format!("{cut:?} after operation {number}, {}, before {step:?}", describe(Some(operation)));
                std::fs::create_dir(&root).expect("made");
                remains.write_to(&root);
                places.make_private();
                let mut left = held.clone();
                left.check(&places, step, Strays::Unfinished, &context);
                places.tell(&left, &context).await;
                // The workload continues: the interrupted step is repeated.
                if let Some(step) = step {
                    places.again(step, &left).await.unwrap_or_else(|failure| panic!("{context}: {failure:?}"));
                    left.acknowledged(step);
                    left.check(&places, None, Strays::Unfinished, &context);
                }
                watched::clear(&root);
                looked += 1;
            }
        }
        assert_eq!(acknowledged, STEPS.len(), "everything was gone through");
        looked
    });
    eprintln!("{looked} states of {} steps in {:?}", STEPS.len(), began.elapsed());
    assert!(looked > 90, "{looked}");
}
