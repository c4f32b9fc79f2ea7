//! Files that people name on the command line: read within bounds, told by their own words.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use bundles::{encoding, one_line};
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;

/// Reads a file of at most `most` bytes. The error repeats the path that was given, which the one
/// who gave it knows.
pub(crate) fn read(path: &Path, most: usize, what: &str) -> Result<Vec<u8>, CliError> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, what, &error))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, what, &error))?;
    if bytes.len() > most {
        let message = format!("{what} `{}` has more than {most} bytes", shown(path));
        return Err(CliError::new("too_large", message, "name another file"));
    }
    Ok(bytes)
}

/// Reads a file whose size is bounded by the limit of that name.
pub(crate) fn read_within(path: &Path, (limit, most): (&str, usize), what: &str) -> Result<Vec<u8>, CliError> {
    read(path, most, what).map_err(|error| {
        if error.code != "too_large" {
            return error;
        }
        let message = format!("{what} `{}` exceeds limit `{limit}` ({most} bytes allowed)", shown(path));
        CliError::new("too_large", message, "name another file, or raise the limit of that name with `--limits`")
            .with_details(json!({ "limit": limit, "allowed": most }))
    })
}

/// Reads a file that holds a secret; what was read is wiped when it is dropped. Others must not be able
/// to read the file.
pub(crate) fn read_secret(path: &Path, most: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: &std::io::Error| unreadable(path, what, error);
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    if is_exposed(&file.metadata().map_err(|error| failed(&error))?) {
        let message = format!("{what} `{}` can be read by others than its owner", shown(path));
        let help = format!("`chmod 600 {}`; if others could read it, make another", shown(path));
        return Err(CliError::new("secret_exposed", message, help));
    }
    read_wiped(&file, most).map_err(|error| failed(&error))
}

/// Reads a file that may hold a secret, whoever can read it.
pub(crate) fn read_perhaps_secret(path: &Path, most: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let read = std::fs::File::open(path).and_then(|file| read_wiped(&file, most));
    read.map_err(|error| unreadable(path, what, &error))
}

/// At most one byte more than `most`, so that what is too long shows.
fn read_wiped(file: &std::fs::File, most: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it: a buffer that grew would leave its beginning behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 64));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
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
pub(crate) fn read_text(path: &Path, most: usize, what: &str) -> Result<String, CliError> {
    let bytes = read_authored(path, most, what)?;
    String::from_utf8(bytes).map_err(|_| not_utf8(path, what, "it is not UTF-8"))
}

/// Reads a file that a person wrote: without a byte order mark, and in UTF-8.
pub(crate) fn read_authored(path: &Path, most: usize, what: &str) -> Result<Vec<u8>, CliError> {
    authored(path, read(path, most, what)?, what)
}

/// Returns the text of an authored file without its byte order mark, or an error that names the encoding.
pub(crate) fn authored(path: &Path, bytes: Vec<u8>, what: &str) -> Result<Vec<u8>, CliError> {
    match encoding::problem(&bytes) {
        Some(problem) => Err(not_utf8(path, what, &problem)),
        None => Ok(encoding::without_mark(&bytes).to_vec()),
    }
}

fn not_utf8(path: &Path, what: &str, problem: &str) -> CliError {
    let message = format!("{what} `{}` cannot be read as text: {problem}", shown(path));
    CliError::new("not_utf8", message, "save the file as UTF-8")
}

pub(crate) fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> CliError {
    match error.kind() {
        ErrorKind::NotFound => {
            CliError::new("not_found", format!("there is no {what} `{}`", shown(path)), "check the path")
        }
        kind => CliError::new(
            "unreadable",
            format!("{what} `{}` cannot be read: {kind}", shown(path)),
            "check that it may be read",
        ),
    }
}

/// Writes a new file that only its owner can read, whole or not at all. What is there stays.
pub(crate) fn write_secret(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    SecretFile::begin(path, what)?.finish(bytes)
}

/// A file that only its owner will read, and that is not there yet: only its place is.
pub(crate) struct SecretFile<'a> {
    path: &'a Path,
    what: &'a str,
    file: tempfile::NamedTempFile,
}

impl<'a> SecretFile<'a> {
    /// Makes sure of the place, before there is something to be written that would be lost without one.
    pub(crate) fn begin(path: &'a Path, what: &'a str) -> Result<Self, CliError> {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(already_there(path));
        }
        // Temporary files are readable by their owner alone, from the moment they are there.
        let file = tempfile::Builder::new().prefix(".yoi-").tempfile_in(folder(path));
        Ok(Self { path, what, file: file.map_err(|error| unwritable(path, what, error.kind()))? })
    }

    /// Writes it, whole or not at all. What is there by now stays.
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
        "already_there",
        format!("`{}` is already there", shown(path)),
        "name a file that is not there yet: what is in this one would be lost",
    )
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file, whole or not at all. A device or a FIFO is written into; a link or a folder that
/// has the name is left as it is.
pub(crate) fn write(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| unwritable(path, what, error.kind());
    match place(path).map_err(|error| failed(&error))? {
        Place::Free => replace(path, bytes, None).map_err(|error| failed(&error)),
        Place::File(permissions) => replace(path, bytes, Some(permissions)).map_err(|error| failed(&error)),
        // Not made, not cut short: what has that name is what is written into.
        Place::Stream => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut stream| stream.write_all(bytes).and_then(|()| stream.flush()))
            .map_err(|error| failed(&error)),
        Place::Other(is) => Err(CliError::new(
            "unwritable",
            format!("{what} `{}` cannot be written: {is} has that name", shown(path)),
            "name a file, or a place where there is none yet",
        )),
    }
}

pub(crate) fn unwritable(path: &Path, what: &str, kind: ErrorKind) -> CliError {
    CliError::new(
        "unwritable",
        format!("{what} `{}` cannot be written: {kind}", shown(path)),
        "check that its folder is there and may be written",
    )
}

/// A path as a message or a document names it: text, whatever bytes it is made of.
pub(crate) fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// What has a name that is to be written.
enum Place {
    /// Nothing.
    Free,
    /// A file, which keeps its permissions.
    File(Permissions),
    /// A device or a FIFO, also by way of a link, as `/dev/stdout` is one.
    Stream,
    /// What is neither.
    Other(&'static str),
}

fn place(path: &Path) -> std::io::Result<Place> {
    let here = match std::fs::symlink_metadata(path) {
        Ok(here) => here,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
    };
    if here.is_file() {
        return Ok(Place::File(here.permissions()));
    }
    let leads_to = std::fs::metadata(path);
    Ok(match leads_to {
        Ok(there) if !there.is_file() && !there.is_dir() => Place::Stream,
        _ if here.is_symlink() => Place::Other("a link"),
        _ => Place::Other("a folder"),
    })
}

/// Puts a new file where the old one is, at once.
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
    // Like any file that a person makes.
    Permissions::from_mode(0o666)
}

#[cfg(not(unix))]
fn as_umask_allows() -> Permissions {
    Permissions::default()
}

/// Who replaces a file may be another than who made it: nothing is to run as that one.
#[cfg(unix)]
fn without_special(permissions: Permissions) -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    Permissions::from_mode(permissions.mode() & 0o777)
}

#[cfg(not(unix))]
fn without_special(permissions: Permissions) -> Permissions {
    permissions
}
