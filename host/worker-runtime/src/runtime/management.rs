//! API for the operator: description, usage, config changes and health of the Runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bundles::{BundleLimits, Capability, WorkspaceId};
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use host_policy::{ConfigError, Facts, RuntimeConfig};
use runtime_api::Code;
use runtime_api::event::EventKind;
use runtime_api::resolver::ResolverState;
use runtime_api::runtime::{Capabilities, RuntimeSummary, WorkspaceUsage};
use runtime_api::worker::{Suspension, WorkerId};
use serde::Serialize;

use super::{LiveWorker, Shared, WorkerError};
use crate::ledger::{Change, ChangeError, Decision, StoredState, Usage, WorkerRow, usage_key, usages_key, workers_key};
use crate::limits::RuntimeLimits;
use crate::workspace::Workspace;

/// API for the operator of a Runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Management {
    pub(crate) shared: Arc<Shared>,
}

/// Changes that a new config caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// Workspaces whose grants changed.
    pub workspaces: Vec<WorkspaceId>,
    /// Running workers whose authorities changed, and running workers that are suspended.
    pub workers: Vec<ChangedWorker>,
}

/// A running worker that a new config affects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedWorker {
    /// Workspace of the worker.
    pub workspace: WorkspaceId,
    /// Id of the worker.
    pub worker: WorkerId,
    /// Authorities that the worker lost.
    pub lost: Vec<String>,
    /// Authorities that the worker gained.
    pub gained: Vec<String>,
    /// Suspension of the worker under the new config, if it is suspended.
    pub refused: Option<Suspension>,
}

/// Error returned by [`Management::reload`].
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new config is incomplete. The previous config remains in force.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The new config is in force, but its effects on workers could not be determined.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl ReloadError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Worker(error) => error.code(),
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Config(error) => error.help(),
            Self::Worker(error) => error.help(),
        }
    }
}

/// Returns the event for a worker that is suspended, resumed, or suspended for another cause. Returns `None` if nothing
/// changed.
fn transition(
    worker: &WorkerId,
    before: Option<&Arc<Suspension>>,
    after: Option<&Arc<Suspension>>,
) -> Option<EventKind> {
    let worker = worker.clone();
    match (before, after) {
        (Some(before), Some(after)) if before == after => None,
        (_, Some(after)) => {
            let Suspension { reason, detail, remedy } = (**after).clone();
            Some(EventKind::WorkerSuspended { worker, reason, detail, remedy })
        }
        (Some(_), None) => Some(EventKind::WorkerResumed { worker }),
        (None, None) => None,
    }
}

impl Management {
    /// Returns the summary of this Runtime.
    pub async fn summary(&self) -> Result<RuntimeSummary, MetadataError> {
        let resolvers = self.resolvers().await?;
        let usable = resolvers.iter().filter(|resolver| resolver.state != ResolverState::Revoked);
        let resolvers = usable.map(|resolver| resolver.digest).collect();
        Ok(RuntimeSummary {
            id: self.id().clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            active_resolver: **self.shared.active_resolver.load(),
            pinned_resolver: self.shared.config.load().host_resolver(),
            builtin_bundle: self.shared.builtin.bundle().digest(),
            resolvers,
            workspaces: self.workspaces(),
        })
    }

    /// Returns the limits on bundles.
    pub fn bundle_limits(&self) -> &BundleLimits {
        &self.shared.sandbox.limits().bundle
    }

    /// Returns the limit on the size of a component in bytes.
    pub fn component_bytes(&self) -> usize {
        usize::try_from(self.shared.sandbox.limits().structure.bytes).unwrap_or(usize::MAX)
    }

    /// Checks that the metadata store can be read and written to. Commits an empty batch, which syncs the store to
    /// disk.
    pub async fn check_metadata(&self) -> Result<(), MetadataError> {
        self.summary().await?;
        match self.shared.ledger.commit_globally(Change::default()).await {
            Err(ChangeError::Store(error)) => Err(error),
            Ok(()) | Err(ChangeError::Conflict | ChangeError::Full { .. }) => Ok(()),
        }
    }

    /// Checks that the blob store can be read and written to.
    pub async fn check_blobs(&self) -> Result<(), BlobError> {
        // Only an error matters, not the size.
        self.shared.blobs.size(self.shared.shipped.digest()).await?;
        self.shared.blobs.check_writable().await
    }

    /// Returns the limits of this Runtime.
    pub fn limits(&self) -> &RuntimeLimits {
        &self.shared.limits
    }

