//! The type [`Backend`], its builder and its operations.

mod error;
mod registered;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use backend_api::audit::{Action, Actor, AuditEntry};
use backend_api::body::{AdvanceRequest, Publication, SetDesiredRequest, WorkspaceView};
use backend_api::fleet::{Access, RuntimeReport, RuntimeView};
use backend_api::policy::Decision;
use bundles::manifest::Manifest;
use bundles::{Digest, RuntimeName, WorkspaceId, one_line};
use content_store::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore};
use content_store::records::{self, Page, Records};
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::bundle::BundleSummary;
use runtime_api::desired::Generation;
use tokio::sync::Notify;
use worker_runtime::content::ContentError;
use worker_runtime::{Clock, Runtime};

use crate::activity::Activity;
use crate::audit;
use crate::catalogue::{Catalogue, revision};
use crate::connector::Connector;
use crate::desired::DesiredRow;
use crate::placements::FactsCache;
use crate::reconciler::{Now, Reconciler, ReconcilerLimits, RuntimeKnowledge};
use crate::runtime_link::{RuntimeLink, SignedManifest};
use crate::visibility::{RuntimeRules, WorkspaceRules, explain, is_allowed};

use self::registered::{read_registered, with_registered};

pub use self::error::BackendError;

/// A workspace of the Backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceEntry {
    /// Rules about Runtimes.
    pub rules: WorkspaceRules,
}

/// A Runtime of the Backend.
#[derive(Debug, Clone)]
pub struct RuntimeEntry {
    /// Rules about workspaces.
    pub rules: RuntimeRules,
    /// Kind of access to it.
    pub access: Access,
    /// Access to it.
    pub link: Arc<dyn RuntimeLink>,
}

fn desired_key(workspace: &WorkspaceId) -> Key {
    Key::new("backend-desired").part(workspace)
}

fn knowledge_key(runtime: &RuntimeName) -> Key {
    Key::new("backend-runtime").part(runtime)
}

/// Settings of a Backend.
#[derive(Debug)]
pub struct BackendBuilder {
    /// Runtime that keeps the bundles. Its config must name all workspaces, and should grant nothing.
    pub catalogue: Runtime,
    /// Store for the state of the Backend. It can be the store of the catalogue.
    pub metadata: Arc<dyn MetadataStore>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Workspaces.
    pub workspaces: BTreeMap<WorkspaceId, WorkspaceEntry>,
    /// Runtimes of the config.
    pub runtimes: BTreeMap<RuntimeName, RuntimeEntry>,
    /// Opens the access to Runtimes that requests add.
    pub connector: Arc<dyn Connector>,
    /// Intervals and limits of the reconciliation.
    pub limits: ReconcilerLimits,
    /// Seed of the variation of times.
    pub seed: u64,
}

/// A Backend. Cheap to clone; all clones refer to the same Backend.
#[derive(Debug, Clone)]
pub struct Backend(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) catalogue: Catalogue,
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    connector: Arc<dyn Connector>,
    pub(crate) fleet: Mutex<Fleet>,
    /// Held while a change is committed and passed to the fleet, so that the fleet sees changes in the order of their commits.
    decisions: tokio::sync::Mutex<()>,
    /// Held by each update that writes to the audit log. All of them write the same row, so concurrent ones would conflict more
    /// often than they are retried.
    updates: tokio::sync::Mutex<()>,
    /// Signalled when a step may be due earlier than before.
    pub(crate) wake: Notify,
    pub(crate) activity: Activity,
    started: Instant,
    /// Facts about Runtimes.
    pub(crate) facts: FactsCache,
}

/// The workspaces and Runtimes, and what is known of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) workspaces: BTreeMap<WorkspaceId, WorkspaceEntry>,
    pub(crate) runtimes: BTreeMap<RuntimeName, RuntimeEntry>,
    /// Names of the Runtimes of the config.
    configured: BTreeSet<RuntimeName>,
    /// Runtimes that requests added. A Runtime of the config with the same name takes precedence.
    registered: BTreeMap<RuntimeName, RuntimeEntry>,
    pub(crate) reconciler: Reconciler,
}

