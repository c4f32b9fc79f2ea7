//! Records of a Runtime, and the commits that change them.
//!
//! Every change of a workspace goes through [`Ledger::commit`]. One batch contains the changed records, the updated
//! storage usage and the events of the change, so an event is stored if and only if its change is. The keys are in
//! `keys`, and the contents of the records in `rows`.

mod keys;
mod rows;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use bundles::WorkspaceId;
use content_store::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};
use runtime_api::event::{Epoch, Event, EventKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::limits::RuntimeLimits;

pub(crate) use keys::*;
pub(crate) use rows::*;

/// Rows that are read in one request. The store performs other requests between two of them, so a long list does not
/// block other callers.
const ROWS_AT_ONCE: usize = 64;

/// Bytes of the rows of a page, unless its first row alone has more.
const PAGE_BYTES: usize = 256 << 10;

/// A part of a list, bounded by its number of items and by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// `true` if items come after the last one.
    pub more: bool,
}

/// Stream of the events that belong to the Runtime. No workspace id begins with `~`.
pub(crate) const RUNTIME_EVENTS: &str = "~runtime";

/// Maximum number of attempts at a change that conflicts with concurrent changes.
const ATTEMPTS: usize = 16;

pub(crate) struct Ledger {
    store: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    limits: RuntimeLimits,
    /// The epoch of the events that are written through this ledger.
    epoch: Epoch,
    /// Number of the newest event of each workspace that has subscribers.
    newest: Mutex<HashMap<WorkspaceId, watch::Sender<u64>>>,
}

/// A row, with the record that it was read from.
#[derive(Debug)]
pub(crate) struct Row<T> {
    pub(crate) value: T,
    pub(crate) record: VersionedValue,
}

impl<T: DeserializeOwned> Row<T> {
    /// Reads a record.
    pub(crate) fn of(record: VersionedValue) -> Result<Self, MetadataError> {
        Ok(Self { value: read(&record)?, record })
    }
}

/// Changes to the records of a workspace, with their effect on its usage and their events.
#[derive(Debug, Default)]
pub(crate) struct Change {
    batch: Batch,
    usage: Usage,
    given_back: Usage,
    events: Vec<EventKind>,
}

/// Result of a decision that was made from rows of the store.
#[derive(Debug)]
pub(crate) enum Decision<T> {
    /// Commits the change, and then returns the value.
    Commit(Change, T),
    /// Returns the value without a change.
    Keep(T),
}

