//! The data folder of a Runtime: its lock, its blobs, and the paths of its other files.
//!
//! Only one process can have the folder open, and only its user can read it. A new folder has mode 0700, and a folder
//! that other users can access is refused. The lock is held until the [`DataFolder`] and its blob stores are dropped.
//! The operating system releases it when the process ends.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use error_code::Code;

use crate::blob_store::{BlobError, ObjectBlobs};
use crate::durable_folder;

/// A data folder, locked for this process.
pub struct DataFolder {
    root: PathBuf,
    blobs: ObjectBlobs,
}

impl DataFolder {
    /// Opens and locks the folder at `path`, or creates it if it does not exist. An empty folder gets mode 0700. A
    /// folder with content that other users can access is refused.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, DataFolderError> {
        let path = path.into();
        let locked = tokio::task::spawn_blocking(move || lock_folder(&path)).await;
        let (root, lock) = locked.map_err(|_| unavailable(ErrorKind::Interrupted))??;
        let blobs = ObjectBlobs::local(root.clone(), lock).await?;
        Ok(Self { root, blobs })
    }

    /// Returns the blob store in the folder. The store also holds the lock.
    pub fn blobs(&self) -> ObjectBlobs {
        self.blobs.clone()
    }

    /// Returns the folder of compiled components.
    pub fn compiled_folder(&self) -> PathBuf {
        self.root.join("compiled")
    }

    /// Returns the folder of secrets that are kept as files.
    pub fn secrets_folder(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Returns the path of the SQLite file with the metadata.
    pub fn metadata_file(&self) -> PathBuf {
        self.root.join("metadata.sqlite")
    }
}

impl fmt::Debug for DataFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFolder").finish_non_exhaustive()
    }
}

/// Error of opening a data folder. It does not contain the path, which the caller knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataFolderError {
    /// Another process, or this one, has the folder open.
    #[error("the data folder is in use by another process")]
    InUse,
    /// The path leads to something other than a folder.
    #[error("the path of the data folder is not a folder")]
    NotAFolder,
    /// Other users can access the folder, and it is not empty.
    #[error("the data folder can be accessed by other users of this machine")]
    NotPrivate,
    /// The folder cannot be opened.
    #[error("the data folder cannot be opened: {kind}")]
    Unavailable {
        /// Kind of the failure.
        kind: ErrorKind,
    },
    /// The blob store in the folder cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl DataFolderError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::InUse => Code::StoreInUse,
            Self::NotAFolder => Code::DataFolderNotAFolder,
            Self::NotPrivate => Code::DataFolderNotPrivate,
            Self::Unavailable { .. } => Code::StoreUnavailable,
            Self::Blobs(error) => error.code(),
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::InUse => "stop the other process, or name another data folder",
            Self::NotAFolder => "name a folder, or a path that does not exist yet",
            Self::NotPrivate => "if it is the right folder, run `chmod 700` on it; otherwise name another data folder",
            Self::Unavailable { .. } => "check the folder's owner and permissions, and the free space on its disk",
            Self::Blobs(error) => error.help(),
        }
    }
}

fn unavailable(kind: ErrorKind) -> DataFolderError {
    match kind {
        ErrorKind::NotADirectory => DataFolderError::NotAFolder,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DataFolderError::Blobs(BlobError::Full),
        kind => DataFolderError::Unavailable { kind },
    }
}

fn lock_folder(path: &Path) -> Result<(PathBuf, fs::File), DataFolderError> {
    let failed = |error: io::Error| unavailable(error.kind());
    let path = std::path::absolute(path).map_err(failed)?;
    let new = durable_folder::missing_ancestors(&path).map_err(failed)?;
    match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        // The path exists, and `create` fails even if it is a folder.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !fs::metadata(&path).map_err(failed)?.is_dir() {
                return Err(DataFolderError::NotAFolder);
            }
        }
        created => created.map_err(failed)?,
    }
    let root = fs::canonicalize(&path).map_err(failed)?;
    for folder in new.iter().chain([&root]) {
        durable_folder::sync_name(folder).map_err(failed)?;
    }
    if fs::metadata(&root).map_err(failed)?.permissions().mode() & 0o077 != 0 {
        if fs::read_dir(&root).map_err(failed)?.next().is_some() {
            return Err(DataFolderError::NotPrivate);
        }
        fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(root.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((root, lock)),
        Err(TryLockError::WouldBlock) => Err(DataFolderError::InUse),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