impl BackendBuilder {
    /// Opens the Backend: reads the desired state of the workspaces, and what was known of the Runtimes.
    pub async fn open(self) -> Result<Backend, BackendError> {
        let records = Records::new(self.metadata);
        let mut reconciler = Reconciler::new(self.limits, self.seed);
        let now = Now { elapsed: std::time::Duration::ZERO, time: self.clock.now() };
        for (id, workspace) in &self.workspaces {
            reconciler.set_workspace(id.clone(), workspace.rules.clone(), now);
            let row = records.row::<DesiredRow>(&desired_key(id)).await?;
            reconciler.set_desired(id, row.map(|row| row.value.desired), now);
        }
        let registered = read_registered(&records, &*self.connector).await?;
        let configured = self.runtimes.keys().cloned().collect();
        let runtimes = with_registered(self.runtimes, &registered);
        for (name, runtime) in &runtimes {
            // The row only spares a wait for the first status, so one that cannot be read counts as absent.
            let known = match records.row::<RuntimeKnowledge>(&knowledge_key(name)).await {
                Err(MetadataError::Damaged) => None,
                known => known?.map(|row| row.value),
            };
            reconciler.set_runtime(name.clone(), runtime.rules.clone(), known.unwrap_or_default(), now);
        }
        Ok(Backend(Arc::new(Shared {
            catalogue: Catalogue::new(self.catalogue),
            records,
            clock: self.clock,
            connector: self.connector,
            fleet: Mutex::new(Fleet { workspaces: self.workspaces, runtimes, configured, registered, reconciler }),
            decisions: tokio::sync::Mutex::default(),
            updates: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            activity: Activity::default(),
            started: Instant::now(),
            facts: FactsCache::default(),
        })))
    }
}

impl Shared {
    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), time: self.clock.now() }
    }

    /// Makes a decision and commits its batch, one after the other with all updates that write to the audit log.
    pub(crate) async fn update<T, E, D>(&self, decide: impl Fn() -> D) -> Result<T, E>
    where
        E: From<CommitError>,
        D: Future<Output = Result<records::Decision<Batch, T>, E>>,
    {
        let _turn = self.updates.lock().await;
        self.records.update(decide).await
    }

    /// Commits what is known of Runtimes.
    pub(crate) async fn save_knowledge(
        &self,
        changed: &[(RuntimeName, RuntimeKnowledge)],
    ) -> Result<(), MetadataError> {
        let put =
            |batch: Batch, (name, known): &(RuntimeName, RuntimeKnowledge)| batch.put_row(&knowledge_key(name), known);
        match self.records.commit(changed.iter().fold(Batch::default(), put)).await {
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }
}

/// A change of the desired state of a workspace: the new row, and the action that caused it.
struct Change {
    row: DesiredRow,
    action: Action,
}

impl Backend {
    /// Returns the Runtime that keeps the bundles.
    pub fn catalogue(&self) -> &Runtime {
        &self.0.catalogue.runtime
    }

