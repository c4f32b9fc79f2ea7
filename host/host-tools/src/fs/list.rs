//! `fs.list`: what is in a folder, or which files below it match a glob.
//!
//! A link is `other`, wherever it leads, and so is everything that is neither file nor folder; a walk goes
//! into folders only, and not through links. A glob counts from the folder that is listed. What is left out
//! for a bound, or because its name is none that a path can have, shows in `truncated`; what the bundle does
//! not let the tool touch, and unfinished files, do not show at all. Of more entries than are wanted the
//! first by path are answered, where the walk could look at all of them.

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Access, Authority, InvalidName, MountLabel, ToolName};
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, DirEntry, ReadDir};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::Mounted;
use super::glob::Globs;
use super::input;
use super::path::MountPath;
use super::refusal::Refusal;
use super::work::{Gate, blocking};
use crate::temporary;
use crate::tool::{HostTool, ToolContext, ToolError};

/// Entries that are answered where the caller does not say.
const DEFAULT_LIMIT: usize = 500;
/// Most entries that are answered.
const MAX_LIMIT: usize = 2000;
/// Entries that are looked at between two looks at the clock and the caller.
const PIECE_ENTRIES: usize = 256;
/// Bytes that the answer as JSON has beside its entries.
const BESIDE_BYTES: u64 = 64;

/// How far a walk goes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Entries that are looked at, of all folders together.
    examined: usize,
    /// Folders below one another that are open at a time.
    depth: usize,
    /// How long it takes.
    time: Duration,
    /// Bytes of the answer as JSON.
    answer_bytes: u64,
}

impl Bounds {
    fn of(answer_bytes: u64) -> Self {
        Self { examined: 200_000, depth: 32, time: Duration::from_secs(10), answer_bytes }
    }
}

/// The tool.
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

    /// Which mount, the input says.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let Input { mount, path, glob, limit } = input(value, &[("limit", 1, MAX_LIMIT as u64)])?;
        let path = path.as_deref().map(Mounted::parse).transpose()?;
        let glob = glob.as_deref().map(Globs::wanted).transpose()?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let mounted = Mounted::open(&context, mount, Access::Read)?;
        let bounds = Bounds::of(context.answer_bytes());
        let listing = blocking(move |gate| list(&mounted, path, glob, limit, bounds, gate)).await?;
        Ok(serde_json::to_value(listing).unwrap_or_default())
    }
}

fn list(
    mounted: &Mounted,
    path: Option<MountPath>,
    glob: Option<Globs>,
    limit: usize,
    bounds: Bounds,
    gate: &Gate,
) -> Result<Listing, Refusal> {
    let (folder, real) = mounted.open_folder(path.as_ref())?;
    let unreadable = |error| Refusal::io(&mounted.place(path.as_ref()), &error);
    let entries = folder.entries().map_err(unreadable)?;
    let root = Frame { folder, entries, path: path.clone(), real, below: None };
    let mut walk = Walk { mounted, glob, limit, bounds, found: BinaryHeap::new(), truncated: false };
    walk.run(root, gate)?;
    Ok(walk.listing())
}

/// A folder that is being looked through.
struct Frame {
    folder: Dir,
    entries: ReadDir,
    /// As the caller names it.
    path: Option<MountPath>,
    /// Without links.
    real: Option<MountPath>,
    /// From the folder that is listed, as globs see it.
    below: Option<MountPath>,
}

struct Walk<'a> {
    mounted: &'a Mounted,
    glob: Option<Globs>,
    limit: usize,
    bounds: Bounds,
    /// The first by path of what was found, the last of them on top.
    found: BinaryHeap<Entry>,
    truncated: bool,
}

