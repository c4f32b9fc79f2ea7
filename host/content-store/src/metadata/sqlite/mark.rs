//! The mark: a small file beside the database that records how far the write-ahead log reaches.
//!
//! SQLite treats a log that is missing, empty, too short or without a valid header like a log that was checkpointed.
//! The mark distinguishes these cases. It holds two records. The first is synced once for each generation of the log,
//! before a commit of that generation is acknowledged. The second is written after each commit and never synced: it
//! survives the end of the process, and a power cut may revert it. A record is written only after the commit that it
//! names is durable, so a record never claims too much. An incomplete record counts as absent.
//!
//! The open file is also the lock of the store: only the process that holds it may read the log and the database.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bundles::Digester;

use super::wal::Generation;
use crate::metadata::MetadataError;

const MAGIC: [u8; 8] = *b"yoi-mark";
const RECORD_BYTES: usize = 40;
/// Offsets of the record of the generation and of the record of the newest commit. They are in different blocks, so
/// that a torn write of one record leaves the other intact.
const GENERATION_OFFSET: u64 = 0;
const NEWEST_OFFSET: u64 = 4096;

/// A position in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogPosition {
    /// Salts of the log.
    pub(super) generation: Generation,
    /// Number of frames of complete transactions in the log.
    pub(super) frames: u64,
    /// Number of batches committed since the store was created.
    pub(super) batches: u64,
}

impl LogPosition {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let parts = [MAGIC, self.generation, self.frames.to_le_bytes(), self.batches.to_le_bytes()];
        let parts = parts.as_flattened();
        let proof = proof(parts);
        for (byte, part) in bytes.iter_mut().zip(parts.iter().chain(&proof)) {
            *byte = *part;
        }
        bytes
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let ([MAGIC, generation, frames, batches, found], []) = bytes.as_chunks::<8>() else { return None };
        let (parts, _) = bytes.split_at_checked(RECORD_BYTES - 8)?;
        let (frames, batches) = (u64::from_le_bytes(*frames), u64::from_le_bytes(*batches));
        (proof(parts) == *found).then_some(Self { generation: *generation, frames, batches })
    }
}

/// Returns the first 8 bytes of the SHA-256 of a record, which detect an incomplete one.
fn proof(bytes: &[u8]) -> [u8; 8] {
    let mut hash = Digester::default();
    hash.update(bytes);
    hash.finish().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The open and locked mark of a store.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    /// Opens and locks the mark. Returns `None` if there is no mark and `create` is `false`.
    pub(super) fn open(path: &Path, create: bool) -> Result<Option<Self>, MetadataError> {
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(flags);
        let file = match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !create => return Ok(None),
            opened => opened.map_err(super::file::unavailable)?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(MetadataError::InUse),
            Err(TryLockError::Error(error)) => Err(super::file::unavailable(error)),
        }
    }

    /// Returns the newest position in the mark.
    pub(super) fn position(&self) -> Result<Option<LogPosition>, MetadataError> {
        let records = [self.read(GENERATION_OFFSET)?, self.read(NEWEST_OFFSET)?];
        // Of equal records, the first is returned, because it is durable.
        Ok(records.into_iter().flatten().reduce(|one, other| if other.batches > one.batches { other } else { one }))
    }

    fn read(&self, offset: u64) -> Result<Option<LogPosition>, MetadataError> {
        let mut bytes = [0; RECORD_BYTES];
        match self.0.read_exact_at(&mut bytes, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map_err(super::file::unavailable).map(|()| LogPosition::decode(&bytes)),
        }
    }

    /// Records durably that a generation of the log has begun.
    pub(super) fn begin(&self, position: &LogPosition) -> io::Result<()> {
        self.0.write_all_at(&position.encode(), GENERATION_OFFSET)?;
        self.0.sync_data()
    }

    /// Records a commit. A failure is ignored: the commit is durable, and the record only makes damage easier to
    /// detect.
    pub(super) fn record(&self, position: &LogPosition) {
        let _ = self.0.write_all_at(&position.encode(), NEWEST_OFFSET);
    }
}
