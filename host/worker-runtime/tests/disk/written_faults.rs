//! Every file operation of the file tools, and of setting, removing and reading a secret, fails once, in every way;
//! and once the disk is gone from one operation on. Who asked is told by a code that says what the disk said, nothing panics, the
//! earlier content is whole or the new one is, nothing else is left, and what is written next is written.

use std::os::unix::fs::chown;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faults::{ERRORS, Tally, at_every_call};
use super::watched::{self, Control, KINDS, folder};
use super::workload::Told;
use super::written::{Ask, Held, Places, Step, Strays};

/// What the process is to do: to fail one call, or all from one on.
const PART: &str = "YOI_WRITTEN_FAULTS";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What is there before most steps.
const THERE: [Step; 5] = [
    Step::New("kept/one", 1),
    Step::New("kept/large", 1),
    Step::New("others", 1),
    Step::Set("token", 1),
    Step::Set("other", 1),
];

/// Every way to write: in new folders and beside others, small and large, in the place of what belongs to this user
/// and of what belongs to another.
const STEPS: [(&[Step], Step); 11] = [
    (&[], Step::Set("first", 2)),
    (&THERE, Step::New("new", 2)),
    (&THERE, Step::New("a/new/folder/one", 2)),
    (&THERE, Step::New("kept/new/large", 2)),
    (&THERE, Step::Replace("kept/one", 2)),
    (&THERE, Step::Replace("kept/large", 2)),
    (&THERE, Step::Replace("others", 2)),
    (&THERE, Step::Set("new", 2)),
    (&THERE, Step::Set("token", 2)),
    (&THERE, Step::Remove("token")),
    (&THERE, Step::Remove("not-there")),
];

/// What is read while calls fail.
const ASKED: [Ask; 4] = [Ask::Files, Ask::File("kept/large"), Ask::Secrets, Ask::Secret("token")];

/// A refusal that says what the disk said, and not where.
fn is_typed(is_of_files: bool, error: i32, told: &Told, root: &str, context: &str) {
    let full = [28, 122].contains(&error);
    let codes: &[&str] = match (is_of_files, full) {
        // Whatever keeps a mount from being opened, it is not open.
        (true, true) => &["mount_full", "mount_unavailable"],
        (true, false) => &["file_unavailable", "mount_unavailable"],
        (false, true) => &["store_full"],
        (false, false) => &["secrets_unavailable"],
    };
    assert!(codes.contains(&told.code), "{context}: {told:?}");
    assert!(!told.text.contains(root), "{context}: {told:?}");
}

/// Everything as it is before a step.
fn prepared(places: &Places, there: &[Step]) -> Held {
    let held = places.prepare(there);
    // Only root may give files away; who is not has a file of its own there.
    let _ = chown(places.mount.join("others"), Some(4711), Some(4711));
    held
}

/// What a step left when it was disturbed, and that it can be done now.
async fn goes_on(places: &Places, mut held: Held, step: Step, done: bool, strays: Strays, context: &str) {
    if done {
        held.acknowledged(step);
    }
    held.check(places, (!done).then_some(step), strays, context);
    places.tell(&held, context).await;
    places.again(step, &held).await.expect(context);
    held.acknowledged(step);
    held.check(places, None, strays, context);
}

/// Each step with a fault at each of its calls of one kind.
async fn one_call_fails(places: &Places, control: &Control, root: &str, kind: usize) -> Tally {
    let mut tally = Tally::new();
    for (there, step) in STEPS {
        at_every_call(kind, async |fault, context| {
            let context = format!("{context} of {step:?}");
            let held = prepared(places, there);
            control.arm(fault);
            let done = places.perform(step, &held).await;
            let happened = control.disarm();
            let count = tally.entry(KINDS[kind]).or_default();
            *count = (count.0 + usize::from(happened), count.1 + usize::from(done.is_err()));
            match &done {
                Err(told) => {
                    assert!(happened, "{context}: {told:?}");
                    is_typed(step.is_of_files(), fault.error, told, root, &context);
                }
                // What could not be done is not acknowledged. Of half a write the rest is written.
                Ok(()) => assert!(!happened || fault.error == 0, "{context}: acknowledged"),
            }
            goes_on(places, held, step, done.is_ok(), Strays::None, &context).await;
            happened
        })
        .await;
    }
    tally
}

