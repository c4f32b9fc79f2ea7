//! Watching a workspace: what its workers did, and what happens.

use std::collections::VecDeque;

use content_store::metadata::MetadataError;
use futures_util::stream::{self, BoxStream, StreamExt};
use runtime_api::event::{Cursor, Event};
use runtime_api::history::Entry;
use runtime_api::worker::WorkerId;
use tokio::sync::watch;

use super::catalogue::WorkerError;
use crate::ledger::{EventRow, Page, WorkerRow, entries_key, entry_key, event_key, events_key, worker_key};
use crate::workspace::Workspace;

/// What can be seen of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(crate) workspace: Workspace,
}

/// What a subscription sees next.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// An event.
    Event(Event),
    /// Events may have been missed: those between the two numbers were deleted, or the store does not have the
    /// event that was seen last, because it was restored from a backup. Then `first_kept` may be less than `after`.
    Gap {
        /// The number of the last event that was seen.
        after: u64,
        /// The number of the event that comes next.
        first_kept: u64,
    },
}

/// Events as they happen, after a cursor.
#[derive(Debug)]
pub struct Subscription {
    workspace: Workspace,
    newest: watch::Receiver<u64>,
    seen: Cursor,
    /// `true` if the store has the event that was seen last.
    is_known: bool,
    page: VecDeque<EventRow>,
}

/// Events that are read at a time.
const EVENTS: usize = 63;

impl Observation {
    /// Returns at most so many entries of a worker's history, in order, after one of that number.
    pub async fn history(&self, worker: &WorkerId, after: u64, most: usize) -> Result<Vec<Entry>, WorkerError> {
        let (mut entries, mut after) = (Vec::new(), after);
        loop {
            let page = self.history_page(worker, after, most.saturating_sub(entries.len())).await?;
            entries.extend(page.items);
            match entries.last() {
                Some(last) if page.more && entries.len() < most => after = last.number,
                _ => return Ok(entries),
            }
        }
    }

    /// Returns a page of a worker's history: at most so many entries after one of that number, and 256 KiB of them.
    pub async fn history_page(&self, worker: &WorkerId, after: u64, most: usize) -> Result<Page<Entry>, WorkerError> {
        let ledger = &self.workspace.shared.ledger;
        let workspace = &self.workspace.id;
        if ledger.row::<WorkerRow>(&worker_key(workspace, worker)).await?.is_none() {
            return Err(WorkerError::NotFound(worker.clone()));
        }
        let after = entry_key(workspace, worker, after);
        let page = ledger.page::<Entry>(&entries_key(workspace, worker), Some(&after), most).await?;
        Ok(Page { items: page.items.into_iter().map(|(_, entry)| entry).collect(), more: page.more })
    }

    /// The number of the newest event; 0 where nothing has happened.
    pub async fn newest_event(&self) -> Result<u64, MetadataError> {
        Ok(*self.workspace.shared.ledger.watch(&self.workspace.id).await?.borrow())
    }

    /// Returns all events after a cursor: those that happened, and those that will.
    ///
    /// A cursor that is not of this store gives a [`Seen::Gap`] first.
    pub async fn subscribe(&self, after: impl Into<Cursor>) -> Result<Subscription, MetadataError> {
        let seen: Cursor = after.into();
        let (ledger, workspace) = (&self.workspace.shared.ledger, &self.workspace.id);
        let newest = ledger.watch(workspace).await?;
        let is_known = seen == Cursor::START || {
            let row = ledger.row::<EventRow>(&event_key(workspace, seen.number())).await?;
            row.is_some_and(|row| row.value.cursor() == seen)
        };
        Ok(Subscription { workspace: self.workspace.clone(), newest, seen, is_known, page: VecDeque::new() })
    }
}

impl Subscription {
    /// Returns what comes next as a stream. It ends after the first failure of the metadata store.
    pub fn into_stream(self) -> BoxStream<'static, Result<Seen, MetadataError>> {
        let next = |subscription: Option<Self>| async move {
            let mut subscription = subscription?;
            let seen = subscription.next().await;
            let goes_on = seen.is_ok();
            Some((seen, goes_on.then_some(subscription)))
        };
        stream::unfold(Some(self), next).boxed()
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Seen, MetadataError> {
        loop {
            if let Some(row) = self.page.pop_front() {
                self.seen = row.cursor();
                return Ok(Seen::Event(row.event));
            }
            // Before reading: what is written after this is seen as a change.
            let newest = *self.newest.borrow_and_update();
            if newest > self.seen.number() || !self.is_known {
                if let Some(gap) = self.read(newest).await? {
                    return Ok(gap);
                }
                if !self.page.is_empty() {
                    continue;
                }
            }
            if self.newest.changed().await.is_err() {
                // The sender goes away where nobody else watches; what it knew is in the store.
                self.newest = self.workspace.shared.ledger.watch(&self.workspace.id).await?;
            }
        }
    }

    /// Returns the position after what [`next`](Self::next) returned last. A subscription that begins there goes on
    /// without a gap, also in another process that opens the same store.
    pub fn cursor(&self) -> Cursor {
        self.seen
    }

    /// Reads the next page, and returns the gap before it if there is one.
    async fn read(&mut self, newest: u64) -> Result<Option<Seen>, MetadataError> {
        let (ledger, workspace) = (&self.workspace.shared.ledger, &self.workspace.id);
        let deleted = newest.saturating_sub(ledger.kept_events());
        let after = if self.is_known { deleted.max(self.seen.number()) } else { deleted };
        // With the row before the first: after a gap, the cursor is its position.
        let before = event_key(workspace, after.saturating_sub(1));
        let rows = ledger.rows::<EventRow>(&events_key(workspace), Some(&before), EVENTS + 1).await?;
        let mut page: VecDeque<EventRow> = rows.into_iter().map(|(_, row)| row).collect();
        let previous = page.pop_front_if(|row| row.event.number == after);
        let first = page.front().map_or(newest.max(after) + 1, |row| row.event.number);
        // Up to the next hole, if there is one.
        let mut next = first;
        page.retain(|row| {
            let is_next = row.event.number == next;
            next += u64::from(is_next);
            is_next
        });
        self.page = page;
        let is_known = std::mem::replace(&mut self.is_known, true);
        if is_known && first == self.seen.number() + 1 {
            return Ok(None);
        }
        let gap = Seen::Gap { after: self.seen.number(), first_kept: first };
        let previous = previous.filter(|row| row.event.number + 1 == first);
        self.seen = previous.map_or(Cursor::from(first - 1), |row| row.cursor());
        Ok(Some(gap))
    }
}