/// Error returned by a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// A record on which the change is based was changed by another commit.
    #[error("a record was changed meanwhile")]
    Conflict,
    /// The workspace has reached a storage limit.
    #[error("the workspace's limit `{limit}` is reached ({allowed} allowed)")]
    Full { limit: &'static str, allowed: u64 },
    #[error(transparent)]
    Store(#[from] MetadataError),
}

impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Conflict,
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

impl Change {
    /// Makes the commit fail if the row differs from `found`, which is `None` if the row was absent.
    pub(crate) fn expect<T>(mut self, key: &Key, found: Option<&Row<T>>) -> Self {
        self.batch = self.batch.expect(key, found.map(|row| &row.record));
        self
    }

    pub(crate) fn put(mut self, key: &Key, row: &impl Serialize) -> Self {
        // Serialising cannot fail: rows contain only names, digests, numbers and texts.
        self.batch = self.batch.put(key, serde_json::to_vec(row).unwrap_or_default());
        self
    }

    pub(crate) fn delete(mut self, key: &Key) -> Self {
        self.batch = self.batch.delete(key);
        self
    }

    pub(crate) fn add_usage(mut self, usage: Usage) -> Self {
        self.usage = self.usage.plus(usage);
        self
    }

    pub(crate) fn subtract_usage(mut self, usage: Usage) -> Self {
        self.given_back = self.given_back.plus(usage);
        self
    }

    pub(crate) fn event(mut self, event: EventKind) -> Self {
        self.events.push(event);
        self
    }
}

impl Ledger {
    pub(crate) fn new(
        store: Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
        limits: RuntimeLimits,
        epoch: Epoch,
    ) -> Self {
        Self { store, clock, limits, epoch, newest: Mutex::default() }
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Reads all metadata and returns an error if it is damaged.
    pub(crate) async fn check(&self) -> Result<(), MetadataError> {
        self.store.check().await
    }

    pub(crate) async fn row<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Row<T>>, MetadataError> {
        match self.store.get(key).await? {
            None => Ok(None),
            Some(record) => Row::of(record).map(Some),
        }
    }

    /// Returns the records of several keys in one request, because each request to the store waits in its queue.
    pub(crate) async fn records<const N: usize>(
        &self,
        keys: [&Key; N],
    ) -> Result<[Option<VersionedValue>; N], MetadataError> {
        let found = self.store.get_all(&keys.map(Key::clone)).await?;
        found.try_into().map_err(|_| MetadataError::Unavailable { operation: "read a record" })
    }

    pub(crate) async fn exists(&self, key: &Key) -> Result<bool, MetadataError> {
        Ok(self.store.get(key).await?.is_some())
    }

    /// At most so many rows below a key, after another.
    pub(crate) async fn rows<T: DeserializeOwned>(
        &self,
        below: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, T)>, MetadataError> {
        let mut rows = Vec::new();
        let row = |key, record: VersionedValue| {
            rows.push((key, read(&record)?));
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, most, row).await?;
        Ok(rows)
    }

    /// A page of rows below a key, after another.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        below: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Page<(Key, T)>, MetadataError> {
        let (mut page, mut bytes) = (Page { items: Vec::new(), more: false }, 0);
        let row = |key, record: VersionedValue| {
            bytes += record.value.len();
            if page.items.len() >= most || (bytes > PAGE_BYTES && !page.items.is_empty()) {
                page.more = true;
                return Ok(ControlFlow::Break(()));
            }
            page.items.push((key, read(&record)?));
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, most.saturating_add(1), row).await?;
        Ok(page)
    }

    /// The keys alone.
    pub(crate) async fn keys(&self, below: &Key, after: Option<&Key>, most: usize) -> Result<Vec<Key>, MetadataError> {
        let mut keys = Vec::new();
        let key = |key, _| {
            keys.push(key);
            Ok(ControlFlow::Continue(()))
        };
        self.walk(below, after, most, key).await?;
        Ok(keys)
    }

    /// Goes through at most so many records below a key, after another, until `each` breaks off.
    async fn walk(
        &self,
        below: &Key,
        after: Option<&Key>,
        most: usize,
        mut each: impl FnMut(Key, VersionedValue) -> Result<ControlFlow<()>, MetadataError>,
    ) -> Result<(), MetadataError> {
        let (mut after, mut left) = (after.cloned(), most);
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

    /// Makes a decision for a workspace and commits its change. If a row that the change expects was changed by another
    /// commit, `decide` reads the rows again and decides again, at most [`ATTEMPTS`] times. `decide` must expect every row
    /// on which its decision depends, or hold a lock that protects it.
    pub(crate) async fn update<T, E: From<ChangeError>, D: Future<Output = Result<Decision<T>, E>>>(
        &self,
        workspace: &WorkspaceId,
        decide: impl Fn() -> D,
    ) -> Result<T, E> {
        retry(decide, |change, _| self.commit(workspace, change)).await
    }

    /// Like [`update`](Self::update), for a change that belongs to no workspace.
    pub(crate) async fn update_globally<T, E: From<ChangeError>, D: Future<Output = Result<Decision<T>, E>>>(
        &self,
        decide: impl Fn() -> D,
    ) -> Result<T, E> {
        retry(decide, |change, _| self.commit_globally(change)).await
    }

    /// Commits a change that belongs to no workspace, with its events, or nothing of it.
    pub(crate) async fn commit_globally(&self, change: Change) -> Result<(), ChangeError> {
        let Change { mut batch, events, .. } = change;
        if !events.is_empty() {
            let counted = self.row::<u64>(&sequence_key(RUNTIME_EVENTS)).await?;
            (batch, _) = self.with_events(batch, RUNTIME_EVENTS, counted, events);
        }
        Ok(self.store.commit(batch).await?)
    }

    /// Commits a change of a workspace, with its account and its events, or nothing of it.
    pub(crate) async fn commit(&self, workspace: &WorkspaceId, change: Change) -> Result<(), ChangeError> {
        let Change { mut batch, usage, given_back, events } = change;
        let keys = (usage_key(workspace), sequence_key(workspace));
        let accounts = usage != Usage::default() || given_back != Usage::default();
        let [accounted, counted] = match accounts || !events.is_empty() {
            true => self.records([&keys.0, &keys.1]).await?,
            false => [None, None],
        };
        if accounts {
            let key = keys.0;
            let row = accounted.map(Row::<Usage>::of).transpose()?;
            let before = row.as_ref().map(|row| row.value).unwrap_or_default();
            let after = before.plus(usage).minus(given_back);
            if let Some((limit, allowed)) = after.over(&before, &self.limits) {
                return Err(ChangeError::Full { limit, allowed });
            }
            let bytes = serde_json::to_vec(&after).unwrap_or_default();
            batch = batch.expect(&key, row.as_ref().map(|row| &row.record)).put(&key, bytes);
        }
        let mut newest = None;
        if !events.is_empty() {
            let number;
            (batch, number) = self.with_events(batch, workspace.as_str(), counted.map(Row::of).transpose()?, events);
            newest = Some(number);
        }
        self.store.commit(batch).await?;
        if let Some(number) = newest {
            self.notify_subscribers(workspace, number);
        }
        Ok(())
    }

    /// Adds events to a batch, and returns the number of the last one. `counted` is the row of the stream's sequence.
    fn with_events(
        &self,
        mut batch: Batch,
        stream: &str,
        counted: Option<Row<u64>>,
        events: Vec<EventKind>,
    ) -> (Batch, u64) {
        let mut number = counted.as_ref().map_or(0, |row| row.value);
        let at = self.now();
        for kind in events {
            number += 1;
            let row = EventRow { epoch: Some(self.epoch), event: Event { number, at, kind } };
            batch = batch.put(&event_key(stream, number), serde_json::to_vec(&row).unwrap_or_default());
            // One more than subscribers see: it proves the cursor of a subscriber that has missed nothing yet.
            let rows = self.limits.kept_events.saturating_add(1);
            if let Some(oldest) = number.checked_sub(rows).filter(|oldest| *oldest > 0) {
                batch = batch.delete(&event_key(stream, oldest));
            }
        }
        let (key, bytes) = (sequence_key(stream), serde_json::to_vec(&number).unwrap_or_default());
        (batch.expect(&key, counted.as_ref().map(|row| &row.record)).put(&key, bytes), number)
    }

    /// Returns the number of the newest event, as it changes.
    ///
    /// The number may be behind the store, because a commit is stored before its number is published. Use the number
    /// only to wake subscribers.
    pub(crate) async fn watch(&self, workspace: &WorkspaceId) -> Result<watch::Receiver<u64>, MetadataError> {
        // Subscribe before reading the store. A commit between the two steps then reaches the receiver.
        let receiver = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.entry(workspace.clone()).or_default().subscribe()
        };
        if let Some(row) = self.row::<u64>(&sequence_key(workspace)).await? {
            self.notify_subscribers(workspace, row.value);
        }
        Ok(receiver)
    }

    /// Returns how many of the newest events subscribers see.
    pub(crate) fn kept_events(&self) -> u64 {
        self.limits.kept_events
    }

    fn notify_subscribers(&self, workspace: &WorkspaceId, number: u64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = newest.get(workspace) {
            sender.send_if_modified(|known| {
                let newer = number > *known;
                *known = number.max(*known);
                newer
            });
            if sender.receiver_count() == 0 {
                newest.remove(workspace);
            }
        }
    }
}

/// Makes a decision and commits its change, again after each conflict. `commit` also gets the value of the decision.
pub(crate) async fn retry<T, E, D, C>(decide: impl Fn() -> D, commit: impl Fn(Change, &T) -> C) -> Result<T, E>
where
    E: From<ChangeError>,
    D: Future<Output = Result<Decision<T>, E>>,
    C: Future<Output = Result<(), ChangeError>>,
{
    for _ in 0..ATTEMPTS {
        let (change, value) = match decide().await? {
            Decision::Commit(change, value) => (change, value),
            Decision::Keep(value) => return Ok(value),
        };
        match commit(change, &value).await {
            Err(ChangeError::Conflict) => {}
            done => return Ok(done.map(|()| value)?),
        }
    }
    Err(ChangeError::Conflict.into())
}

fn read<T: DeserializeOwned>(record: &VersionedValue) -> Result<T, MetadataError> {
    serde_json::from_slice(&record.value).map_err(|_| MetadataError::Damaged)
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use content_store::metadata::MemoryMetadata;

    use super::*;
    use crate::clock::ManualClock;

    /// Increments a number, with a concurrent change before each of the first `conflicts` commits. Returns the result, the
    /// number in the store and how often the decision was made.
    async fn increment(conflicts: usize) -> (Result<u64, ChangeError>, u64, usize) {
        let clock = Arc::new(ManualClock::at(0));
        let store = Arc::new(MemoryMetadata::default());
        let ledger = Ledger::new(store, clock, RuntimeLimits::default(), Epoch::from(1));
        let (key, decisions) = (Key::new("number"), AtomicUsize::new(0));
        let decide = || async {
            let found = ledger.row::<u64>(&key).await?;
            let number = found.as_ref().map_or(0, |row| row.value) + 1;
            if decisions.fetch_add(1, Ordering::SeqCst) < conflicts {
                ledger.commit_globally(Change::default().put(&key, &number)).await?;
            }
            Ok(Decision::Commit(Change::default().expect(&key, found.as_ref()).put(&key, &number), number))
        };
        let result = ledger.update_globally(decide).await;
        let stored = ledger.row::<u64>(&key).await.expect("read").map_or(0, |row| row.value);
        (result, stored, decisions.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn decision_is_made_again_after_a_conflict_and_not_forever() {
        assert_eq!(increment(0).await, (Ok(1), 1, 1));
        assert_eq!(increment(3).await, (Ok(4), 4, 4));
        assert_eq!(increment(usize::MAX).await, (Err(ChangeError::Conflict), 16, ATTEMPTS));
    }

    #[tokio::test]
    async fn decision_to_keep_commits_nothing() {
        let store = Arc::new(MemoryMetadata::default());
        let ledger = Ledger::new(store, Arc::new(ManualClock::at(0)), RuntimeLimits::default(), Epoch::from(1));
        let kept: Result<u8, ChangeError> = ledger.update_globally(|| async { Ok(Decision::Keep(7)) }).await;
        assert_eq!(kept, Ok(7));
        assert!(ledger.keys(&Key::new("number"), None, 9).await.expect("read").is_empty());
    }
}
