//! Events from outside that wait for a service, and the outcome of their deliveries.
//!
//! An event is an entry of the worker's history, and its place in the queue is a row beside it. The batch that records the
//! outcome deletes the row, so an event whose outcome is recorded is not delivered again. A process that ends between a
//! delivery and its record delivers the event again. Events are accepted in `runtime::ingress`.

use bundles::{Digest, PluginName};
use component_host::ServiceEvent;
use content_store::blob_store::BlobError;
use runtime_api::Code;
use runtime_api::history::{Entry, EntryKind, Payload};
use runtime_api::worker::WorkerId;
use serde_json::Value;

use crate::content::ContentError;
use crate::ledger::{Change, Decision, QueuedRow, Row, entry_key, queued_event_key, queued_for_key, worker_key};
use crate::workspace::Workspace;

/// An event that waits for its delivery.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    /// Entry of the event in the worker's history.
    entry: Entry,
    plugin: PluginName,
    event: ServiceEvent,
    /// Content of a large event, which is not parsed yet.
    text: Option<bytes::Bytes>,
    /// Deliveries that failed.
    pub(super) attempts: u32,
}

/// An event whose content may have to be parsed.
pub(super) struct UnparsedEvent {
    event: ServiceEvent,
    text: Option<bytes::Bytes>,
}

/// Outcome of one delivery.
#[derive(Debug)]
pub(super) enum EventOutcome {
    /// The service handled the event.
    Handled,
    /// The service did not handle the event.
    Failed {
        code: Code,
        /// Text of the host.
        message: String,
        /// `true` if the event is not delivered again.
        is_final: bool,
    },
}

impl EventOutcome {
    pub(super) fn failed(code: Code, message: String, is_final: bool) -> Self {
        Self::Failed { code, message, is_final }
    }
}

impl QueuedEvent {
    /// Returns the id that the sender chose.
    pub(super) fn id(&self) -> &str {
        &self.event.id
    }

    /// Returns the event for the next delivery.
    pub(super) fn event(&self) -> UnparsedEvent {
        let attempt = self.attempts.saturating_add(1);
        UnparsedEvent { event: ServiceEvent { attempt, ..self.event.clone() }, text: self.text.clone() }
    }
}

impl UnparsedEvent {
    /// Parses the content, which takes a while for a large event. Returns `None` if it is not JSON.
    pub(super) fn parse(self) -> Option<ServiceEvent> {
        let Self { mut event, text } = self;
        if let Some(text) = text {
            event.payload = serde_json::from_slice(&text).ok()?;
        }
        Some(event)
    }
}

impl Workspace {
    /// Returns the first event that waits for a service of a worker.
    pub(super) async fn next_event(
        &self,
        worker: &WorkerId,
        plugin: &PluginName,
    ) -> Result<Option<QueuedEvent>, ContentError> {
        let ledger = &self.shared.ledger;
        loop {
            let mut rows = ledger.rows::<QueuedRow>(&queued_for_key(&self.id, worker, plugin), None, 1).await?;
            let Some((key, QueuedRow { attempts })) = rows.pop() else { return Ok(None) };
            let number = key.last().parse().unwrap_or(0);
            let entry = ledger.row::<Entry>(&entry_key(&self.id, worker, number)).await?.map(|row| row.value);
            let Some(entry) = entry else {
                // Not reached: both rows are written and deleted together.
                ledger.commit(&self.id, Change::default().delete(&key)).await?;
                continue;
            };
            let EntryKind::EventReceived { ingress, id, payload, .. } = &entry.kind else { return Ok(None) };
            let (payload, text) = match payload {
                Payload::Json(value) => (value.clone(), None),
                Payload::Blob { digest, .. } => (Value::Null, Some(self.stored_payload(*digest).await?)),
            };
            let event = ServiceEvent { id: id.to_string(), ingress: ingress.to_string(), payload, attempt: 0 };
            return Ok(Some(QueuedEvent { entry, plugin: plugin.clone(), event, text, attempts }));
        }
    }

    /// Reads the content of a large event. Returns an empty text, which is not JSON, if the content is lost.
    async fn stored_payload(&self, digest: Digest) -> Result<bytes::Bytes, ContentError> {
        match self.content().blob(digest).await {
            Ok(text) => Ok(text),
            Err(ContentError::BlobNotFound(_) | ContentError::Blob(BlobError::NotFound(_) | BlobError::Damaged(_))) => {
                Ok(bytes::Bytes::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Records the outcome of a delivery. Returns `false` if the event is to be delivered again, which is the case for
    /// fewer than `allowed` attempts.
    pub(super) async fn finish_event(
        &self,
        worker: &WorkerId,
        queued: &QueuedEvent,
        outcome: EventOutcome,
        attempts: u32,
        allowed: u32,
    ) -> Result<bool, ContentError> {
        let ledger = &self.shared.ledger;
        let received = queued.entry.number;
        let kind = match outcome {
            EventOutcome::Handled => Some(EntryKind::EventHandled { received, attempts }),
            EventOutcome::Failed { code, message, is_final } if is_final || attempts >= allowed => {
                Some(EntryKind::EventFailed { received, attempts, code: code.to_string(), message })
            }
            EventOutcome::Failed { .. } => None,
        };
        let is_finished = kind.is_some();
        let end = kind.map(|kind| Entry { number: received + 1, at: ledger.now(), kind });
        let tenant = self.tenant();
        let _changing = tenant.changing.lock().await;
        let worker_key = worker_key(&self.id, worker);
        let keys =
            (entry_key(&self.id, worker, received), queued_event_key(&self.id, worker, &queued.plugin, received));
        let decide = || async {
            // The worker may have been removed meanwhile, and another one with the same id created.
            let [worker_row, entry, row] = ledger.records([&worker_key, &keys.0, &keys.1]).await?;
            let entry = entry.map(Row::<Entry>::of).transpose()?.filter(|found| found.value == queued.entry);
            let row = row.map(Row::<QueuedRow>::of).transpose()?;
            let (Some(_), Some(entry), Some(row)) = (worker_row, entry, row) else {
                return Ok(Decision::Keep(()));
            };
            let change = Change::default().expect(&keys.0, Some(&entry)).expect(&keys.1, Some(&row));
            let change = match &end {
                Some(end) => change.delete(&keys.1).put(&entry_key(&self.id, worker, end.number), end),
                None => change.put(&keys.1, &QueuedRow { attempts }),
            };
            Ok(Decision::Commit(change, ()))
        };
        ledger.update::<_, ContentError, _>(&self.id, decide).await?;
        Ok(is_finished)
    }
}
