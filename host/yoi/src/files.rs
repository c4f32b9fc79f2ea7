//! Reads and writes files that are named on the command line. Each read has a size limit, and each write replaces the file
//! atomically.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use bundles::{encoding, one_line};
use runtime_api::Code;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;

/// Reads a file of at most `max_bytes` bytes. `what` names the file in errors, for example `config`. Errors contain the path,
/// because the user has passed it.
pub(crate) fn read(path: &Path, max_bytes: usize, what: &str) -> Result<Vec<u8>, CliError> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, what, &error))?;
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, what, &error))?;
    if bytes.len() > max_bytes {
        let message = format!("{what} `{}` has more than {max_bytes} bytes", shown(path));
        return Err(CliError::new(Code::TooLarge, message, "name another file"));
    }
    Ok(bytes)
}

/// Reads a file whose size is limited by a named limit.
pub(crate) fn read_within(path: &Path, (limit, max_bytes): (&str, usize), what: &str) -> Result<Vec<u8>, CliError> {
    read(path, max_bytes, what).map_err(|error| {
        if error.code != Code::TooLarge {
            return error;
        }
        let message = format!("{what} `{}` exceeds limit `{limit}` ({max_bytes} bytes allowed)", shown(path));
        CliError::new(Code::TooLarge, message, "name another file, or raise the limit in the file of `--limits`")
            .with_details(json!({ "limit": limit, "allowed": max_bytes }))
    })
}

/// Reads a file that holds a secret, into memory that is zeroed on drop. Fails if users other than the owner can access the
/// file.
pub(crate) fn read_secret(path: &Path, max_bytes: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: &std::io::Error| unreadable(path, what, error);
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    if is_exposed(&file.metadata().map_err(|error| failed(&error))?) {
        let message = format!("{what} `{}` is accessible to other users", shown(path));
        let help = format!("run `chmod 600 {}`; replace the secret if other users may have read it", shown(path));
        return Err(CliError::new(Code::SecretExposed, message, help));
    }
    read_zeroizing(&file, max_bytes).map_err(|error| failed(&error))
}

/// Reads a file that may hold a secret, into memory that is zeroed on drop. Does not check its permissions.
pub(crate) fn read_possible_secret(path: &Path, max_bytes: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let read = std::fs::File::open(path).and_then(|file| read_zeroizing(&file, max_bytes));
    read.map_err(|error| unreadable(path, what, &error))
}

/// Reads at most `max_bytes + 1` bytes, so that the caller can detect a file that is too long.
fn read_zeroizing(file: &std::fs::File, max_bytes: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Reserve the whole capacity: a buffer that grows leaves copies of the secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes + 64));
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
fn is_exposed(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.is_file() && metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &std::fs::Metadata) -> bool {
    false
}

/// Reads a text file.
pub(crate) fn read_text(path: &Path, max_bytes: usize, what: &str) -> Result<String, CliError> {
    let bytes = read_authored(path, max_bytes, what)?;
    String::from_utf8(bytes).map_err(|_| not_utf8(path, what, "invalid bytes"))
}

/// Reads a UTF-8 file that a person wrote, without its byte order mark.
pub(crate) fn read_authored(path: &Path, max_bytes: usize, what: &str) -> Result<Vec<u8>, CliError> {
    authored(path, read(path, max_bytes, what)?, what)
}

/// Returns the text of an authored file without its byte order mark, or an error that names the encoding.
pub(crate) fn authored(path: &Path, bytes: Vec<u8>, what: &str) -> Result<Vec<u8>, CliError> {
    match encoding::problem(&bytes) {
        Some(problem) => Err(not_utf8(path, what, &problem)),
        None => Ok(encoding::without_mark(&bytes).to_vec()),
    }
}

fn not_utf8(path: &Path, what: &str, problem: &str) -> CliError {
    let message = format!("{what} `{}` is not UTF-8 text: {problem}", shown(path));
    CliError::new(Code::NotUtf8, message, "save the file as UTF-8")
}

pub(crate) fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> CliError {
    match error.kind() {
        ErrorKind::NotFound => {
            CliError::new(Code::NotFound, format!("{what} `{}` not found", shown(path)), "check the path")
        }
        kind => CliError::new(
            Code::Unreadable,
            format!("cannot read {what} `{}`: {kind}", shown(path)),
            "check the permissions of the file and its folders",
        ),
    }
}

/// Atomically writes a new file that only its owner can read. Fails if the file exists.
pub(crate) fn write_secret(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    NewSecretFile::create(path, what)?.finish(bytes)
}

/// A new file that only its owner can read, before its content exists.
pub(crate) struct NewSecretFile<'a> {
    path: &'a Path,
    what: &'a str,
    file: tempfile::NamedTempFile,
}

impl<'a> NewSecretFile<'a> {
    /// Creates a temporary file beside `path`, so that a bad path is reported before the secret is generated.
    pub(crate) fn create(path: &'a Path, what: &'a str) -> Result<Self, CliError> {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(already_there(path));
        }
        // `tempfile` creates files with mode 0600.
        let file = tempfile::Builder::new().prefix(".yoi-").tempfile_in(folder(path));
        Ok(Self { path, what, file: file.map_err(|error| unwritable(path, what, error.kind()))? })
    }

    /// Writes the content and moves the file to its path. Fails if the path exists by now.
    pub(crate) fn finish(mut self, bytes: &[u8]) -> Result<(), CliError> {
        let failed = |kind: ErrorKind| unwritable(self.path, self.what, kind);
        let written = self.file.write_all(bytes).and_then(|()| self.file.as_file().sync_all());
        written.map_err(|error| failed(error.kind()))?;
        match self.file.persist_noclobber(self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(already_there(self.path)),
            Err(error) => Err(failed(error.error.kind())),
        }
    }
}

