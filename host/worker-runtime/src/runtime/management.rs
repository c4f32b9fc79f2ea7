//! The operator's face: what this Runtime is, what it grants, and what it takes in.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{BundleLimits, Capability, WorkspaceId};
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use host_policy::{ConfigError, Facts, RuntimeConfig};
use runtime_api::event::EventKind;
use runtime_api::resolver::ResolverState;
use runtime_api::runtime::{Capabilities, RuntimeSummary, WorkspaceUsage};
use runtime_api::worker::{Suspension, WorkerId};
use serde::Serialize;

use super::{Live, Shared, WorkerError};
use crate::ledger::{ATTEMPTS, Change, ChangeError, StoredState, Usage, WorkerRow, usage_key, usages_key, workers_key};
use crate::limits::RuntimeLimits;
use crate::workspace::Workspace;

/// What an operator may do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Management {
    pub(crate) shared: Arc<Shared>,
}

/// What a new config changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// Workspaces whose grants are others now.
    pub workspaces: Vec<WorkspaceId>,
    /// Running workers that hold more, less or other than before.
    pub workers: Vec<ChangedWorker>,
}

/// A worker that a new config concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedWorker {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub worker: WorkerId,
    /// What it holds no more, as authorities.
    pub lost: Vec<String>,
    /// What it holds now.
    pub gained: Vec<String>,
    /// The cause for which it is suspended now, if it is.
    pub refused: Option<Suspension>,
}

/// Why another config is not in force, or what it means is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It does not say enough. The one before is in force.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is in force; what it means for workers could not be found out.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl ReloadError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Worker(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Config(error) => error.help(),
            Self::Worker(error) => error.help(),
        }
    }
}

