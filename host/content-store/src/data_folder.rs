//! The folder of one Runtime, and of one process: its lock, its blobs, the place of its metadata.
//!
//! Nobody else on the machine reads it: a folder that is made is 0700, one that others may look
//! into is refused. The lock lives as long as anything that was opened with it, and the system
//! takes it back when the process ends, however it ends.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::blob_store::{BlobError, ObjectBlobs};
use crate::durable_folder;

/// A data folder that this process holds.
pub struct DataFolder {
    root: PathBuf,
    blobs: ObjectBlobs,
}

impl DataFolder {
    /// Takes the folder at `path` for this process, and makes it where there is none. An empty
    /// folder is made private; one that holds something and that others may look into is refused.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, DataFolderError> {
        let path = path.into();
        let taken = tokio::task::spawn_blocking(move || take(&path)).await;
        let (root, lock) = taken.map_err(|_| unavailable(ErrorKind::Interrupted))??;
        let blobs = ObjectBlobs::local(root.clone(), lock).await?;
        Ok(Self { root, blobs })
    }

    /// The blobs in it. They hold the folder too.
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

/// Why a folder is not taken. The caller knows which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataFolderError {
    /// Another process holds it, or this one already.
    #[error("the data folder is in use by another process")]
    InUse,
    /// There is something else in its place.
    #[error("the data folder is no folder")]
    NotAFolder,
    /// Others may look into it, and it is not empty.
    #[error("the data folder is open to other users of this machine")]
    NotPrivate,
    /// The machine does not let it be opened.
    #[error("the data folder cannot be opened: {kind}")]
    Unavailable {
        /// The kind of the failure, in the system's own words without any place.
        kind: ErrorKind,
    },
    /// The blobs in it cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl DataFolderError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse => "store_in_use",
            Self::NotAFolder => "data_folder_not_a_folder",
            Self::NotPrivate => "data_folder_not_private",
            Self::Unavailable { .. } => "store_unavailable",
            Self::Blobs(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::InUse => "stop the other process, or name another data folder",
            Self::NotAFolder => "name a folder, or a path where there is nothing yet",
            Self::NotPrivate => "run `chmod 700` on it if it is meant, or name another data folder",
            Self::Unavailable { .. } => "look at the folder's owner, its rights and the room on its disk",
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

fn take(path: &Path) -> Result<(PathBuf, fs::File), DataFolderError> {
    let failed = |error: io::Error| unavailable(error.kind());
    let path = std::path::absolute(path).map_err(failed)?;
    let new = durable_folder::missing_ancestors(&path).map_err(failed)?;
    match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        // There is something, or it could not be looked at; that is no answer.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !fs::metadata(&path).map_err(failed)?.is_dir() {
                return Err(DataFolderError::NotAFolder);
            }
        }
        made => made.map_err(failed)?,
    }
    let root = fs::canonicalize(&path).map_err(failed)?;
    for made in new.iter().chain([&root]) {
        durable_folder::sync_name(made).map_err(failed)?;
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
