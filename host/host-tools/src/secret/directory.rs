//! Secrets as files of a folder, each called as its reference. Values are read when they are used, so that
//! a new one counts from then on; nothing is kept, and neither a value nor a place is in any message.
//!
//! The folder is one of two:
//!
//! - A *private* one ([`SecretDirectory::open`]) belongs to the Runtime's user, who alone may enter it. So
//!   does each file, which nobody else may read or write, and which is no link.
//! - One of *credentials* ([`SecretDirectory::credentials`]) is made by a service manager, which sees to who
//!   can come to it: `$CREDENTIALS_DIRECTORY` of systemd, a mounted secret of Kubernetes or Docker. There files
//!   are links inside the folder (`..data/name`), and their modes say little. What is checked is that each
//!   is a regular file inside the folder, that it belongs to root or to the Runtime's user, and that neither
//!   group nor others may write to it. It is never written to from here.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bundles::SecretRef;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, MetadataExt, OpenOptions, Permissions, PermissionsExt};
use content_store::durable_folder;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{MAX_SECRET_BYTES, SecretError, SecretSource};
use crate::temporary::Temporary;

/// A folder of secrets.
#[derive(Clone)]
pub struct SecretDirectory {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Private,
    Credentials,
}

/// It holds no place.
impl fmt::Debug for SecretDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretDirectory").field("form", &self.form).finish_non_exhaustive()
    }
}

/// Why a folder of secrets did not do what it was asked. Neither a value nor a place is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretDirectoryError {
    /// Something else has its name, a link for instance.
    #[error("what should be the folder of secrets is no folder")]
    NotAFolder,
    /// It belongs to somebody else, or others than its owner may enter it.
    #[error("the folder of secrets is open to others than the user that runs this")]
    NotPrivate,
    /// It is one of credentials, which whoever made it keeps.
    #[error("credentials are not changed from here")]
    Credentials,
    /// What is wrong with one secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no room left.
    #[error("there is no room for the secret")]
    Full,
    /// The system refuses.
    #[error("the folder of secrets cannot be used: {0}")]
    Unavailable(ErrorKind),
}

impl SecretDirectoryError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFolder => "secrets_not_a_folder",
            Self::NotPrivate => "secrets_not_private",
            Self::Credentials => "secrets_read_only",
            Self::Secret(error) => error.code(),
            Self::Full => "store_full",
            Self::Unavailable(_) => "secrets_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotAFolder => "name a folder, or a place where there is none yet",
            Self::NotPrivate => "give it to that user and take away the access of others (`chmod 700`)",
            Self::Credentials => "change them where they are made, or name a folder of your own",
            Self::Secret(error) => error.help(),
            Self::Full => "make room, and set it again",
            Self::Unavailable(_) => "name a folder that this user may use",
        }
    }
}

impl From<io::Error> for SecretDirectoryError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            // A file is in the way of a folder.
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder,
            kind => Self::Unavailable(kind),
        }
    }
}

impl SecretDirectory {
    /// A private folder, which is made where there is none, with mode 0700.
    pub fn open(path: &Path) -> Result<Self, SecretDirectoryError> {
        let path = std::path::absolute(path)?;
        let mut made = durable_folder::missing_ancestors(&path)?;
        for above in made.iter().rev() {
            make(above, 0o777)?;
        }
        make(&path, 0o700)?;
        let directory = Self { path: path.clone(), form: Form::Private };
        directory.folder()?;
        made.push(path);
        for folder in &made {
            durable_folder::sync_name(folder)?;
        }
        Ok(directory)
    }

    /// A folder of credentials, which must be there.
    pub fn credentials(path: &Path) -> Result<Self, SecretDirectoryError> {
        let directory = Self { path: path.to_owned(), form: Form::Credentials };
        directory.folder()?;
        Ok(directory)
    }

