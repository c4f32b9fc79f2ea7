//! Determines the git commit of a folder and checks that the folder has exactly its files.
//!
//! The config of a repository can name programs: monitors, filters, hooks, signers, transports. This module uses only plumbing
//! commands that run none of them and read no index. It compares the files with the blobs of the commit, so files that git
//! ignores or does not track are found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bundles::{CommitId, Folder, Timestamp, one_line, shown_file};
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;

/// A commit and its time.
pub(super) struct Commit {
    pub(super) id: CommitId,
    pub(super) time: Timestamp,
}

/// Returns the commit that is checked out at `path`. `folder` was read from `path`; its files must be exactly the files of the
/// commit that a builder reads.
pub(super) fn of(path: &Path, folder: &Folder) -> Result<Commit, CliError> {
    let mut repository = Repository { path, safe: Vec::new() };
    let id = match repository.head() {
        // Only now read the settings of the user that declare folders safe. Without them, no settings of the user apply.
        Err(GitError::ForeignOwner) => {
            repository.safe = safe_folders();
            repository.head().map_err(CliError::from)?
        }
        head => head?,
    };
    let committed = repository.files(&id)?;
    let named: BTreeSet<&str> = folder.iter().map(|(name, _)| name).collect();
    // The commit has the bytes of the file, including a byte order mark.
    let stored: BTreeMap<&str, Cow<'_, [u8]>> =
        named.iter().filter_map(|name| Some((*name, folder.stored_bytes(name)?))).collect();
    let mut expected: Vec<(&str, &str, &[u8])> = Vec::new();
    for name in named.iter().copied().chain(committed.keys().map(String::as_str)).collect::<BTreeSet<_>>() {
        match (stored.get(name).map(|bytes| &**bytes), committed.get(name)) {
            (Some(bytes), Some(Entry::File(blob))) => expected.push((name, blob.as_str(), bytes)),
            (Some(_), None) => return Err(differs(name, "is not in the commit")),
            (None, _) => return Err(differs(name, "is in the commit but not in the folder")),
            (Some(_), Some(Entry::Other)) => return Err(differs(name, "is not a regular file in the commit")),
        }
    }
    repository.compare_bytes(&expected)?;
    let time = repository.time(&id)?;
    Ok(Commit { id, time })
}

fn no_commit(message: &str) -> CliError {
    CliError::new(
        Code::NoCommit,
        message,
        "commit the folder, or use `--commit` and `--created-at` instead of `--from-git`",
    )
}

fn differs(file: &str, how: &str) -> CliError {
    let help = "commit the file, or restore it; `--from-git` requires the exact bytes of the commit";
    differs_with_help(file, how, help)
}

fn differs_with_help(file: &str, how: &str, help: &str) -> CliError {
    let file = shown_file(file);
    CliError::new(Code::NotCommitted, format!("`{}` {how}", one_line(&file)), help)
        .with_details(json!({ "file": file }))
}

/// Entry of a tree of a commit.
enum Entry {
    /// A file. Holds the object id of its blob.
    File(String),
    /// A symbolic link or a submodule.
    Other,
}

struct Repository<'a> {
    path: &'a Path,
    /// Folders that `safe.directory` of the user lists. git refuses other repositories of other users.
    safe: Vec<OsString>,
}

/// Error of a git command.
enum GitError {
    /// The repository belongs to another user.
    ForeignOwner,
    Other(CliError),
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Other(error) => error,
            GitError::ForeignOwner => {
                let help = "if you trust the repository, run `git config --global --add safe.directory FOLDER`";
                Self::new(Code::NoCommit, "the folder's git repository belongs to another user", help)
            }
        }
    }
}

/// Returns the values of `safe.directory` of the user and the system, in order. git ignores those of a repository, and so does
/// this function.
fn safe_folders() -> Vec<OsString> {
    let mut git = Command::new("git");
    git.env_clear().env("LC_ALL", "C");
    for name in ["PATH", "SYSTEMROOT", "HOME", "USERPROFILE", "XDG_CONFIG_HOME"] {
        git.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let is_setting = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("GIT_CONFIG"));
    git.envs(std::env::vars_os().filter(|(name, _)| is_setting(name)));
    // An invalid `GIT_DIR` keeps git from reading the settings of a repository.
    git.env("GIT_DIR", null_device()).args(["config", "-z", "--show-scope", "--get-all", "safe.directory"]);
    let Ok(run) = git.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return Vec::new() };
    let mut words = run.stdout.split(|byte| *byte == 0);
    let mut folders = Vec::new();
    while let (Some(scope), Some(folder)) = (words.next(), words.next()) {
        let is_own = [&b"system"[..], b"global", b"command"].contains(&scope);
        folders.extend(std::str::from_utf8(folder).ok().filter(|_| is_own).map(OsString::from));
    }
    folders
}

fn null_device() -> &'static OsStr {
    OsStr::new(if cfg!(windows) { "NUL" } else { "/dev/null" })
}

