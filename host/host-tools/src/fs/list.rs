//! `fs.list`: lists a folder, or the files below it that match a glob.
//!
//! Links are listed as `other`, like everything that is neither a file nor a folder. A walk does not follow links. A
//! glob is relative to the listed folder. `truncated` is `true` if entries are omitted because of a limit, or because
//! their name cannot be part of a path. Entries that the bundle does not allow, and temporary files, are omitted
//! without a sign. If there are more entries than `limit`, the first ones in the order of their paths are returned,
//! provided that the walk could visit all entries.

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Access, Authority, InvalidName, MountLabel, ToolName};
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, DirEntry, ReadDir};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cancellation::{CancelGate, blocking};
use super::error::FsError;
use super::glob::Globs;
use super::input;
use super::mount::OpenMount;
use super::path::MountPath;
use crate::temporary;
use crate::tool::{HostTool, ToolContext, ToolError};

/// Number of returned entries if the caller does not set `limit`.
const DEFAULT_LIMIT: usize = 500;
/// Maximum number of returned entries.
const MAX_LIMIT: usize = 2000;
/// Number of entries that are visited between two checks of the time and of cancellation.
const ENTRIES_PER_CHECK: usize = 256;
/// Number of bytes that are reserved for the output as JSON without its entries.
const ENVELOPE_BYTES: u64 = 64;

/// Limits of a walk.
#[derive(Debug, Clone, Copy)]
struct WalkLimits {
    /// Maximum number of visited entries, in all folders together.
    examined: usize,
    /// Maximum number of nested folders that are open at the same time.
    depth: usize,
    /// Maximum duration.
    time: Duration,
    /// Maximum size of the output as JSON, in bytes.
    answer_bytes: u64,
}

impl WalkLimits {
    fn new(answer_bytes: u64) -> Self {
        Self { examined: 200_000, depth: 32, time: Duration::from_secs(10), answer_bytes }
    }
}

/// The tool `fs.list`.
#[derive(Debug)]
pub(super) struct List(ToolName);

impl List {
    pub(super) fn new() -> Result<Self, InvalidName> {
        Ok(Self("fs.list".parse()?))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    mount: MountLabel,
    path: Option<String>,
    glob: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Listing {
    entries: Vec<Entry>,
    truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Entry {
    path: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Folder,
    Other,
}

#[async_trait]
impl HostTool for List {
    fn name(&self) -> &ToolName {
        &self.0
    }

    /// Empty, because the input names the mount.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let Input { mount, path, glob, limit } = input(value, &[("limit", 1, MAX_LIMIT as u64)])?;
        let path = path.as_deref().map(OpenMount::parse).transpose()?;
        let glob = glob.as_deref().map(Globs::parse).transpose()?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let mount = OpenMount::open(&context, mount, Access::Read)?;
        let limits = WalkLimits::new(context.answer_bytes());
        let listing = blocking(move |gate| list(&mount, path, glob, limit, limits, gate)).await?;
        Ok(serde_json::to_value(listing).unwrap_or_default())
    }
}

fn list(
    mount: &OpenMount,
    path: Option<MountPath>,
    glob: Option<Globs>,
    limit: usize,
    limits: WalkLimits,
    gate: &CancelGate,
) -> Result<Listing, FsError> {
    let (folder, real) = mount.open_folder(path.as_ref())?;
    let unreadable = |error| FsError::io(&mount.location(path.as_ref()), &error);
    let entries = folder.entries().map_err(unreadable)?;
    let root = Frame { folder, entries, path: path.clone(), real, below: None };
    let mut walk = Walk { mount, glob, limit, limits, found: BinaryHeap::new(), truncated: false };
    walk.run(root, gate)?;
    Ok(walk.into_listing())
}

/// A folder that is being read.
struct Frame {
    folder: Dir,
    entries: ReadDir,
    /// Path as the caller names it.
    path: Option<MountPath>,
    /// Path without links.
    real: Option<MountPath>,
    /// Path relative to the listed folder, which globs are matched against.
    below: Option<MountPath>,
}

struct Walk<'a> {
    mount: &'a OpenMount,
    glob: Option<Globs>,
    limit: usize,
    limits: WalkLimits,
    /// The first entries found so far, in the order of their paths. The last of them is on top.
    found: BinaryHeap<Entry>,
    truncated: bool,
}

impl Walk<'_> {
    fn run(&mut self, root: Frame, gate: &CancelGate) -> Result<(), FsError> {
        let began = Instant::now();
        let mut examined = 0_usize;
        let mut open = vec![root];
        while let Some(frame) = open.last_mut() {
            let Some(entry) = frame.entries.next() else {
                open.pop();
                continue;
            };
            if examined.is_multiple_of(ENTRIES_PER_CHECK) {
                gate.check()?;
            }
            let timed_out = examined.is_multiple_of(ENTRIES_PER_CHECK) && began.elapsed() > self.limits.time;
            if timed_out || examined >= self.limits.examined {
                self.truncated = true;
                break;
            }
            examined += 1;
            let below = match entry {
                Ok(entry) => self.visit(frame, &entry),
                // The folder cannot be read further.
                Err(_) => {
                    self.truncated = true;
                    open.pop();
                    continue;
                }
            };
            match below {
                Some(_) if open.len() >= self.limits.depth => self.truncated = true,
                Some(below) => open.push(below),
                None => {}
            }
        }
        Ok(())
    }

