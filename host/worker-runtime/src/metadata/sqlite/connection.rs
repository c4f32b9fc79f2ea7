//! The connection, as one that can be lost: after a failure that it does not come back from, the
//! next job opens the file anew.

use std::path::PathBuf;

use rusqlite::{Connection, ErrorCode};

use super::{file, rows};
use crate::metadata::MetadataError;

/// A connection to the file, where there is one.
pub(super) struct Reopened {
    path: PathBuf,
    most_bytes: Option<u64>,
    connection: Option<Connection>,
}

impl Reopened {
    pub(super) fn open(path: PathBuf, most_bytes: Option<u64>) -> Result<Self, MetadataError> {
        let connection = Some(file::open(&path, most_bytes)?);
        Ok(Self { path, most_bytes, connection })
    }

    /// `true` if the next job opens the file anew.
    pub(super) fn is_lost(&self) -> bool {
        self.connection.is_none()
    }

    /// Reads, or does anything else that needs nothing taken back.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, MetadataError>,
    ) -> Result<T, MetadataError> {
        work(self.there()?)
    }

    /// Does all of `work`, durably, or nothing. `work` says whether there is anything to keep.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<(T, bool), MetadataError>,
    ) -> Result<T, MetadataError> {
        let connection = self.there()?;
        let done = attempt(connection, work);
        if done.is_err() && !recover(connection) {
            self.connection = None;
        }
        done
    }

    fn there(&mut self) -> Result<&Connection, MetadataError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            lost => Ok(lost.insert(file::open(&self.path, self.most_bytes)?)),
        }
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
    let _ = attempt(connection, |connection| {
        rows::count(connection, rows::counted(connection)?)?;
        Ok(((), true))
    });
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