/// The event of a worker that was suspended, resumed, or suspended for another cause.
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
    /// What this Runtime is.
    pub async fn summary(&self) -> Result<RuntimeSummary, MetadataError> {
        let resolvers = self.resolvers().await?;
        let usable = resolvers.iter().filter(|resolver| resolver.state != ResolverState::Revoked);
        let resolvers = usable.map(|resolver| resolver.digest).collect();
        Ok(RuntimeSummary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            active_resolver: **self.shared.active_resolver.load(),
            pinned_resolver: self.shared.config.load().host_resolver(),
            builtin_bundle: self.shared.builtin.bundle().digest(),
            resolvers,
            workspaces: self.workspaces(),
        })
    }

    /// What a bundle may be.
    pub fn bundle_limits(&self) -> &BundleLimits {
        &self.shared.sandbox.limits().bundle
    }

    /// Most bytes of a component.
    pub fn component_bytes(&self) -> usize {
        usize::try_from(self.shared.sandbox.limits().structure.bytes).unwrap_or(usize::MAX)
    }

    /// Checks that the metadata store answers, and that it can be written to.
    ///
    /// Commits an empty batch, which waits for the disk.
    pub async fn check_metadata(&self) -> Result<(), MetadataError> {
        self.summary().await?;
        match self.shared.ledger.commit_globally(Change::default()).await {
            Err(ChangeError::Store(error)) => Err(error),
            Ok(()) | Err(ChangeError::Conflict | ChangeError::Full { .. }) => Ok(()),
        }
    }

    /// Checks that the blob store answers, and that it can be written to.
    pub async fn check_blobs(&self) -> Result<(), BlobError> {
        // The result does not matter.
        self.shared.blobs.size(self.shared.shipped.digest()).await?;
        self.shared.blobs.check_writable().await
    }

    /// What a workspace may take.
    pub fn limits(&self) -> &RuntimeLimits {
        &self.shared.limits
    }

    /// What this Runtime can do, whoever asks.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            tools: self.shared.tools.keys().cloned().collect(),
            worlds: component_host::WORLDS.map(str::to_owned).into(),
        }
    }

    /// What a resolver is told about this host for a workspace.
    pub fn facts(&self, workspace: &WorkspaceId) -> Facts {
        self.shared.facts(&self.shared.config.load(), workspace).facts().clone()
    }

    /// Workspaces that the config names.
    pub fn workspaces(&self) -> Vec<WorkspaceId> {
        self.shared.config.load().workspaces().cloned().collect()
    }

    /// Workspaces that the config names or that have something stored.
    pub async fn tenants(&self) -> Result<BTreeSet<WorkspaceId>, MetadataError> {
        let mut all: BTreeSet<WorkspaceId> = self.workspaces().into_iter().collect();
        let keys = self.shared.ledger.keys(&usages_key(), None, usize::MAX).await?;
        all.extend(keys.iter().filter_map(|key| key.last().parse().ok()));
        Ok(all)
    }

    /// How many calls and resolutions of a workspace run, and how many wait for their turn.
    pub fn load(&self, workspace: &WorkspaceId) -> (u32, u32) {
        self.shared.tenants.load(workspace)
    }

    /// What a workspace has stored.
    pub async fn usage(&self, workspace: &WorkspaceId) -> Result<WorkspaceUsage, MetadataError> {
        let usage = self.shared.ledger.row::<Usage>(&usage_key(workspace)).await?;
        let Usage { bytes, bundles, workers } = usage.map(|row| row.value).unwrap_or_default();
        Ok(WorkspaceUsage { bytes, bundles, workers })
    }

    /// Puts another config in force, as a whole, and finds out what that means for running workers. What the config
    /// takes away is away with the next use: each call is judged by the config that is in force when it begins, and
    /// each mount, secret and request of a running call by that same one.
    pub async fn reload(&self, config: RuntimeConfig) -> Result<ReloadReport, ReloadError> {
        self.put_in_force(config)?;
        Ok(self.tell_changes().await?)
    }

    /// Puts another config in force, as a whole. [`tell_changes`](Self::tell_changes) adds the events.
    pub fn put_in_force(&self, config: RuntimeConfig) -> Result<(), ConfigError> {
        config.require_postures()?;
        self.shared.config.store(Arc::new(config));
        Ok(())
    }

    /// Compares the config that is in force with the config of the last call. Adds `config_changed` for each workspace
    /// whose policy changed, and an event for each running worker that is suspended, resumed, or suspended for another
    /// cause. One pass runs at a time. Of the calls that wait for it, the first covers all changes so far.
    pub async fn tell_changes(&self) -> Result<ReloadReport, WorkerError> {
        let mut told = self.shared.told_config.lock().await;
        let (before, after) = (told.clone(), self.shared.config.load_full());
        let named: BTreeSet<WorkspaceId> = before.workspaces().chain(after.workspaces()).cloned().collect();
        let changed: Vec<WorkspaceId> =
            named.into_iter().filter(|workspace| before.digest(workspace) != after.digest(workspace)).collect();
        let mut report = ReloadReport { workspaces: changed, workers: Vec::new() };
        for workspace in &report.workspaces {
            self.tell(workspace, [EventKind::ConfigChanged { policy: after.digest(workspace) }]).await?;
            self.changed_workers(workspace, &before, &after, &mut report.workers).await?;
        }
        *told = after;
        Ok(report)
    }

    async fn tell(
        &self,
        workspace: &WorkspaceId,
        events: impl IntoIterator<Item = EventKind> + Clone,
    ) -> Result<(), WorkerError> {
        for _ in 0..ATTEMPTS {
            let change = events.clone().into_iter().fold(Change::default(), Change::event);
            match self.shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Ok(())
    }

    async fn changed_workers(
        &self,
        workspace: &WorkspaceId,
        before: &RuntimeConfig,
        after: &RuntimeConfig,
        changed: &mut Vec<ChangedWorker>,
    ) -> Result<(), WorkerError> {
        let catalogue = Workspace { shared: self.shared.clone(), id: workspace.clone() }.catalogue();
        let authorities = |live: &Live| live.spec.authorities().map(|one| one.to_string()).collect::<BTreeSet<_>>();
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
                let held = catalogue.live_under(&row, before).await?;
                let holds = catalogue.live_under(&row, after).await?;
                events.extend(transition(&worker, held.as_ref().err(), holds.as_ref().err()));
                let refused = holds.as_ref().err().map(|suspension| (**suspension).clone());
                let held = held.map(|live| authorities(&live)).unwrap_or_default();
                let holds = holds.map(|live| authorities(&live)).unwrap_or_default();
                let lost: Vec<String> = held.difference(&holds).cloned().collect();
                let gained: Vec<String> = holds.difference(&held).cloned().collect();
                if refused.is_some() || !lost.is_empty() || !gained.is_empty() {
                    changed.push(ChangedWorker { workspace: workspace.clone(), worker, lost, gained, refused });
                }
            }
            if !events.is_empty() {
                self.tell(workspace, events).await?;
            }
        }
    }

    /// Takes up what a former process left: admitted resolvers are loaded, revoked ones' workers are
    /// stopped, removals of workers are completed.
    pub(super) async fn take_up(&self) -> Result<(), MetadataError> {
        self.load_known_tokens().await?;
        self.open_registry().await?;
        self.complete_removals().await
    }

    /// Whether the host can do something for a workspace.
    pub fn offers(&self, workspace: &WorkspaceId, capability: &Capability) -> bool {
        self.facts(workspace).capabilities.contains(capability)
    }
}
