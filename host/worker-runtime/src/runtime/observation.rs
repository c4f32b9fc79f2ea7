//! Histories of workers and events of a workspace.

use std::collections::VecDeque;

use content_store::metadata::MetadataError;
use futures_util::stream::{self, BoxStream, StreamExt};
use runtime_api::event::{Cursor, PositionedItem, SubscriptionItem};
use runtime_api::history::Entry;
use runtime_api::log::LogEntry;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::WorkerId;
use tokio::sync::watch;

use super::catalogue::WorkerError;
use crate::ledger::{
    EventRow, Page, StoredState, WorkerRow, entries_key, entry_key, event_key, events_key, worker_key,
};
use crate::workspace::Workspace;

/// API to read the histories and events of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(crate) workspace: Workspace,
}

/// Subscription to the events of a workspace after a cursor.
#[derive(Debug)]
pub struct Subscription {
    workspace: Workspace,
    newest: watch::Receiver<u64>,
    /// Position after the last received event.
    position: Cursor,
    /// `true` if the store has the last received event.
    is_known: bool,
    page: VecDeque<EventRow>,
}

/// Events that are read in one request.
const EVENTS_PER_READ: usize = 63;

impl Observation {
    /// Returns at most `limit` entries of a worker's history in order, starting after the entry with the number
    /// `after`.
    pub async fn history(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Vec<Entry>, WorkerError> {
        let (mut entries, mut after) = (Vec::new(), after);
        loop {
            let page = self.history_page(worker, after, limit.saturating_sub(entries.len())).await?;
            entries.extend(page.items);
            match entries.last() {
                Some(last) if page.more && entries.len() < limit => after = last.number,
                _ => return Ok(entries),
            }
        }
    }

    /// Returns a page of a worker's history, starting after the entry with the number `after`. A page has at most
    /// `limit` entries and 256 KiB of rows.
    pub async fn history_page(&self, worker: &WorkerId, after: u64, limit: usize) -> Result<Page<Entry>, WorkerError> {
        let ledger = &self.workspace.shared.ledger;
        let workspace = &self.workspace.id;
        if ledger.row::<WorkerRow>(&worker_key(workspace, worker)).await?.is_none() {
            return Err(WorkerError::NotFound(worker.clone()));
        }
        let after = entry_key(workspace, worker, after);
        let page = ledger.page::<Entry>(&entries_key(workspace, worker), Some(&after), limit).await?;
        Ok(Page { items: page.items.into_iter().map(|(_, entry)| entry).collect(), more: page.more })
    }

    /// Returns the log lines of a worker's plugins that are kept, starting after the line with the number `after`.
    pub async fn plugin_logs(&self, worker: &WorkerId, after: u64) -> Result<Vec<LogEntry>, WorkerError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        if !shared.ledger.exists(&worker_key(workspace, worker)).await? {
            return Err(WorkerError::NotFound(worker.clone()));
        }
        Ok(shared.plugin_logs.lines(&self.workspace.plugin_owner(worker), after))
    }