    /// Sets a secret, new or in the place of an old one, and says whether it is new. The value is 1 to
    /// [`MAX_SECRET_BYTES`] bytes. Whoever reads sees the old or the new one, also after a power cut, and once this
    /// returns the new one. Blocks.
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
        let mut unfinished = Temporary::make(&folder, 0o600)?;
        // Whatever the process's mask took away.
        unfinished.file().set_permissions(Permissions::from_mode(0o600))?;
        unfinished.file().write_all(text.as_bytes())?;
        if text.ends_with('\n') {
            // One is taken away when it is read.
            unfinished.file().write_all(b"\n")?;
        }
        unfinished.sync()?;
        unfinished.replace(name.as_str())?;
        sync(&folder)?;
        Ok(is_new)
    }

    /// The names of the secrets, sorted. Files of other names are none. Blocks.
    pub fn list(&self) -> Result<Vec<SecretRef>, SecretDirectoryError> {
        let folder = self.folder()?;
        let mut names = Vec::new();
        for entry in folder.entries()? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let found = match self.form {
                Form::Private => entry.metadata(),
                Form::Credentials => folder.metadata(entry.file_name()),
            };
            match found.map_err(|error| (self.not_opened(&name, &error), error)) {
                Ok(metadata) if metadata.is_file() => names.push(name),
                // What went meanwhile, or is a link that leads nowhere, in a circle or out of the folder, is none either.
                Ok(_) | Err((SecretError::Missing(_) | SecretError::NotPrivate(_), _)) => {}
                Err((_, error)) => return Err(error.into()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Takes a secret away. Once this returns, or says that there is no such secret, it does not come back, also not
    /// after a power cut. Blocks.
    pub fn remove(&self, name: &SecretRef) -> Result<(), SecretDirectoryError> {
        let folder = self.writable()?;
        let removed = folder.remove_file(name.as_str());
        let was_there = match removed {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        // Also where it is gone: who took it away may have been told that this very step failed.
        sync(&folder)?;
        if was_there { Ok(()) } else { Err(SecretError::Missing(name.clone()).into()) }
    }

    /// The value of a secret, as it is now. Blocks.
    fn read(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        let folder = self.folder().map_err(|error| match error {
            SecretDirectoryError::NotPrivate | SecretDirectoryError::NotAFolder => {
                SecretError::NotPrivate(name.clone())
            }
            _ => SecretError::Unavailable(name.clone()),
        })?;
        let mut options = OpenOptions::new();
        // What is no regular file is not waited for.
        options.read(true).nonblock(true);
        if self.form == Form::Private {
            options.follow(FollowSymlinks::No);
        }
        let file = folder.open_with(name.as_str(), &options).map_err(|error| self.not_opened(name, &error))?;
        let metadata = file.metadata().map_err(|_| SecretError::Unavailable(name.clone()))?;
        if !metadata.is_file() {
            return Err(SecretError::Unusable(name.clone()));
        }
        let is_private = match self.form {
            Form::Private => is_ours(metadata.uid()) && metadata.mode() & 0o077 == 0,
            Form::Credentials => (metadata.uid() == 0 || is_ours(metadata.uid())) && metadata.mode() & 0o022 == 0,
        };
        if !is_private {
            return Err(SecretError::NotPrivate(name.clone()));
        }
        value_of(file).map_err(|_| SecretError::Unavailable(name.clone()))?.ok_or(SecretError::Unusable(name.clone()))
    }

    fn not_opened(&self, name: &SecretRef, error: &io::Error) -> SecretError {
        let leads_out = error.raw_os_error().is_none() && error.kind() == ErrorKind::PermissionDenied;
        match Errno::from_io_error(error) {
            Some(Errno::NOENT | Errno::NOTDIR) => SecretError::Missing(name.clone()),
            // A link.
            Some(Errno::LOOP) => SecretError::NotPrivate(name.clone()),
            // A socket, or a device that is not there.
            Some(Errno::NXIO | Errno::NODEV) => SecretError::Unusable(name.clone()),
            _ if leads_out => SecretError::NotPrivate(name.clone()),
            _ => SecretError::Unavailable(name.clone()),
        }
    }

    fn writable(&self) -> Result<Dir, SecretDirectoryError> {
        if self.form == Form::Credentials { Err(SecretDirectoryError::Credentials) } else { self.folder() }
    }

    /// The folder as it is now: what was looked at is what is used.
    fn folder(&self) -> Result<Dir, SecretDirectoryError> {
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if self.form == Form::Private {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = rustix::fs::open(&self.path, flags, Mode::empty());
        let folder = std::fs::File::from(opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => SecretDirectoryError::NotAFolder,
            errno => io::Error::from(errno).into(),
        })?);
        if self.form == Form::Private {
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
        let (directory, wanted) = (self.clone(), name.clone());
        let read = tokio::task::spawn_blocking(move || directory.read(&wanted)).await;
        read.unwrap_or_else(|_| Err(SecretError::Unavailable(name.clone())))
    }
}

/// The value in a file, where it is one: without the newline that editors leave at the end.
fn value_of(file: File) -> io::Result<Option<SecretString>> {
    // Room for all of it, one newline, and one byte that is too many: a buffer that grew would leave its
    // beginning behind.
    const MOST: usize = MAX_SECRET_BYTES + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 64));
    file.take(MOST as u64).read_to_end(&mut bytes)?;
    let value = match bytes.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => &bytes,
    };
    let usable = (1..=MAX_SECRET_BYTES).contains(&value.len());
    let text = std::str::from_utf8(value).ok().filter(|_| usable);
    // The copy has exactly its length, so making it a box moves nothing.
    Ok(text.map(|text| SecretString::from(text.to_owned())))
}

fn is_ours(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw()
}

fn sync(folder: &Dir) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    std::fs::File::from(rustix::fs::openat(folder, ".", flags, Mode::empty())?).sync_all()
}

/// Makes a folder, where nothing has its name.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
