//! Services of workers: which ones a worker should have, when a Runtime is opened and while it runs.

use bundles::manifest::Plugin;
use bundles::{Digest, WorkspaceId};
use content_store::metadata::Key;
use host_policy::{PluginGrant, RuntimeConfig};
use runtime_api::worker::WorkerId;

use super::{LiveWorker, Management, WorkerError};
use crate::ledger::{StoredState, WorkerRow, workers_key};
use crate::plugins::ServicePlans;
use crate::runtime::Catalogue;
use crate::workspace::Workspace;

/// Workers whose rows are read at once.
const WORKERS_PER_READ: usize = 64;

/// `true` if a grant has the surface of a service.
fn has_service(grant: &PluginGrant) -> bool {
    grant.surfaces.iter().any(|surface| surface.as_ref() == "service")
}

impl Catalogue {
    /// Gives a worker the services that its spec has, and none if it is suspended.
    pub(super) fn sync_services(&self, id: &WorkerId, record: Digest, live: Option<&LiveWorker>) {
        let none = ServicePlans::new();
        let plans = live.map_or(&none, |live| &live.services);
        self.workspace.shared.services.sync(&self.workspace.plugin_owner(id), record, plans);
    }

    /// Starts the services of the next workers. Returns the key of the last one, or `None` if there are no more workers.
    async fn start_services_after(
        &self,
        config: &RuntimeConfig,
        after: Option<&Key>,
    ) -> Result<Option<Key>, WorkerError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let rows = shared.ledger.rows::<WorkerRow>(&workers_key(workspace), after, WORKERS_PER_READ).await?;
        let last = rows.last().map(|(key, _)| key.clone());
        for (key, row) in rows {
            let Ok(worker) = key.last().parse::<WorkerId>() else { continue };
            if row.state != StoredState::Running || row.request.bundle.is_none() {
                continue;
            }
            // Opening the bundle costs less than the rest, and is done once for all workers of a bundle.
            if let Ok(view) = self.workspace.content().view_under(row.bundle, config).await {
                let mut plugins = view.bundle().manifest().plugins.values();
                let grants =
                    |plugin: &Plugin| config.plugin(workspace, &plugin.package.digest).is_some_and(has_service);
                if !plugins.any(grants) {
                    continue;
                }
            }
            match self.live(&worker, &row).await.map(drop) {
                // A worker that is suspended has no services.
                Ok(()) | Err(WorkerError::Suspended { .. }) => {}
                Err(error) => {
                    tracing::warn!(%workspace, %worker, code = error.code().as_str(), "cannot start the services of a worker");
                }
            }
        }
        Ok(last)
    }
}

impl Management {
    /// Starts the services of all running workers, in the background. The next use of a worker starts those that a failure
    /// of the stores left out.
    pub(super) fn start_services(&self) {
        let config = self.shared.config.load_full();
        let grants_services = |id: &&WorkspaceId| config.grants(id).plugins.values().any(has_service);
        let workspaces: Vec<WorkspaceId> = config.workspaces().filter(grants_services).cloned().collect();
        if workspaces.is_empty() {
            return;
        }
        // Weak, so that the Runtime can be dropped meanwhile.
        let shared = std::sync::Arc::downgrade(&self.shared);
        self.shared.services.spawn(async move {
            for id in workspaces {
                let mut after = None;
                loop {
                    let Some(shared) = shared.upgrade() else { return };
                    let catalogue = Workspace { shared, id: id.clone() }.catalogue();
                    match catalogue.start_services_after(&config, after.as_ref()).await {
                        Ok(Some(last)) => after = Some(last),
                        Ok(None) => break,
                        Err(error) => {
                            tracing::warn!(workspace = %id, code = error.code().as_str(), "cannot start the services of a workspace");
                            break;
                        }
                    }
                }
            }
        });
    }

    /// Ends all services, and waits until they have stopped: for `service_stop_ms` at most. No service is started
    /// afterwards. Without this call, the services end without `stop` when the Runtime is dropped.
    pub async fn stop_services(&self) {
        self.shared.services.close().await;
    }
}
