//! Runs this test binary as a process under `shim.c`, which traces every file operation of the process in one folder,
//! with or without libc.

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

/// Returns a folder in memory if there is enough space, so that no test waits for a real disk.
pub(crate) fn folder() -> TempDir {
    const ROOM: u64 = 2 << 30;
    let memory = "/dev/shm";
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|found| found.f_bavail * found.f_frsize > ROOM);
    let made = tempfile::Builder::new().prefix("yoi-disk-").tempdir_in(memory).ok().filter(|_| has_room);
    made.unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

/// `true` if a process can be traced on this machine.
pub(crate) fn can_be() -> bool {
    cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))
}

/// The shim, compiled once. `None` on an unsupported architecture.
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

/// Runs a test of this binary in a process of its own, traced below `root`, and returns its output. The trace is in
/// `log`. Returns `None` if tracing is not supported.
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
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{}: {output}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    Some(output)
}

/// Returns the command that runs one ignored test of this binary.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// Returns the traced folder, inside a traced process.
pub(crate) fn root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

/// Memory shared with the shim: the fault to inject, and the counters.
pub(crate) struct Control(File);

/// Fault of a single call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Index into [`KINDS`].
    pub(crate) kind: usize,
    /// Number of the call among those of its kind, from 1.
    pub(crate) call: u64,
    /// Errno, or 0 for a call that is only half done.
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

    /// Makes the given call fail, counted from now.
    pub(crate) fn arm(&self, fault: Fault) {
        for (index, word) in [(1, fault.kind as u64), (2, fault.call), (3, fault.error as u64), (4, 0), (5, 0), (0, 1)]
        {
            self.set(index, word);
        }
    }

    /// Makes all calls fail from one call on.
    pub(crate) fn arm_from(&self, call: u64, error: i32) {
        for (index, word) in [(2, call), (3, error as u64), (4, 0), (5, 0), (0, 3)] {
            self.set(index, word);
        }
    }

    /// Stops injecting faults. Returns `true` if one was injected.
    pub(crate) fn disarm(&self) -> bool {
        self.set(0, 0);
        self.happened()
    }

    /// `true` if the fault was injected.
    pub(super) fn happened(&self) -> bool {
        self.word(5) == 1
    }

    /// Returns the path of the failed call.
    pub(super) fn place(&self) -> PathBuf {
        let mut path = vec![0; 1024];
        self.0.read_exact_at(&mut path, 128 * 8).expect("read");
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
        String::from_utf8(path).expect("a path").into()
    }

    /// Begins to write the trace.
    pub(super) fn record(&self) {
        self.set(0, 2);
    }

    /// Returns the number of calls of each kind.
    pub(super) fn seen(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.word(6 + kind as u64))
    }
}

/// Removes a folder, even if it contains read-only entries.
pub(super) fn clear(folder: &Path) {
    fs::remove_dir_all(folder).expect("removed");
}
