//! Trace of the file operations of a process, and the states that a power cut could leave on the disk.
//!
//! The model assumes no particular file system. Content is durable when its file was synced, and a name is durable when
//! its folder was synced. Before that, each change may survive or not, in any order, and written content may be
//! complete, half there, or zeros. Only the two names that a rename changes in one folder change together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use bundles::{Digest, Digester};

/// One entry of the trace, written by `shim.c`.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    MadeFile(String),
    Wrote {
        path: String,
        at: u64,
        bytes: Rc<[u8]>,
    },
    Cut {
        path: String,
        length: u64,
    },
    Synced(String),
    Renamed(String, String),
    Linked(String, String),
    Unlinked(String),
    MadeFolder(String),
    /// A line that the process wrote to the file `marks`.
    Mark(String),
}

/// Parses a trace.
pub(super) fn operations(log: &Path) -> Vec<Operation> {
    let log = fs::read(log).expect("a log");
    let mut rest = log.as_slice();
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken
    };
    let mut all = Vec::new();
    let mut left = log.len();
    while left > 0 {
        let head: Vec<usize> = take(16).chunks(4).map(|word| word_of(word) as usize).collect();
        let number = word_of(take(8));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name");
        let (first, second) = (text(take(head[1])), text(take(head[2])));
        let bytes = take(head[3]);
        left -= 24 + head[1] + head[2] + head[3];
        all.push(match head[0] {
            1 => Operation::MadeFile(first),
            2 => Operation::Wrote { path: first, at: number, bytes: bytes.into() },
            3 => Operation::Cut { path: first, length: number },
            4 => Operation::Synced(first),
            5 => Operation::Renamed(first, second),
            6 => Operation::Linked(first, second),
            7 => Operation::Unlinked(first),
            8 => Operation::MadeFolder(first),
            9 => Operation::Mark(text(bytes)),
            other => panic!("operation {other} ({number}) on `{first}` is not known here"),
        });
    }
    all
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Target of a name: the index of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Debug, Clone)]
enum FileChange {
    Bytes(usize, Rc<[u8]>),
    Cut(usize),
}

/// Names that one operation changes together.
type Renaming = Rc<[(String, Option<Node>)]>;

#[derive(Debug, Clone, Default)]
struct File {
    durable: Rc<Vec<u8>>,
    pending: Vec<FileChange>,
}

#[derive(Debug, Clone, Default)]
struct Folder {
    durable: BTreeMap<String, Node>,
    pending: Vec<Renaming>,
    /// Current names, durable or not.
    now: BTreeMap<String, Node>,
}

/// A disk, with the changes that are not durable yet.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    files: Vec<File>,
    folders: Vec<Folder>,
}

/// State of written and unsynced data after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    /// The first half of the bytes.
    Half,
    /// Zeros of the same length.
    Zeros,
}

impl Disk {
    pub(super) fn empty() -> Self {
        Self { files: Vec::new(), folders: vec![Folder::default()] }
    }

    /// Creates a disk whose durable state is that after a cut.
    pub(super) fn of(remains: &Remains) -> Self {
        let file = |durable: &Rc<Vec<u8>>| File { durable: durable.clone(), pending: Vec::new() };
        let folder =
            |names: &BTreeMap<String, Node>| Folder { durable: names.clone(), pending: Vec::new(), now: names.clone() };
        Self { files: remains.files.iter().map(file).collect(), folders: remains.folders.iter().map(folder).collect() }
    }

