//! An authoring folder as a set of files: relative names and bytes, limited in size while reading.
//!
//! The location of the folder is not stored, because a bundle depends on these names and bytes only. Links are not
//! followed, so a folder cannot include files outside of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use cap_std::fs::Dir;
use error_code::Code;

use crate::encoding::{MARK, without_mark};
use crate::limits::BundleLimits;
use crate::names::shown_file;
use crate::plugin::{COMPONENT, MANIFEST};

/// Files by name, with `/` between folders. The bytes do not include a UTF-8 byte order mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    /// Files that start with a byte order mark.
    marked: BTreeSet<String>,
    refused: Vec<RefusedEntry>,
}

/// An entry of a folder that cannot be read as a file, such as a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedEntry {
    pub(crate) file: String,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// Subfolder of plugins. It may contain packages: packed files, and folders of which only the two files of a package are
/// read.
const PLUGINS: &str = "plugins";

/// Returns the name of the package that a file of the folder belongs to: `plugins/NAME.tar`, `plugins/NAME/plugin.toml`
/// or `plugins/NAME/component.wasm`.
pub(crate) fn package_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix(PLUGINS)?.strip_prefix('/')?;
    match inside.split_once('/') {
        None => inside.ends_with(PACKED).then_some(inside),
        Some((name, MANIFEST | COMPONENT)) => Some(name),
        Some(_) => None,
    }
}

/// Extension of a packed package.
const PACKED: &str = ".tar";

/// Subfolders that are read, besides `bundle.toml`.
pub(crate) const SUBFOLDERS: [&str; 5] = ["plugins", "profiles", "prompts", "schemas", "workflows"];

/// Error returned when a folder cannot be read. Names are relative to the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no `bundle.toml`.
    #[error("`bundle.toml` not found in the folder")]
    NoBundle,
    /// The operating system returned an error.
    #[error("cannot read `{}`", shown_file(.file))]
    Io {
        /// File or folder.
        file: String,
        /// Error of the operating system. Not to be shown to other users.
        #[source]
        source: std::io::Error,
    },
    /// The entry is neither a file nor a folder.
    #[error("`{}` is neither a file nor a folder", shown_file(.file))]
    NotAFile {
        /// Name of the entry.
        file: String,
    },
    /// A name is not Unicode or contains control characters.
    #[error("name in `{}` is not Unicode or contains control characters", shown_file(.folder))]
    BadName {
        /// Folder that contains the name.
        folder: String,
    },
    /// A limit is exceeded.
    #[error("`{}` exceeds limit `{limit}` ({allowed})", shown_file(.file))]
    TooLarge {
        /// File or folder.
        file: String,
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: usize,
    },
}

impl FolderError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NoBundle => Code::NoBundle,
            Self::Io { .. } => Code::Unreadable,
            Self::NotAFile { .. } => Code::NotAFile,
            Self::BadName { .. } => Code::InvalidName,
            Self::TooLarge { .. } => Code::TooLarge,
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBundle => "name a folder with a `bundle.toml`, or create one",
            Self::Io { .. } => "check that the file exists and is readable",
            Self::NotAFile { .. } => "replace it by a file: links, sockets and devices are not followed",
            Self::BadName { .. } => "rename the file",
            Self::TooLarge { .. } => "remove files or make them smaller, or raise the limit",
        }
    }
}

/// Maximum depth of subfolders. Prompts are rarely deeper than two.
const MAX_NESTING: usize = 8;

impl Folder {
    /// Reads `bundle.toml` and the subfolders beside it. Names that start with `.` are skipped. An entry that is not a
    /// readable file, such as a link, is recorded as a problem, which [`build`](crate::build) reports with the others.
    pub fn read(dir: &Dir, limits: &BundleLimits) -> Result<Self, FolderError> {
        let mut reader = Reader { folder: Self::default(), bytes: 0, package_bytes: 0, entries: 0, limits };
        match dir.symlink_metadata("bundle.toml") {
            Ok(_) => reader.entry(dir, "bundle.toml", "bundle.toml")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FolderError::NoBundle),
            Err(source) => return Err(FolderError::Io { file: "bundle.toml".to_owned(), source }),
        }
        for subfolder in SUBFOLDERS {
            match dir.symlink_metadata(subfolder) {
                Ok(metadata) if metadata.is_dir() => reader.folder(dir, subfolder, subfolder, MAX_NESTING)?,
                Ok(_) => reader.refuse(&FolderError::NotAFile { file: subfolder.to_owned() }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(FolderError::Io { file: subfolder.to_owned(), source }),
            }
        }
        Ok(reader.folder)
    }

    /// `true` if [`Folder::read`] reads a file with this name.
    pub fn is_read(name: &str) -> bool {
        let is_in_subfolder = |(subfolder, inside): (&str, &str)| {
            let is_of_plugin = subfolder == PLUGINS && inside.contains('/');
            SUBFOLDERS.contains(&subfolder)
                && !inside.split('/').any(|segment| segment.starts_with('.'))
                && (!is_of_plugin || package_of(name).is_some())
        };
        name == "bundle.toml" || name.split_once('/').is_some_and(is_in_subfolder)
    }

