//! The commit that a folder's content comes from, as `git` holds it.
//!
//! A repository's own config can name programs: monitors, filters, hooks, signers, transports. Only
//! plumbing is asked here that runs none of them, no index is read, and what was built is compared
//! with the commit's own bytes. What `git` ignores, or was told not to look at, cannot slip in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
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
    let repository = Repository { path };
    let id = repository.head()?;
    let committed = repository.files(&id)?;
    let named: BTreeSet<&str> = folder.iter().map(|(name, _)| name).collect();
    let mut wanted = Vec::new();
    for name in named.iter().copied().chain(committed.keys().map(String::as_str)).collect::<BTreeSet<_>>() {
        match (folder.get(name), committed.get(name)) {
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
        let nowhere: &OsStr = OsStr::new(if cfg!(windows) { "NUL" } else { "/dev/null" });
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
        git.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git
    }

    fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, CliError> {
        let run = self.git(arguments).output().map_err(|_| no_commit("`git` cannot be started"))?;
        if run.status.success() {
            return Ok(run.stdout);
        }
        let another = String::from_utf8_lossy(&run.stderr).contains("dubious ownership");
        Err(no_commit(if another {
            "the folder's git repository belongs to another user"
        } else {
            "the folder is in no git repository with a commit"
        }))
    }

    fn head(&self) -> Result<CommitId, CliError> {
        let said = self.ask(&["rev-parse", "--verify", "--end-of-options", "HEAD^{commit}"])?;
        let text = String::from_utf8(said).ok();
        text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| no_commit("`git` names no commit"))
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
        let mut committed = vec![0; bytes.len() + 1];
        if size == bytes.len() {
            said.read_exact(&mut committed).map_err(broken)?;
            committed.truncate(size);
        }
        if size != bytes.len() || committed != *bytes {
            return Err(differs(name, "is not as it is in the commit"));
        }
    }
    Ok(())
}