    /// Returns the folder and the last name of a path, if the folder exists.
    fn split<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.node(above)? {
            Node::Folder(folder) => Some((folder, name)),
            Node::File(_) => None,
        }
    }

    fn node(&self, path: &str) -> Option<Node> {
        let mut node = Node::Folder(0);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Folder(folder) = node else { return None };
            node = *self.folders[folder].now.get(name)?;
        }
        Some(node)
    }

    fn change(&mut self, folder: usize, names: Vec<(String, Option<Node>)>) {
        let folder = &mut self.folders[folder];
        apply(&mut folder.now, &names);
        folder.pending.push(names.into());
    }

    /// Applies an operation. An operation on a file without a name is ignored.
    pub(super) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Mark(_) => {}
            Operation::MadeFile(path) => {
                self.files.push(File::default());
                let (folder, name) = self.split(path).expect("a folder");
                self.change(folder, vec![(name.to_owned(), Some(Node::File(self.files.len() - 1)))]);
            }
            Operation::MadeFolder(path) => {
                self.folders.push(Folder::default());
                let (folder, name) = self.split(path).expect("a folder");
                self.change(folder, vec![(name.to_owned(), Some(Node::Folder(self.folders.len() - 1)))]);
            }
            Operation::Wrote { path, at, bytes } => {
                if let Some(Node::File(file)) = self.node(path) {
                    self.files[file].pending.push(FileChange::Bytes(*at as usize, bytes.clone()));
                }
            }
            Operation::Cut { path, length } => {
                if let Some(Node::File(file)) = self.node(path) {
                    self.files[file].pending.push(FileChange::Cut(*length as usize));
                }
            }
            Operation::Synced(path) => match self.node(path) {
                Some(Node::File(file)) => {
                    let file = &mut self.files[file];
                    let pending = std::mem::take(&mut file.pending);
                    let content = Rc::make_mut(&mut file.durable);
                    pending.iter().for_each(|written| write(content, written, Fate::Kept));
                }
                Some(Node::Folder(folder)) => {
                    let folder = &mut self.folders[folder];
                    folder.durable = folder.now.clone();
                    folder.pending.clear();
                }
                None => {}
            },
            Operation::Renamed(from, to) => {
                let node = self.node(from);
                let ((old, from), (new, to)) = (self.split(from).expect("one"), self.split(to).expect("another"));
                if old == new {
                    self.change(new, vec![(to.to_owned(), node), (from.to_owned(), None)]);
                } else {
                    self.change(new, vec![(to.to_owned(), node)]);
                    self.change(old, vec![(from.to_owned(), None)]);
                }
            }
            Operation::Linked(from, to) => {
                let node = self.node(from);
                let (folder, name) = self.split(to).expect("a folder");
                self.change(folder, vec![(name.to_owned(), node)]);
            }
            Operation::Unlinked(path) => {
                let (folder, name) = self.split(path).expect("a folder");
                self.change(folder, vec![(name.to_owned(), None)]);
            }
        }
    }

    /// Returns the number of changes of names, and of content, that are not durable.
    pub(super) fn pending(&self) -> (usize, usize) {
        let names = self.folders.iter().map(|folder| folder.pending.len()).sum();
        (names, self.files.iter().map(|file| file.pending.len()).sum())
    }

    /// Returns the state after a cut at this moment. `name` and `content` return the fate of each change that is not
    /// durable, by its number.
    pub(super) fn left(&self, mut name: impl FnMut(usize) -> bool, mut content: impl FnMut(usize) -> Fate) -> Remains {
        let mut number = 0..;
        let files = self.files.iter().map(|file| {
            if file.pending.is_empty() {
                return file.durable.clone();
            }
            let mut bytes = file.durable.to_vec();
            for written in &file.pending {
                write(&mut bytes, written, content(number.next().expect("a number")));
            }
            Rc::new(bytes)
        });
        let files = files.collect();
        let mut number = 0..;
        let folders = self.folders.iter().map(|folder| {
            let mut names = folder.durable.clone();
            for renaming in &folder.pending {
                if name(number.next().expect("a number")) {
                    apply(&mut names, renaming);
                }
            }
            names
        });
        Remains { folders: folders.collect(), files }
    }
}

fn apply(names: &mut BTreeMap<String, Node>, changes: &[(String, Option<Node>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => drop(names.insert(name.clone(), *node)),
            None => drop(names.remove(name)),
        }
    }
}

fn write(content: &mut Vec<u8>, written: &FileChange, fate: Fate) {
    let (at, bytes) = match (written, fate) {
        (_, Fate::Lost) => return,
        (FileChange::Cut(length), _) => return content.resize(*length, 0),
        (FileChange::Bytes(at, bytes), Fate::Half) => (*at, bytes[..bytes.len() / 2].to_vec()),
        (FileChange::Bytes(at, bytes), Fate::Zeros) => (*at, vec![0; bytes.len()]),
        (FileChange::Bytes(at, bytes), Fate::Kept) => (*at, bytes.to_vec()),
    };
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(&bytes);
}

/// State of a disk after a power cut.
pub(super) struct Remains {
    folders: Vec<BTreeMap<String, Node>>,
    files: Vec<Rc<Vec<u8>>>,
}

impl Remains {
    /// Returns a hash that differs for other names or content.
    pub(super) fn fingerprint(&self) -> Digest {
        let mut digester = Digester::default();
        self.walk(0, "", &mut |path, content| {
            digester.update(path.as_bytes());
            digester.update([0]);
            if let Some(content) = content {
                digester.update(content.len().to_ne_bytes());
                digester.update(&content[..]);
            }
        });
        digester.finish()
    }

    /// Writes the state into an existing folder.
    pub(super) fn write_to(&self, place: &Path) {
        self.walk(0, "", &mut |path, content| match content {
            None => make_folder(&place.join(path)),
            Some(content) => fs::write(place.join(path), &content[..]).expect("written"),
        });
    }

    /// Returns all folders, and all files with their content, parents first.
    fn walk<'a>(&'a self, folder: usize, path: &str, visit: &mut impl FnMut(&str, Option<&'a Rc<Vec<u8>>>)) {
        for (name, node) in &self.folders[folder] {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            match node {
                Node::File(file) => visit(&path, Some(&self.files[*file])),
                Node::Folder(inner) => {
                    visit(&path, None);
                    self.walk(*inner, &path, visit);
                }
            }
        }
    }
}

fn make_folder(path: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).expect("made");
}

/// Random numbers, reproducible by the seed.
pub(super) struct Chance(u64);

impl Chance {
    /// Creates the generator with the seed in `YOI_SEED` or from the clock, and prints the seed.
    pub(super) fn new(what: &str) -> Self {
        let given = std::env::var("YOI_SEED").map(|seed| seed.parse().expect("a number"));
        let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_micros() as u64;
        let seed = given.unwrap_or_else(|_| now());
        eprintln!("{what}: YOI_SEED={seed}");
        Self::of(seed)
    }

    pub(super) fn of(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Returns the next number below a limit. SplitMix64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
