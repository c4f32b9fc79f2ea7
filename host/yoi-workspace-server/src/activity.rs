//! Counts what happens in a Backend, so that open pages know when to look again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backend_api::audit::Action;
use bundles::WorkspaceId;
use tokio::sync::watch;

/// Counters of this process. They say that something happened, and not what.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    counts: Mutex<Counts>,
    signal: watch::Sender<()>,
}

/// Number of actions.
#[derive(Debug, Default)]
struct Counts {
    all: u64,
    workspaces: BTreeMap<WorkspaceId, u64>,
}

impl Activity {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an action of the audit log.
    pub(crate) fn record(&self, action: &Action) {
        let mut counts = self.counts();
        counts.all += 1;
        if let Some(workspace) = action.workspace() {
            *counts.workspaces.entry(workspace.clone()).or_default() += 1;
        }
        drop(counts);
        self.signal();
    }

    /// Signals that something may have changed, such as the condition of a Runtime.
    pub(crate) fn signal(&self) {
        self.signal.send_replace(());
    }

    /// Returns a receiver that sees later signals.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.signal.subscribe()
    }

    /// Returns the number of actions in the workspaces, and the number of all actions.
    pub(crate) fn count<'a>(&self, workspaces: impl Iterator<Item = &'a WorkspaceId>) -> (u64, u64) {
        let counts = self.counts();
        (workspaces.filter_map(|id| counts.workspaces.get(id)).sum(), counts.all)
    }
}
