//! The commit that a folder's content comes from, as `git` holds it.
//!
//! A repository's own config can name programs: monitors, filters, hooks, signers, transports. Only
//! plumbing is asked here that runs none of them, no index is read, and what was built is compared
//! with the commit's own bytes. What `git` ignores, or was told not to look at, cannot slip in.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bundles::{CommitId, Folder, Timestamp, one_line, shown_file};
use serde_json::json;

use crate::error::CliError;

/// A commit, and when it was made.
pub(super) struct Commit {
    pub(super) id: CommitId,
    pub(super) time: Timestamp,
}

/// The commit that is checked out where `path` lies. Every file of `folder`, which was read from
/// there, is in it as it was read, and it has no other that would be read.
pub(super) fn of(path: &Path, folder: &Folder) -> Result<Commit, CliError> {
    let mut repository = Repository { path, safe: Vec::new() };
    let id = match repository.head() {
        // Asked for only where it matters: `git` reads these settings from nowhere else.
        Err(Refused::ForeignOwner) => {
            repository.safe = safe_folders();
            repository.head().map_err(CliError::from)?
        }
        head => head?,
    };
    let committed = repository.files(&id)?;
    let named: BTreeSet<&str> = folder.iter().map(|(name, _)| name).collect();
    // The commit has the bytes of the file, a byte order mark among them.
    let stored: BTreeMap<&str, Cow<'_, [u8]>> =
        named.iter().filter_map(|name| Some((*name, folder.stored_bytes(name)?))).collect();
    let mut wanted: Vec<(&str, &str, &[u8])> = Vec::new();
    for name in named.iter().copied().chain(committed.keys().map(String::as_str)).collect::<BTreeSet<_>>() {
        match (stored.get(name).map(|bytes| &**bytes), committed.get(name)) {
            (Some(bytes), Some(Entry::File(blob))) => wanted.push((name, blob.as_str(), bytes)),
            (Some(_), None) => return Err(differs(name, "is not in the commit")),
            (None, _) => return Err(differs(name, "is in the commit and not in the folder")),
            (Some(_), Some(Entry::Other)) => return Err(differs(name, "is no file in the commit")),
        }
    }
    repository.same_bytes(&wanted)?;
    let time = repository.time(&id)?;
    Ok(Commit { id, time })
}

fn no_commit(message: &str) -> CliError {
    CliError::new(
        "no_commit",
        message,
        "commit the folder, or give `--commit` and `--created-at` instead of `--from-git`",
    )
}

fn differs(file: &str, how: &str) -> CliError {
    let help = "commit it, or put it back as it is committed: `--from-git` names a commit only for exactly its bytes";
    differs_so(file, how, help)
}

fn differs_so(file: &str, how: &str, help: &str) -> CliError {
    let file = shown_file(file);
    CliError::new("not_committed", format!("`{}` {how}", one_line(&file)), help).with_details(json!({ "file": file }))
}

/// What a commit has under a name.
enum Entry {
    /// A file, by the name of its blob.
    File(String),
    /// A link, or another repository.
    Other,
}

struct Repository<'a> {
    path: &'a Path,
    /// Folders that the user's own settings call safe although they belong to somebody else.
    safe: Vec<OsString>,
}

/// Reasons why `git` gives no answer.
enum Refused {
    /// The repository belongs to another user.
    ForeignOwner,
    Other(CliError),
}

impl From<Refused> for CliError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Other(error) => error,
            Refused::ForeignOwner => {
                let help = "if you trust it: `git config --global --add safe.directory FOLDER`";
                Self::new("no_commit", "the folder's git repository belongs to another user", help)
            }
        }
    }
}

/// The user's `safe.directory`, in the order of the settings. Those of a repository do not count, as they
/// do not for `git` itself.
fn safe_folders() -> Vec<OsString> {
    let mut git = Command::new("git");
    git.env_clear().env("LC_ALL", "C");
    for name in ["PATH", "SYSTEMROOT", "HOME", "USERPROFILE", "XDG_CONFIG_HOME"] {
        git.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let is_setting = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("GIT_CONFIG"));
    git.envs(std::env::vars_os().filter(|(name, _)| is_setting(name)));
    // No repository is looked for, whose settings would be read too.
    git.env("GIT_DIR", nowhere()).args(["config", "-z", "--show-scope", "--get-all", "safe.directory"]);
    let Ok(run) = git.stdin(Stdio::null()).stderr(Stdio::null()).output() else { return Vec::new() };
    let mut words = run.stdout.split(|byte| *byte == 0);
    let mut folders = Vec::new();
    while let (Some(scope), Some(folder)) = (words.next(), words.next()) {
        let is_own = [&b"system"[..], b"global", b"command"].contains(&scope);
        folders.extend(std::str::from_utf8(folder).ok().filter(|_| is_own).map(OsString::from));
    }
    folders
}

fn nowhere() -> &'static OsStr {
    OsStr::new(if cfg!(windows) { "NUL" } else { "/dev/null" })
}

