//! An authoring folder as a set of files: relative names and bytes, bounded while reading.
//!
//! Where the folder lies is not kept: a bundle is a function of these names and bytes alone.
//! Links are not followed, so that a folder cannot bring in what lies outside of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use cap_std::fs::Dir;

use crate::encoding::{MARK, without_mark};
use crate::limits::BundleLimits;
use crate::names::shown_file;

/// Files by name, with `/` between folders. A UTF-8 byte order mark is no part of a file's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    /// Files that began with a byte order mark.
    marked: BTreeSet<String>,
    refused: Vec<RefusedEntry>,
}

/// An entry of a folder that cannot be read as a file, such as a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedEntry {
    pub(crate) file: String,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// The folders that are read, beside `bundle.toml`.
pub(crate) const ROOMS: [&str; 5] = ["plugins", "profiles", "prompts", "schemas", "workflows"];

/// Why a folder cannot be read. Names are relative to the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no `bundle.toml`.
    #[error("the folder holds no `bundle.toml`")]
    NoBundle,
    /// The system refused.
    #[error("`{}` cannot be read", shown_file(.file))]
    Io {
        /// Which file or folder.
        file: String,
        /// What the system said; not for the outside.
        #[source]
        source: std::io::Error,
    },
    /// Neither a file nor a folder.
    #[error("`{}` is neither a file nor a folder", shown_file(.file))]
    NotAFile {
        /// Which one.
        file: String,
    },
    /// A name that cannot be shown.
    #[error("a name in `{}` is not Unicode, or holds control characters", shown_file(.folder))]
    BadName {
        /// In which folder.
        folder: String,
    },
    /// A bound is passed.
    #[error("`{}` passes {allowed} (`{limit}`)", shown_file(.file))]
    TooLarge {
        /// Which file or folder.
        file: String,
        /// The limit's name.
        limit: &'static str,
        /// What is allowed.
        allowed: usize,
    },
}

impl FolderError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoBundle => "no_bundle",
            Self::Io { .. } => "unreadable",
            Self::NotAFile { .. } => "not_a_file",
            Self::BadName { .. } => "invalid_name",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBundle => "name a folder that holds a `bundle.toml`, or make one",
            Self::Io { .. } => "check that the file is there and may be read",
            Self::NotAFile { .. } => "put the file itself there: links, sockets and devices are not followed",
            Self::BadName { .. } => "rename it",
            Self::TooLarge { .. } => "take files out or make them smaller, or raise the limit of that name",
        }
    }
}

/// Folders in folders; prompts are rarely more than two deep.
const MOST_NESTING: usize = 8;

impl Folder {
    /// Reads `bundle.toml` and the rooms beside it. Names that begin with `.` are passed over. An entry
    /// that is no readable file, such as a link, is kept as a mistake that [`build`](crate::build) lists
    /// with the others.
    pub fn read(dir: &Dir, limits: &BundleLimits) -> Result<Self, FolderError> {
        let mut reader = Reader { folder: Self::default(), bytes: 0, entries: 0, limits };
        match dir.symlink_metadata("bundle.toml") {
            Ok(_) => reader.entry(dir, "bundle.toml", "bundle.toml")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FolderError::NoBundle),
            Err(source) => return Err(FolderError::Io { file: "bundle.toml".to_owned(), source }),
        }
        for room in ROOMS {
            match dir.symlink_metadata(room) {
                Ok(metadata) if metadata.is_dir() => reader.folder(dir, room, room, MOST_NESTING)?,
                Ok(_) => reader.refuse(&FolderError::NotAFile { file: room.to_owned() }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(FolderError::Io { file: room.to_owned(), source }),
            }
        }
        Ok(reader.folder)
    }

    /// Whether a file of that name is one that [`Folder::read`] reads.
    pub fn is_read(name: &str) -> bool {
        let in_room = |(room, inside): (&str, &str)| {
            ROOMS.contains(&room) && !inside.split('/').any(|segment| segment.starts_with('.'))
        };
        name == "bundle.toml" || name.split_once('/').is_some_and(in_room)
    }

