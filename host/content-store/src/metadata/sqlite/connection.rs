//! The connections, as ones that can be lost: after a failure that the writing one does not come back from, the
//! next job opens the file anew.
//!
//! Lists are read from a connection of their own. It is closed before the writing one, because SQLite folds the log in
//! when the last connection is closed, and only the writing one may do that. It is not used while the log is folded in:
//! a reader would keep frames from being folded, and a log with a reader is never begun anew, so that it would grow
//! without a limit.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::file::Opened;
use super::mark::Reached;
use super::{file, rows};
use crate::metadata::MetadataError;
use crate::pinned::Pinned;

/// Frames of the log after which it is folded in: some 4 MiB.
const FOLDED_FRAMES: u64 = 1000;

/// Where the salts stand in a log.
const SALTS: u64 = 16;

/// The connection that lists are read from. `None` while the file is not open. The lock is a fair one: a thread that
/// reads one list after the other does not keep the log from being folded in.
pub(super) type ReadConnection = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// Connections to the file, where there are any.
pub(super) struct Reopened {
    /// Stands before the writing connection, so that it is dropped first.
    reading: ReadConnection,
    path: PathBuf,
    most_bytes: Option<u64>,
    current: Option<Current>,
}

/// A connection, and what is known of its log.
struct Current {
    opened: Opened,
    /// The newest commit, if its generation of the log is in the mark.
    reached: Option<Reached>,
    /// The file of the log, from the first commit on.
    log: Option<Pinned>,
}

impl Reopened {
    pub(super) fn open(path: PathBuf, most_bytes: Option<u64>) -> Result<Self, MetadataError> {
        let mut reopened = Self { reading: Arc::default(), path, most_bytes, current: None };
        reopened.there()?;
        Ok(reopened)
    }

    /// Returns the connection that lists are read from.
    pub(super) fn read_connection(&self) -> ReadConnection {
        self.reading.clone()
    }

    /// `true` if the next job opens the file anew.
    pub(super) fn is_lost(&self) -> bool {
        self.current.is_none()
    }

    /// Reads, or does anything else that needs nothing taken back.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, MetadataError>,
    ) -> Result<T, MetadataError> {
        work(&self.there()?.opened.connection)
    }

    /// Does all of `work`, durably, or nothing. `work` says whether there is anything to keep.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<(T, bool), MetadataError>,
    ) -> Result<T, MetadataError> {
        let current = self.there()?;
        let begun = current.begin_generation().and_then(|()| current.check_log());
        let done = begun.and_then(|()| attempt(&current.opened.connection, work));
        if done.is_ok() {
            current.note();
        } else if !recover(&current.opened.connection) {
            *self.reading.blocking_lock() = None;
            self.current = None;
        }
        done
    }

    /// Folds the log in where it is long. What fails is tried again after the next write.
    pub(super) fn fold(&mut self) {
        let Some(current) = &mut self.current else { return };
        let is_long = current.reached.is_some_and(|reached| reached.frames >= FOLDED_FRAMES);
        if !is_long {
            return;
        }
        let _unread = self.reading.blocking_lock();
        // The next commit begins another generation.
        if current.log_frames("PASSIVE").is_some_and(|(frames, folded)| frames == folded) {
            current.reached = None;
        }
    }

    fn there(&mut self) -> Result<&mut Current, MetadataError> {
        match &mut self.current {
            Some(current) => Ok(current),
            lost => {
                let (opened, reading) = file::open(&self.path, self.most_bytes)?;
                *self.reading.blocking_lock() = Some(reading);
                Ok(lost.insert(Current { opened, reached: None, log: None }))
            }
        }
    }
}

impl Current {
    /// Sees to it that the mark names this generation of the log. A commit without a batch begins it: a
    /// batch that is committed could not be taken back where the mark cannot be written.
    fn begin_generation(&mut self) -> Result<(), MetadataError> {
        if self.reached.is_some() {
            return Ok(());
        }
        let Opened { connection, mark, log } = &self.opened;
        let unavailable = MetadataError::Unavailable { doing: "begin a log" };
        let batches = attempt(connection, |connection| Ok((rows::touch(connection)?, true)))?;
        let mut generation = [0; 8];
        let read = File::open(log).and_then(|log| log.read_exact_at(&mut generation, SALTS));
        read.map_err(file::unavailable)?;
        let (frames, _) = self.log_frames("NOOP").ok_or(unavailable)?;
        let reached = Reached { generation, frames, batches };
        mark.begin(&reached).map_err(file::unavailable)?;
        self.reached = Some(reached);
        Ok(())
    }

    /// Refuses a commit whose log was moved or removed: SQLite goes on with the file that it has open, and what is
    /// in that file is lost with the process.
    fn check_log(&mut self) -> Result<(), MetadataError> {
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert(Pinned::file(self.opened.log.clone()).map_err(file::unavailable)?),
        };
        match log.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MetadataError::Moved),
            Err(error) => Err(file::unavailable(error)),
        }
    }

    /// Notes in the mark how far the log reaches.
    fn note(&mut self) {
        let Some(generation) = self.reached.map(|reached| reached.generation) else { return };
        let Some((frames, _)) = self.log_frames("NOOP") else { return };
        let Ok(batches) = rows::counted(&self.opened.connection) else { return };
        let reached = Reached { generation, frames, batches };
        self.opened.mark.note(&reached);
        self.reached = Some(reached);
    }

    /// Frames in the log, and how many of them are folded in, after a checkpoint of that mode.
    fn log_frames(&self, mode: &str) -> Option<(u64, u64)> {
        let mut statement = self.opened.connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})")).ok()?;
        let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (frames, folded) = statement.query_row([], frames).ok()?;
        Some((u64::try_from(frames).ok()?, u64::try_from(folded).ok()?))
    }
}

fn attempt<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<(T, bool), MetadataError>,
) -> Result<T, MetadataError> {
    let doing = "commit a batch";
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed(doing))?;
    let (result, keep) = work(connection)?;
    connection.execute_batch(if keep { "COMMIT" } else { "ROLLBACK" }).map_err(failed(doing))?;
    Ok(result)
}

/// Takes back what failed, and says whether the connection can be used further.
///
/// Where only the last sync failed, the batch is whole in the log, and a process that starts after
/// a crash would find it there. The next transaction writes over it; so one is done at once.
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

/// What a failure of SQLite means, without its message.
pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> MetadataError {
    move |error| match error {
        rusqlite::Error::SqliteFailure(error, _) => match error.code {
            ErrorCode::DiskFull => MetadataError::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => MetadataError::Damaged,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => MetadataError::InUse,
            // The statements are right: it is the tables that are not as they were made.
            ErrorCode::Unknown if error.extended_code == rusqlite::ffi::SQLITE_ERROR => MetadataError::Damaged,
            _ => MetadataError::Unavailable { doing },
        },
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => MetadataError::Damaged,
        _ => MetadataError::Unavailable { doing },
    }
}