    /// Creates a folder from files in memory.
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

    /// Returns the bytes of a file as they are on disk, including the byte order mark.
    pub fn stored_bytes(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let bytes = self.get(name)?;
        Some(if self.marked.contains(name) { Cow::Owned([MARK, bytes].concat()) } else { Cow::Borrowed(bytes) })
    }

    /// `true` if every entry could be read.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
    }

    /// Returns the entries that could not be read.
    pub(crate) fn refused(&self) -> &[RefusedEntry] {
        &self.refused
    }

    /// Returns the bytes of a file, without a byte order mark.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Returns all files, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// Returns the files of a subfolder: full name, name inside the subfolder, and bytes.
    pub(crate) fn subfolder<'a>(&'a self, subfolder: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a [u8])> {
        self.iter().filter_map(move |(name, bytes)| {
            let inside = name.strip_prefix(subfolder)?.strip_prefix('/')?;
            Some((name, inside, bytes))
        })
    }
}

/// Reads one file of at most `allowed` bytes. Links are not followed.
pub(crate) fn read_file(dir: &Dir, file: &str, allowed: usize, limit: &'static str) -> Result<Arc<[u8]>, FolderError> {
    let io = |source| FolderError::Io { file: file.to_owned(), source };
    let metadata = dir.symlink_metadata(file).map_err(io)?;
    if !metadata.is_file() {
        return Err(FolderError::NotAFile { file: file.to_owned() });
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
    dir.open(file).map_err(io)?.take(most).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > allowed {
        return Err(FolderError::TooLarge { file: file.to_owned(), limit, allowed });
    }
    Ok(bytes.into())
}

struct Reader<'a> {
    folder: Folder,
    bytes: usize,
    /// Bytes of packages. They travel beside the bundle.
    package_bytes: usize,
    /// Number of entries visited, in all folders.
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

    /// Reads one file. Records a problem with this file alone. Returns an error only if a limit on the whole folder is
    /// exceeded.
    fn entry(&mut self, dir: &Dir, entry: &str, name: &str) -> Result<(), FolderError> {
        match self.file(dir, entry, name) {
            Err(error @ FolderError::TooLarge { limit: "files" | "bundle_bytes" | "packages_bytes", .. }) => Err(error),
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
        let limits = self.limits;
        let (limit, allowed) = match package_of(name) {
            Some(_) if name.ends_with(COMPONENT) => ("component_bytes", limits.component_bytes),
            Some(_) if name.ends_with(MANIFEST) => ("plugin_toml_bytes", limits.plugin_toml_bytes),
            Some(_) => ("package_bytes", limits.package_bytes),
            None => ("blob_bytes", limits.blob_bytes.max(limits.manifest_bytes)),
        };
        // The limit applies to the bytes that are read, because the size in the metadata may be outdated.
        let mut bytes = Vec::new();
        let most = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        dir.open(entry).map_err(io)?.take(most).read_to_end(&mut bytes).map_err(io)?;
        let (total, total_limit, total_allowed) = match package_of(name) {
            Some(_) => (&mut self.package_bytes, "packages_bytes", limits.packages_bytes),
            None => (&mut self.bytes, "bundle_bytes", limits.bundle_bytes),
        };
        *total += bytes.len();
        if *total > total_allowed {
            return Err(too_large(total_limit, total_allowed));
        }
        if bytes.len() > allowed {
            return Err(too_large(limit, allowed));
        }
        self.folder.insert(name.to_owned(), bytes);
        Ok(())
    }

    /// Reads a folder recursively. `cap-std` resolves every step below `dir`, so a link that is created in the meantime
    /// cannot lead outside.
    fn folder(&mut self, dir: &Dir, entry: &str, name: &str, nesting: usize) -> Result<(), FolderError> {
        let io = |source| FolderError::Io { file: name.to_owned(), source };
        if nesting == 0 {
            return Err(FolderError::TooLarge { file: name.to_owned(), limit: "nesting", allowed: MAX_NESTING });
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
            if kind.is_dir() && name == PLUGINS {
                self.package_folder(&inside, &entry, &path)?;
            } else if kind.is_dir() {
                self.folder(&inside, &entry, &path, nesting - 1)?;
            } else {
                self.entry(&inside, &entry, &path)?;
            }
        }
        Ok(())
    }

    /// Reads the two files of a package. Its folder may also contain the sources of the plugin.
    fn package_folder(&mut self, dir: &Dir, entry: &str, name: &str) -> Result<(), FolderError> {
        let inside = match dir.open_dir(entry) {
            Ok(inside) => inside,
            Err(source) => {
                self.refuse(&FolderError::Io { file: name.to_owned(), source });
                return Ok(());
            }
        };
        self.entry(&inside, MANIFEST, &format!("{name}/{MANIFEST}"))?;
        // A component that is missing is reported for the descriptor that names the package.
        match inside.symlink_metadata(COMPONENT) {
            Ok(_) => self.entry(&inside, COMPONENT, &format!("{name}/{COMPONENT}")),
            Err(_) => Ok(()),
        }
    }
}