impl Repository<'_> {
    /// `git`, with nothing of the surroundings but where programs are found. Its own settings come
    /// after those of the repository, so they stand.
    fn git(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.env_clear();
        for name in ["PATH", "SYSTEMROOT"] {
            git.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        let nowhere = nowhere();
        git.env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", nowhere)
            .env("GIT_CONFIG_SYSTEM", nowhere)
            .env("GIT_ATTR_NOSYSTEM", "1")
            // An object may be replaced by another under the same name.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            // A missing object is fetched from wherever the config says, by whatever program it says.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0");
        git.arg("-C").arg(self.path).args(["--no-pager", "--literal-pathspecs"]);
        for setting in ["core.fsmonitor=false", "core.hooksPath=/dev/null", "safe.bareRepository=explicit"] {
            git.args(["-c", setting]);
        }
        if !self.safe.is_empty() {
            // What is written as `~/…` is below this.
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

    fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, Refused> {
        let run = self.git(arguments).output().map_err(|_| Refused::Other(no_commit("`git` cannot be started")))?;
        if run.status.success() {
            return Ok(run.stdout);
        }
        if String::from_utf8_lossy(&run.stderr).contains("dubious ownership") {
            return Err(Refused::ForeignOwner);
        }
        Err(Refused::Other(no_commit("the folder is in no git repository with a commit")))
    }

    fn head(&self) -> Result<CommitId, Refused> {
        let said = self.ask(&["rev-parse", "--verify", "--end-of-options", "HEAD^{commit}"])?;
        let text = String::from_utf8(said).ok();
        let id = text.and_then(|text| text.trim().parse().ok());
        id.ok_or_else(|| Refused::Other(no_commit("`git` names no commit")))
    }

    /// The files of the commit that a builder reads, by their name in the folder.
    fn files(&self, id: &CommitId) -> Result<BTreeMap<String, Entry>, CliError> {
        let listed = self.ask(&["ls-tree", "-r", "-z", id.as_str()])?;
        let mut files = BTreeMap::new();
        for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let entry = line.split_once('\t').and_then(|(entry, name)| {
                let mut words = entry.split(' ');
                Some((name, words.next()?, words.nth(1)?))
            });
            let (name, mode, blob) = entry.ok_or_else(|| no_commit("`git` lists what is no list of files"))?;
            if Folder::is_read(name) {
                let file = mode.starts_with("100");
                files.insert(name.to_owned(), if file { Entry::File(blob.to_owned()) } else { Entry::Other });
            }
        }
        Ok(files)
    }

    /// Whether each blob has those bytes. `cat-file` hands them over as they are kept: no filter and
    /// no conversion of lines is applied.
    fn same_bytes(&self, wanted: &[(&str, &str, &[u8])]) -> Result<(), CliError> {
        let failed = |_: std::io::Error| no_commit("`git` cannot be asked for the commit's files");
        // A file, so that nobody waits for the other to read.
        let mut blobs = tempfile::tempfile().map_err(failed)?;
        for (_, blob, _) in wanted {
            writeln!(blobs, "{blob}").map_err(failed)?;
        }
        blobs.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut child =
            self.git(&["cat-file", "--batch"]).stdin(blobs).stderr(Stdio::null()).spawn().map_err(failed)?;
        let compared = match child.stdout.take() {
            Some(stdout) => compare(&mut BufReader::new(stdout), wanted),
            None => Err(no_commit("`git` cannot be asked for the commit's files")),
        };
        // It has said all that is wanted, or is not wanted any more.
        let _ = child.kill();
        let _ = child.wait();
        compared
    }

    fn time(&self, id: &CommitId) -> Result<Timestamp, CliError> {
        let commit = self.ask(&["cat-file", "commit", id.as_str()])?;
        let text = String::from_utf8_lossy(&commit);
        let committer =
            text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix("committer "));
        let seconds = committer.and_then(|line| line.rsplit(' ').nth(1)).and_then(|seconds| seconds.parse().ok());
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.and_then(|time| time.to_string().parse().ok()).ok_or_else(|| no_commit("`git` names no time"))
    }
}

fn compare(said: &mut impl BufRead, wanted: &[(&str, &str, &[u8])]) -> Result<(), CliError> {
    let broken = |_: std::io::Error| no_commit("the git repository lacks files of its own commit");
    for (name, _, bytes) in wanted {
        let mut header = String::new();
        said.read_line(&mut header).map_err(broken)?;
        let mut words = header.split_whitespace().skip(1);
        let (kind, size) = (words.next(), words.next().and_then(|size| size.parse::<usize>().ok()));
        let (Some("blob"), Some(size)) = (kind, size) else {
            return Err(no_commit("the git repository lacks files of its own commit"));
        };
        // Another kind of line end at most doubles a file.
        if size > 2 * bytes.len() + 2 {
            return Err(differs(name, "is not as it is in the commit"));
        }
        let mut committed = vec![0; size];
        said.read_exact(&mut committed).map_err(broken)?;
        if committed != *bytes {
            return Err(if without_carriage_returns(&committed) == without_carriage_returns(bytes) {
                let how = "differs from the commit in its line ends alone";
                let help = "check it out as it is committed: `* -text` in `.gitattributes`, or `git config core.autocrlf false` and a new checkout";
                differs_so(name, how, help)
            } else {
                differs(name, "is not as it is in the commit")
            });
        }
        // The line end after each file.
        said.read_exact(&mut [0; 1]).map_err(broken)?;
    }
    Ok(())
}

/// The bytes with `\n` for each `\r\n`.
fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let followed = bytes.iter().skip(1).map(Some).chain([None]);
    bytes
        .iter()
        .zip(followed)
        .filter(|(byte, next)| **byte != b'\r' || *next != Some(&b'\n'))
        .map(|(byte, _)| *byte)
        .collect()
}
