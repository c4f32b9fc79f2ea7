//! Rows of the `records` table. Each row is a record. The row with the empty key, which no record has, holds the number
//! of batches.
//!
//! Each row has a checksum. SQLite detects a page with a broken structure, but not a changed byte in the content of
//! one.

use bundles::{Digest, Digester};
use rusqlite::{Connection, OptionalExtension, Row, ffi, params};

use super::connection::failed;
use crate::metadata::{Batch, Key, MetadataError, VersionedValue};

/// Key of the row whose version is the number of batches.
const BATCH_COUNT_KEY: &[u8] = b"";

/// Returns the record of a key.
pub(super) fn get(connection: &Connection, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
    record(connection, key.as_str().as_bytes())
}

/// Returns at most `limit` records in the order of their keys.
pub(super) fn scan(
    connection: &Connection,
    prefix: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
    let failed = failed("list records");
    let (first, end) = prefix.range();
    // The smallest key after `after` is `after` with a zero byte appended.
    let first = after.map(|after| format!("{}\0", after.as_str())).filter(|after| *after > first).unwrap_or(first);
    let sql = "SELECT key, value, version, proof FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![first.as_bytes(), end.as_bytes(), limit]).map_err(&failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let (key, record) = verified_row(row)?;
        found.push((Key::from_text(String::from_utf8(key).map_err(|_| MetadataError::Damaged)?), record));
    }
    Ok(found)
}

/// Returns the number of batches that were committed.
pub(super) fn batch_count(connection: &Connection) -> Result<u64, MetadataError> {
    Ok(record(connection, BATCH_COUNT_KEY)?.map_or(0, |count| count.version))
}

/// Sets the number of batches that were committed.
pub(super) fn set_batch_count(connection: &Connection, batches: u64) -> Result<(), MetadataError> {
    write(connection, BATCH_COUNT_KEY, b"0", batches)
}

/// Changes the row with the number of batches, but not the number, and returns the number. SQLite writes nothing if a
/// row keeps its content. The value therefore alternates between two values of the same length, for which there is
/// always space.
pub(super) fn touch(connection: &Connection) -> Result<u64, MetadataError> {
    let count = record(connection, BATCH_COUNT_KEY)?;
    let batches = count.as_ref().map_or(0, |count| count.version);
    let is_touched = count.is_some_and(|count| count.value == b"1");
    write(connection, BATCH_COUNT_KEY, if is_touched { b"0" } else { b"1" }, batches)?;
    Ok(batches)
}

/// `true` if all records have the versions that the batch expects.
pub(super) fn matches_expected(connection: &Connection, batch: &Batch) -> Result<bool, MetadataError> {
    for (key, found) in &batch.expected {
        if get(connection, key)?.map(|record| record.version) != *found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the changes of a batch.
pub(super) fn apply(connection: &Connection, batch: &Batch, version: u64) -> Result<(), MetadataError> {
    for (key, change) in &batch.changes {
        let key = key.as_str().as_bytes();
        match change {
            Some(value) => write(connection, key, value, version)?,
            None => {
                let failed = failed("commit a batch");
                let mut statement = connection.prepare_cached("DELETE FROM records WHERE key = ?1").map_err(&failed)?;
                statement.execute([key]).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

/// Checks the structure of the file and the checksum of every row.
pub(super) fn check(connection: &Connection) -> Result<(), MetadataError> {
    let failed = failed("check itself");
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&failed)?;
    if sound != "ok" {
        return Err(if is_io_error(&sound) {
            MetadataError::Unavailable { operation: "check itself" }
        } else {
            MetadataError::Damaged
        });
    }
    let mut statement = connection.prepare("SELECT key, value, version, proof FROM records").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let counted = batch_count(connection)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (key, record) = verified_row(row)?;
        if record.version > counted || String::from_utf8(key).is_err() {
            return Err(MetadataError::Damaged);
        }
    }
    Ok(())
}

/// `true` if a finding of `quick_check` says that a page could not be read. SQLite reports a disk error as such a
/// finding, and not as an error.
fn is_io_error(finding: &str) -> bool {
    let code = finding.split_once("unable to get the page. error code=").map(|(_, code)| code);
    let digits = code.and_then(|code| code.split(|digit: char| !digit.is_ascii_digit()).next());
    // The lower byte of an extended code is the primary code.
    digits.and_then(|digits| digits.parse::<i32>().ok()).is_some_and(|code| code & 0xff == ffi::SQLITE_IOERR)
}

fn record(connection: &Connection, key: &[u8]) -> Result<Option<VersionedValue>, MetadataError> {
    let failed = failed("read a record");
    let sql = "SELECT key, value, version, proof FROM records WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let found = statement.query_row([key], |row| Ok(verified_row(row))).optional().map_err(&failed)?;
    found.transpose().map(|found| found.map(|(_, record)| record))
}

fn write(connection: &Connection, key: &[u8], value: &[u8], version: u64) -> Result<(), MetadataError> {
    let failed = failed("commit a batch");
    let sql = "INSERT INTO records (key, value, version, proof) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (key) DO UPDATE SET value = ?2, version = ?3, proof = ?4";
    let number = i64::try_from(version).map_err(|_| MetadataError::Full)?;
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    statement.execute(params![key, value, number, proof(key, value, version)]).map_err(&failed)?;
    Ok(())
}

/// Returns the key and record of a row, if its checksum is right.
fn verified_row(row: &Row<'_>) -> Result<(Vec<u8>, VersionedValue), MetadataError> {
    let failed = failed("read a record");
    let key: Vec<u8> = row.get(0).map_err(&failed)?;
    let value: Vec<u8> = row.get(1).map_err(&failed)?;
    let version = u64::try_from(row.get::<_, i64>(2).map_err(&failed)?).map_err(|_| MetadataError::Damaged)?;
    let found: Vec<u8> = row.get(3).map_err(&failed)?;
    if found != proof(&key, &value, version) {
        return Err(MetadataError::Damaged);
    }
    Ok((key, VersionedValue { value, version }))
}

/// Returns the checksum of a row: the first 8 bytes of the SHA-256 of its content. It detects accidental damage, and
/// not intentional changes.
fn proof(key: &[u8], value: &[u8], version: u64) -> Vec<u8> {
    let mut hash = Digester::default();
    hash.update(version.to_le_bytes());
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(value);
    let digest: Digest = hash.finish();
    digest.as_bytes().iter().take(8).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_error_is_distinguished_from_damaged_content() {
        let finding = |text: &str| is_io_error(&format!("*** in database main ***\nTree 2 page 9: {text}"));
        assert!(finding("unable to get the page. error code=266"));
        assert!(finding("unable to get the page. error code=10\nPage 3: never used"));
        assert!(!finding("unable to get the page. error code=11"));
        assert!(!finding("btreeInitPage() returns error code 11"));
        assert!(!finding("Rowid 7 out of order"));
    }
}