/// What is there is asked for with a fault at each call of one kind. All of it is answered, or it is told that it is
/// not: what cannot be read is not taken for something that is not there.
async fn one_call_of_reading_fails(places: &Places, control: &Control, root: &str, kind: usize) -> Tally {
    let mut tally = Tally::new();
    let held = prepared(places, &THERE);
    for ask in ASKED {
        at_every_call(kind, async |fault, context| {
            let context = format!("{context} of {ask:?}");
            control.arm(fault);
            let answered = places.ask(ask, &held).await;
            let happened = control.disarm();
            let count = tally.entry(KINDS[kind]).or_default();
            *count = (count.0 + usize::from(happened), count.1 + usize::from(answered.is_err()));
            match &answered {
                Err(told) if told.code == "secret_unavailable" => assert_eq!(ask, Ask::Secret("token"), "{context}"),
                Err(told) => is_typed(matches!(ask, Ask::Files | Ask::File(_)), fault.error, told, root, &context),
                Ok(right) => assert!(right, "{context}"),
            }
            assert_eq!(places.ask(ask, &held).await, Ok(true), "{context}");
            happened
        })
        .await;
    }
    tally
}

/// Each step on a disk that is gone from one of its calls on, whatever the call is of, and comes back after it.
async fn all_calls_fail(places: &Places, control: &Control, root: &str) -> (usize, usize) {
    let mut count = (0, 0);
    for (there, step) in STEPS {
        for (called, error) in ERRORS.into_iter().filter(|(_, error)| *error != 0) {
            for call in 1.. {
                let context = format!("{called} from {call} on of {step:?}");
                let held = prepared(places, there);
                control.arm_from(call, error);
                let done = places.perform(step, &held).await;
                if !control.disarm() {
                    break;
                }
                count = (count.0 + 1, count.1 + usize::from(done.is_err()));
                if let Err(told) = &done {
                    is_typed(step.is_of_files(), error, told, root, &context);
                }
                // What was to be taken away could not be.
                goes_on(places, held, step, done.is_ok(), Strays::Unfinished, &context).await;
            }
        }
    }
    count
}

/// Not a test of its own: what the other one watches.
#[test]
#[ignore = "is run by another test, under the shim"]
fn one_fault_after_the_other() {
    let (Some(root), Ok(part)) = (watched::root(), std::env::var(PART)) else { return };
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        tell(panic);
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let control = Control::of_this_process();
    let text = root.to_str().expect("a path");
    println!();
    runtime.block_on(async {
        let places = Places::below(&root).await;
        if part == "all" {
            let (faults, told) = all_calls_fail(&places, &control, text).await;
            println!("tally all {faults} {told}");
            return;
        }
        for kind in 0..KINDS.len() {
            for (kind, (faults, told)) in one_call_fails(&places, &control, text, kind).await {
                println!("tally {kind} {faults} {told}");
            }
            for (kind, (faults, told)) in one_call_of_reading_fails(&places, &control, text, kind).await {
                println!("tally reading-{kind} {faults} {told}");
            }
        }
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[test]
fn every_call_of_the_file_tools_and_of_secrets_may_fail_and_nothing_is_left_by_half() {
    let place = folder();
    let began = std::time::Instant::now();
    let watch = |part: &str| {
        let root = place.path().join(part);
        std::fs::create_dir(&root).expect("made");
        let (log, part) = (root.with_extension("log"), (PART, part.to_owned()));
        watched::watched("disk::written_faults::one_fault_after_the_other", &root, &log, &[part])
    };
    let (one, all) = std::thread::scope(|scope| {
        let one = scope.spawn(|| watch("one"));
        (watch("all"), one.join().expect("watched"))
    });
    let (Some(one), Some(all)) = (one, all) else { return };
    let printed = [one, all].concat();
    let told: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("tally ")).collect();
    eprintln!("faults, and how many of them somebody was told of, in {:?}: {}", began.elapsed(), told.join(", "));
    let faults = |kind: &str| {
        let of = told.iter().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        of.and_then(|counts| counts.split(' ').next()?.parse::<usize>().ok()).unwrap_or_default()
    };
    // Nobody who writes makes a second name, cuts a file or reads a folder.
    for kind in KINDS.iter().filter(|kind| !["link", "truncate", "list"].contains(kind)) {
        assert!(faults(kind) > 0, "no fault at `{kind}`: {told:?}");
    }
    let all: usize = KINDS.iter().map(|kind| faults(kind)).sum();
    let reading: usize = KINDS.iter().map(|kind| faults(&format!("reading-{kind}"))).sum();
    assert!(all > 500 && faults("all") > 500 && reading > 100, "{told:?}");
}