    /// Returns the host tools and the supported WIT worlds of this Runtime.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            tools: self.shared.tools.host().names().cloned().collect(),
            worlds: component_host::WORLDS.map(str::to_owned).into(),
        }
    }

    /// Returns the facts about this host that a resolver receives for a workspace.
    pub fn facts(&self, workspace: &WorkspaceId) -> Facts {
        self.shared.facts(&self.shared.config.load(), workspace).facts().clone()
    }

    /// Returns the workspaces that the config names.
    pub fn workspaces(&self) -> Vec<WorkspaceId> {
        self.shared.config.load().workspaces().cloned().collect()
    }

    /// Returns the workspaces that the config names or that have stored content.
    pub async fn tenants(&self) -> Result<BTreeSet<WorkspaceId>, MetadataError> {
        let mut all: BTreeSet<WorkspaceId> = self.workspaces().into_iter().collect();
        let keys = self.shared.ledger.keys(&usages_key(), None, usize::MAX).await?;
        all.extend(keys.iter().filter_map(|key| key.last().parse().ok()));
        Ok(all)
    }

    /// Returns the numbers of running and of waiting calls and resolutions of a workspace.
    pub fn load(&self, workspace: &WorkspaceId) -> (u32, u32) {
        self.shared.tenants.load(workspace)
    }

    /// Returns the number of open WebSocket connections of each workspace whose plugins have used the network.
    pub fn open_connections(&self) -> BTreeMap<WorkspaceId, u32> {
        #[cfg(feature = "egress")]
        if let Some(egress) = &self.shared.egress {
            return egress.open_connections();
        }
        BTreeMap::new()
    }

    /// Returns the storage usage of a workspace.
    pub async fn usage(&self, workspace: &WorkspaceId) -> Result<WorkspaceUsage, MetadataError> {
        let usage = self.shared.ledger.row::<Usage>(&usage_key(workspace)).await?;
        let Usage { bytes, bundles, workers } = usage.map(|row| row.value).unwrap_or_default();
        Ok(WorkspaceUsage { bytes, bundles, workers })
    }

    /// Replaces the config atomically, records events, and returns the effects on running workers. A withdrawn grant
    /// ends with the next call: the config that is in force when a call begins also decides on each mount, secret and
    /// request of that call.
    pub async fn reload(&self, config: RuntimeConfig) -> Result<ReloadReport, ReloadError> {
        self.replace_config(config)?;
        Ok(self.record_config_changes().await?)
    }

    /// Replaces the config atomically. Call [`record_config_changes`](Self::record_config_changes) to record the
    /// events.
    pub fn replace_config(&self, config: RuntimeConfig) -> Result<(), ConfigError> {
        config.require_postures()?;
        self.shared.config.store(Arc::new(config));
        Ok(())
    }

    /// Compares the config that is in force with the config of the previous call, and records events. The events are
    /// `config_changed` for each workspace whose policy changed, and one for each running worker that is suspended,
    /// resumed, or suspended for another cause. Concurrent calls run one after the other; the next one to run covers
    /// all changes so far.
    pub async fn record_config_changes(&self) -> Result<ReloadReport, WorkerError> {
        let mut reported = self.shared.reported_config.lock().await;
        let (before, after) = (reported.clone(), self.shared.config.load_full());
        let named: BTreeSet<WorkspaceId> = before.workspaces().chain(after.workspaces()).cloned().collect();
        let changed: Vec<WorkspaceId> =
            named.into_iter().filter(|workspace| before.digest(workspace) != after.digest(workspace)).collect();
        let mut report = ReloadReport { workspaces: changed, workers: Vec::new() };
        for workspace in &report.workspaces {
            self.record_events(workspace, vec![EventKind::ConfigChanged { policy: after.digest(workspace) }]).await?;
            self.changed_workers(workspace, &before, &after, &mut report.workers).await?;
        }
        *reported = after;
        Ok(report)
    }

    /// Records events of a workspace that belong to no other change.
    async fn record_events(&self, workspace: &WorkspaceId, events: Vec<EventKind>) -> Result<(), WorkerError> {
        let decide =
            || async { Ok(Decision::Commit(events.iter().cloned().fold(Change::default(), Change::event), ())) };
        self.shared.ledger.update(workspace, decide).await
    }

    /// Records the events of workers whose state differs between two configs, and collects the changed workers.
    async fn changed_workers(
        &self,
        workspace: &WorkspaceId,
        before: &RuntimeConfig,
        after: &RuntimeConfig,
        changed: &mut Vec<ChangedWorker>,
    ) -> Result<(), WorkerError> {
        let catalogue = Workspace { shared: self.shared.clone(), id: workspace.clone() }.catalogue();
        let authorities =
            |live: &LiveWorker| live.spec.authorities().map(|authority| authority.to_string()).collect::<BTreeSet<_>>();
        let mut from = None;
        loop {
            let page = self.shared.ledger.rows::<WorkerRow>(&workers_key(workspace), from.as_ref(), 256).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = Some(last.clone());
            let mut events = Vec::new();
            for (key, row) in page {
                let Ok(worker) = key.last().parse::<WorkerId>() else { continue };
                if row.state != StoredState::Running {
                    continue;
                }
                let old = catalogue.live_under(&row, before).await?;
                let new = catalogue.live_under(&row, after).await?;
                catalogue.sync_services(&worker, row.record, new.as_deref().ok());
                events.extend(transition(&worker, old.as_ref().err(), new.as_ref().err()));
                let refused = new.as_ref().err().map(|suspension| (**suspension).clone());
                let old = old.map(|live| authorities(&live)).unwrap_or_default();
                let new = new.map(|live| authorities(&live)).unwrap_or_default();
                let lost: Vec<String> = old.difference(&new).cloned().collect();
                let gained: Vec<String> = new.difference(&old).cloned().collect();
                if refused.is_some() || !lost.is_empty() || !gained.is_empty() {
                    changed.push(ChangedWorker { workspace: workspace.clone(), worker, lost, gained, refused });
                }
            }
            if !events.is_empty() {
                self.record_events(workspace, events).await?;
            }
        }
    }

    /// Restores the state of a previous process: loads tokens and admitted resolvers, stops workers of revoked
    /// resolvers, and completes removals of workers.
    pub(super) async fn restore_state(&self) -> Result<(), MetadataError> {
        self.load_known_tokens().await?;
        self.open_registry().await?;
        self.complete_removals().await
    }

    /// `true` if the host offers a capability to a workspace.
    pub fn has_capability(&self, workspace: &WorkspaceId, capability: &Capability) -> bool {
        self.facts(workspace).capabilities.contains(capability)
    }
}
