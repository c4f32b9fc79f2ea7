//! The file: how it is made, and how it is known that it is one of ours.
//!
//! A new one is made under another name and renamed when it is whole. So a file without content is
//! a damaged one, and never taken for a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::connection::failed;
use crate::metadata::MetadataError;

/// `yoim`, in a field of the header that SQLite keeps for this.
const APPLICATION: i32 = 0x796f_696d;
/// The version that this program writes, and the newest that it knows.
const VERSION: u32 = 1;
/// Bytes of a page. The limit of the store is counted in them.
const PAGE: u64 = 4096;

const DOING: &str = "open its file";

const SCHEMA: &str = "CREATE TABLE records (
    key BLOB PRIMARY KEY NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    proof BLOB NOT NULL
) STRICT, WITHOUT ROWID";

/// Opens the file, and makes it where there is none.
pub(super) fn open(path: &Path, most_bytes: Option<u64>) -> Result<Connection, MetadataError> {
    let path = resolved(path).map_err(unavailable)?;
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {}
        Ok(_) => return Err(MetadataError::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path)?,
        Err(error) => return Err(unavailable(error)),
    }
    let connection = connect(&path).map_err(failed(DOING))?;
    known(&connection)?;
    configure(&connection, most_bytes).map_err(failed(DOING))?;
    // The log was made just now, and SQLite does not say where its name could not be made durable.
    sync_above(&path)?;
    Ok(connection)
}

fn sync_above(path: &Path) -> Result<(), MetadataError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unavailable)
}

/// The path without any link but perhaps its last part: SQLite refuses links anywhere in it.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    Ok(folder.canonicalize()?.join(name))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn make(path: &Path) -> Result<(), MetadataError> {
    // The log of a file that is gone holds what the file lacks: this is no new store.
    if fs::symlink_metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(MetadataError::Damaged);
    }
    let new = beside(path, ".new");
    for leftover in [&new, &beside(&new, "-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unavailable(error)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(unavailable)?;
    let connection = connect(&new).map_err(failed(DOING))?;
    let version = i64::from(VERSION);
    let made = connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE}; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; {SCHEMA};
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version}; COMMIT"
    ));
    made.map_err(failed("make its file"))?;
    connection.close().map_err(|(_, error)| failed("make its file")(error))?;
    fs::rename(&new, path).map_err(unavailable)?;
    sync_above(path)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    // Nothing is mapped, so that an error of the disk is an error and no signal; nothing but this
    // process reads the file, so that its index needs no shared memory.
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY",
    )?;
    Ok(connection)
}

/// Looks whether the file is one of ours, before anything in it is changed.
fn known(connection: &Connection) -> Result<(), MetadataError> {
    let number =
        |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed(DOING));
    if number("application_id")? != APPLICATION {
        return Err(MetadataError::Foreign);
    }
    let found = number("user_version")?;
    match u32::try_from(found) {
        Ok(VERSION) => Ok(()),
        Ok(found) if found > VERSION => Err(MetadataError::NewerVersion { found, known: VERSION }),
        _ => Err(MetadataError::Damaged),
    }
}

fn configure(connection: &Connection, most_bytes: Option<u64>) -> rusqlite::Result<()> {
    // A commit is durable when it is answered; the log is folded in every 4 MiB and cut to as much.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 4194304",
    )?;
    if let Some(most_bytes) = most_bytes {
        let pages = i64::try_from(most_bytes / PAGE).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    // Takes the file for this process now, not with the first write.
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
}

fn unavailable(error: io::Error) -> MetadataError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MetadataError::Full,
        _ => MetadataError::Unavailable { doing: DOING },
    }
}
