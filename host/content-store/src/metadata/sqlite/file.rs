//! Creates and opens the SQLite file, and checks that it belongs to this store.
//!
//! A new file is created under another name and renamed when it is complete, so an empty file is a damaged one and not
//! a new one. Opening the file lets SQLite recover its write-ahead log, and closing it checkpoints the log. The log is
//! therefore checked first, and SQLite does not open the file for writing if the log is damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::connection::failed;
use super::mark::{LogPosition, Mark};
use super::rows;
use super::wal::Log;
use crate::metadata::{LogDamage, MetadataError};

/// Application id in the header of the SQLite file: `yoim`.
const APPLICATION: i32 = 0x796f_696d;
/// Version of the file format that this program writes, and the newest that it can read.
const VERSION: u32 = 1;
/// Size of a page in bytes. SQLite counts the limit of the file in pages.
const PAGE_BYTES: u64 = 4096;

const OPERATION: &str = "open its file";

const SCHEMA: &str = "CREATE TABLE records (
    key BLOB PRIMARY KEY NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    proof BLOB NOT NULL
) STRICT, WITHOUT ROWID";

/// Open handles of a store.
pub(super) struct OpenStore {
    pub(super) connection: Connection,
    /// Locked until the connection is closed, and therefore declared after it.
    pub(super) mark: Mark,
    /// Path of the write-ahead log.
    pub(super) log: PathBuf,
}

/// Opens the file, or creates it if it does not exist. Also returns a second connection, which only reads.
pub(super) fn open(path: &Path, max_bytes: Option<u64>) -> Result<(OpenStore, Connection), MetadataError> {
    let path = resolved(path).map_err(unavailable)?;
    let (log, mark_path) = (sibling(&path, "-wal"), sibling(&path, "-mark"));
    // Only the process that holds the lock of the mark changes the log, so the log is read under this lock.
    let mark = Mark::open(&mark_path, false)?;
    let position = mark.as_ref().map(Mark::position).transpose()?.flatten();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => check_log(&path, &log, position)?,
        Ok(_) => return Err(MetadataError::Damaged),
        // The mark proves that there was a database.
        Err(error) if error.kind() == ErrorKind::NotFound && position.is_some() => return Err(MetadataError::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => create(&path)?,
        Err(error) => return Err(unavailable(error)),
    }
    let mark = match mark {
        Some(mark) => mark,
        None => Mark::open(&mark_path, true)?.ok_or(MetadataError::Unavailable { operation: OPERATION })?,
    };
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed(OPERATION))?;
    check_application(&connection)?;
    configure(&connection, max_bytes).map_err(failed(OPERATION))?;
    // SQLite has just created the log, and does not report a failure to sync its directory entry.
    sync_folder_of(&path)?;
    let reading = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed(OPERATION))?;
    // Reads the tables now, so that a failure is reported by `open` and not by the first list.
    rows::batch_count(&reading)?;
    Ok((OpenStore { connection, mark, log }, reading))
}

/// Refuses a log that lacks acknowledged commits. Changes nothing.
fn check_log(path: &Path, log: &Path, position: Option<LogPosition>) -> Result<(), MetadataError> {
    let file = match fs::symlink_metadata(log) {
        Ok(metadata) if metadata.is_file() => Some(File::open(log).map_err(unavailable)?),
        Ok(_) => return Err(MetadataError::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(unavailable(error)),
    };
    let found = match &file {
        Some(file) => Log::read(BufReader::with_capacity(1 << 16, file)).map_err(unavailable)?,
        None => Log::default(),
    };
    let Log { transactions: intact, length, .. } = found;
    let damage = if found.is_broken {
        Some(LogDamage::Broken { intact, length, unreachable: found.unreachable })
    } else {
        match position {
            Some(LogPosition { generation, frames, .. }) if found.generation == Some(generation) => {
                (found.frames < frames).then_some(LogDamage::Short { intact, length })
            }
            // The generation in the mark should be checkpointed.
            Some(LogPosition { batches, .. }) => {
                let missing = batches.saturating_sub(batches_in_file(path)?);
                (missing > 0).then_some(LogDamage::Lost { missing })
            }
            // The previous release wrote no mark.
            None => (found.generation.is_none() && intact > 0).then_some(LogDamage::Lost { missing: intact }),
        }
    };
    if let Some(damage) = damage {
        // If the database has all batches, SQLite had checkpointed the log and would not read it again.
        let is_checkpointed = match position {
            Some(LogPosition { batches, .. }) => batches_in_file(path).is_ok_and(|stored| stored >= batches),
            None => false,
        };
        return Err(MetadataError::LogDamaged(if is_checkpointed { LogDamage::Checkpointed } else { damage }));
    }
    // A killed process may have left a transaction that is not synced. SQLite appends after it, and a power cut could
    // then keep the later transaction without the earlier one.
    file.map_or(Ok(()), |file| file.sync_data()).map_err(unavailable)
}

/// Returns the number of batches in the database file, without its log.
fn batches_in_file(path: &Path) -> Result<u64, MetadataError> {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        let _ = write!(uri, "%{byte:02x}");
    }
    // With `immutable`, SQLite takes no lock, does not read the log and writes nothing.
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).map_err(failed(OPERATION))?;
    check_application(&connection)?;
    rows::batch_count(&connection)
}

fn sync_folder_of(path: &Path) -> Result<(), MetadataError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unavailable)
}

/// Resolves all links in the path except for the last component. SQLite refuses links anywhere in a path.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    Ok(folder.canonicalize()?.join(name))
}

fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn create(path: &Path) -> Result<(), MetadataError> {
    // The log without its database has changes that are in no database, so this is not a new store.
    if fs::symlink_metadata(sibling(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(MetadataError::Damaged);
    }
    let new = sibling(path, ".new");
    for leftover in [&new, &sibling(&new, "-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unavailable(error)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(unavailable)?;
    let connection = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed(OPERATION))?;
    let version = i64::from(VERSION);
    let created = connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; {SCHEMA};
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version}; COMMIT"
    ));
    created.map_err(failed("create its file"))?;
    connection.close().map_err(|(_, error)| failed("create its file")(error))?;
    fs::rename(&new, path).map_err(unavailable)?;
    sync_folder_of(path)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // This VFS of SQLite locks the file for one process and keeps the index of the log in the memory of the process,
    // which all its connections share. A file with the index, which others could damage, is not needed.
    let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-excl")?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    // Without memory mapping, a disk error is an error and not a signal.
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY",
    )?;
    Ok(connection)
}

/// Checks that the file is one of this store, before anything in it is changed.
fn check_application(connection: &Connection) -> Result<(), MetadataError> {
    let number =
        |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(failed(OPERATION));
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

fn configure(connection: &Connection, max_bytes: Option<u64>) -> rusqlite::Result<()> {
    // A commit is durable when it is acknowledged. This module checkpoints the log, so that SQLite does not start a
    // generation by itself. The log file is truncated to 4 MiB.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 4194304",
    )?;
    if let Some(max_bytes) = max_bytes {
        let pages = i64::try_from(max_bytes / PAGE_BYTES).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    // Locks the file for this process now, and not with the first write.
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
}

pub(super) fn unavailable(error: io::Error) -> MetadataError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MetadataError::Full,
        _ => MetadataError::Unavailable { operation: OPERATION },
    }
}
