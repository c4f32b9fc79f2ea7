//! Connections to the SQLite file. After a failure from which the writing connection does not recover, it is closed,
//! and the next job opens the file again.
//!
//! Lists are read from a connection of their own. It is closed before the writing one, because SQLite checkpoints the
//! log when the last connection is closed, and only the writing connection may do that. It is not used during a
//! checkpoint: a reader keeps frames from being checkpointed, and a log with a reader is never restarted, so it would
//! grow without a limit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::file::OpenStore;
use super::mark::LogPosition;
use super::{file, rows};
use crate::metadata::MetadataError;
use crate::pinned::PinnedPath;

/// Number of frames in the log after which it is checkpointed, about 4 MiB.
const CHECKPOINT_FRAMES: u64 = 1000;

/// Offset of the salts in the log.
const SALTS_OFFSET: u64 = 16;

/// Connection that lists are read from. `None` while the file is not open. The lock is fair, so that a thread that
/// reads many lists does not delay a checkpoint.
pub(super) type ReadConnection = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The connections to the file, if it is open.
pub(super) struct Connections {
    /// Declared before the writing connection, so that it is dropped first.
    reading: ReadConnection,
    path: PathBuf,
    max_bytes: Option<u64>,
    current: Option<OpenConnection>,
}

/// The open file with its writing connection, and the state of its log.
struct OpenConnection {
    opened: OpenStore,
    /// Position of the newest commit. `None` until the mark names the current generation of the log.
    position: Option<LogPosition>,
    /// File of the log. `None` until the first commit.
    log: Option<PinnedPath>,
}

impl Connections {
    pub(super) fn open(path: PathBuf, max_bytes: Option<u64>) -> Result<Self, MetadataError> {
        let mut connections = Self { reading: Arc::default(), path, max_bytes, current: None };
        connections.open_or_reuse()?;
        Ok(connections)
    }

    /// Returns the connection that lists are read from.
    pub(super) fn read_connection(&self) -> ReadConnection {
        self.reading.clone()
    }

    /// `true` if the file is not open. The next job then opens it.
    pub(super) fn is_lost(&self) -> bool {
        self.current.is_none()
    }

    /// Runs work that changes nothing.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, MetadataError>,
    ) -> Result<T, MetadataError> {
        work(&self.open_or_reuse()?.opened.connection)
    }

    /// Runs `work` in a durable transaction. `work` returns its result, and `true` if the transaction is to be
    /// committed.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<(T, bool), MetadataError>,
    ) -> Result<T, MetadataError> {
        let current = self.open_or_reuse()?;
        let ready = current.begin_generation().and_then(|()| current.check_log());
        let done = ready.and_then(|()| attempt(&current.opened.connection, work));
        if done.is_ok() {
            current.record_position();
        } else if !recover(&current.opened.connection) {
            *self.reading.blocking_lock() = None;
            self.current = None;
        }
        done
    }

    /// Checkpoints the log if it is long. A failure is ignored, because the next write tries again.
    pub(super) fn checkpoint(&mut self) {
        let Some(current) = &mut self.current else { return };
        let Some(frames) = current.position.map(|position| position.frames).filter(|it| *it >= CHECKPOINT_FRAMES)
        else {
            return;
        };
        let _unread = match self.reading.try_lock() {
            Ok(unread) => unread,
            // A list is being read. Commits do not wait for it; a later one tries again, until the log is much too long.
            Err(_) if frames < 8 * CHECKPOINT_FRAMES => return,
            Err(_) => self.reading.blocking_lock(),
        };
        // The next commit begins another generation.
        if current.log_frames("PASSIVE").is_some_and(|(frames, checkpointed)| frames == checkpointed) {
            current.position = None;
        }
    }

    /// Returns the connection, and opens the file if it is not open.
    fn open_or_reuse(&mut self) -> Result<&mut OpenConnection, MetadataError> {
        match &mut self.current {
            Some(current) => Ok(current),
            lost => {
                let (opened, reading) = file::open(&self.path, self.max_bytes)?;
                *self.reading.blocking_lock() = Some(reading);
                Ok(lost.insert(OpenConnection { opened, position: None, log: None }))
            }
        }
    }
}

