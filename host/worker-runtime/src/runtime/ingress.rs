//! Acceptance of events from outside. The delivery to a service is in `plugins::ingress`.
//!
//! One batch writes the entry in the worker's history, the row of the event's id and the place in the queue. The sender
//! gets its response afterwards, so an accepted event survives a restart, and a repeated one is recognised for as long as
//! the history exists.

use bundles::canonical::{JsonError, parse_unique, reason};
use bundles::{IngressName, PluginName};
use content_store::metadata::MetadataError;
use host_policy::Refusal;
use runtime_api::Code;
use runtime_api::history::{Entry, EntryKind};
use runtime_api::ingress::{AcceptedEvent, EventId};
use runtime_api::worker::{StopReason, WorkerId};

use super::catalogue::WorkerError;
use super::interaction::{Interaction, max_values};
use super::live_worker::Ingress;
use crate::content::ContentError;
use crate::ledger::{
    Change, ChangeError, Decision, QueuedRow, ReceivedRow, Row, StoredState, WorkerRow, queued_event_key,
    queued_events_key, received_key, worker_key,
};
use crate::workspace::Workspace;

/// Error returned for an event that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The worker does not exist or cannot be used, or a store failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The worker is stopped.
    #[error("worker `{worker}` accepts no events: {}", reason.sentence())]
    NotRunning {
        /// The worker.
        worker: WorkerId,
        /// Reason for the stop.
        reason: StopReason,
    },
    /// No plugin of the worker declares the ingress.
    #[error("ingress `{0}` not found in this worker")]
    NotFound(IngressName),
    /// A plugin that the profile selects declares the ingress, and the host refuses the plugin.
    #[error("ingress `{ingress}` is not granted to this worker: {}", refusal.reason)]
    NotGranted {
        /// The ingress.
        ingress: IngressName,
        /// The reason and the remedy.
        refusal: Refusal,
    },
    /// Two plugins of the worker declare the ingress.
    #[error("ingress `{ingress}` is declared by plugins `{}` and `{}`", plugins.0, plugins.1)]
    Ambiguous {
        /// The ingress.
        ingress: IngressName,
        /// The plugins.
        plugins: (PluginName, PluginName),
    },
    /// As many events wait as may wait.
    #[error("limit `ingress_queue` of the worker reached ({allowed})")]
    QueueFull {
        /// Value of the limit.
        allowed: u32,
    },
    /// The worker's history is full.
    #[error("the worker's history is full ({entries} entries, limit `history_entries`)")]
    HistoryFull {
        /// Number of entries.
        entries: u64,
    },
    /// The content of the event exceeds a limit.
    #[error("the event exceeds limit `{limit}` ({actual} > {allowed})")]
    TooLarge {
        /// Name of the limit.
        limit: &'static str,
        /// Actual value.
        actual: u64,
        /// Value of the limit.
        allowed: u64,
    },
    /// The content of the event is not valid JSON.
    #[error("invalid event at line {line}, column {column}: {reason}")]
    InvalidEvent {
        /// Reason, without content of the event.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An object in the event has a duplicate key.
    #[error("duplicate key in the event at line {line}, column {column}")]
    DuplicateKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
}

