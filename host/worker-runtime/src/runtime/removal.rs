//! Removal of workers with their histories.
//!
//! The first batch deletes the worker's row and writes a marker row. From then on the worker does not exist for
//! clients. Its history is deleted in batches of a bounded size; the last batch deletes the marker. While the marker
//! exists, no worker with the same id can be created. An interrupted removal is completed by the next `remove` or
//! `create` of the id, and when a Runtime is opened.

use content_store::metadata::MetadataError;
use runtime_api::event::EventKind;
use runtime_api::history::{Entry, EntryKind, Payload};
use runtime_api::referrer::Referrer;
use runtime_api::worker::WorkerId;

use super::Management;
use super::catalogue::{Catalogue, WorkerError};
use crate::content::ContentError;
use crate::ledger::{
    Change, Decision, Mark, StoredState, Usage, WorkerRow, entries_key, queued_event_key, received_key, removal_key,
    removals_key, uses_key, worker_key,
};
use crate::workspace::Workspace;

/// Entries of a history that are deleted in one batch.
const ENTRIES_PER_BATCH: usize = 64;

impl Catalogue {
    /// Removes a stopped worker with its history. Blobs without other referrers are left to garbage collection.
    ///
    /// The id can then be used for another worker. Dropping the future does not interrupt the removal. Call the method
    /// again to complete a removal that failed.
    pub async fn remove(&self, id: &WorkerId) -> Result<(), WorkerError> {
        let (catalogue, id) = (self.clone(), id.clone());
        let removal = tokio::spawn(async move {
            catalogue.begin_removal(&id).await?;
            catalogue.complete_removal(&id).await
        });
        // Nothing cancels the task before the process ends.
        removal.await.unwrap_or_else(|_| Err(ContentError::Contended.into()))
    }

    /// Deletes the worker's row and marks the removal.
    async fn begin_removal(&self, id: &WorkerId) -> Result<(), WorkerError> {
        let (shared, workspace) = (&self.workspace.shared, &self.workspace.id);
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let (key, removal) = (worker_key(workspace, id), removal_key(workspace, id));
        let decide = || async {
            let Some(found) = shared.ledger.row::<WorkerRow>(&key).await? else {
                let is_in_progress = shared.ledger.exists(&removal).await?;
                return if is_in_progress { Ok(Decision::Keep(())) } else { Err(WorkerError::NotFound(id.clone())) };
            };
            if found.value.state == StoredState::Running {
                return Err(WorkerError::NotStopped(id.clone()));
            }
            // The uses of the bundle and of the resolver were deleted when the worker was stopped.
            let change = Change::default()
                .expect(&key, Some(&found))
                .delete(&key)
                .put(&removal, &Mark {})
                .delete(&uses_key(workspace, &found.value.record).part(Referrer::Worker(id.clone())))
                .subtract_usage(Usage { workers: 1, ..Usage::default() })
                .event(EventKind::WorkerRemoved { worker: id.clone() });
            Ok(Decision::Commit(change, ()))
        };
        shared.ledger.update(workspace, decide).await
    }

    /// Deletes the remaining history of a removed worker. Does nothing if no removal is in progress.
    pub(super) async fn complete_removal(&self, id: &WorkerId) -> Result<(), WorkerError> {
        while self.remove_entries(id).await? {}
        self.workspace.shared.plugin_logs.forget(&self.workspace.plugin_owner(id));
        Ok(())
    }

    /// Deletes a batch of a removed worker's history. Returns `false` if no entries remain.
    async fn remove_entries(&self, id: &WorkerId) -> Result<bool, WorkerError> {
        let (shared, workspace) = (&self.workspace.shared, &self.workspace.id);
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let (removal, below) = (removal_key(workspace, id), entries_key(workspace, id));
        let decide = || async {
            // Without the marker, the history belongs to another worker.
            let Some(marker) = shared.ledger.row::<Mark>(&removal).await? else { return Ok(Decision::Keep(false)) };
            let entries = shared.ledger.rows::<Entry>(&below, None, ENTRIES_PER_BATCH).await?;
            let is_last = entries.len() < ENTRIES_PER_BATCH;
            let mut change = Change::default().expect(&removal, Some(&marker));
            if is_last {
                change = change.delete(&removal);
            }
            for (key, entry) in entries {
                change = change.delete(&key);
                let content = match entry.kind {
                    EntryKind::CallBegan { input: content, .. } | EntryKind::CallEnded { output: content, .. } => {
                        Some(content)
                    }
                    EntryKind::EventReceived { ingress, plugin, id: event, payload } => {
                        change = change
                            .delete(&received_key(workspace, id, &ingress, &event))
                            .delete(&queued_event_key(workspace, id, &plugin, entry.number));
                        Some(payload)
                    }
                    EntryKind::CallFailed { .. } | EntryKind::EventHandled { .. } | EntryKind::EventFailed { .. } => {
                        None
                    }
                };
                change = match content {
                    Some(Payload::Json(value)) => {
                        let bytes = serde_json::to_vec(&value).unwrap_or_default().len();
                        change.subtract_usage(Usage::bytes(bytes as u64))
                    }
                    Some(Payload::Blob { digest, .. }) => {
                        change.delete(&uses_key(workspace, &digest).part(Referrer::Worker(id.clone())))
                    }
                    None => change,
                };
            }
            Ok(Decision::Commit(change, !is_last))
        };
        shared.ledger.update(workspace, decide).await
    }
}

impl Management {
    /// Completes removals of a previous process. An error of one removal is only logged: the remaining rows are
    /// invisible to clients, so they must not prevent a Runtime from opening.
    pub(super) async fn complete_removals(&self) -> Result<(), MetadataError> {
        for key in self.shared.ledger.keys(&removals_key(), None, usize::MAX).await? {
            let parts: Vec<&str> = key.parts().collect();
            let [.., workspace, worker] = parts.as_slice() else { continue };
            let (Ok(workspace), Ok(worker)) = (workspace.parse(), worker.parse::<WorkerId>()) else { continue };
            let catalogue = Workspace { shared: self.shared.clone(), id: workspace }.catalogue();
            if let Err(error) = catalogue.complete_removal(&worker).await {
                tracing::warn!(workspace = %catalogue.workspace.id, %worker, code = error.code().as_str(), "cannot delete the history of a removed worker");
            }
        }
        Ok(())
    }
}
