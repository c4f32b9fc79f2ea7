//! Secrets as files of a folder, each with the name of its reference. A value is read each time it is used, so a
//! changed file takes effect at once. Errors contain neither values nor paths.
//!
//! There are two kinds of folders:
//!
//! - A *private* folder ([`SecretDirectory::open`]) and its files belong to the user of the Runtime, and no other user
//!   has access. Links are refused.
//! - A *credentials* folder ([`SecretDirectory::credentials`]) is created by a service manager, which controls access
//!   to it: `$CREDENTIALS_DIRECTORY` of systemd, a mounted secret of Kubernetes or Docker. Its files may be links
//!   inside the folder (`..data/name`), and their modes are not restrictive. Each secret must be a regular file inside
//!   the folder, belong to root or to the user of the Runtime, and not be writable by group and others. This module
//!   never writes to such a folder.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bundles::SecretRef;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, MetadataExt, OpenOptions, Permissions, PermissionsExt};
use content_store::durable_folder;
use runtime_api::Code;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{MAX_SECRET_BYTES, SecretError, SecretSource};
use crate::temporary::TemporaryFile;

/// A folder of secrets.
#[derive(Clone)]
pub struct SecretDirectory {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Private,
    Credentials,
}

/// Omits the path.
impl fmt::Debug for SecretDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretDirectory").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Error of an operation on a folder of secrets. It contains neither values nor paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretDirectoryError {
    /// The path leads to something else, for example a link.
    #[error("the path of the secrets folder is not a folder")]
    NotAFolder,
    /// The folder belongs to another user, or other users can enter it.
    #[error("the secrets folder can be accessed by users other than the one that runs this program")]
    NotPrivate,
    /// The folder is a credentials folder, which is read-only.
    #[error("the credentials folder is read-only")]
    Credentials,
    /// Error of a single secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The disk has no free space.
    #[error("the disk of the secrets folder is full")]
    Full,
    /// The folder or a file in it cannot be accessed.
    #[error("the secrets folder cannot be used: {0}")]
    Unavailable(ErrorKind),
}

impl SecretDirectoryError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotAFolder => Code::SecretsNotAFolder,
            Self::NotPrivate => Code::SecretsNotPrivate,
            Self::Credentials => Code::SecretsReadOnly,
            Self::Secret(error) => error.code(),
            Self::Full => Code::StoreFull,
            Self::Unavailable(_) => Code::SecretsUnavailable,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotAFolder => "name a folder, or a path that does not exist yet",
            Self::NotPrivate => "make this user the owner and remove the access of others (`chmod 700`)",
            Self::Credentials => "change them where they are created, or name a private folder",
            Self::Secret(error) => error.help(),
            Self::Full => "free some space and set the secret again",
            Self::Unavailable(_) => "name a folder that this user can access",
        }
    }
}

impl From<io::Error> for SecretDirectoryError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            // A component of the path is a file.
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder,
            kind => Self::Unavailable(kind),
        }
    }
}

impl SecretDirectory {
    /// Opens a private folder, or creates it with mode 0700 if it does not exist.
    pub fn open(path: &Path) -> Result<Self, SecretDirectoryError> {
        let path = std::path::absolute(path)?;
        let mut created = durable_folder::missing_ancestors(&path)?;
        for above in created.iter().rev() {
            create_folder(above, 0o777)?;
        }
        create_folder(&path, 0o700)?;
        let directory = Self { path: path.clone(), kind: Kind::Private };
        directory.folder()?;
        created.push(path);
        for folder in &created {
            durable_folder::sync_name(folder)?;
        }
        Ok(directory)
    }

    /// Opens a credentials folder, which must exist.
    pub fn credentials(path: &Path) -> Result<Self, SecretDirectoryError> {
        let directory = Self { path: path.to_owned(), kind: Kind::Credentials };
        directory.folder()?;
        Ok(directory)
    }

