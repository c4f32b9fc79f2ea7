//! A file or folder that must stay at its path while it is in use.
//!
//! Most operations on a data folder use paths. If the folder is moved or replaced, they would write to a place where
//! the data is not looked for. A store therefore compares the path with the opened file or folder before each change.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A path, and the identity of the file or folder that was there when it was opened.
#[derive(Debug)]
pub(crate) struct PinnedPath {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Open handle of a folder, so that the system does not give its inode number to another one.
    open: Option<File>,
}

impl PinnedPath {
    /// Records the identity of the folder at the path, and keeps it open.
    #[cfg(feature = "files")]
    pub(crate) fn folder(path: PathBuf) -> io::Result<Self> {
        let open = File::open(&path)?;
        let found = open.metadata()?;
        Ok(Self { path, device: found.dev(), inode: found.ino(), open: Some(open) })
    }

    /// Records the identity of the file at the path, which the caller keeps open. The file is not opened here: closing
    /// it would release all locks of this process on it, including those of SQLite.
    #[cfg(feature = "sqlite")]
    pub(crate) fn file(path: PathBuf) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self { path, device: found.dev(), inode: found.ino(), open: None })
    }

    /// `true` if the path still leads to the same file or folder.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        match self.path.metadata() {
            // Reported as an error of its own. Nothing can be written below a file.
            Ok(found) if self.open.is_some() && !found.is_dir() => Err(ErrorKind::NotADirectory.into()),
            Ok(found) => Ok((found.dev(), found.ino()) == (self.device, self.inode)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(all(test, feature = "files"))]
mod tests {
    use super::*;

    #[test]
    fn path_that_leads_to_another_folder_is_detected() {
        let above = tempfile::tempdir().expect("a folder");
        let (path, other) = (above.path().join("data"), above.path().join("other"));
        std::fs::create_dir(&path).expect("made");
        let pinned = PinnedPath::folder(path.clone()).expect("there");
        assert!(pinned.is_in_place().expect("known"));
        std::fs::rename(&path, &other).expect("moved");
        assert!(!pinned.is_in_place().expect("known"));
        std::fs::create_dir(&path).expect("made");
        assert!(!pinned.is_in_place().expect("known"));
        std::fs::remove_dir(&path).expect("removed");
        std::fs::write(&path, "").expect("written");
        assert!(pinned.is_in_place().is_err());
        std::fs::remove_file(&path).expect("removed");
        // A link to where it is now leads to the same folder.
        std::os::unix::fs::symlink(&other, &path).expect("linked");
        assert!(pinned.is_in_place().expect("known"));
    }
}
