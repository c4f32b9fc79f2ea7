//! An authoring folder as a set of files: relative names and bytes, bounded while reading.
//!
//! Where the folder lies is not kept: a bundle is a function of these names and bytes alone.
//! Links are not followed, so that a folder cannot bring in what lies outside of it.

use std::collections::BTreeMap;
use std::io::Read;

use cap_std::fs::Dir;

use crate::limits::BundleLimits;
use crate::names::shown_file;

/// Files by name, with `/` between folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    files: BTreeMap<String, Vec<u8>>,
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
            Self::NoBundle => "name a folder that holds a `bundle.toml`, or make one with `yoi bundle new`",
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
    /// Reads `bundle.toml` and the rooms beside it. Names that begin with `.` are passed over.
    pub fn read(dir: &Dir, limits: &BundleLimits) -> Result<Self, FolderError> {
        let mut reader = Reader { files: BTreeMap::new(), bytes: 0, limits };
        match dir.symlink_metadata("bundle.toml") {
            Ok(_) => reader.file(dir, "bundle.toml", "bundle.toml")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FolderError::NoBundle),
            Err(source) => return Err(FolderError::Io { file: "bundle.toml".to_owned(), source }),
        }
        for room in ROOMS {
            match dir.symlink_metadata(room) {
                Ok(metadata) if metadata.is_dir() => reader.folder(dir, room, room, MOST_NESTING)?,
                Ok(_) => return Err(FolderError::NotAFile { file: room.to_owned() }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(FolderError::Io { file: room.to_owned(), source }),
            }
        }
        Ok(Self { files: reader.files })
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
        Self { files: files.into_iter().collect() }
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
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
    limits: &'a BundleLimits,
}

impl Reader<'_> {
    fn file(&mut self, dir: &Dir, entry: &str, name: &str) -> Result<(), FolderError> {
        let io = |source| FolderError::Io { file: name.to_owned(), source };
        let too_large = |limit, allowed| FolderError::TooLarge { file: name.to_owned(), limit, allowed };
        if !dir.symlink_metadata(entry).map_err(io)?.is_file() {
            return Err(FolderError::NotAFile { file: name.to_owned() });
        }
        if self.files.len() >= self.limits.files {
            return Err(too_large("files", self.limits.files));
        }
        // The bound is on what is read: the size that metadata tell may be outdated by then.
        let allowed = self.limits.blob_bytes.max(self.limits.manifest_bytes);
        let mut bytes = Vec::new();
        let most = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        dir.open(entry).map_err(io)?.take(most).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() > allowed {
            return Err(too_large("blob_bytes", allowed));
        }
        self.bytes += bytes.len();
        if self.bytes > self.limits.bundle_bytes {
            return Err(too_large("bundle_bytes", self.limits.bundle_bytes));
        }
        self.files.insert(name.to_owned(), bytes);
        Ok(())
    }

    /// `cap-std` keeps every step below `dir`: a link that is put there meanwhile leads nowhere else.
    fn folder(&mut self, dir: &Dir, entry: &str, name: &str, nesting: usize) -> Result<(), FolderError> {
        let io = |source| FolderError::Io { file: name.to_owned(), source };
        if nesting == 0 {
            return Err(FolderError::TooLarge { file: name.to_owned(), limit: "nesting", allowed: MOST_NESTING });
        }
        let inside = dir.open_dir(entry).map_err(io)?;
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
            let bad = || FolderError::BadName { folder: name.to_owned() };
            let entry = found.file_name().into_string().map_err(|_| bad())?;
            if entry.chars().any(char::is_control) {
                return Err(bad());
            }
            if entry.starts_with('.') {
                continue;
            }
            let path = format!("{name}/{entry}");
            let kind = found.file_type().map_err(io)?;
            if kind.is_dir() {
                self.folder(&inside, &entry, &path, nesting - 1)?;
            } else {
                self.file(&inside, &entry, &path)?;
            }
        }
        Ok(())
    }
}