impl Walk<'_> {
    fn run(&mut self, root: Frame, gate: &Gate) -> Result<(), Refusal> {
        let began = Instant::now();
        let mut examined = 0_usize;
        let mut open = vec![root];
        while let Some(frame) = open.last_mut() {
            let Some(entry) = frame.entries.next() else {
                open.pop();
                continue;
            };
            if examined.is_multiple_of(PIECE_ENTRIES) {
                gate.pass()?;
            }
            let late = examined.is_multiple_of(PIECE_ENTRIES) && began.elapsed() > self.bounds.time;
            if late || examined >= self.bounds.examined {
                self.truncated = true;
                break;
            }
            examined += 1;
            let below = match entry {
                Ok(entry) => self.look(frame, &entry),
                // This folder has no more to tell.
                Err(_) => {
                    self.truncated = true;
                    open.pop();
                    continue;
                }
            };
            match below {
                Some(_) if open.len() >= self.bounds.depth => self.truncated = true,
                Some(below) => open.push(below),
                None => {}
            }
        }
        Ok(())
    }

    /// Looks at one entry, and says where the walk goes on from it.
    fn look(&mut self, above: &Frame, entry: &DirEntry) -> Option<Frame> {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !temporary::is_name(name)) else {
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
            // Some file systems do not say it in the folder.
            Ok(kind) if !kind.is_symlink() => match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => Kind::Folder,
                Ok(metadata) if metadata.is_file() => Kind::File,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        };
        let allowed = self.mounted.allowed();
        let may = |path: &MountPath| if kind == Kind::Folder { allowed.folder(path) } else { allowed.file(path) };
        if !may(&path) || !may(&real) {
            return None;
        }
        let leads_on = self.glob.as_ref().is_some_and(|glob| kind == Kind::Folder && glob.may_lead_to(&below));
        let wanted = self.glob.as_ref().is_none_or(|glob| kind == Kind::File && glob.matches(&below));
        if wanted {
            self.find(&path, kind, entry);
        }
        if !leads_on {
            return None;
        }
        let opened = above.folder.open_dir_nofollow(name).and_then(|folder| Ok((folder.entries()?, folder)));
        let Ok((entries, folder)) = opened else {
            self.truncated = true;
            return None;
        };
        Some(Frame { folder, entries, path: Some(path), real: Some(real), below: Some(below) })
    }

    fn find(&mut self, path: &MountPath, kind: Kind, entry: &DirEntry) {
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

    fn listing(self) -> Listing {
        let mut left = self.bounds.answer_bytes.saturating_sub(BESIDE_BYTES);
        let found = self.found.into_sorted_vec();
        let all = found.len();
        let fits = |entry: &Entry| {
            // With the comma that comes after it.
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

    fn listed(place: &std::path::Path, glob: Option<&str>, change: impl FnOnce(&mut Bounds)) -> Listing {
        let mut bounds = Bounds::of(1 << 20);
        change(&mut bounds);
        let glob = glob.map(|glob| Globs::wanted(glob).expect("a glob"));
        list(&Mounted::of_test(place), None, glob, 500, bounds, &Gate::default()).expect("a listing")
    }

    #[test]
    fn each_bound_of_a_walk_shows_as_something_left_out() {
        let place = tempfile::tempdir().expect("a folder");
        let deep = place.path().join("1/2/3/4");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::write(deep.join("file"), "").expect("written");
        let listed = |change: fn(&mut Bounds)| {
            let listing = listed(place.path(), Some("**"), change);
            (listing.entries.len(), listing.truncated)
        };
        assert_eq!(listed(|_| {}), (1, false));
        for (enough, too_few) in [
            ((|bounds| bounds.depth = 5) as fn(&mut Bounds), (|bounds| bounds.depth = 4) as fn(&mut Bounds)),
            (|bounds| bounds.examined = 5, |bounds| bounds.examined = 4),
            (|bounds| bounds.time = Duration::from_secs(60), |bounds| bounds.time = Duration::ZERO),
            (|bounds| bounds.answer_bytes = 200, |bounds| bounds.answer_bytes = 80),
        ] {
            assert_eq!((listed(enough), listed(too_few)), ((1, false), (0, true)));
        }
    }

    #[test]
    fn a_glob_that_leads_nowhere_does_not_pay_for_what_it_leaves_alone() {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["src/a", "target/b/c"] {
            std::fs::create_dir_all(place.path().join(name)).expect("made");
        }
        let listing = listed(place.path(), Some("src/*/*.rs"), |bounds| bounds.examined = 3);
        assert!(!listing.truncated);
    }
}
