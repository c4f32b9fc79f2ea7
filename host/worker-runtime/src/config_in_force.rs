//! The config in force, and the notice of its changes.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use host_policy::RuntimeConfig;
use tokio::sync::watch;

/// The config in force. It is replaced as a whole.
#[derive(Debug)]
pub(crate) struct ConfigInForce {
    current: ArcSwap<RuntimeConfig>,
    changes: watch::Sender<()>,
}

impl ConfigInForce {
    pub(crate) fn new(config: Arc<RuntimeConfig>) -> Self {
        Self { current: ArcSwap::new(config), changes: watch::Sender::new(()) }
    }

    /// Returns the config for a short time.
    pub(crate) fn load(&self) -> Guard<Arc<RuntimeConfig>> {
        self.current.load()
    }

    /// Returns the config.
    pub(crate) fn load_full(&self) -> Arc<RuntimeConfig> {
        self.current.load_full()
    }

    /// Replaces the config and gives notice.
    pub(crate) fn store(&self, config: Arc<RuntimeConfig>) {
        self.current.store(config);
        self.changes.send_replace(());
    }

    /// Returns a receiver that is notified after each change.
    #[cfg(feature = "egress")]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}
