//! Watching a workspace: what its workers did, and what happens.

use tokio::sync::watch;

use super::catalogue::WorkerError;
use crate::content::Content;
use crate::event::Event;
use crate::history::Entry;
use crate::ledger::{WorkerRow, entries_key, entry_key, event_key, events_key, worker_key};
use crate::metadata::MetadataError;
use crate::worker::WorkerId;

/// What can be seen of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(crate) content: Content,
}

/// What a subscription sees next.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// An event.
    Event(Event),
    /// Events that are kept no more: those after the first number, up to the second.
    Gap {
        /// The last event that was seen.
        after: u64,
        /// The first that is kept.
        first_kept: u64,
    },
}

/// Events as they happen, from some number on.
#[derive(Debug)]
pub struct Subscription {
    content: Content,
    newest: watch::Receiver<u64>,
    seen: u64,
    page: std::collections::VecDeque<Event>,
}

/// Events that are read at a time.
const PAGE: usize = 64;

impl Observation {
    /// At most so many entries of a worker's history, in order, after one of that number.
    pub async fn history(&self, worker: &WorkerId, after: u64, most: usize) -> Result<Vec<Entry>, WorkerError> {
        let ledger = &self.content.shared.ledger;
        let workspace = &self.content.workspace;
        if ledger.row::<WorkerRow>(&worker_key(workspace, worker)).await?.is_none() {
            return Err(WorkerError::NotFound(worker.clone()));
        }
        let after = entry_key(workspace, worker, after);
        let rows = ledger.rows::<Entry>(&entries_key(workspace, worker), Some(&after), most).await?;
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }

    /// The number of the newest event; 0 where nothing has happened.
    pub async fn newest_event(&self) -> Result<u64, MetadataError> {
        Ok(*self.content.shared.ledger.watch(&self.content.workspace).await?.borrow())
    }

    /// All events after the one of that number, those that happened and those that will.
    pub async fn subscribe(&self, after: u64) -> Result<Subscription, MetadataError> {
        let newest = self.content.shared.ledger.watch(&self.content.workspace).await?;
        Ok(Subscription { content: self.content.clone(), newest, seen: after, page: Default::default() })
    }
}

impl Subscription {
    /// Waits for what comes next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Seen, MetadataError> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.seen = event.number;
                return Ok(Seen::Event(event));
            }
            // Before reading: what is written after this is seen as a change.
            let newest = *self.newest.borrow_and_update();
            if newest < self.seen {
                // What was seen was told by another store, or by this one before it was restored.
                let gap = Seen::Gap { after: self.seen, first_kept: 1 };
                self.seen = 0;
                return Ok(gap);
            }
            if newest > self.seen {
                let (ledger, workspace) = (&self.content.shared.ledger, &self.content.workspace);
                let after = event_key(workspace, self.seen);
                let page = ledger.rows::<Event>(&events_key(workspace), Some(&after), PAGE).await?;
                self.page = page.into_iter().map(|(_, event)| event).collect();
                if let Some(first) = self.page.front().filter(|first| first.number > self.seen + 1) {
                    let gap = Seen::Gap { after: self.seen, first_kept: first.number };
                    self.seen = first.number - 1;
                    return Ok(gap);
                }
                if !self.page.is_empty() {
                    continue;
                }
            }
            if self.newest.changed().await.is_err() {
                // The sender goes away where nobody else watches; what it knew is in the store.
                self.newest = self.content.shared.ledger.watch(&self.content.workspace).await?;
            }
        }
    }
}