    /// A folder made of files in memory.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut folder = Self::default();
        for (name, bytes) in files {
            folder.insert(name, bytes);
        }
        folder
    }

    fn insert(&mut self, name: String, mut bytes: Vec<u8>) {
        if bytes.len() != without_mark(&bytes).len() {
            bytes.drain(..MARK.len());
            self.marked.insert(name.clone());
        }
        self.files.insert(name, bytes);
    }

    /// The bytes of a file as they are stored, with the byte order mark.
    pub fn stored_bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let bytes = self.get(name)?;
        Some(if self.marked.contains(name) { Cow::Owned([MARK, bytes].concat()) } else { Cow::Borrowed(bytes) })
    }

    /// `true` if every entry could be read.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty()
    }

    /// The entries that could not be read.
    pub(crate) fn refused(&self) -> &[RefusedEntry] {
        &self.refused
    }

    /// The bytes of one file.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// All files, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The files of one room, by their name inside it.
    pub(crate) fn room<'a>(&'a self, room: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a [u8])> {
        self.iter().filter_map(move |(name, bytes)| {
            let inside = name.strip_prefix(room)?.strip_prefix('/')?;
            Some((name, inside, bytes))
        })
    }
}

struct Reader<'a> {
    folder: Folder,
    bytes: usize,
    /// Entries that were looked at, in all folders.
    entries: usize,
    limits: &'a BundleLimits,
}

impl Reader<'_> {
    fn refuse(&mut self, error: &FolderError) {
        let file = match error {
            FolderError::NoBundle => "bundle.toml",
            FolderError::Io { file, .. } | FolderError::NotAFile { file } | FolderError::TooLarge { file, .. } => file,
            FolderError::BadName { folder } => folder,
        };
        self.folder.refused.push(RefusedEntry {
            file: file.to_owned(),
            code: error.code(),
            message: error.to_string(),
            help: error.help(),
        });
    }

    /// Reads one file. What stands against that file alone is listed with other mistakes; a bound on
    /// the folder as a whole ends the reading.
    fn entry(&mut self, dir: &Dir, entry: &str, name: &str) -> Result<(), FolderError> {
        match self.file(dir, entry, name) {
            Err(error @ FolderError::TooLarge { limit: "files" | "bundle_bytes", .. }) => Err(error),
            Err(error) => {
                self.refuse(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn file(&mut self, dir: &Dir, entry: &str, name: &str) -> Result<(), FolderError> {
        let io = |source| FolderError::Io { file: name.to_owned(), source };
        let too_large = |limit, allowed| FolderError::TooLarge { file: name.to_owned(), limit, allowed };
        self.entries += 1;
        if self.entries > self.limits.files {
            return Err(too_large("files", self.limits.files));
        }
        if !dir.symlink_metadata(entry).map_err(io)?.is_file() {
            return Err(FolderError::NotAFile { file: name.to_owned() });
        }
        // The bound is on what is read: the size that metadata tell may be outdated by then.
        let allowed = self.limits.blob_bytes.max(self.limits.manifest_bytes);
        let mut bytes = Vec::new();
        let most = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        dir.open(entry).map_err(io)?.take(most).read_to_end(&mut bytes).map_err(io)?;
        self.bytes += bytes.len();
        if self.bytes > self.limits.bundle_bytes {
            return Err(too_large("bundle_bytes", self.limits.bundle_bytes));
        }
        if bytes.len() > allowed {
            return Err(too_large("blob_bytes", allowed));
        }
        self.folder.insert(name.to_owned(), bytes);
        Ok(())
    }

    /// `cap-std` keeps every step below `dir`: a link that is put there meanwhile leads nowhere else.
    fn folder(&mut self, dir: &Dir, entry: &str, name: &str, nesting: usize) -> Result<(), FolderError> {
        let io = |source| FolderError::Io { file: name.to_owned(), source };
        if nesting == 0 {
            return Err(FolderError::TooLarge { file: name.to_owned(), limit: "nesting", allowed: MOST_NESTING });
        }
        let inside = match dir.open_dir(entry) {
            Ok(inside) => inside,
            Err(source) => {
                self.refuse(&io(source));
                return Ok(());
            }
        };
        let mut seen = 0usize;
        for found in inside.entries().map_err(io)? {
            seen += 1;
            if seen > self.limits.files {
                return Err(FolderError::TooLarge {
                    file: name.to_owned(),
                    limit: "files",
                    allowed: self.limits.files,
                });
            }
            let found = found.map_err(io)?;
            let entry = found.file_name().into_string().ok().filter(|entry| !entry.chars().any(char::is_control));
            let Some(entry) = entry else {
                self.refuse(&FolderError::BadName { folder: name.to_owned() });
                continue;
            };
            if entry.starts_with('.') {
                continue;
            }
            let path = format!("{name}/{entry}");
            let kind = found.file_type().map_err(io)?;
            if kind.is_dir() {
                self.folder(&inside, &entry, &path, nesting - 1)?;
            } else {
                self.entry(&inside, &entry, &path)?;
            }
        }
        Ok(())
    }
}