impl OpenConnection {
    /// Makes sure that the mark names this generation of the log. The generation begins with a commit that contains no
    /// batch, because a committed batch could not be rolled back if writing the mark failed.
    fn begin_generation(&mut self) -> Result<(), MetadataError> {
        if self.position.is_some() {
            return Ok(());
        }
        let OpenStore { connection, mark, log } = &self.opened;
        let unavailable = MetadataError::Unavailable { operation: "begin a log" };
        let batches = attempt(connection, |connection| Ok((rows::touch(connection)?, true)))?;
        let mut generation = [0; 8];
        let read = File::open(log).and_then(|log| log.read_exact_at(&mut generation, SALTS_OFFSET));
        read.map_err(file::unavailable)?;
        let (frames, _) = self.log_frames("NOOP").ok_or(unavailable)?;
        let position = LogPosition { generation, frames, batches };
        mark.begin(&position).map_err(file::unavailable)?;
        self.position = Some(position);
        Ok(())
    }

    /// Refuses a commit if the log was moved or removed. SQLite would continue with the file that it has open, and its
    /// content would be lost when the process ends.
    fn check_log(&mut self) -> Result<(), MetadataError> {
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(PinnedPath::file(self.opened.log.clone()).map_err(file::unavailable)?),
        };
        match log.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MetadataError::Moved),
            Err(error) => Err(file::unavailable(error)),
        }
    }

    /// Writes the current end of the log to the mark.
    fn record_position(&mut self) {
        let Some(generation) = self.position.map(|position| position.generation) else { return };
        let Some((frames, _)) = self.log_frames("NOOP") else { return };
        let Ok(batches) = rows::batch_count(&self.opened.connection) else { return };
        let position = LogPosition { generation, frames, batches };
        self.opened.mark.record(&position);
        self.position = Some(position);
    }

    /// Runs a checkpoint of this mode. Returns the number of frames in the log and how many of them are checkpointed.
    fn log_frames(&self, mode: &str) -> Option<(u64, u64)> {
        let mut statement = self.opened.connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})")).ok()?;
        let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (frames, checkpointed) = statement.query_row([], frames).ok()?;
        Some((u64::try_from(frames).ok()?, u64::try_from(checkpointed).ok()?))
    }
}

/// Runs `work` in a transaction.
fn attempt<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<(T, bool), MetadataError>,
) -> Result<T, MetadataError> {
    let operation = "commit a batch";
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed(operation))?;
    let (result, keep) = work(connection)?;
    connection.execute_batch(if keep { "COMMIT" } else { "ROLLBACK" }).map_err(failed(operation))?;
    Ok(result)
}

/// Rolls back after a failed write. Returns `true` if the connection can be used again.
///
/// If only the last sync failed, the batch is complete in the log, and a process that starts after a crash would find
/// it there. The next transaction overwrites it, so one is committed at once.
fn recover(connection: &Connection) -> bool {
    if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
        return false;
    }
    let _ = attempt(connection, |connection| Ok((rows::touch(connection)?, true)));
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    connection.is_autocommit()
}

/// Returns a function that converts an SQLite error, without its message.
pub(super) fn failed(operation: &'static str) -> impl Fn(rusqlite::Error) -> MetadataError {
    move |error| match error {
        rusqlite::Error::SqliteFailure(error, _) => match error.code {
            ErrorCode::DiskFull => MetadataError::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => MetadataError::Damaged,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => MetadataError::InUse,
            // The SQL statements are valid, so the tables have been changed.
            ErrorCode::Unknown if error.extended_code == rusqlite::ffi::SQLITE_ERROR => MetadataError::Damaged,
            _ => MetadataError::Unavailable { operation },
        },
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => MetadataError::Damaged,
        _ => MetadataError::Unavailable { operation },
    }
}