    /// Returns the workspaces.
    pub fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        self.0.fleet().workspaces.keys().cloned().collect()
    }

    pub(crate) fn check_workspace(&self, workspace: &WorkspaceId) -> Result<(), BackendError> {
        if self.0.fleet().workspaces.contains_key(workspace) {
            Ok(())
        } else {
            Err(BackendError::WorkspaceNotFound(workspace.clone()))
        }
    }

    /// Publishes a bundle of a workspace. Its blobs must be stored first; the result names those that are missing.
    pub async fn publish(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Publication, BackendError> {
        self.check_workspace(workspace)?;
        let result = self.0.catalogue.publish(workspace, manifest).await;
        let (bundle, revision) = (manifest.digest, revision(&manifest.manifest));
        let action = |revision| Action::Publish { workspace: workspace.clone(), bundle, revision };
        match (&result, revision) {
            (Ok(Publication::Published { new: true, .. }), Some(revision)) => {
                self.record(actor, action(revision), None).await?
            }
            (Err(error), Some(revision)) => self.record(actor, action(revision), Some(error.code())).await?,
            _ => {}
        }
        Ok(result?)
    }

    /// Returns the bundles of a workspace, the newest revision first.
    pub async fn bundles(&self, workspace: &WorkspaceId) -> Result<Vec<BundleSummary>, BackendError> {
        self.check_workspace(workspace)?;
        Ok(self.0.catalogue.bundles(workspace).await?)
    }

    /// Makes a published bundle the desired one, for all Runtimes or for a stage of them.
    pub async fn set_desired(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        request: &SetDesiredRequest,
    ) -> Result<WorkspaceView, BackendError> {
        let SetDesiredRequest { bundle, allow_older, ref stage } = *request;
        let refused_action =
            || Action::SetDesired { workspace: workspace.clone(), bundle, generation: None, stage: stage.clone() };
        let decide = |before: Option<DesiredRow>| {
            let stage = stage.clone();
            async move {
                if let Some(row) = &before
                    && row.desired.target.bundle == bundle
                    && row.desired.rollout.as_ref().map(|rollout| &rollout.stage) == stage.as_ref()
                {
                    return Ok(None);
                }
                self.check_usable(workspace, bundle, allow_older).await?;
                let row = DesiredRow::decide(before, bundle, allow_older, stage.clone());
                let row = row.ok_or(BackendError::Contended)?;
                let generation = Some(row.desired.target.generation);
                let action = Action::SetDesired { workspace: workspace.clone(), bundle, generation, stage };
                Ok(Some(Change { row, action }))
            }
        };
        self.change(actor, workspace, refused_action, decide).await
    }

    /// Returns the manifest of a published bundle.
    pub(crate) async fn manifest(&self, workspace: &WorkspaceId, bundle: Digest) -> Result<Manifest, BackendError> {
        let bytes = self.0.catalogue.runtime.content(workspace).manifest(bundle).await?;
        // The bytes were verified when they were stored, and have the digest of then.
        serde_json::from_slice(&bytes).map_err(|_| ContentError::BundleNotFound(bundle).into())
    }

    /// Checks that a bundle is published, is not revoked, and is the newest one unless an older one is allowed.
    async fn check_usable(
        &self,
        workspace: &WorkspaceId,
        bundle: Digest,
        allow_older: bool,
    ) -> Result<(), BackendError> {
        let content = self.0.catalogue.runtime.content(workspace);
        let summary = content.bundle(bundle).await?;
        if summary.revoked_at.is_some() {
            return Err(ContentError::BundleRevoked(bundle).into());
        }
        let newest = content.newest_revision().await?.map(|(newest, _)| newest);
        match newest.filter(|newest| *newest > summary.revision && !allow_older) {
            Some(newest) => Err(ContentError::RevisionOlder { revision: summary.revision, newest }.into()),
            None => Ok(()),
        }
    }

    /// Makes the bundle the desired one again that all Runtimes should have had before. Several calls go back step by step.
    pub async fn roll_back(&self, actor: &Actor, workspace: &WorkspaceId) -> Result<WorkspaceView, BackendError> {
        self.roll_back_from(actor, workspace, None).await
    }

    /// Rolls back if the desired state still has the generation `shown`, so that a repeated request does not roll back twice.
    pub(crate) async fn roll_back_from(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        shown: Option<Generation>,
    ) -> Result<WorkspaceView, BackendError> {
        let refused_action = || Action::RollBack { workspace: workspace.clone(), bundle: None };
        let decide = |before: Option<DesiredRow>| async move {
            let before = before.ok_or_else(|| BackendError::NothingDesired(workspace.clone()))?;
            if shown.is_some_and(|shown| shown != before.desired.target.generation) {
                return Err(BackendError::DesiredChanged(workspace.clone()));
            }
            // A bundle that was revoked since cannot be used.
            let mut earlier = before.earlier.iter().copied().enumerate();
            let (index, bundle) = loop {
                let (index, bundle) = earlier.next().ok_or_else(|| BackendError::NoEarlierBundle(workspace.clone()))?;
                match self.check_usable(workspace, bundle, true).await {
                    Ok(()) => break (index, bundle),
                    Err(BackendError::Content(ContentError::BundleRevoked(_) | ContentError::BundleNotFound(_))) => {}
                    Err(error) => return Err(error),
                }
            };
            let row = before.roll_back(index).ok_or(BackendError::Contended)?;
            let action = Action::RollBack { workspace: workspace.clone(), bundle: Some(bundle) };
            Ok(Some(Change { row, action }))
        };
        self.change(actor, workspace, refused_action, decide).await
    }

    /// Moves a rollout on to another stage, or to all Runtimes.
    pub async fn advance(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        request: &AdvanceRequest,
    ) -> Result<WorkspaceView, BackendError> {
        let action = || Action::AdvanceRollout { workspace: workspace.clone(), stage: request.stage.clone() };
        let decide = |before: Option<DesiredRow>| async move {
            let before = before.ok_or_else(|| BackendError::NothingDesired(workspace.clone()))?;
            let refusing = self.0.fleet().reconciler.refusing(workspace);
            let is_halted = !refusing.is_empty();
            let row = before.advance(request.stage.clone(), refusing);
            let row = row.ok_or_else(|| BackendError::NoRollout(workspace.clone()))?;
            if is_halted && !request.despite_refusals {
                return Err(BackendError::RolloutHalted(workspace.clone()));
            }
            Ok(Some(Change { row, action: action() }))
        };
        self.change(actor, workspace, action, decide).await
    }

    /// Raises the generation of a workspace above one that a Runtime acknowledged. The bundle stays.
    pub(crate) async fn raise_generation(
        &self,
        workspace: &WorkspaceId,
        above: Generation,
    ) -> Result<(), BackendError> {
        let refused_action = || Action::RaiseGeneration { workspace: workspace.clone(), generation: above };
        let decide = |before: Option<DesiredRow>| async move {
            let Some(before) = before.filter(|row| row.desired.target.generation <= above) else { return Ok(None) };
            let row = before.raise(above).ok_or(BackendError::Contended)?;
            let generation = row.desired.target.generation;
            let action = Action::RaiseGeneration { workspace: workspace.clone(), generation };
            Ok(Some(Change { row, action }))
        };
        self.change(&Actor::Backend, workspace, refused_action, decide).await.map(drop)
    }

    /// Changes the desired state of a workspace, with an entry in the audit log, and passes it to the reconciler. `decide`
    /// returns `None` if nothing changes.
    async fn change<D>(
        &self,
        actor: &Actor,
        workspace: &WorkspaceId,
        refused_action: impl Fn() -> Action,
        decide: impl Fn(Option<DesiredRow>) -> D,
    ) -> Result<WorkspaceView, BackendError>
    where
        D: Future<Output = Result<Option<Change>, BackendError>>,
    {
        self.check_workspace(workspace)?;
        let _decision = self.0.decisions.lock().await;
        let Shared { records, clock, .. } = &*self.0;
        let key = desired_key(workspace);
        let attempt = || async {
            let found = records.row::<DesiredRow>(&key).await?;
            let before = found.as_ref().map(|row| row.value.clone());
            let Some(Change { row, action }) = decide(before.clone()).await? else {
                return Ok(records::Decision::Keep((before, None)));
            };
            let batch = Batch::default().expect_row(&key, found.as_ref()).put_row(&key, &row);
            let batch = audit::add_entry(records, batch, clock.now(), actor, action.clone(), None).await?;
            Ok(records::Decision::Commit(batch, (Some(row), Some(action))))
        };
        match self.0.update::<_, BackendError, _>(attempt).await {
            // Also if nothing changed: the caller of an earlier decision may have gone away after its commit.
            Ok((row, action)) => {
                let now = self.0.now();
                self.0.fleet().reconciler.set_desired(workspace, row.map(|row| row.desired), now);
                action.iter().for_each(|action| self.0.activity.record(action));
                self.0.wake.notify_one();
            }
            Err(error) => {
                self.record(actor, refused_action(), Some(error.code())).await?;
                return Err(error);
            }
        }
        self.workspace(workspace).await
    }

    /// Returns a workspace with its desired state.
    pub async fn workspace(&self, workspace: &WorkspaceId) -> Result<WorkspaceView, BackendError> {
        self.check_workspace(workspace)?;
        let row = self.0.records.row::<DesiredRow>(&desired_key(workspace)).await?.map(|row| row.value);
        let about = match &row {
            Some(row) => self.0.catalogue.metadata(workspace, row.desired.target.bundle).await,
            None => None,
        };
        let fleet = self.0.fleet();
        let labels = fleet.workspaces.get(workspace).map(|entry| entry.rules.labels.clone()).unwrap_or_default();
        let halted = fleet.reconciler.is_halted(workspace);
        let (desired, earlier) = row.map(|row| (Some(row.desired), row.earlier)).unwrap_or_default();
        Ok(WorkspaceView { id: workspace.clone(), labels, about, desired, halted, earlier })
    }

    /// Returns a Runtime, with the named workspaces.
    pub fn runtime(&self, name: &RuntimeName, workspaces: &BTreeSet<WorkspaceId>) -> Result<RuntimeView, BackendError> {
        self.0.fleet().view(name, workspaces).ok_or_else(|| BackendError::RuntimeNotFound(name.clone()))
    }

    /// Returns all Runtimes, with the named workspaces.
    pub fn runtimes(&self, workspaces: &BTreeSet<WorkspaceId>) -> Vec<RuntimeView> {
        let fleet = self.0.fleet();
        fleet.runtimes.keys().filter_map(|name| fleet.view(name, workspaces)).collect()
    }

    /// Reads the status of a Runtime at once, and retries what it refused.
    pub async fn read_runtime(&self, actor: &Actor, name: &RuntimeName) -> Result<(), BackendError> {
        let known = self.0.fleet().runtimes.contains_key(name);
        let refused = (!known).then_some(Code::RuntimeNotFound);
        self.record(actor, Action::ReadRuntime { runtime: name.clone() }, refused).await?;
        if !known {
            return Err(BackendError::RuntimeNotFound(name.clone()));
        }
        let now = self.0.now();
        self.0.fleet().reconciler.read_now(name, now);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Reads the status of all Runtimes that may have the workspace at once, and retries what they refused.
    pub async fn sync(&self, actor: &Actor, workspace: &WorkspaceId) -> Result<(), BackendError> {
        self.check_workspace(workspace)?;
        self.record(actor, Action::Sync { workspace: workspace.clone() }, None).await?;
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        let allowed: Vec<RuntimeName> =
            fleet.runtimes.keys().filter(|name| fleet.is_allowed(name, workspace)).cloned().collect();
        for name in &allowed {
            fleet.reconciler.read_workspace_now(name, workspace, now);
        }
        drop(fleet);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Explains whether a workspace may be on a Runtime.
    pub fn explain(&self, runtime: &RuntimeName, workspace: &WorkspaceId) -> Result<Decision, BackendError> {
        let fleet = self.0.fleet();
        let rules = fleet.runtimes.get(runtime).ok_or_else(|| BackendError::RuntimeNotFound(runtime.clone()))?;
        let of_workspace =
            fleet.workspaces.get(workspace).ok_or_else(|| BackendError::WorkspaceNotFound(workspace.clone()))?;
        Ok(explain((runtime, &rules.rules), (workspace, &of_workspace.rules)))
    }

    /// Returns a page of the audit log after another entry, oldest first.
    pub async fn audit_page(&self, after: u64, limit: usize) -> Result<Page<AuditEntry>, BackendError> {
        Ok(audit::page(&self.0.records, after, limit).await?)
    }

    /// Returns at most `limit` entries of the audit log before another one, the newest first.
    pub async fn newest_audit_entries(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, BackendError> {
        Ok(audit::newest(&self.0.records, before, limit).await?)
    }

    /// Writes an entry to the audit log for an action that was refused, or that changes no record of the Backend.
    pub async fn record(&self, actor: &Actor, action: Action, refused: Option<Code>) -> Result<(), BackendError> {
        self.commit_with_entry(actor, action, refused, |batch| batch).await
    }

    /// Commits a change together with its entry in the audit log.
    async fn commit_with_entry(
        &self,
        actor: &Actor,
        action: Action,
        refused: Option<Code>,
        change: impl Fn(Batch) -> Batch,
    ) -> Result<(), BackendError> {
        let Shared { records, clock, .. } = &*self.0;
        let attempt = || async {
            let batch = change(Batch::default());
            let batch = audit::add_entry(records, batch, clock.now(), actor, action.clone(), refused).await?;
            Ok(records::Decision::Commit(batch, ()))
        };
        self.0.update::<_, BackendError, _>(attempt).await?;
        self.0.activity.record(&action);
        Ok(())
    }

    /// Replaces the workspaces, and the config of the catalogue with them.
    pub async fn replace_workspaces(
        &self,
        config: RuntimeConfig,
        workspaces: BTreeMap<WorkspaceId, WorkspaceEntry>,
    ) -> Result<(), BackendError> {
        let _decision = self.0.decisions.lock().await;
        let known = self.workspaces();
        let mut new = BTreeMap::new();
        for id in workspaces.keys().filter(|id| !known.contains(*id)) {
            new.insert(id, self.0.records.row::<DesiredRow>(&desired_key(id)).await?.map(|row| row.value.desired));
        }
        self.0.catalogue.runtime.management().replace_config(config)?;
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        let gone: Vec<_> = fleet.workspaces.keys().filter(|id| !workspaces.contains_key(*id)).cloned().collect();
        gone.iter().for_each(|id| fleet.reconciler.remove_workspace(id));
        for (id, entry) in &workspaces {
            fleet.reconciler.set_workspace(id.clone(), entry.rules.clone(), now);
        }
        // A workspace can return that an earlier config had.
        for (id, desired) in new {
            fleet.reconciler.set_desired(id, desired, now);
        }
        fleet.workspaces = workspaces;
        drop(fleet);
        self.0.activity.signal();
        self.0.wake.notify_one();
        Ok(())
    }

    /// Replaces the Runtimes of the config. What is known of a Runtime that stays is kept.
    pub fn replace_runtimes(&self, runtimes: BTreeMap<RuntimeName, RuntimeEntry>) {
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        fleet.configured = runtimes.keys().cloned().collect();
        let runtimes = with_registered(runtimes, &fleet.registered);
        let gone: Vec<_> = fleet.runtimes.keys().filter(|name| !runtimes.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| fleet.reconciler.remove_runtime(name));
        for (name, entry) in &runtimes {
            fleet.reconciler.set_runtime(name.clone(), entry.rules.clone(), RuntimeKnowledge::default(), now);
        }
        fleet.runtimes = runtimes;
        drop(fleet);
        self.0.activity.signal();
        self.0.wake.notify_one();
    }
}

impl Fleet {
    /// Returns `true` if the policy allows the workspace on the Runtime.
    fn is_allowed(&self, name: &RuntimeName, workspace: &WorkspaceId) -> bool {
        let (runtime, of_workspace) = (self.runtimes.get(name), self.workspaces.get(workspace));
        runtime
            .zip(of_workspace)
            .is_some_and(|(runtime, of_workspace)| is_allowed((name, &runtime.rules), (workspace, &of_workspace.rules)))
    }

    fn view(&self, name: &RuntimeName, workspaces: &BTreeSet<WorkspaceId>) -> Option<RuntimeView> {
        let (entry, known) = (self.runtimes.get(name)?, self.reconciler.runtime(name)?);
        // The reconciler limits the texts of a Runtime. Here they are reduced to one line.
        let report = known.status.as_ref().map(|status| RuntimeReport {
            id: status.id.clone(),
            version: one_line(&status.version),
            worlds: status.worlds.iter().map(|world| one_line(world)).collect(),
            active_resolver: status.active_resolver,
        });
        let pairs = workspaces.iter().filter_map(|id| Some((id.clone(), self.reconciler.pair(name, id)?)));
        Some(RuntimeView {
            name: name.clone(),
            access: entry.access,
            labels: entry.rules.labels.clone(),
            last_seen: known.last_seen,
            failure: known.failure,
            report,
            workspaces: pairs.collect(),
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}
