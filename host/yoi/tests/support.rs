//! Runs `yoi` in its own folder with its own environment.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A folder in which commands run. All tests share the cache.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// Output and exit code of a command.
pub(crate) struct CommandOutput {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Copies an example folder, so that a test can break it.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        let to = self.path().join(name);
        copy(&examples().join(name), &to);
        to
    }

    pub(crate) fn yoi(&self, arguments: &[&str]) -> CommandOutput {
        self.with_env(arguments, &[])
    }

    /// Like [`Place::yoi`], with more environment variables.
    pub(crate) fn with_env(&self, arguments: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
        let mut command = self.command();
        Self::said(command.args(arguments).envs(environment.iter().copied()))
    }

    /// Like [`Place::yoi`], with standard input.
    pub(crate) fn yoi_given(&self, input: impl AsRef<[u8]>, arguments: &[&str]) -> CommandOutput {
        // A file, because a pipe would have to be written while the command runs.
        let mut given = tempfile::tempfile().expect("a file");
        given.write_all(input.as_ref()).and_then(|()| given.rewind()).expect("written");
        Self::said(self.command().args(arguments).stdin(given))
    }

    /// Returns a command without arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_yoi"));
        command
            .current_dir(self.path())
            .env_clear()
            .env("YOI_CACHE_DIR", cache())
            .env("NO_COLOR", "1")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn said(command: &mut Command) -> CommandOutput {
        let output = command.output().expect("yoi runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        CommandOutput {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().expect("an exit code"),
        }
    }

    /// Runs a command with JSON output, which is exactly one document on stdout: the result or the error.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        self.json_with(arguments, &[])
    }

    /// Like [`Place::json`], with more variables in the environment.
    pub(crate) fn json_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (Value, i32) {
        let said = self.with_env(&[arguments, &["--format", "json"]].concat(), environment);
        let value: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr));
        assert!(value["schema"].is_string(), "{value}");
        (value, said.code)
    }
}

/// Returns the folder of the examples.
pub(crate) fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples"))
}

/// Returns the path of an example as an argument.
pub(crate) fn example(name: &str) -> String {
    examples().join(name).to_str().expect("UTF-8").to_owned()
}

fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Compares text with a snapshot, in which digests and measured numbers are replaced by words.
macro_rules! snapshot {
    ($name:literal, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.add_filter("sha256:[0-9a-f]{64}", "[digest]");
        settings.add_filter("sha256:[0-9a-f]{12}", "[digest]");
        settings.add_filter(r"\b[0-9a-f]{32}\b", "[runtime id]");
        settings.add_filter("ed25519:[A-Za-z0-9+/]{43}=", "[public key]");
        settings.add_filter(r"[0-9,]+ fuel, [0-9.]+ MiB of memory, [0-9]+ names? read", "[cost]");
        settings.add_filter(r"[0-9,]+ fuel, [0-9.]+ MiB of memory, [0-9.]+ ms", "[cost]");
        settings.add_filter(r"[0-9,]+ fuel and [0-9.]+ [KM]iB of memory in [0-9]+ runs", "[cost]");
        settings.add_filter(
            r"[0-9,]+ fuel, ([0-9]+) names? read of ([0-9]+) profiles, [0-9.]+ ms",
            "[cost] of $2 profiles",
        );
        settings.add_filter(r#""(fuel|memory_bytes|time_ms)": [0-9.]+"#, r#""$1": "[measured]""#);
        settings.add_filter(r#"/fuel: "[0-9]+" -> "[0-9]+""#, r#"/fuel: "[measured]" -> "[measured]""#);
        settings.add_filter(r"127\.0\.0\.1:[0-9]{5}", "127.0.0.1:[port]");
        settings.add_filter(r"loaded from the cache: [0-9]+ ms", "loaded from the cache: [measured]");
        settings.add_filter(r"[0-9.]+ (KiB|B|MiB), imports", "[size], imports");
        settings.bind(|| insta::assert_snapshot!($name, $text));
    }};
}
pub(crate) use snapshot;