    /// Returns the services of a worker with their states, ordered by plugin. A worker that is stopped or suspended has
    /// none. The states are those after the last turns, so a service that computes does not delay the answer.
    pub async fn services(&self, worker: &WorkerId) -> Result<Vec<ServiceSummary>, WorkerError> {
        let catalogue = self.workspace.catalogue();
        let row = catalogue.row(worker).await?;
        if row.state != StoredState::Running {
            return Ok(Vec::new());
        }
        match catalogue.live(worker, &row).await {
            Ok(_) => Ok(self.workspace.shared.services.summaries(&self.workspace.plugin_owner(worker))),
            Err(WorkerError::Suspended { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of the newest event, or 0 if there is none.
    pub async fn newest_event(&self) -> Result<u64, MetadataError> {
        Ok(*self.workspace.shared.ledger.watch(&self.workspace.id).await?.borrow())
    }

    /// Subscribes to all past and future events after a cursor.
    ///
    /// If the store does not have the event of the cursor, the first item is a [`SubscriptionItem::Gap`].
    pub async fn subscribe(&self, after: impl Into<Cursor>) -> Result<Subscription, MetadataError> {
        let position: Cursor = after.into();
        let (ledger, workspace) = (&self.workspace.shared.ledger, &self.workspace.id);
        let newest = ledger.watch(workspace).await?;
        let is_known = position == Cursor::START || {
            let row = ledger.row::<EventRow>(&event_key(workspace, position.number())).await?;
            row.is_some_and(|row| row.value.cursor() == position)
        };
        Ok(Subscription { workspace: self.workspace.clone(), newest, position, is_known, page: VecDeque::new() })
    }
}

impl Subscription {
    /// Converts the subscription into a stream, which ends after the first error of the metadata store.
    pub fn into_stream(self) -> BoxStream<'static, Result<PositionedItem, MetadataError>> {
        let next = |subscription: Option<Self>| async move {
            let mut subscription = subscription?;
            let item = subscription.next().await;
            let continues = item.is_ok();
            let item = item.map(|item| PositionedItem { cursor: subscription.cursor(), item });
            Some((item, continues.then_some(subscription)))
        };
        stream::unfold(Some(self), next).boxed()
    }

    /// Returns the next items that exist now, at most `limit`.
    pub async fn available(&mut self, limit: usize) -> Result<Vec<PositionedItem>, MetadataError> {
        let mut items = Vec::new();
        while items.len() < limit && (*self.newest.borrow() > self.position.number() || !self.is_known) {
            let item = self.next().await?;
            items.push(PositionedItem { cursor: self.cursor(), item });
        }
        Ok(items)
    }

    /// Waits for the next item. The method is cancel safe: dropping the future loses no item.
    pub async fn next(&mut self) -> Result<SubscriptionItem, MetadataError> {
        loop {
            if let Some(row) = self.page.pop_front() {
                self.position = row.cursor();
                return Ok(SubscriptionItem::Event(row.event));
            }
            // Marked as seen before the read, so that an event that is written during the read wakes `changed` below.
            let newest = *self.newest.borrow_and_update();
            if newest > self.position.number() || !self.is_known {
                if let Some(gap) = self.read(newest).await? {
                    return Ok(gap);
                }
                if !self.page.is_empty() {
                    continue;
                }
            }
            if self.newest.changed().await.is_err() {
                // The ledger drops the sender when a workspace has no other subscriber. The number is read from the
                // store.
                self.newest = self.workspace.shared.ledger.watch(&self.workspace.id).await?;
            }
        }
    }

    /// Returns the position after the last item of [`next`](Self::next). A new subscription from this position
    /// continues without a gap, even in another process that opens the same store.
    pub fn cursor(&self) -> Cursor {
        self.position
    }

    /// Reads the next page of events, and returns the gap before it if there is one.
    async fn read(&mut self, newest: u64) -> Result<Option<SubscriptionItem>, MetadataError> {
        let (ledger, workspace) = (&self.workspace.shared.ledger, &self.workspace.id);
        let deleted = newest.saturating_sub(ledger.kept_events());
        let after = if self.is_known { deleted.max(self.position.number()) } else { deleted };
        // Includes the row before the first event: after a gap, that row gives the cursor.
        let before = event_key(workspace, after.saturating_sub(1));
        let rows = ledger.rows::<EventRow>(&events_key(workspace), Some(&before), EVENTS_PER_READ + 1).await?;
        let mut page: VecDeque<EventRow> = rows.into_iter().map(|(_, row)| row).collect();
        let previous = page.pop_front_if(|row| row.event.number == after);
        let first = page.front().map_or(newest.max(after) + 1, |row| row.event.number);
        // Cut the page at the next missing number.
        let mut next = first;
        page.retain(|row| {
            let is_next = row.event.number == next;
            next += u64::from(is_next);
            is_next
        });
        self.page = page;
        let is_known = std::mem::replace(&mut self.is_known, true);
        if is_known && first == self.position.number() + 1 {
            return Ok(None);
        }
        let gap = SubscriptionItem::Gap { after: self.position.number(), first_kept: first };
        let previous = previous.filter(|row| row.event.number + 1 == first);
        self.position = previous.map_or(Cursor::from(first - 1), |row| row.cursor());
        Ok(Some(gap))
    }
}
