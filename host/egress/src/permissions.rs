//! The permissions of one plugin in one workspace, and their source.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bundles::{SecretPlacement, SecretRef};
use host_policy::PermissionSet;
use tokio::sync::watch;

/// The two lists that must both cover a request: targets and grants.
#[derive(Debug, Clone, Default)]
pub struct RequiredPermissions {
    /// Targets of the plugin's manifest.
    pub targets: Arc<PermissionSet>,
    /// Grants of the host.
    pub grants: Arc<PermissionSet>,
}

/// Permissions of a plugin at one moment. Requests and WebSockets have lists of their own.
#[derive(Debug, Clone, Default)]
pub struct NetworkPermissions {
    /// Permissions for HTTP requests.
    pub requests: RequiredPermissions,
    /// Permissions for WebSocket connections.
    pub websockets: RequiredPermissions,
    /// Secrets that the manifest declares, with their places.
    pub declared_secrets: Arc<BTreeMap<SecretRef, SecretPlacement>>,
    /// Secrets that the host grants, with their places.
    pub granted_secrets: Arc<BTreeMap<SecretRef, SecretPlacement>>,
}

/// Source of the permissions in force, which can change during exchanges and while connections are open.
pub trait PermissionSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the permissions in force, or `None` if the plugin is not granted any more.
    fn current(&self) -> Option<Arc<NetworkPermissions>>;

    /// Returns a receiver that is notified after each change. Exchanges and open connections are checked again then. If its
    /// sender is gone, they end.
    fn changes(&self) -> watch::Receiver<()>;
}

/// Permissions that change only when they are set. Cheap to clone; clones share the permissions.
#[derive(Debug, Clone)]
pub struct FixedPermissions(Arc<Fixed>);

#[derive(Debug)]
struct Fixed {
    current: watch::Sender<Option<Arc<NetworkPermissions>>>,
    changes: watch::Sender<()>,
}

impl FixedPermissions {
    /// Creates a source.
    pub fn new(permissions: NetworkPermissions) -> Self {
        let current = watch::Sender::new(Some(Arc::new(permissions)));
        Self(Arc::new(Fixed { current, changes: watch::Sender::new(()) }))
    }

    /// Replaces the permissions.
    pub fn set(&self, permissions: NetworkPermissions) {
        self.replace(Some(Arc::new(permissions)));
    }

    /// Withdraws all permissions.
    pub fn revoke(&self) {
        self.replace(None);
    }

    fn replace(&self, permissions: Option<Arc<NetworkPermissions>>) {
        self.0.current.send_replace(permissions);
        self.0.changes.send_replace(());
    }
}

impl PermissionSource for FixedPermissions {
    fn current(&self) -> Option<Arc<NetworkPermissions>> {
        self.0.current.borrow().clone()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }
}
