//! Records of a Runtime, and the commits that change them.
//!
//! Every change of a workspace goes through [`Ledger::commit`]. One batch contains the changed records, the updated
//! storage usage and the events of the change, so an event is stored if and only if its change is. The keys are in
//! `keys`, and the contents of the records in `rows`.

mod keys;
mod rows;

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bundles::WorkspaceId;
use content_store::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore};
use content_store::records::{self, Conflict, Records, retry};
use runtime_api::event::{Epoch, Event, EventKind};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::limits::RuntimeLimits;

pub(crate) use content_store::records::{Page, Row};
pub(crate) use keys::*;
pub(crate) use rows::*;

/// Stream of the events that belong to the Runtime. No workspace id begins with `~`.
pub(crate) const RUNTIME_EVENTS: &str = "~runtime";

pub(crate) struct Ledger {
    records: Records,
    clock: Arc<dyn Clock>,
    limits: RuntimeLimits,
    /// The epoch of the events that are written through this ledger.
    epoch: Epoch,
    /// Number of the newest event of each workspace that has subscribers.
    newest: Mutex<HashMap<WorkspaceId, watch::Sender<u64>>>,
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
pub(crate) type Decision<T> = records::Decision<Change, T>;

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

impl Conflict for ChangeError {
    const CONFLICT: Self = Self::Conflict;

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict)
    }
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
        self.batch = self.batch.expect_row(key, found);
        self
    }

    pub(crate) fn put(mut self, key: &Key, row: &impl Serialize) -> Self {
        self.batch = self.batch.put_row(key, row);
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
        Self { records: Records::new(store), clock, limits, epoch, newest: Mutex::default() }
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Makes a decision for a workspace and commits its change. If a row that the change expects was changed by another
    /// commit, `decide` reads the rows again and decides again, at most 16 times. `decide` must expect every row
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
        Ok(self.records.commit(batch).await?)
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
        self.records.commit(batch).await?;
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

/// Reads go to the records directly.
impl Deref for Ledger {
    type Target = Records;

    fn deref(&self) -> &Records {
        &self.records
    }
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
        assert_eq!(increment(usize::MAX).await, (Err(ChangeError::Conflict), 16, 16));
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
