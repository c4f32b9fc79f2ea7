//! Files that people name on the command line: read within bounds, told by their own words.

use std::io::{ErrorKind, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::CliError;

/// Reads a file of at most `most` bytes. The error repeats the path that was given, which the one
/// who gave it knows.
pub(crate) fn read(path: &Path, most: usize, what: &str) -> Result<Vec<u8>, CliError> {
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, what, &error))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, what, &error))?;
    if bytes.len() > most {
        let message = format!("{what} `{}` has more than {most} bytes", path.display());
        return Err(CliError::new("too_large", message, "name another file"));
    }
    Ok(bytes)
}

/// Reads a file that holds a secret; what was read is wiped when it is dropped. Others must not be able
/// to read the file.
pub(crate) fn read_secret(path: &Path, most: usize, what: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: &std::io::Error| unreadable(path, what, error);
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    if is_exposed(&file.metadata().map_err(|error| failed(&error))?) {
        let message = format!("{what} `{}` can be read by others than its owner", path.display());
        let help = format!("`chmod 600 {}`; if others could read it, make another", path.display());
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
    String::from_utf8(read(path, most, what)?).map_err(|_| {
        CliError::new("not_utf8", format!("{what} `{}` is not UTF-8", path.display()), "save the file as UTF-8")
    })
}

pub(crate) fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> CliError {
    match error.kind() {
        ErrorKind::NotFound => {
            CliError::new("not_found", format!("there is no {what} `{}`", path.display()), "check the path")
        }
        kind => CliError::new(
            "unreadable",
            format!("{what} `{}` cannot be read: {kind}", path.display()),
            "check that it may be read",
        ),
    }
}

/// Writes a new file that only its owner can read, whole or not at all. What is there stays.
pub(crate) fn write_secret(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    let failed = |kind: ErrorKind| unwritable(path, what, kind);
    // Temporary files are readable by their owner alone, from the moment they are there.
    let mut file =
        tempfile::Builder::new().prefix(".yoi-").tempfile_in(folder(path)).map_err(|error| failed(error.kind()))?;
    std::io::Write::write_all(&mut file, bytes).map_err(|error| failed(error.kind()))?;
    file.as_file().sync_all().map_err(|error| failed(error.kind()))?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => CliError::new(
            "already_there",
            format!("`{}` is already there", path.display()),
            "name a file that is not there yet: a key that is lost signs nothing any more",
        ),
        kind => failed(kind),
    })?;
    Ok(())
}

fn unwritable(path: &Path, what: &str, kind: ErrorKind) -> CliError {
    CliError::new(
        "unwritable",
        format!("{what} `{}` cannot be written: {kind}", path.display()),
        "check that the folder is there and may be written",
    )
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8], what: &str) -> Result<(), CliError> {
    let failed = |kind: ErrorKind| unwritable(path, what, kind);
    let mut file = tempfile::Builder::new()
        .prefix(".yoi-")
        .permissions(permissions())
        .tempfile_in(folder(path))
        .map_err(|error| failed(error.kind()))?;
    std::io::Write::write_all(&mut file, bytes).map_err(|error| failed(error.kind()))?;
    file.persist(path).map_err(|error| failed(error.error.kind()))?;
    Ok(())
}

#[cfg(unix)]
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    // As the umask allows, like any file that a person makes.
    std::fs::Permissions::from_mode(0o666)
}

#[cfg(not(unix))]
fn permissions() -> std::fs::Permissions {
    std::fs::Permissions::default()
}
