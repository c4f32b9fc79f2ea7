//! Metadata store: small records under ordered keys, changed by atomic batches.
//!
//! A store knows only bytes and their order. The code above it defines what the records mean and which of them change
//! together, once for all implementations. A batch names the record versions that its author has read. If one of them
//! has changed, nothing of the batch is applied.
//!
//! Every implementation passes the test suite in `tests/stores` of `worker-runtime`.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;

use async_trait::async_trait;
use error_code::Code;

pub use memory::MemoryMetadata;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteMetadata;

/// A store of metadata records.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the record of a key.
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError>;

    /// Returns the records of several keys, in the order of the keys. Each record is as it was at some time during the
    /// call, so together they are not a snapshot.
    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<VersionedValue>>, MetadataError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Returns at most `limit` records whose keys are below `prefix` and greater than `after`, in the order of their
    /// keys.
    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError>;

    /// Applies all of a batch or nothing of it. When this method returns, the batch is durable, and every later read
    /// sees it. If the future is dropped, the batch is still applied completely or not at all.
    ///
    /// A batch that is refused with [`CommitError::Store`] is seen by no later read. Only if the machine fails during
    /// the commit may the batch be found complete when the store is opened again.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// Reads all records and checks that they are undamaged. Other calls may wait meanwhile.
    async fn check(&self) -> Result<(), MetadataError>;
}

/// Key of a record: parts that are compared as bytes, one after the other. A part is a name, a digest or a number of
/// fixed length. No part contains a byte below `!`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Separator between the parts of a key. It is smaller than every byte of a part, so keys with a common first part are
/// adjacent.
const SEPARATOR: char = '\u{1f}';

impl Key {
    /// Creates a key of one part.
    pub fn new(table: &'static str) -> Self {
        Self(table.to_owned())
    }

    /// Returns the key with a part appended.
    #[must_use]
    pub fn part(&self, part: impl fmt::Display) -> Self {
        Self(format!("{}{SEPARATOR}{part}", self.0))
    }

    /// Returns the last part of the key.
    pub fn last(&self) -> &str {
        self.0.rsplit(SEPARATOR).next().unwrap_or_default()
    }

    /// Returns the parts of the key.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    /// `true` if this key is `prefix` with at least one more part.
    pub fn is_below(&self, prefix: &Self) -> bool {
        self.0.strip_prefix(prefix.0.as_str()).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Returns the first key (inclusive) and the last key (exclusive) of the range below this key.
    pub(crate) fn range(&self) -> (String, String) {
        // `\u{20}` is the next byte after the separator.
        (format!("{}{SEPARATOR}", self.0), format!("{}\u{20}", self.0))
    }
}

/// Value of a record, with the version by which a later batch detects a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// Bytes of the record.
    pub value: Vec<u8>,
    /// Number of the batch that wrote the record, from 1. No number is used twice, so a record that was deleted and
    /// created again has another version.
    pub version: u64,
}

/// Changes that are applied together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) expected: Vec<(Key, Option<u64>)>,
    pub(crate) changes: Vec<(Key, Option<Vec<u8>>)>,
}

impl Batch {
    /// Adds a condition: the record still has the version that was found, or is still absent.
    #[must_use]
    pub fn expect(mut self, key: &Key, found: Option<&VersionedValue>) -> Self {
        self.expected.push((key.clone(), found.map(|record| record.version)));
        self
    }

    /// Adds the write of a record.
    #[must_use]
    pub fn put(mut self, key: &Key, value: Vec<u8>) -> Self {
        self.changes.push((key.clone(), Some(value)));
        self
    }

    /// Adds the deletion of a record. The record may be absent.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        self.changes.push((key.clone(), None));
        self
    }
}

