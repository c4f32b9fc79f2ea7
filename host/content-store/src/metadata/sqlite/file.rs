//! The file: how it is made, and how it is known that it is one of ours.
//!
//! A new one is made under another name and renamed when it is whole. So a file without content is
//! a damaged one, and never taken for a new one. Opening it lets SQLite recover its write-ahead log, and closing it
//! folds the log in. So the log is judged first, and where it is damaged SQLite does not open the file for writing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::connection::failed;
use super::mark::{Mark, Reached};
use super::rows;
use super::wal::Log;
use crate::metadata::{LogDamage, MetadataError};

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

/// Open handles of a store.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Locked until the connection is closed, so it stands behind it.
    pub(super) mark: Mark,
    /// The write-ahead log.
    pub(super) log: PathBuf,
}

/// Opens the file, and makes it where there is none. Returns a second connection, which only reads.
pub(super) fn open(path: &Path, most_bytes: Option<u64>) -> Result<(Opened, Connection), MetadataError> {
    let path = resolved(path).map_err(unavailable)?;
    let (log, mark_path) = (beside(&path, "-wal"), beside(&path, "-mark"));
    // Only the process that holds the lock of the mark changes the log, so the log is read under that lock.
    let mark = Mark::open(&mark_path, false)?;
    let reached = mark.as_ref().map(Mark::reached).transpose()?.flatten();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => judge(&path, &log, reached)?,
        Ok(_) => return Err(MetadataError::Damaged),
        // Something was kept here.
        Err(error) if error.kind() == ErrorKind::NotFound && reached.is_some() => return Err(MetadataError::Damaged),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path)?,
        Err(error) => return Err(unavailable(error)),
    }
    let mark = match mark {
        Some(mark) => mark,
        None => Mark::open(&mark_path, true)?.ok_or(MetadataError::Unavailable { doing: DOING })?,
    };
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed(DOING))?;
    known(&connection)?;
    configure(&connection, most_bytes).map_err(failed(DOING))?;
    // The log was made just now, and SQLite does not say where its name could not be made durable.
    sync_above(&path)?;
    let reading = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed(DOING))?;
    // Reads the tables now: a failure belongs to the opening, and not to the first list.
    rows::counted(&reading)?;
    Ok((Opened { connection, mark, log }, reading))
}

/// Refuses a log that lacks commits which were acknowledged. Changes nothing.
fn judge(path: &Path, log: &Path, reached: Option<Reached>) -> Result<(), MetadataError> {
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
        match reached {
            Some(Reached { generation, frames, .. }) if found.generation == Some(generation) => {
                (found.frames < frames).then_some(LogDamage::Short { intact, length })
            }
            // The log that the mark means was folded in, if all is well.
            Some(Reached { batches, .. }) => {
                let missing = batches.saturating_sub(batches_in_file(path)?);
                (missing > 0).then_some(LogDamage::Lost { missing })
            }
            // Without a mark: the previous release wrote none.
            None => (found.generation.is_none() && intact > 0).then_some(LogDamage::Lost { missing: intact }),
        }
    };
    if let Some(damage) = damage {
        // SQLite had folded all of the log in, and would not have read it again.
        let is_folded = match reached {
            Some(Reached { batches, .. }) => batches_in_file(path).is_ok_and(|there| there >= batches),
            None => false,
        };
        return Err(MetadataError::LogDamaged(if is_folded { LogDamage::Folded } else { damage }));
    }
    // A process that was killed may have left a transaction that is not synced. SQLite goes on behind it, and a power
    // cut could then leave the later one without the earlier one.
    file.map_or(Ok(()), |file| file.sync_data()).map_err(unavailable)
}

/// Returns the number of batches in the database file without its log.
fn batches_in_file(path: &Path) -> Result<u64, MetadataError> {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        let _ = write!(uri, "%{byte:02x}");
    }
    // SQLite takes no lock, reads no log and writes nothing.
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).map_err(failed(DOING))?;
    known(&connection)?;
    rows::counted(&connection)
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
    let connection = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed(DOING))?;
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

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // This file system of SQLite takes the file for one process and keeps the index of the log in its memory, where
    // all its connections use it. A file with the index, which others could damage, is not needed.
    let connection = Connection::open_with_flags_and_vfs(path, flags, c"unix-excl")?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    // Nothing is mapped, so that an error of the disk is an error and no signal.
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY",
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
    // A commit is durable when it is answered. The log is folded in by its owner, so that SQLite begins no generation of
    // it of its own accord; it is cut to 4 MiB.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 4194304",
    )?;
    if let Some(most_bytes) = most_bytes {
        let pages = i64::try_from(most_bytes / PAGE).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    // Takes the file for this process now, not with the first write.
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
}

pub(super) fn unavailable(error: io::Error) -> MetadataError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => MetadataError::Full,
        _ => MetadataError::Unavailable { doing: DOING },
    }
}
