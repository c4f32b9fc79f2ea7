//! A file or folder that must stay at its path while it is in use.
//!
//! Most operations on a data folder go by path. If the folder is moved, or another one takes its place, they would
//! write where no one looks for the data. So a store compares the path with what it opened, before each change.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A path, and the file or folder that was there when it was opened.
#[derive(Debug)]
pub(crate) struct Pinned {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// A folder that is kept open, so that the system does not give its inode to another one.
    open: Option<File>,
}

impl Pinned {
    /// Remembers the folder at the path.
    #[cfg(feature = "files")]
    pub(crate) fn folder(path: PathBuf) -> io::Result<Self> {
        let open = File::open(&path)?;
        let found = open.metadata()?;
        Ok(Self { path, device: found.dev(), inode: found.ino(), open: Some(open) })
    }

    /// Remembers the file at the path, which the caller keeps open. It is not opened here: closing a file takes the
    /// locks of the whole process from it, also those of SQLite.
    #[cfg(feature = "sqlite")]
    pub(crate) fn file(path: PathBuf) -> io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self { path, device: found.dev(), inode: found.ino(), open: None })
    }

    /// `true` if it is still there.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        match self.path.metadata() {
            // It is said as what it is. Nothing can be written below it.
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
    fn a_path_that_leads_elsewhere_is_noticed() {
        let above = tempfile::tempdir().expect("a folder");
        let (path, other) = (above.path().join("data"), above.path().join("other"));
        std::fs::create_dir(&path).expect("made");
        let pinned = Pinned::folder(path.clone()).expect("there");
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
