//! Records of JSON values over a metadata store: rows, pages, and changes that are decided again after a conflict.
//!
//! The code that uses a store defines keys and values. [`Records`] reads and writes them, so that all of it treats a record
//! that cannot be parsed as damaged, reads long lists in portions, and retries conflicts in the same way.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};

/// Rows that are read in one request. The store performs other requests between two of them, so a long list does not
/// block other callers.
const ROWS_AT_ONCE: usize = 64;

/// Bytes of the rows of a page, unless its first row alone has more.
const PAGE_BYTES: usize = 256 << 10;

/// Maximum number of attempts at a change that conflicts with concurrent changes.
const ATTEMPTS: usize = 16;

/// Records of JSON values. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn MetadataStore>,
}

/// A row, with the record that it was read from.
#[derive(Debug)]
pub struct Row<T> {
    /// The parsed value.
    pub value: T,
    /// The record.
    pub record: VersionedValue,
}

/// A part of a list, bounded by its number of items and by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// `true` if items come after the last one.
    pub more: bool,
}

/// Result of a decision that was made from rows of the store.
#[derive(Debug)]
pub enum Decision<C, T> {
    /// Commits the change, and then returns the value.
    Commit(C, T),
    /// Returns the value without a change.
    Keep(T),
}

impl<T: DeserializeOwned> Row<T> {
    /// Parses a record.
    pub fn of(record: VersionedValue) -> Result<Self, MetadataError> {
        Ok(Self { value: read(&record)?, record })
    }
}

impl Batch {
    /// Adds a condition: the row is still as it was found, or still absent.
    #[must_use]
    pub fn expect_row<T>(self, key: &Key, found: Option<&Row<T>>) -> Self {
        self.expect(key, found.map(|row| &row.record))
    }

    /// Adds the write of a row.
    #[must_use]
    pub fn put_row(self, key: &Key, row: &impl Serialize) -> Self {
        // Serialising cannot fail: rows contain only names, digests, numbers and texts.
        self.put(key, serde_json::to_vec(row).unwrap_or_default())
    }
}

impl Records {
    /// Returns the records of a store.
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Reads all metadata and returns an error if it is damaged.
    pub async fn check(&self) -> Result<(), MetadataError> {
        self.store.check().await
    }

    /// Returns the row of a key.
    pub async fn row<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Row<T>>, MetadataError> {
        match self.store.get(key).await? {
            None => Ok(None),
            Some(record) => Row::of(record).map(Some),
        }
    }

    /// Returns the records of several keys in one request, because each request to the store waits in its queue.
    pub async fn records<const N: usize>(&self, keys: [&Key; N]) -> Result<[Option<VersionedValue>; N], MetadataError> {
        let found = self.store.get_all(&keys.map(Key::clone)).await?;
        found.try_into().map_err(|_| MetadataError::Unavailable { operation: "read a record" })
    }

    /// Returns `true` if the key has a record.
    pub async fn exists(&self, key: &Key) -> Result<bool, MetadataError> {
        Ok(self.store.get(key).await?.is_some())
    }

    /// Returns at most `limit` rows below a key, after another.
    pub async fn rows<T: DeserializeOwned>(
        &self,
        below: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, T)>, MetadataError> {
        let mut rows = Vec::new();
        let row = |key, record: VersionedValue| {
            rows.push((key, read(&record)?));
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, limit, row).await?;
        Ok(rows)
    }

    /// Returns a page of rows below a key, after another. It has at most `limit` rows and 256 KiB.
    pub async fn page<T: DeserializeOwned>(
        &self,
        below: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page<(Key, T)>, MetadataError> {
        let (mut page, mut bytes) = (Page { items: Vec::new(), more: false }, 0);
        let row = |key, record: VersionedValue| {
            bytes += record.value.len();
            if page.items.len() >= limit || (bytes > PAGE_BYTES && !page.items.is_empty()) {
                page.more = true;
                return Ok(ControlFlow::Break(()));
            }
            page.items.push((key, read(&record)?));
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, limit.saturating_add(1), row).await?;
        Ok(page)
    }

    /// Returns at most `limit` keys below a key, after another.
    pub async fn keys(&self, below: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, MetadataError> {
        let mut keys = Vec::new();
        let key = |key, _| {
            keys.push(key);
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, limit, key).await?;
        Ok(keys)
    }

    /// Passes at most `limit` records below a key, after another, to `each`, until it breaks off.
    async fn walk(
        &self,
        below: &Key,
        after: Option<&Key>,
        limit: usize,
        mut each: impl FnMut(Key, VersionedValue) -> Result<ControlFlow<()>, MetadataError>,
    ) -> Result<(), MetadataError> {
        let (mut after, mut left) = (after.cloned(), limit);
        while left > 0 {
            let limit = left.min(ROWS_AT_ONCE);
            let records = self.store.scan(below, after.as_ref(), limit).await?;
            let is_end = records.len() < limit;
            left = left.saturating_sub(records.len());
            after = records.last().map(|(key, _)| key.clone());
            for (key, record) in records {
                if each(key, record)?.is_break() {
                    return Ok(());
                }
            }
            if is_end {
                return Ok(());
            }
            // A store in memory never waits, so without this yield a long list would block other tasks.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Applies all of a batch or nothing of it.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.commit(batch).await
    }

    /// Makes a decision and commits its batch. If a row that the batch expects was changed by another commit, `decide` reads
    /// the rows again and decides again. `decide` must expect every row on which its decision depends, or hold a lock that
    /// protects it.
    pub async fn update<T, E, D>(&self, decide: impl Fn() -> D) -> Result<T, E>
    where
        E: From<CommitError>,
        D: Future<Output = Result<Decision<Batch, T>, E>>,
    {
        retry(decide, |batch, _| self.commit(batch)).await
    }
}

/// Error of a commit that can tell whether another commit changed a row on which the change is based.
pub trait Conflict {
    /// The error of a conflict.
    const CONFLICT: Self;

    /// Returns `true` if a row was changed by another commit, so that the decision must be made again.
    fn is_conflict(&self) -> bool;
}

impl Conflict for CommitError {
    const CONFLICT: Self = Self::Conflict;

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict)
    }
}

/// Makes a decision and commits its change, again after each conflict, at most 16 times. `commit` also gets the value of the
/// decision.
pub async fn retry<T, C, F: Conflict, E, D, W>(decide: impl Fn() -> D, commit: impl Fn(C, &T) -> W) -> Result<T, E>
where
    E: From<F>,
    D: Future<Output = Result<Decision<C, T>, E>>,
    W: Future<Output = Result<(), F>>,
{
    for _ in 0..ATTEMPTS {
        let (change, value) = match decide().await? {
            Decision::Commit(change, value) => (change, value),
            Decision::Keep(value) => return Ok(value),
        };
        match commit(change, &value).await {
            Err(error) if error.is_conflict() => {}
            done => return Ok(done.map(|()| value)?),
        }
    }
    Err(F::CONFLICT.into())
}

fn read<T: DeserializeOwned>(record: &VersionedValue) -> Result<T, MetadataError> {
    serde_json::from_slice(&record.value).map_err(|_| MetadataError::Damaged)
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}