fn already_there(path: &Path) -> CliError {
    CliError::new(
        Code::AlreadyThere,
        format!("`{}` already exists", shown(path)),
        "name a file that does not exist; its content would be lost",
    )
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file atomically. Writes into a device or a FIFO. Fails for a symbolic link to a file and for a folder.
pub(crate) fn write(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| unwritable(path, what, error.kind());
    match place(path).map_err(|error| failed(&error))? {
        Place::Free => replace(path, bytes, None).map_err(|error| failed(&error)),
        Place::File(permissions) => replace(path, bytes, Some(permissions)).map_err(|error| failed(&error)),
        // Neither created nor truncated.
        Place::Stream => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut stream| stream.write_all(bytes).and_then(|()| stream.flush()))
            .map_err(|error| failed(&error)),
        Place::Other(kind) => Err(CliError::new(
            Code::Unwritable,
            format!("cannot write {what} `{}`: it is {kind}", shown(path)),
            "name a regular file or a path that does not exist",
        )),
    }
}

/// Atomically replaces the text `before` of a file by `after`. Fails for a symbolic link, for a file of another user, whose
/// owner would change, and for a file that no longer has the text `before`.
pub(crate) fn edit(path: &Path, before: &str, after: &str, what: &str) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| unwritable(path, what, error.kind());
    let refused = |reason: &str, help: &str| {
        Err(CliError::new(Code::Unwritable, format!("cannot change {what} `{}`: {reason}", shown(path)), help))
    };
    let Place::File(permissions) = place(path).map_err(|error| failed(&error))? else {
        return refused("it is not a regular file", "name the file itself, not a link to it");
    };
    let mut file =
        tempfile::Builder::new().prefix(".yoi-").tempfile_in(folder(path)).map_err(|error| failed(&error))?;
    let is_own = std::fs::metadata(path).and_then(|old| Ok(is_of_same_user(&old, &file.as_file().metadata()?)));
    if !is_own.map_err(|error| failed(&error))? {
        return refused("it belongs to another user", "run the command as the owner of the file");
    }
    let written = file.write_all(after.as_bytes()).and_then(|()| {
        file.as_file().set_permissions(without_special(permissions))?;
        file.as_file().sync_all()
    });
    written.map_err(|error| failed(&error))?;
    if read_text(path, before.len() + encoding::MARK.len(), what).is_ok_and(|now| now == before) {
        return file.persist(path).map(drop).map_err(|error| failed(&error.error));
    }
    refused("it was changed by another program in the meantime", "run the command again")
}

#[cfg(unix)]
fn is_of_same_user(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn is_of_same_user(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

/// Checks that nothing exists at a path to which a new file is written.
pub(crate) fn require_new(path: &Path) -> Result<(), CliError> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let message = format!("`{}` already exists", shown(path));
    Err(CliError::new(Code::AlreadyThere, message, "name another file, or remove this one"))
}

/// Creates a folder that does not exist yet.
pub(crate) fn create_folder(path: &Path) -> Result<(), CliError> {
    std::fs::create_dir(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CliError::new(
            Code::AlreadyThere,
            format!("`{}` already exists", shown(path)),
            "name a folder that does not exist",
        ),
        kind => unwritable(path, "folder", kind),
    })
}

pub(crate) fn unwritable(path: &Path, what: &str, kind: ErrorKind) -> CliError {
    CliError::new(
        Code::Unwritable,
        format!("cannot write {what} `{}`: {kind}", shown(path)),
        "check that its folder exists and is writable",
    )
}

/// Formats a path as one line of text. Bytes that are not UTF-8 are replaced.
pub(crate) fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// Kind of the file at a path to write to.
enum Place {
    /// The path does not exist.
    Free,
    /// A regular file. It keeps its permissions.
    File(Permissions),
    /// A device or a FIFO, also through a symbolic link such as `/dev/stdout`.
    Stream,
    /// A folder or a symbolic link.
    Other(&'static str),
}

fn place(path: &Path) -> std::io::Result<Place> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
    };
    if metadata.is_file() {
        return Ok(Place::File(metadata.permissions()));
    }
    Ok(match std::fs::metadata(path) {
        Ok(target) if !target.is_file() && !target.is_dir() => Place::Stream,
        _ if metadata.is_symlink() => Place::Other("a symbolic link"),
        _ => Place::Other("a folder"),
    })
}

/// Replaces a file atomically.
fn replace(path: &Path, bytes: &[u8], keep: Option<Permissions>) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".yoi-").permissions(as_umask_allows()).tempfile_in(folder(path))?;
    file.write_all(bytes)?;
    if let Some(permissions) = keep {
        file.as_file().set_permissions(without_special(permissions))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(unix)]
fn as_umask_allows() -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    // The process's umask applies, as to any other new file.
    Permissions::from_mode(0o666)
}

#[cfg(not(unix))]
fn as_umask_allows() -> Permissions {
    Permissions::default()
}

/// Removes set-user-ID and set-group-ID. The new file may have another owner than the old one.
#[cfg(unix)]
fn without_special(permissions: Permissions) -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    Permissions::from_mode(permissions.mode() & 0o777)
}

#[cfg(not(unix))]
fn without_special(permissions: Permissions) -> Permissions {
    permissions
}
