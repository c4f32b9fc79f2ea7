//! State that the API types of one workspace share.

use std::sync::Arc;

use bundles::WorkspaceId;
use runtime_api::worker::WorkerId;

use crate::content::Content;
use crate::plugins::PluginOwner;
use crate::runtime::{Catalogue, Shared};
use crate::tenants::Tenant;

/// A workspace of a Runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: WorkspaceId,
}

impl Workspace {
    /// Returns the blobs and bundles of the workspace.
    pub(crate) fn content(&self) -> Content {
        Content { workspace: self.clone() }
    }

    /// Returns the workers of the workspace.
    pub(crate) fn catalogue(&self) -> Catalogue {
        Catalogue { workspace: self.clone() }
    }

    /// Returns the key of a worker's services and log lines.
    pub(crate) fn plugin_owner(&self, worker: &WorkerId) -> PluginOwner {
        PluginOwner { workspace: self.id.clone(), worker: worker.clone() }
    }

    /// Returns the load and the locks of the workspace.
    pub(crate) fn tenant(&self) -> Arc<Tenant> {
        self.shared.tenants.tenant(&self.id)
    }
}