    /// Visits an entry. Returns the folder to continue with, if the entry is a folder that may contain a match.
    fn visit(&mut self, above: &Frame, entry: &DirEntry) -> Option<Frame> {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !temporary::is_temporary_name(name)) else {
            self.truncated |= name.to_str().is_none();
            return None;
        };
        let joined = |folder: &Option<MountPath>| MountPath::join(folder.as_ref(), name);
        let (Ok(path), Ok(real), Ok(below)) = (joined(&above.path), joined(&above.real), joined(&above.below)) else {
            self.truncated = true;
            return None;
        };
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_dir() => Kind::Folder,
            Ok(kind) if kind.is_file() => Kind::File,
            // Some file systems do not store the type in the folder.
            Ok(kind) if !kind.is_symlink() => match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => Kind::Folder,
                Ok(metadata) if metadata.is_file() => Kind::File,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        };
        let allowed = self.mount.allowed();
        let is_allowed = |path: &MountPath| {
            if kind == Kind::Folder { allowed.allows_folder(path) } else { allowed.allows_file(path) }
        };
        if !is_allowed(&path) || !is_allowed(&real) {
            return None;
        }
        let descend = self.glob.as_ref().is_some_and(|glob| kind == Kind::Folder && glob.may_contain_match(&below));
        let is_match = self.glob.as_ref().is_none_or(|glob| kind == Kind::File && glob.matches(&below));
        if is_match {
            self.add_entry(&path, kind, entry);
        }
        if !descend {
            return None;
        }
        let opened = above.folder.open_dir_nofollow(name).and_then(|folder| Ok((folder.entries()?, folder)));
        let Ok((entries, folder)) = opened else {
            self.truncated = true;
            return None;
        };
        Some(Frame { folder, entries, path: Some(path), real: Some(real), below: Some(below) })
    }

    /// Adds an entry to the result. If the result is full, the last entry by path is dropped.
    fn add_entry(&mut self, path: &MountPath, kind: Kind, entry: &DirEntry) {
        let full = self.found.len() >= self.limit;
        self.truncated |= full;
        if full && self.found.peek().is_some_and(|last| last.path.as_str() <= path.as_str()) {
            return;
        }
        let size = (kind == Kind::File).then(|| entry.metadata().map(|metadata| metadata.len()).ok()).flatten();
        self.found.push(Entry { path: path.as_str().to_owned(), kind, size });
        if full {
            self.found.pop();
        }
    }

    /// Returns the entries that fit into the output.
    fn into_listing(self) -> Listing {
        let mut left = self.limits.answer_bytes.saturating_sub(ENVELOPE_BYTES);
        let found = self.found.into_sorted_vec();
        let all = found.len();
        let fits = |entry: &Entry| {
            // Includes the comma after the entry.
            let bytes = serde_json::to_string(entry).map_or(u64::MAX, |json| json.len() as u64 + 1);
            left.checked_sub(bytes).inspect(|rest| left = *rest).is_some()
        };
        let entries: Vec<Entry> = found.into_iter().take_while(fits).collect();
        let truncated = self.truncated || entries.len() < all;
        Listing { entries, truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(temp: &std::path::Path, glob: Option<&str>, change: impl FnOnce(&mut WalkLimits)) -> Listing {
        let mut limits = WalkLimits::new(1 << 20);
        change(&mut limits);
        let glob = glob.map(|glob| Globs::parse(glob).expect("a glob"));
        list(&OpenMount::for_test(temp), None, glob, 500, limits, &CancelGate::default()).expect("a listing")
    }

    #[test]
    fn each_limit_of_a_walk_sets_truncated() {
        let temp = tempfile::tempdir().expect("a folder");
        let deep = temp.path().join("1/2/3/4");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::write(deep.join("file"), "").expect("written");
        let listed = |change: fn(&mut WalkLimits)| {
            let listing = listed(temp.path(), Some("**"), change);
            (listing.entries.len(), listing.truncated)
        };
        assert_eq!(listed(|_| {}), (1, false));
        for (enough, too_few) in [
            ((|limits| limits.depth = 5) as fn(&mut WalkLimits), (|limits| limits.depth = 4) as fn(&mut WalkLimits)),
            (|limits| limits.examined = 5, |limits| limits.examined = 4),
            (|limits| limits.time = Duration::from_secs(60), |limits| limits.time = Duration::ZERO),
            (|limits| limits.answer_bytes = 200, |limits| limits.answer_bytes = 80),
        ] {
            assert_eq!((listed(enough), listed(too_few)), ((1, false), (0, true)));
        }
    }

    #[test]
    fn walk_skips_folders_without_a_possible_match() {
        let temp = tempfile::tempdir().expect("a folder");
        for name in ["src/a", "target/b/c"] {
            std::fs::create_dir_all(temp.path().join(name)).expect("made");
        }
        let listing = listed(temp.path(), Some("src/*/*.rs"), |limits| limits.examined = 3);
        assert!(!listing.truncated);
    }
}