/// Error of a metadata store. It contains no message of the operating system or of SQLite, because such messages
/// contain paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The store has no free space.
    #[error("the metadata store is full")]
    Full,
    /// The stored data is not what was written.
    #[error("the metadata store is damaged")]
    Damaged,
    /// The write-ahead log lacks acknowledged commits. No file was changed.
    #[error("the metadata store is damaged: {0}")]
    LogDamaged(LogDamage),
    /// Another process has the store open.
    #[error("the metadata store is in use by another process")]
    InUse,
    /// The file is a valid database, but not of this store.
    #[error("the file is not a metadata store")]
    Foreign,
    /// A newer version of this program wrote the file.
    #[error("the metadata store has version {found}, and this program supports versions up to {known}")]
    NewerVersion {
        /// Version of the file.
        found: u32,
        /// Newest version that this program supports.
        known: u32,
    },
    /// The file is no longer at its path, so nothing is written.
    #[error("the data folder was moved or replaced while it was in use")]
    Moved,
    /// The store failed or does not respond.
    #[error("the metadata store cannot {operation}")]
    Unavailable {
        /// Failed operation, as a verb phrase: `read a record`.
        operation: &'static str,
    },
}

impl MetadataError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Full => Code::StoreFull,
            Self::Damaged | Self::LogDamaged(_) => Code::MetadataDamaged,
            Self::InUse => Code::StoreInUse,
            Self::Foreign => Code::MetadataForeign,
            Self::NewerVersion { .. } => Code::StoreNewer,
            Self::Moved => Code::DataFolderMoved,
            Self::Unavailable { .. } => Code::StoreUnavailable,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Full => "give the store more space",
            Self::Damaged => "restore the file from a backup; blobs are not affected",
            Self::LogDamaged(damage) => damage.help(),
            Self::InUse => "stop the other process, or name another data folder",
            Self::Foreign => "move the file away, or name another data folder",
            Self::NewerVersion { .. } => "run the version of the program that wrote it, or a newer one",
            Self::Moved => MOVED_HELP,
            Self::Unavailable { .. } => {
                "try again; if it fails again, read the log of the machine that holds the store"
            }
        }
    }
}

/// Remedy for a data folder that was moved.
pub(crate) const MOVED_HELP: &str = "move it back, or restart the Runtime with its new path";

/// Damage of a write-ahead log, and the part of it that is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogDamage {
    /// A transaction in the middle of the log is damaged.
    #[error(
        "the first {intact} transactions of its log (`metadata.sqlite-wal`, {length} bytes) are intact, the next one is \
         not, and of those after it {unreachable} are readable and cannot be applied without it"
    )]
    Broken {
        /// Number of transactions before the damage.
        intact: u64,
        /// Size of these transactions in the log, in bytes.
        length: u64,
        /// Number of readable transactions after the damage.
        unreachable: u64,
    },
    /// The log ends before the last commit that the mark names.
    #[error(
        "its log (`metadata.sqlite-wal`) ends after {intact} intact transactions ({length} bytes), and more were \
         acknowledged"
    )]
    Short {
        /// Number of transactions in the log.
        intact: u64,
        /// Size of these transactions in the log, in bytes.
        length: u64,
    },
    /// The log or its header is missing, and with it all changes that were not checkpointed.
    #[error(
        "its log (`metadata.sqlite-wal`) is missing or has no valid header, and at least {missing} changes are lost"
    )]
    Lost {
        /// Number of changes that the database file lacks.
        missing: u64,
    },
    /// The log is damaged, but all commits that the mark names are in the database file.
    #[error("its log (`metadata.sqlite-wal`) is damaged, but all known changes are in `metadata.sqlite`")]
    Checkpointed,
}

impl LogDamage {
    fn help(self) -> &'static str {
        match self {
            Self::Broken { .. } | Self::Short { .. } => {
                "restore the data folder from a backup; or, in a copy of it, shorten `metadata.sqlite-wal` to the bytes \
                 that are intact (`truncate -s`) and remove `metadata.sqlite-mark`: the changes after them are lost, \
                 and the next collection of garbage removes the content that they named"
            }
            Self::Lost { .. } => {
                "restore the data folder from a backup; or, in a copy of it, remove `metadata.sqlite-wal` and \
                 `metadata.sqlite-mark`: all changes in the log are lost, and the next collection of garbage removes the \
                 content that they named"
            }
            Self::Checkpointed => {
                "copy the data folder; then remove `metadata.sqlite-wal` and `metadata.sqlite-mark`, and check the folder"
            }
        }
    }
}

/// Error of a commit. Nothing of the batch was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A record no longer has the version that the batch expects.
    #[error("a record was changed by another request")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MetadataError),
}
