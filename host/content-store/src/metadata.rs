//! What a Runtime knows: small records under ordered keys, changed by atomic batches.
//!
//! A store keeps bytes and order and nothing else. What the records mean, and which of them must
//! change together, is said above it, once for every implementation. A batch names what it found
//! when it was decided; where that is no longer so, nothing of it happens.
//!
//! Every implementation passes the suite in `tests/stores`.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;

use async_trait::async_trait;

pub use memory::MemoryMetadata;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteMetadata;

/// Where a Runtime keeps what it knows.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync + 'static {
    /// The record under a key.
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError>;

    /// The records under several keys, in the order of the keys: each as it was at some time of the call.
    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<VersionedValue>>, MetadataError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// At most `most` records whose keys begin with `prefix` and come after `after`, in the order of
    /// their keys.
    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError>;

    /// Does all of a batch, or nothing of it. Once this returns it is durable, and every later read
    /// sees it. Dropping the future does the batch whole or not at all.
    ///
    /// A batch that is refused with [`CommitError::Store`] is seen by no later read. Only where the
    /// machine fails in the very act may the store, opened anew, find it there: whole.
    async fn commit(&self, batch: Batch) -> Result<(), CommitError>;

    /// Reads everything, and says whether it is what was written. Other calls may wait meanwhile.
    async fn check(&self) -> Result<(), MetadataError>;
}

/// A key: parts that are compared as bytes, one after the other. A part is a name, a digest or a
/// number of fixed length; none holds a byte below `!`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Between the parts of a key. Smaller than every byte of a part, so that keys with a part in
/// common lie together.
const SEPARATOR: char = '\u{1f}';

impl Key {
    /// A key of one part.
    pub fn new(table: &'static str) -> Self {
        Self(table.to_owned())
    }

    /// The key with one part more.
    #[must_use]
    pub fn part(&self, part: impl fmt::Display) -> Self {
        Self(format!("{}{SEPARATOR}{part}", self.0))
    }

    /// The key's last part.
    pub fn last(&self) -> &str {
        self.0.rsplit(SEPARATOR).next().unwrap_or_default()
    }

    /// The key's parts.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    /// Whether this key is `prefix` with parts behind it.
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

    /// Where the keys below this one begin and end.
    pub(crate) fn range(&self) -> (String, String) {
        // The next byte after the separator.
        (format!("{}{SEPARATOR}", self.0), format!("{}\u{20}", self.0))
    }
}

/// Value of a record, with the version by which a later batch detects a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedValue {
    /// Bytes of the record.
    pub value: Vec<u8>,
    /// Number of the batch that wrote it, from 1. No number is used twice, so a record that was deleted and created
    /// again has another version.
    pub version: u64,
}

/// Changes that happen together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) expected: Vec<(Key, Option<u64>)>,
    pub(crate) changes: Vec<(Key, Option<Vec<u8>>)>,
}

impl Batch {
    /// Only if the record has that version still, or is absent still.
    #[must_use]
    pub fn expect(mut self, key: &Key, found: Option<&VersionedValue>) -> Self {
        self.expected.push((key.clone(), found.map(|record| record.version)));
        self
    }

    /// Writes a record.
    #[must_use]
    pub fn put(mut self, key: &Key, value: Vec<u8>) -> Self {
        self.changes.push((key.clone(), Some(value)));
        self
    }

    /// Deletes a record, where there is one.
    #[must_use]
    pub fn delete(mut self, key: &Key) -> Self {
        self.changes.push((key.clone(), None));
        self
    }
}

/// Why a store did not answer. No message of the system below is in it: those tell paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The store has no room left.
    #[error("the metadata store has no room left")]
    Full,
    /// What is kept is not what was written.
    #[error("the metadata store is damaged")]
    Damaged,
    /// The write-ahead log lacks commits that were acknowledged. The files are as they were found.
    #[error("the metadata store is damaged: {0}")]
    LogDamaged(LogDamage),
    /// Another process has it open.
    #[error("the metadata store is in use by another process")]
    InUse,
    /// The file is whole, but it is not one of this store.
    #[error("the file is no metadata store")]
    Foreign,
    /// A version that this program does not know wrote it.
    #[error("the metadata store has version {found}, and this program knows up to {known}")]
    NewerVersion {
        /// The version it has.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file is not at its path any more, so nothing is written.
    #[error("the data folder was moved or replaced while it was in use")]
    Moved,
    /// The store does not answer, or not as it should.
    #[error("the metadata store cannot {doing}")]
    Unavailable {
        /// What it was to do.
        doing: &'static str,
    },
}

impl MetadataError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full => "store_full",
            Self::Damaged | Self::LogDamaged(_) => "metadata_damaged",
            Self::InUse => "store_in_use",
            Self::Foreign => "metadata_foreign",
            Self::NewerVersion { .. } => "store_newer",
            Self::Moved => "data_folder_moved",
            Self::Unavailable { .. } => "store_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Full => "give the store more room",
            Self::Damaged => "restore it from a copy; blobs are not affected",
            Self::LogDamaged(damage) => damage.help(),
            Self::InUse => "stop the other process, or name another data folder",
            Self::Foreign => "move the file away, or name another data folder",
            Self::NewerVersion { .. } => "run the program that wrote it, or a newer one",
            Self::Moved => MOVED_HELP,
            Self::Unavailable { .. } => "try again; the log of the machine that keeps the store says more",
        }
    }
}

/// Help for a data folder that was moved.
pub(crate) const MOVED_HELP: &str = "move it back, or restart the Runtime with its new path";

/// Damage of a write-ahead log, with what of it can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogDamage {
    /// A transaction in the middle is not what was written.
    #[error(
        "the first {intact} transactions of its log (`metadata.sqlite-wal`, {length} bytes) are intact, the next one is \
         not, and of those after it {unreachable} are readable and cannot be applied without it"
    )]
    Broken {
        /// Transactions before the damage.
        intact: u64,
        /// Bytes of the log that these take.
        length: u64,
        /// Transactions after the damage that are readable.
        unreachable: u64,
    },
    /// The log ends before the last commit that is known.
    #[error(
        "its log (`metadata.sqlite-wal`) ends after {intact} intact transactions ({length} bytes), and more were \
         acknowledged"
    )]
    Short {
        /// Transactions that are there.
        intact: u64,
        /// Bytes of the log that these take.
        length: u64,
    },
    /// The log is missing, or its beginning is, and with it everything that was not folded into the database.
    #[error(
        "its log (`metadata.sqlite-wal`) is missing or has no valid header, and at least {missing} changes are lost"
    )]
    Lost {
        /// Changes that the database file lacks.
        missing: u64,
    },
    /// The log is damaged, and the database file holds everything that is known to have been in it.
    #[error(
        "its log (`metadata.sqlite-wal`) is not what was written, but all known changes are in `metadata.sqlite` too"
    )]
    Folded,
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
            Self::Folded => {
                "copy the data folder; then remove `metadata.sqlite-wal` and `metadata.sqlite-mark`, and check the folder"
            }
        }
    }
}

/// Why a batch did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A record is not as it was found.
    #[error("a record was changed meanwhile")]
    Conflict,
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] MetadataError),
}