impl From<ContentError> for IngressError {
    fn from(error: ContentError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<MetadataError> for IngressError {
    fn from(error: MetadataError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<ChangeError> for IngressError {
    fn from(error: ChangeError) -> Self {
        Self::Worker(error.into())
    }
}

impl IngressError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Worker(error) => error.code(),
            Self::NotRunning { .. } => Code::WorkerStopped,
            Self::NotFound(_) => Code::IngressNotFound,
            Self::NotGranted { .. } => Code::NotGranted,
            Self::Ambiguous { .. } => Code::IngressAmbiguous,
            Self::QueueFull { .. } => Code::IngressQueueFull,
            Self::HistoryFull { .. } => Code::HistoryFull,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::InvalidEvent { .. } => Code::InvalidRequest,
            Self::DuplicateKey { .. } => Code::DuplicateKey,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Worker(error) => return error.help(),
            Self::NotGranted { refusal, .. } => &refusal.remedy,
            Self::NotRunning { .. } => "create another worker",
            Self::NotFound(_) => "name an ingress that a service plugin of the worker declares",
            Self::Ambiguous { .. } => "rename the ingress in one of the plugins, or select only one of them",
            Self::QueueFull { .. } => "retry later with the same id, and check the state of the service",
            Self::HistoryFull { .. } => "create another worker; a history is never truncated",
            Self::TooLarge { .. } => "send a smaller event, or raise the limit",
            Self::InvalidEvent { .. } => "send one JSON value in UTF-8",
            Self::DuplicateKey { .. } => "remove one of the two keys",
        };
        plain.to_owned()
    }
}

/// Checks the content of an event and returns it without white space. Duplicate keys are refused because parsers disagree
/// on which one counts.
fn compact(payload: &[u8]) -> Result<Vec<u8>, IngressError> {
    match parse_unique(payload) {
        Ok(value) => Ok(serde_json::to_vec(&value).unwrap_or_default()),
        Err(JsonError::DuplicateKey { line, column }) => Err(IngressError::DuplicateKey { line, column }),
        // Parse again, because only this error has a line and a column.
        Err(_) => match serde_json::from_slice::<serde_json::Value>(payload) {
            Err(error) => Err(IngressError::InvalidEvent {
                reason: reason(payload, &error),
                line: error.line(),
                column: error.column(),
            }),
            Ok(_) => Err(IngressError::InvalidEvent { reason: "invalid JSON".to_owned(), line: 1, column: 1 }),
        },
    }
}

impl Interaction {
    /// Accepts an event for a service of a worker. The event is durable when the method returns, and is delivered later. A
    /// repeated id has no effect, whatever its content.
    pub async fn accept_event(
        &self,
        worker: &WorkerId,
        ingress: &IngressName,
        id: &EventId,
        payload: &[u8],
    ) -> Result<AcceptedEvent, IngressError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let within = |limit, actual: u64, allowed| match actual > allowed {
            true => Err(IngressError::TooLarge { limit, actual, allowed }),
            false => Ok(()),
        };
        within("call_bytes", payload.len() as u64, shared.limits.call_bytes)?;
        within("call_values", max_values(payload), shared.limits.call_values)?;
        let catalogue = self.workspace.catalogue();
        let row = catalogue.row(worker).await?;
        let received = received_key(workspace, worker, ingress, id);
        if let Some(ReceivedRow { number }) = shared.ledger.row(&received).await?.map(|row| row.value) {
            return Ok(AcceptedEvent { entry: number });
        }
        if let StoredState::Stopped { reason, .. } = row.state {
            return Err(IngressError::NotRunning { worker: worker.clone(), reason });
        }
        let live = catalogue.live(worker, &row).await?;
        let plugin = match live.ingress.get(ingress) {
            None => return Err(IngressError::NotFound(ingress.clone())),
            Some(Ingress::Refused(refusal)) => {
                return Err(IngressError::NotGranted { ingress: ingress.clone(), refusal: refusal.clone() });
            }
            Some(Ingress::Ambiguous(one, other)) => {
                let plugins = (one.clone(), other.clone());
                return Err(IngressError::Ambiguous { ingress: ingress.clone(), plugins });
            }
            Some(Ingress::Of(plugin)) => plugin,
        };
        let payload = self.store_payload(worker, &compact(payload)?).await?;
        let tenant = self.workspace.tenant();
        let accepted = {
            let _changing = tenant.changing.lock().await;
            let key = worker_key(workspace, worker);
            let decide = || async {
                let [found, known] = shared.ledger.records([&key, &received]).await?;
                if let Some(known) = known {
                    return Ok(Decision::Keep(AcceptedEvent { entry: Row::<ReceivedRow>::of(known)?.value.number }));
                }
                let found = found.map(Row::<WorkerRow>::of).transpose()?;
                let found = found.ok_or_else(|| WorkerError::NotFound(worker.clone()))?;
                let mut worker_row = found.value.clone();
                if let StoredState::Stopped { reason, .. } = worker_row.state {
                    return Err(IngressError::NotRunning { worker: worker.clone(), reason });
                }
                // The worker was removed meanwhile, and another one with the same id was created.
                if worker_row.record != row.record {
                    return Err(ContentError::Contended.into());
                }
                let allowed = shared.limits.ingress_queue;
                let max_keys = usize::try_from(allowed).unwrap_or(usize::MAX);
                if shared.ledger.keys(&queued_events_key(workspace, worker), None, max_keys).await?.len() >= max_keys {
                    return Err(IngressError::QueueFull { allowed });
                }
                let number = worker_row.entries + 1;
                worker_row.entries += 2;
                if worker_row.entries > shared.limits.history_entries {
                    return Err(IngressError::HistoryFull { entries: worker_row.entries - 2 });
                }
                let kind = EntryKind::EventReceived {
                    ingress: ingress.clone(),
                    plugin: plugin.clone(),
                    id: id.clone(),
                    payload: payload.payload(),
                };
                let entry = Entry { number, at: shared.ledger.now(), kind };
                let change = self.entry(Change::default(), worker, &entry, &payload).await?;
                let change = change
                    .expect(&key, Some(&found))
                    .put(&key, &worker_row)
                    .expect::<ReceivedRow>(&received, None)
                    .put(&received, &ReceivedRow { number })
                    .put(&queued_event_key(workspace, worker, plugin, number), &QueuedRow { attempts: 0 });
                Ok(Decision::Commit(change, AcceptedEvent { entry: number }))
            };
            shared.ledger.update::<_, IngressError, _>(workspace, decide).await?
        };
        shared.services.notify(workspace, worker, plugin);
        Ok(accepted)
    }
}
