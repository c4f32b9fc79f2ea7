//! Errors of a system without resources: a full disk, or no more threads. Each is provoked in a child process of this
//! test binary, which reports to its parent.

use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_thread_res_uid};
use secrecy::SecretString;
use serde_json::json;
use worker_runtime::secret::SecretDirectory;
use worker_runtime::{Runtime, RuntimeBuilder, RuntimeLimits, SystemClock};

use super::{folder, touches};
use crate::disk::watched::{self, Control, Fault, KINDS};
use crate::problems::run;
use crate::support::provoked::{ErrorReport, provoked};
use crate::support::{name, sandbox};

/// Environment variable that selects the process without threads.
const THREADLESS: &str = "YOI_THREADLESS";

/// Returns the reports of all these processes.
pub(super) fn told() -> Vec<ErrorReport> {
    [without_room().unwrap_or_default(), without_threads()]
        .iter()
        .flat_map(|printed| ErrorReport::read(printed))
        .collect()
}

/// Fills the disk for the next write.
fn fill(_: &Path) {
    let write = KINDS.iter().position(|kind| *kind == "write").expect("a kind");
    Control::of_this_process().arm(Fault { kind: write, call: 1, error: rustix::io::Errno::NOSPC.raw_os_error() });
}

/// Run as a child process by other tests, with its temporary folders on a small disk.
#[test]
#[ignore = "is run by another test, under the shim"]
fn child_process_on_a_full_disk() {
    let Some(root) = watched::root() else { return };
    let tell = |told: ErrorReport| {
        assert!(!told.says.contains(&*root.to_string_lossy()), "{}", told.says);
        told.report();
    };
    tell(run(Box::pin(touches(fill, "fs.write", json!({ "path": "x", "text": "y" })))));
    let place = folder();
    let secrets = SecretDirectory::open(&place.path().join("secrets")).expect("opened");
    fill(place.path());
    let set = || secrets.set(&name("token"), &SecretString::from("value".to_owned()));
    tell(provoked(set()));
    set().expect("there is room again");
}

fn without_room() -> Option<String> {
    let place = watched::folder();
    let (root, log) = (place.path().join("root"), place.path().join("log"));
    std::fs::create_dir(&root).expect("made");
    let temporary = [("TMPDIR", root.display().to_string())];
    watched::watched("errors::apart::child_process_on_a_full_disk", &root, &log, &temporary)
}

/// Limit on new threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    /// This many in addition to the threads of the user.
    Most(u64),
    /// No change.
    Any,
}

impl Threads {
    /// Changes the user of this thread to one without other threads, if the process is root. The system counts threads
    /// per user, and does not limit root. Returns `true` on success.
    fn count_alone() -> bool {
        let user = rustix::process::Uid::from_raw(2_000_000_000 + std::process::id());
        if !geteuid().is_root() || set_thread_res_uid(user, None, None).is_err() {
            return false;
        }
        let mut sets = capabilities(None).expect("root's");
        sets.effective.remove(CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN);
        set_capabilities(None, sets).expect("fewer");
        true
    }

    fn set(self, alone: bool) {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nproc);
        let current = match self {
            // The current thread counts.
            Self::Most(threads) => Some(threads + u64::from(alone)),
            Self::Any => maximum,
        };
        setrlimit(Resource::Nproc, Rlimit { current, maximum }).expect("set");
    }
}

/// Run as a child process by another test.
#[test]
#[ignore = "is run by another test, and gets no threads"]
fn child_process_without_threads() {
    if std::env::var_os(THREADLESS).is_none() {
        return;
    }
    const COMPUTING: u32 = 3;
    // An engine has a thread, and compilation uses some.
    let sandbox = sandbox();
    let builder = || -> RuntimeBuilder {
        let limits = RuntimeLimits { computing_threads: COMPUTING, ..RuntimeLimits::default() };
        Runtime::builder().clock(Arc::new(SystemClock)).limits(limits)
    };
    run(Box::pin(builder().sandbox(sandbox.clone()).open())).expect("with threads there is a runtime");
    let alone = Threads::count_alone();
    // The number of threads of a user with other active processes is unpredictable.
    let few = if alone { u64::from(COMPUTING) } else { 1 };
    for threads in (0..few).map(Threads::Most).chain([Threads::Any]) {
        threads.set(alone);
        if threads == Threads::Most(0) {
            provoked(run(Box::pin(builder().open()))).report();
        }
        let opened = run(Box::pin(builder().sandbox(sandbox.clone()).open()));
        match threads {
            // One thread too few is as bad as none.
            Threads::Most(_) => provoked(opened).report(),
            Threads::Any => drop(opened.expect("the same process opens one as soon as there are threads")),
        }
    }
}

fn without_threads() -> String {
    let mut child = watched::child("errors::apart::child_process_without_threads");
    let ended = child.env(THREADLESS, "1").output().expect("started");
    let (told, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{}: {told}\n{said}", ended.status);
    assert!(!said.contains("panicked"), "{said}");
    told.into_owned()
}