    /// Creates or replaces a secret, and returns `true` if it is new. The value has 1 to [`MAX_SECRET_BYTES`] bytes. A
    /// reader sees the old or the new value, also after a power cut. When this method returns, the new value is
    /// durable. Blocks.
    pub fn set(&self, name: &SecretRef, value: &SecretString) -> Result<bool, SecretDirectoryError> {
        let text = value.expose_secret();
        if text.is_empty() || text.len() > MAX_SECRET_BYTES {
            return Err(SecretError::Unusable(name.clone()).into());
        }
        let folder = self.writable()?;
        let is_new = match folder.symlink_metadata(name.as_str()) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error.into()),
        };
        let mut temporary = TemporaryFile::create(&folder, 0o600)?;
        // The umask may have removed bits of the mode.
        temporary.file().set_permissions(Permissions::from_mode(0o600))?;
        temporary.file().write_all(text.as_bytes())?;
        if text.ends_with('\n') {
            // Reading removes one newline from the end.
            temporary.file().write_all(b"\n")?;
        }
        temporary.sync()?;
        temporary.replace(name.as_str())?;
        sync(&folder)?;
        Ok(is_new)
    }

    /// Returns the names of the secrets, sorted. Files whose names are not secret names are ignored. Blocks.
    pub fn list(&self) -> Result<Vec<SecretRef>, SecretDirectoryError> {
        let folder = self.folder()?;
        let mut names = Vec::new();
        for entry in folder.entries()? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let found = match self.kind {
                Kind::Private => entry.metadata(),
                Kind::Credentials => folder.metadata(entry.file_name()),
            };
            match found.map_err(|error| (self.open_error(&name, &error), error)) {
                Ok(metadata) if metadata.is_file() => names.push(name),
                // A file that was just removed is not a secret. Neither is a link that is broken, circular or leads out
                // of the folder.
                Ok(_) | Err((SecretError::NotFound(_) | SecretError::NotPrivate(_), _)) => {}
                Err((_, error)) => return Err(error.into()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a secret. When this method returns success or [`SecretError::NotFound`], the removal is durable. Blocks.
    pub fn remove(&self, name: &SecretRef) -> Result<(), SecretDirectoryError> {
        let folder = self.writable()?;
        let removed = folder.remove_file(name.as_str());
        let was_there = match removed {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        // Also if the file is missing: an earlier removal may have failed in this step.
        sync(&folder)?;
        if was_there { Ok(()) } else { Err(SecretError::NotFound(name.clone()).into()) }
    }

    /// Reads the current value of a secret. Blocks.
    fn read(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        let folder = self.folder().map_err(|error| match error {
            SecretDirectoryError::NotPrivate | SecretDirectoryError::NotAFolder => {
                SecretError::NotPrivate(name.clone())
            }
            _ => SecretError::Unavailable(name.clone()),
        })?;
        let mut options = OpenOptions::new();
        // Opening a pipe must not block.
        options.read(true).nonblock(true);
        if self.kind == Kind::Private {
            options.follow(FollowSymlinks::No);
        }
        let file = folder.open_with(name.as_str(), &options).map_err(|error| self.open_error(name, &error))?;
        let metadata = file.metadata().map_err(|_| SecretError::Unavailable(name.clone()))?;
        if !metadata.is_file() {
            return Err(SecretError::Unusable(name.clone()));
        }
        let is_private = match self.kind {
            Kind::Private => is_ours(metadata.uid()) && metadata.mode() & 0o077 == 0,
            Kind::Credentials => (metadata.uid() == 0 || is_ours(metadata.uid())) && metadata.mode() & 0o022 == 0,
        };
        if !is_private {
            return Err(SecretError::NotPrivate(name.clone()));
        }
        value_of(file).map_err(|_| SecretError::Unavailable(name.clone()))?.ok_or(SecretError::Unusable(name.clone()))
    }

    /// Converts the error of opening the file of a secret.
    fn open_error(&self, name: &SecretRef, error: &io::Error) -> SecretError {
        let leads_out = error.raw_os_error().is_none() && error.kind() == ErrorKind::PermissionDenied;
        match Errno::from_io_error(error) {
            Some(Errno::NOENT | Errno::NOTDIR) => SecretError::NotFound(name.clone()),
            // The file is a link.
            Some(Errno::LOOP) => SecretError::NotPrivate(name.clone()),
            // The file is a socket, or a device that does not exist.
            Some(Errno::NXIO | Errno::NODEV) => SecretError::Unusable(name.clone()),
            _ if leads_out => SecretError::NotPrivate(name.clone()),
            _ => SecretError::Unavailable(name.clone()),
        }
    }

    /// Opens the folder for changes.
    fn writable(&self) -> Result<Dir, SecretDirectoryError> {
        if self.kind == Kind::Credentials { Err(SecretDirectoryError::Credentials) } else { self.folder() }
    }

    /// Opens the folder, and checks the owner and mode of the opened folder.
    fn folder(&self) -> Result<Dir, SecretDirectoryError> {
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if self.kind == Kind::Private {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = rustix::fs::open(&self.path, flags, Mode::empty());
        let folder = std::fs::File::from(opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => SecretDirectoryError::NotAFolder,
            errno => io::Error::from(errno).into(),
        })?);
        if self.kind == Kind::Private {
            use std::os::unix::fs::MetadataExt;
            let metadata = folder.metadata()?;
            if !is_ours(metadata.uid()) || metadata.mode() & 0o077 != 0 {
                return Err(SecretDirectoryError::NotPrivate);
            }
        }
        Ok(Dir::from_std_file(folder))
    }
}

#[async_trait]
impl SecretSource for SecretDirectory {
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        let (directory, requested) = (self.clone(), name.clone());
        let read = tokio::task::spawn_blocking(move || directory.read(&requested)).await;
        read.unwrap_or_else(|_| Err(SecretError::Unavailable(name.clone())))
    }
}

/// Reads the value in a file, without a newline at the end, which editors add. Returns `None` if the value is invalid.
fn value_of(file: File) -> io::Result<Option<SecretString>> {
    // The buffer must not grow, because reallocation would leave a copy of the secret in freed memory. It has space for
    // a value, `\r\n`, and one more byte that shows that the value is too large.
    const READ_BYTES: usize = MAX_SECRET_BYTES + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_BYTES + 64));
    file.take(READ_BYTES as u64).read_to_end(&mut bytes)?;
    let value = match bytes.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => &bytes,
    };
    let usable = (1..=MAX_SECRET_BYTES).contains(&value.len());
    let text = std::str::from_utf8(value).ok().filter(|_| usable);
    // The capacity of the copy equals its length, so converting it into a box does not reallocate.
    Ok(text.map(|text| SecretString::from(text.to_owned())))
}

fn is_ours(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw()
}

fn sync(folder: &Dir) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    std::fs::File::from(rustix::fs::openat(folder, ".", flags, Mode::empty())?).sync_all()
}

/// Creates a folder. Succeeds if there is an entry of its name.
fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}
