//! A process of this test binary under `shim.c`, which sees every file operation that the process makes
//! in one folder, with or without libc.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

const CONTROL: &str = "YOI_SHIM_CONTROL";
const ROOT: &str = "YOI_SHIM_ROOT";
const LOG: &str = "YOI_SHIM_LOG";

/// The kinds of file operations, in the order of `shim.c`.
pub(crate) const KINDS: [&str; 13] =
    ["open", "read", "write", "sync", "rename", "unlink", "mkdir", "link", "truncate", "chmod", "stat", "list", "lock"];

/// A folder in memory where there is room in it: nothing here waits for a real disk.
pub(crate) fn folder() -> TempDir {
    const ROOM: u64 = 2 << 30;
    let memory = "/dev/shm";
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize > ROOM);
    let made = tempfile::Builder::new().prefix("yoi-disk-").tempdir_in(memory).ok().filter(|_| has_room);
    made.unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

/// Whether a process can be watched here.
pub(crate) fn can_be() -> bool {
    cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))
}

/// The shim, compiled once. None where this is no machine that it is written for.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let made = SHIM.get_or_init(|| {
        if !can_be() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/shim.c");
        let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .output()
            .expect("a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Some((folder, library))
    });
    made.as_ref().map(|(_, library)| library.as_path())
}

/// Runs a test of this binary in a process of its own, watched below `root`, and says what it printed.
/// What it logged is in `log`. None where nothing can be watched.
pub(crate) fn watched(test: &str, root: &Path, log: &Path, variables: &[(&str, String)]) -> Option<String> {
    let Some(shim) = shim() else {
        eprintln!("skipped: file operations are watched on Linux only, on x86-64 and AArch64");
        return None;
    };
    let control = log.with_extension("control");
    File::create(&control).and_then(|file| file.set_len(4096)).expect("made");
    let mut command = child(test);
    command.env("LD_PRELOAD", shim).env(CONTROL, &control).env(ROOT, root).env(LOG, log);
    let ended = command.envs(variables.iter().cloned()).output().expect("started");
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{}: {told}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Some(told)
}

/// This test binary, to do nothing but one of its ignored tests.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// The watched folder, in a process that is watched.
pub(crate) fn root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// What the shim is told to do, and what it tells.
pub(crate) struct Control(File);

/// How one call is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// An index into [`KINDS`].
    pub(crate) kind: usize,
    /// Which call of that kind, from 1.
    pub(crate) call: u64,
    /// The system's number of the error; 0 for one that is done by half.
    pub(crate) error: i32,
}

impl Control {
    pub(crate) fn of_this_process() -> Self {
        let path = std::env::var_os(CONTROL).expect("a process that is watched");
        Self(OpenOptions::new().read(true).write(true).open(path).expect("opened"))
    }

    fn word(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, index * 8).expect("read");
        u64::from_ne_bytes(bytes)
    }

    fn set(&self, index: u64, word: u64) {
        self.0.write_all_at(&word.to_ne_bytes(), index * 8).expect("written");
    }

    /// From here on the call fails that is named.
    pub(crate) fn arm(&self, fault: Fault) {
        for (index, word) in [(1, fault.kind as u64), (2, fault.call), (3, fault.error as u64), (4, 0), (5, 0), (0, 1)]
        {
            self.set(index, word);
        }
    }

    /// The disk is gone: everything fails from one call on.
    pub(crate) fn arm_from(&self, call: u64, error: i32) {
        for (index, word) in [(2, call), (3, error as u64), (4, 0), (5, 0), (0, 3)] {
            self.set(index, word);
        }
    }

    /// From here on nothing fails. Whether it did.
    pub(crate) fn disarm(&self) -> bool {
        self.set(0, 0);
        self.happened()
    }

    /// Whether what was armed has failed.
    pub(super) fn happened(&self) -> bool {
        self.word(5) == 1
    }

    /// What the call that failed was about.
    pub(super) fn place(&self) -> PathBuf {
        let mut path = vec![0; 1024];
        self.0.read_exact_at(&mut path, 128 * 8).expect("read");
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        String::from_utf8(path).expect("a path").into()
    }

    /// From here on everything is written to the log.
    pub(super) fn record(&self) {
        self.set(0, 2);
    }

    /// How many calls there were of each kind.
    pub(super) fn seen(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.word(6 + kind as u64))
    }
}

/// Takes a folder away, also one that holds what cannot be written.
pub(super) fn clear(folder: &Path) {
    fs::remove_dir_all(folder).expect("removed");
}