impl Repository<'_> {
    /// Returns a git command whose environment has only the path of programs. Settings on the command line override those of
    /// the repository.
    fn git(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.env_clear();
        for name in ["PATH", "SYSTEMROOT"] {
            git.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let null = null_device();
        git.env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", null)
            .env("GIT_CONFIG_SYSTEM", null)
            .env("GIT_ATTR_NOSYSTEM", "1")
            // Ignore `refs/replace`, which substitutes objects.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            // Do not fetch missing objects of a partial clone, because the config chooses the program that fetches them.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0");
        git.arg("-C").arg(self.path).args(["--no-pager", "--literal-pathspecs"]);
        for setting in ["core.fsmonitor=false", "core.hooksPath=/dev/null", "safe.bareRepository=explicit"] {
            git.args(["-c", setting]);
        }
        if !self.safe.is_empty() {
            // `safe.directory` can contain `~/…`.
            for name in ["HOME", "USERPROFILE"] {
                git.envs(std::env::var_os(name).map(|value| (name, value)));
            }
        }
        for folder in &self.safe {
            let mut setting = OsString::from("safe.directory=");
            setting.push(folder);
            git.arg("-c").arg(setting);
        }
        git.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let output = self.git(arguments).output().map_err(|_| GitError::Other(no_commit("cannot start `git`")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        if String::from_utf8_lossy(&output.stderr).contains("dubious ownership") {
            return Err(GitError::ForeignOwner);
        }
        Err(GitError::Other(no_commit("the folder is not in a git repository with a commit")))
    }

    fn head(&self) -> Result<CommitId, GitError> {
        let output = self.run(&["rev-parse", "--verify", "--end-of-options", "HEAD^{commit}"])?;
        let text = String::from_utf8(output).ok();
        let id = text.and_then(|text| text.trim().parse().ok());
        id.ok_or_else(|| GitError::Other(no_commit("`git` returned no commit id")))
    }

    /// Returns the files of the commit that a builder reads, by their name in the folder.
    fn files(&self, id: &CommitId) -> Result<BTreeMap<String, Entry>, CliError> {
        let listed = self.run(&["ls-tree", "-r", "-z", id.as_str()])?;
        let mut files = BTreeMap::new();
        for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let entry = line.split_once('\t').and_then(|(entry, name)| {
                let mut words = entry.split(' ');
                Some((name, words.next()?, words.nth(1)?))
            });
            let (name, mode, blob) = entry.ok_or_else(|| no_commit("`git` returned an invalid list of files"))?;
            if Folder::is_read(name) {
                let file = mode.starts_with("100");
                files.insert(name.to_owned(), if file { Entry::File(blob.to_owned()) } else { Entry::Other });
            }
        }
        Ok(files)
    }

    /// Checks that each blob has the expected bytes. Each item is a file name, an object id and the bytes. `cat-file` applies no
    /// filter and no conversion of line ends.
    fn compare_bytes(&self, expected: &[(&str, &str, &[u8])]) -> Result<(), CliError> {
        let failed = |_: std::io::Error| no_commit("cannot read the files of the commit with `git`");
        // A file instead of a pipe, because two pipes could deadlock.
        let mut blobs = tempfile::tempfile().map_err(failed)?;
        for (_, blob, _) in expected {
            writeln!(blobs, "{blob}").map_err(failed)?;
        }
        blobs.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut child =
            self.git(&["cat-file", "--batch"]).stdin(blobs).stderr(Stdio::null()).spawn().map_err(failed)?;
        let compared = match child.stdout.take() {
            Some(stdout) => compare(&mut BufReader::new(stdout), expected),
            None => Err(no_commit("cannot read the files of the commit with `git`")),
        };
        // All output has been read, or is no longer needed.
        let _ = child.kill();
        let _ = child.wait();
        compared
    }

    fn time(&self, id: &CommitId) -> Result<Timestamp, CliError> {
        let commit = self.run(&["cat-file", "commit", id.as_str()])?;
        let text = String::from_utf8_lossy(&commit);
        let committer =
            text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix("committer "));
        let seconds = committer.and_then(|line| line.rsplit(' ').nth(1)).and_then(|seconds| seconds.parse().ok());
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.and_then(|time| time.to_string().parse().ok()).ok_or_else(|| no_commit("`git` returned no commit time"))
    }
}

fn compare(output: &mut impl BufRead, expected: &[(&str, &str, &[u8])]) -> Result<(), CliError> {
    let broken = |_: std::io::Error| no_commit("the git repository lacks files of its own commit");
    for (name, _, bytes) in expected {
        let mut header = String::new();
        output.read_line(&mut header).map_err(broken)?;
        let mut words = header.split_whitespace().skip(1);
        let (kind, size) = (words.next(), words.next().and_then(|size| size.parse::<usize>().ok()));
        let (Some("blob"), Some(size)) = (kind, size) else {
            return Err(no_commit("the git repository lacks files of its own commit"));
        };
        // A conversion of line ends at most doubles the size of a file.
        if size > 2 * bytes.len() + 2 {
            return Err(differs(name, "differs from the commit"));
        }
        let mut committed = vec![0; size];
        output.read_exact(&mut committed).map_err(broken)?;
        if committed != *bytes {
            return Err(if without_carriage_returns(&committed) == without_carriage_returns(bytes) {
                let how = "differs from the commit only in its line ends";
                let help = "disable the conversion of line ends (`* -text` in `.gitattributes`, or `git config core.autocrlf false`) and check the file out again";
                differs_with_help(name, how, help)
            } else {
                differs(name, "differs from the commit")
            });
        }
        // `cat-file --batch` writes a line end after each blob.
        output.read_exact(&mut [0; 1]).map_err(broken)?;
    }
    Ok(())
}

/// Replaces each `\r\n` by `\n`.
fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let followed = bytes.iter().skip(1).map(Some).chain([None]);
    bytes
        .iter()
        .zip(followed)
        .filter(|(byte, next)| **byte != b'\r' || *next != Some(&b'\n'))
        .map(|(byte, _)| *byte)
        .collect()
}
