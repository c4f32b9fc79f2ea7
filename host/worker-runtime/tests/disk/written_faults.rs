//! Makes every file operation of the file tools and of the secrets folder fail once, in every way, and also makes all
//! operations fail from one on. The caller gets the right error code and nothing panics. The old or the new content is
//! complete, nothing else is left, and the next write succeeds.

use std::os::unix::fs::chown;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faults::{ERRORS, Tally, at_every_call};
use super::watched::{self, Control, KINDS, folder};
use super::workload::Failure;
use super::written::{AcknowledgedState, Places, ReadStep, Step, Strays};

/// Environment variable of the process: make one call fail, or all calls from one on.
const PART: &str = "YOI_WRITTEN_FAULTS";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// State before most steps.
const THERE: [Step; 5] = [
    Step::New("kept/one", 1),
    Step::New("kept/large", 1),
    Step::New("others", 1),
    Step::Set("token", 1),
    Step::Set("other", 1),
];

/// All kinds of writes: in new folders and existing ones, small and large, replacing files of this user and of another
/// one.
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

/// Reads during which calls fail.
const ASKED: [ReadStep; 4] =
    [ReadStep::Files, ReadStep::File("kept/large"), ReadStep::Secrets, ReadStep::Secret("token")];

/// Checks that an error has the right code and contains no path.
fn is_typed(is_of_files: bool, error: i32, failure: &Failure, root: &str, context: &str) {
    let full = [28, 122].contains(&error);
    let codes: &[&str] = match (is_of_files, full) {
        // Any error of opening a mount has the code `mount_unavailable`.
        (true, true) => &["mount_full", "mount_unavailable"],
        (true, false) => &["file_unavailable", "mount_unavailable"],
        (false, true) => &["store_full"],
        (false, false) => &["secrets_unavailable"],
    };
    assert!(codes.contains(&failure.code.as_str()), "{context}: {failure:?}");
    assert!(!failure.text.contains(root), "{context}: {failure:?}");
}

/// Restores the state before a step.
fn prepared(places: &Places, there: &[Step]) -> AcknowledgedState {
    let held = places.prepare(there);
    // Only root may change the owner. Other users replace a file of their own.
    let _ = chown(places.mount.join("others"), Some(4711), Some(4711));
    held
}

/// Checks the state after an interrupted step, and that the step succeeds now.
async fn check_and_repeat(
    places: &Places,
    mut held: AcknowledgedState,
    step: Step,
    done: bool,
    strays: Strays,
    context: &str,
) {
    if done {
        held.acknowledged(step);
    }
    held.check(places, (!done).then_some(step), strays, context);
    places.tell(&held, context).await;
    places.again(step, &held).await.expect(context);
    held.acknowledged(step);
    held.check(places, None, strays, context);
}

/// Runs each step with a fault at each of its calls of one kind.
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
                Err(failure) => {
                    assert!(happened, "{context}: {failure:?}");
                    is_typed(step.is_of_files(), fault.error, failure, root, &context);
                }
                // A failed step is not acknowledged. After a partial write, the rest is written.
                Ok(()) => assert!(!happened || fault.error == 0, "{context}: acknowledged"),
            }
            check_and_repeat(places, held, step, done.is_ok(), Strays::None, &context).await;
            happened
        })
        .await;
    }
    tally
}

/// Runs each read with a fault at each of its calls of one kind. The output is complete or reports that it is not. An
/// unreadable entry is not reported as missing.
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
                Err(failure) if failure.code == "secret_unavailable" => {
                    assert_eq!(ask, ReadStep::Secret("token"), "{context}")
                }
                Err(failure) => {
                    is_typed(matches!(ask, ReadStep::Files | ReadStep::File(_)), fault.error, failure, root, &context)
                }
                Ok(right) => assert!(right, "{context}"),
            }
            assert_eq!(places.ask(ask, &held).await, Ok(true), "{context}");
            happened
        })
        .await;
    }
    tally
}

/// Runs each step on a disk whose calls all fail from one on, and which works again afterwards.
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
                if let Err(failure) = &done {
                    is_typed(step.is_of_files(), error, failure, root, &context);
                }
                // The entry could not be removed.
                check_and_repeat(places, held, step, done.is_ok(), Strays::Unfinished, &context).await;
            }
        }
    }
    count
}

/// Run as a process that the other test traces.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_with_injected_faults() {
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
            let (faults, reported) = all_calls_fail(&places, &control, text).await;
            println!("tally all {faults} {reported}");
            return;
        }
        for kind in 0..KINDS.len() {
            for (kind, (faults, reported)) in one_call_fails(&places, &control, text, kind).await {
                println!("tally {kind} {faults} {reported}");
            }
            for (kind, (faults, reported)) in one_call_of_reading_fails(&places, &control, text, kind).await {
                println!("tally reading-{kind} {faults} {reported}");
            }
        }
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[test]
fn fault_in_any_system_call_leaves_no_partial_file_or_secret() {
    let place = folder();
    let began = std::time::Instant::now();
    let watch = |part: &str| {
        let root = place.path().join(part);
        std::fs::create_dir(&root).expect("made");
        let (log, part) = (root.with_extension("log"), (PART, part.to_owned()));
        watched::watched("disk::written_faults::child_process_with_injected_faults", &root, &log, &[part])
    };
    let (one, all) = std::thread::scope(|scope| {
        let one = scope.spawn(|| watch("one"));
        (watch("all"), one.join().expect("watched"))
    });
    let (Some(one), Some(all)) = (one, all) else { return };
    let printed = [one, all].concat();
    let reported: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("tally ")).collect();
    eprintln!("faults, and how many of them were reported, in {:?}: {}", began.elapsed(), reported.join(", "));
    let faults = |kind: &str| {
        let of = reported.iter().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        of.and_then(|counts| counts.split(' ').next()?.parse::<usize>().ok()).unwrap_or_default()
    };
    // A writer creates no hard links, truncates no files and lists no folders.
    for kind in KINDS.iter().filter(|kind| !["link", "truncate", "list"].contains(kind)) {
        assert!(faults(kind) > 0, "no fault at `{kind}`: {reported:?}");
    }
    let all: usize = KINDS.iter().map(|kind| faults(kind)).sum();
    let reading: usize = KINDS.iter().map(|kind| faults(&format!("reading-{kind}"))).sum();
    assert!(all > 500 && faults("all") > 500 && reading > 100, "{reported:?}");
}
