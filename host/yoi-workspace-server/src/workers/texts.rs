//! Replaces texts that a Runtime wrote by sentences that are composed of codes. Inputs and outputs of tools are data, and stay.

use backend_api::refusal::Word;
use bundles::RuntimeName;
use runtime_api::event::{Event, EventKind};
use runtime_api::history::{Entry, EntryKind};
use runtime_api::service::{ServiceState, ServiceSummary};
use runtime_api::worker::{Suspension, SuspensionReason, WorkerState, WorkerSummary};
use serde_json::Value;

/// Code in place of a text that is not a code.
const UNKNOWN_CODE: &str = "unknown";

/// Replaces the texts of a worker.
pub(super) fn of_worker(worker: WorkerSummary, runtime: &RuntimeName) -> WorkerSummary {
    let state = match worker.state {
        WorkerState::Suspended(Suspension { reason, .. }) => WorkerState::Suspended(suspension(reason, runtime)),
        state => state,
    };
    WorkerSummary { state, ..worker }
}

fn suspension(reason: SuspensionReason, runtime: &RuntimeName) -> Suspension {
    let detail = format!("Runtime `{runtime}` suspends the worker: {}", sentence(reason));
    Suspension::new(reason, detail, SUSPENSION_REMEDY)
}

const SUSPENSION_REMEDY: &str = "see the worker on the Runtime itself, which names the change that ends the suspension";

fn sentence(reason: SuspensionReason) -> &'static str {
    match reason {
        SuspensionReason::PolicyDenied => "its config does not grant something that the worker requires",
        SuspensionReason::SignatureRefused => "the signatures of the bundle do not satisfy its config",
        SuspensionReason::BundleMissing => "the bundle or a blob of it is missing",
        SuspensionReason::BundleDamaged => "the bundle or a blob of it is damaged",
        SuspensionReason::BundleRevoked => "the bundle is revoked",
        SuspensionReason::BundleRefused => "the bundle is no longer accepted",
        SuspensionReason::RecordMissing => "the record of the resolution is missing",
        SuspensionReason::RecordDamaged => "the record of the resolution is damaged",
    }
}

fn code(text: &str) -> String {
    text.parse::<Word>().map_or_else(|_| UNKNOWN_CODE.to_owned(), |word| word.to_string())
}

/// Replaces the texts of an entry of a history.
pub(super) fn of_entry(entry: Entry) -> Entry {
    let kind = match entry.kind {
        EntryKind::CallFailed { began, code: text, .. } => {
            let code = code(&text);
            EntryKind::CallFailed { began, message: format!("the call failed (`{code}`)"), code }
        }
        EntryKind::EventFailed { received, attempts, code: text, .. } => {
            let code = code(&text);
            let message = format!("no service handled the event (`{code}`)");
            EntryKind::EventFailed { received, attempts, message, code }
        }
        kind => kind,
    };
    Entry { kind, ..entry }
}

/// Replaces the texts of an event.
pub(super) fn of_event(event: Event, runtime: &RuntimeName) -> Event {
    let kind = match event.kind {
        EventKind::WorkerSuspended { worker, reason, .. } => {
            let Suspension { detail, remedy, .. } = suspension(reason, runtime);
            EventKind::WorkerSuspended { worker, reason, detail, remedy }
        }
        EventKind::CallEnded { worker, entry, tool, outcome } => {
            EventKind::CallEnded { worker, entry, tool, outcome: code(&outcome) }
        }
        EventKind::ServiceRestarting { worker, plugin, code: text } => {
            EventKind::ServiceRestarting { worker, plugin, code: code(&text) }
        }
        EventKind::ServiceStopped { worker, plugin, code: text } => {
            EventKind::ServiceStopped { worker, plugin, code: code(&text) }
        }
        kind => kind,
    };
    Event { kind, ..event }
}

/// Replaces the texts of a service.
pub(super) fn of_service(service: ServiceSummary) -> ServiceSummary {
    let ended = |code: &str| format!("the instance ended with an error (`{code}`)");
    let state = match service.state {
        ServiceState::Running { ready, .. } => ServiceState::Running { ready, detail: String::new() },
        ServiceState::Restarting { code: text, at, .. } => {
            let code = code(&text);
            ServiceState::Restarting { reason: ended(&code), code, at }
        }
        ServiceState::Stopped { code: text, .. } => {
            let code = code(&text);
            ServiceState::Stopped { reason: ended(&code), code }
        }
        ServiceState::Starting => ServiceState::Starting,
    };
    ServiceSummary { state, ..service }
}

/// Removes reasons and remedies from the refusals of a specification. Returns `None` if it is not a specification.
pub(super) fn of_spec(mut spec: Value) -> Option<Value> {
    let fields = spec.as_object_mut()?;
    for refusal in fields.get_mut("narrowed").and_then(Value::as_array_mut).into_iter().flatten() {
        let refusal = refusal.as_object_mut()?;
        refusal.remove("reason");
        refusal.remove("remedy");
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_runtime_are_replaced() {
        let entry = Entry {
            number: 2,
            at: jiff::Timestamp::UNIX_EPOCH,
            kind: EntryKind::CallFailed { began: 1, code: "CANARY".to_owned(), message: "CANARY".to_owned() },
        };
        let spec = serde_json::json!({ "narrowed": [{ "subject": "shell", "reason": "CANARY", "remedy": "CANARY" }] });
        let service = ServiceSummary {
            plugin: "echo".parse().expect("a name"),
            restarts: 0,
            state: ServiceState::Running { ready: Some(true), detail: "CANARY".to_owned() },
        };
        let event = |kind| Event { number: 1, at: jiff::Timestamp::UNIX_EPOCH, kind };
        let (worker, runtime): (_, RuntimeName) = ("w".parse().expect("an id"), "north".parse().expect("a name"));
        let suspended = EventKind::WorkerSuspended {
            worker,
            reason: SuspensionReason::PolicyDenied,
            detail: "CANARY".to_owned(),
            remedy: "CANARY".to_owned(),
        };
        let ended = EventKind::CallEnded {
            worker: "w".parse().expect("an id"),
            entry: 2,
            tool: "echo".parse().expect("a name"),
            outcome: "CANARY".to_owned(),
        };
        let events = [suspended, ended].map(|kind| of_event(event(kind), &runtime));
        let seen = format!("{:?} {:?} {:?} {events:?}", of_entry(entry), of_spec(spec), of_service(service));
        assert!(!seen.contains("CANARY"), "{seen}");
        assert_eq!(of_spec(Value::Null), None);
    }
}
