//! The type [`Backend`], its builder and its operations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use backend_api::audit::{Action, Actor, AuditEntry};
use backend_api::body::{AdvanceRequest, Publication, SetDesiredRequest, WorkspaceView};
use backend_api::fleet::{Access, RegisterRuntimeRequest, RuntimeReport, RuntimeView};
use backend_api::policy::Decision;
use bundles::{Digest, RuntimeName, WorkspaceId, one_line};
use content_store::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore};
use content_store::records::{self, Page, Records};
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::bundle::BundleSummary;
use runtime_api::desired::Generation;
use runtime_api::worker::WorkerId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use worker_runtime::content::ContentError;
use worker_runtime::{Clock, Runtime};

use crate::activity::Activity;
use crate::audit;
use crate::catalogue::{Catalogue, revision};
use crate::connector::{Connector, ConnectorError};
use crate::desired::DesiredRow;
use crate::link_error::LinkError;
use crate::placements::FactsCache;
use crate::reconciler::{Now, Reconciler, ReconcilerLimits, RuntimeKnowledge};
use crate::runtime_link::{RuntimeLink, SignedManifest};
use crate::visibility::{Rules, RuntimeRules, WorkspaceRules, explain, is_allowed};

/// Maximum length of the version that a Runtime reports.
const MAX_VERSION_CHARS: usize = 64;

/// Maximum number of worlds that are shown for a Runtime.
const MAX_WORLDS: usize = 32;

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
    /// How the Backend reaches it.
    pub access: Access,
    /// Access to it.
    pub link: Arc<dyn RuntimeLink>,
}

fn desired_key(workspace: &WorkspaceId) -> Key {
    Key::new("backend-desired").part(workspace)
}

/// Key of the Runtimes that requests added.
fn registered_keys() -> Key {
    Key::new("backend-registered")
}

fn knowledge_key(runtime: &RuntimeName) -> Key {
    Key::new("backend-runtime").part(runtime)
}

/// A Runtime that a request added, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredRow {
    name: RuntimeName,
    request: RegisterRuntimeRequest,
}

/// Prefix of the names of secrets that a request can name. Without it, a token with the scope `admin` could make the Backend
/// send any secret of its host to any URL.
const REGISTERED_SECRET_PREFIX: &str = "runtime-";

/// Maximum number of Runtimes that requests add.
const MAX_REGISTERED: usize = 10_000;

/// Error returned by operations of the Backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The content of a bundle is refused, or its store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The config of the Backend has no such workspace.
    #[error("workspace `{0}` not found")]
    WorkspaceNotFound(WorkspaceId),
    /// The config of the Backend has no such Runtime.
    #[error("Runtime `{0}` not found")]
    RuntimeNotFound(RuntimeName),
    /// The config of the Backend has the Runtime, so a request cannot change it.
    #[error("Runtime `{0}` is in the config of the Backend")]
    RuntimeInConfig(RuntimeName),
    /// The access to the Runtime cannot be opened.
    #[error("cannot add Runtime `{runtime}`: {error}")]
    Connector {
        /// The Runtime.
        runtime: RuntimeName,
        /// The reason.
        error: ConnectorError,
    },
    /// No bundle of the workspace is desired yet.
    #[error("workspace `{0}` has no desired bundle")]
    NothingDesired(WorkspaceId),
    /// The workspace had no other desired bundle before.
    #[error("workspace `{0}` has no earlier bundle")]
    NoEarlierBundle(WorkspaceId),
    /// The workspace has no rollout in stages.
    #[error("workspace `{0}` has no rollout in stages")]
    NoRollout(WorkspaceId),
    /// A Runtime refuses the bundle of the rollout.
    #[error("the rollout of workspace `{0}` is halted, because a Runtime refuses the bundle")]
    RolloutHalted(WorkspaceId),
    /// Every attempt conflicted with a concurrent change.
    #[error("the operation conflicted with concurrent changes")]
    Contended,
    /// No worker of the workspace was created with this id through this Backend.
    #[error("worker `{0}` not found")]
    WorkerNotFound(WorkerId),
    /// Another Runtime than the named one has the worker.
    #[error("worker `{worker}` already exists on Runtime `{runtime}`")]
    WorkerElsewhere {
        /// The worker.
        worker: WorkerId,
        /// Its Runtime.
        runtime: RuntimeName,
    },
    /// The policy does not allow the workspace on the Runtime.
    #[error("workspace `{workspace}` is not allowed on Runtime `{runtime}`")]
    NotAllowed {
        /// The Runtime.
        runtime: RuntimeName,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// No allowed Runtime answers and has the desired bundle.
    #[error("no Runtime that workspace `{0}` may use answers and has its desired bundle")]
    NoRuntime(WorkspaceId),
    /// The Backend reaches the Runtime itself, so the Runtime cannot poll.
    #[error("Runtime `{0}` does not poll the Backend")]
    NotPulled(RuntimeName),
    /// An operation on a Runtime failed.
    #[error("Runtime `{runtime}`: {error}")]
    Link {
        /// The Runtime.
        runtime: RuntimeName,
        /// The error.
        error: LinkError,
    },
}

impl BackendError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Content(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::WorkspaceNotFound(_) => Code::WorkspaceNotFound,
            Self::RuntimeNotFound(_) => Code::RuntimeNotFound,
            Self::RuntimeInConfig(_) => Code::RuntimeInConfig,
            Self::Connector { error, .. } => error.code,
            Self::NothingDesired(_) => Code::NothingDesired,
            Self::NoEarlierBundle(_) => Code::NoEarlierBundle,
            Self::NoRollout(_) => Code::NoRollout,
            Self::RolloutHalted(_) => Code::RolloutHalted,
            Self::Contended => Code::Contended,
            Self::WorkerNotFound(_) => Code::WorkerNotFound,
            Self::WorkerElsewhere { .. } => Code::WorkerExists,
            Self::NotAllowed { .. } => Code::RuntimeNotAllowed,
            Self::NoRuntime(_) => Code::NoRuntime,
            Self::NotPulled(_) => Code::RuntimeNotPulled,
            Self::Link { error, .. } => match error {
                LinkError::Unreachable => Code::RuntimeUnreachable,
                LinkError::TimedOut => Code::RuntimeTimedOut,
                LinkError::Unauthorized(_) => Code::RuntimeUnauthorized,
                LinkError::Unsupported => Code::RuntimeUnsupported,
                LinkError::NotAllowed => Code::RuntimeNotAllowed,
                LinkError::Busy(code) | LinkError::Source(code) | LinkError::Refused { code, .. } => *code,
            },
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Content(error) => error.help(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::WorkspaceNotFound(workspace) => {
                format!("add a table [workspaces.{workspace}] to the config of the Backend")
            }
            Self::RuntimeNotFound(runtime) => format!("add a table [runtimes.{runtime}] to the config of the Backend"),
            Self::RuntimeInConfig(runtime) => format!("change the table [runtimes.{runtime}] of the config"),
            Self::Connector { error, .. } => error.help.clone(),
            Self::NothingDesired(_) => "publish a bundle, or make one the desired bundle".to_owned(),
            Self::NoEarlierBundle(_) => "make another bundle the desired one".to_owned(),
            Self::NoRollout(_) => "begin one: make a bundle the desired one for a stage".to_owned(),
            Self::RolloutHalted(_) => {
                "see which Runtime refuses it and why, then repair the bundle or the Runtime, or roll back".to_owned()
            }
            Self::Contended => "retry the operation".to_owned(),
            Self::WorkerNotFound(_) => "list the workers of the workspace".to_owned(),
            Self::WorkerElsewhere { .. } => "name the Runtime that has the worker, or choose another id".to_owned(),
            Self::NotAllowed { runtime, .. } => format!("run `yoi backend explain {runtime} WORKSPACE`"),
            Self::NoRuntime(_) => "see the condition of each Runtime: `yoi backend status`".to_owned(),
            Self::NotPulled(runtime) => format!("let the Runtime poll in the table [runtimes.{runtime}] of the config"),
            Self::Link { error, .. } => match error {
                LinkError::Unreachable | LinkError::TimedOut => {
                    "check that the Runtime is running, and whether the operation took effect, then retry".to_owned()
                }
                LinkError::Unauthorized(_) => "give the Backend a token of the Runtime that has the scopes".to_owned(),
                LinkError::Unsupported => "check the version of the Runtime and the URL in the config".to_owned(),
                LinkError::NotAllowed => "see why: `yoi backend explain RUNTIME WORKSPACE`".to_owned(),
                LinkError::Busy(_) => "retry after a second".to_owned(),
                LinkError::Source(_) => "publish the bundle again".to_owned(),
                LinkError::Refused { .. } => "see `details`; the Runtime itself names the remedy".to_owned(),
            },
        }
    }
}

impl From<CommitError> for BackendError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Contended,
            CommitError::Store(error) => Self::Metadata(error),
        }
    }
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
        let registered = registered(&records, &*self.connector).await?;
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
            fleet: Mutex::new(Fleet { workspaces: self.workspaces, runtimes, registered, reconciler }),
            wake: Notify::new(),
            activity: Activity::default(),
            started: Instant::now(),
            facts: FactsCache::default(),
        })))
    }
}

/// Reads the Runtimes that requests added, and opens the access to each.
async fn registered(
    records: &Records,
    connector: &dyn Connector,
) -> Result<BTreeMap<RuntimeName, RuntimeEntry>, BackendError> {
    let page = records.page::<RegisteredRow>(&registered_keys(), None, MAX_REGISTERED).await?;
    let mut runtimes = BTreeMap::new();
    for (_, RegisteredRow { name, request }) in page.items {
        runtimes.insert(name.clone(), entry(connector, &name, &request).await?);
    }
    Ok(runtimes)
}

/// Opens the access to a Runtime that a request added.
async fn entry(
    connector: &dyn Connector,
    name: &RuntimeName,
    request: &RegisterRuntimeRequest,
) -> Result<RuntimeEntry, BackendError> {
    let failed = |error| BackendError::Connector { runtime: name.clone(), error };
    if !request.token.as_ref().starts_with(REGISTERED_SECRET_PREFIX) {
        return Err(failed(ConnectorError {
            code: Code::SecretNotGranted,
            message: format!("secret `{}` cannot be named by a request", request.token),
            help: format!("use a secret whose name begins with `{REGISTERED_SECRET_PREFIX}`"),
        }));
    }
    let link = connector.connect(request).await.map_err(failed)?;
    let RegisterRuntimeRequest { labels, workspaces, requires, .. } = request.clone();
    let rules = RuntimeRules { labels, rules: Rules { accepted: workspaces, required: requires } };
    Ok(RuntimeEntry { rules, access: Access::Remote, link })
}

/// Returns the Runtimes of the config and those that requests added.
fn with_registered(
    mut config: BTreeMap<RuntimeName, RuntimeEntry>,
    registered: &BTreeMap<RuntimeName, RuntimeEntry>,
) -> BTreeMap<RuntimeName, RuntimeEntry> {
    for (name, entry) in registered {
        config.entry(name.clone()).or_insert_with(|| entry.clone());
    }
    config
}

impl Shared {
    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), time: self.clock.now() }
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

    /// Makes the bundle the desired one again that was desired before. Several calls go back step by step.
    pub async fn roll_back(&self, actor: &Actor, workspace: &WorkspaceId) -> Result<WorkspaceView, BackendError> {
        let refused_action = || Action::RollBack { workspace: workspace.clone(), bundle: None };
        let decide = |before: Option<DesiredRow>| async move {
            let before = before.ok_or_else(|| BackendError::NothingDesired(workspace.clone()))?;
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
            let row = before.advance(request.stage.clone());
            let row = row.ok_or_else(|| BackendError::NoRollout(workspace.clone()))?;
            if !request.despite_refusals && self.0.fleet().reconciler.is_halted(workspace) {
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
        let Shared { records, clock, .. } = &*self.0;
        let key = desired_key(workspace);
        let attempt = || async {
            let found = records.row::<DesiredRow>(&key).await?;
            let Some(Change { row, action }) = decide(found.as_ref().map(|row| row.value.clone())).await? else {
                return Ok(records::Decision::Keep(None));
            };
            let batch = Batch::default().expect_row(&key, found.as_ref()).put_row(&key, &row);
            let batch = audit::add_entry(records, batch, clock.now(), actor, action.clone(), None).await?;
            Ok(records::Decision::Commit(batch, Some((row, action))))
        };
        match records.update::<_, BackendError, _>(attempt).await {
            Ok(Some((row, action))) => {
                let now = self.0.now();
                self.0.fleet().reconciler.set_desired(workspace, Some(row.desired), now);
                self.0.activity.record(&action);
                self.0.wake.notify_one();
            }
            Ok(None) => {}
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
            fleet.reconciler.read_now(name, now);
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
        let Shared { records, clock, .. } = &*self.0;
        let attempt = || async {
            let batch =
                audit::add_entry(records, Batch::default(), clock.now(), actor, action.clone(), refused).await?;
            Ok(records::Decision::Commit(batch, ()))
        };
        records.update::<_, BackendError, _>(attempt).await?;
        self.0.activity.record(&action);
        Ok(())
    }

    /// Replaces the workspaces, and the config of the catalogue with them.
    pub fn replace_workspaces(
        &self,
        config: RuntimeConfig,
        workspaces: BTreeMap<WorkspaceId, WorkspaceEntry>,
    ) -> Result<(), host_policy::ConfigError> {
        self.0.catalogue.runtime.management().replace_config(config)?;
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        let gone: Vec<_> = fleet.workspaces.keys().filter(|id| !workspaces.contains_key(*id)).cloned().collect();
        gone.iter().for_each(|id| fleet.reconciler.remove_workspace(id));
        for (id, entry) in &workspaces {
            fleet.reconciler.set_workspace(id.clone(), entry.rules.clone(), now);
        }
        fleet.workspaces = workspaces;
        drop(fleet);
        self.0.activity.signal();
        self.0.wake.notify_one();
        Ok(())
    }

    /// Adds a remote Runtime, or replaces one that was added this way.
    pub async fn register_runtime(
        &self,
        actor: &Actor,
        name: &RuntimeName,
        request: &RegisterRuntimeRequest,
    ) -> Result<(), BackendError> {
        let action = Action::RegisterRuntime { runtime: name.clone() };
        let opened = match self.require_not_in_config(name) {
            Ok(()) => entry(&*self.0.connector, name, request).await,
            Err(error) => Err(error),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.record(actor, action, Some(error.code())).await?;
                return Err(error);
            }
        };
        let key = registered_keys().part(name);
        let row = RegisteredRow { name: name.clone(), request: request.clone() };
        self.commit_with_entry(actor, &action, |batch| batch.put_row(&key, &row)).await?;
        let now = self.0.now();
        let mut fleet = self.0.fleet();
        fleet.registered.insert(name.clone(), opened.clone());
        fleet.reconciler.set_runtime(name.clone(), opened.rules.clone(), RuntimeKnowledge::default(), now);
        fleet.reconciler.read_now(name, now);
        fleet.runtimes.insert(name.clone(), opened);
        drop(fleet);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Removes a Runtime that a request added. Nothing is removed from the Runtime itself.
    pub async fn remove_runtime(&self, actor: &Actor, name: &RuntimeName) -> Result<(), BackendError> {
        let action = Action::RemoveRuntime { runtime: name.clone() };
        let checked = self.require_not_in_config(name).and_then(|()| {
            let known = self.0.fleet().registered.contains_key(name);
            if known { Ok(()) } else { Err(BackendError::RuntimeNotFound(name.clone())) }
        });
        if let Err(error) = checked {
            self.record(actor, action, Some(error.code())).await?;
            return Err(error);
        }
        let key = registered_keys().part(name);
        self.commit_with_entry(actor, &action, |batch| batch.delete(&key)).await?;
        let mut fleet = self.0.fleet();
        fleet.registered.remove(name);
        fleet.runtimes.remove(name);
        fleet.reconciler.remove_runtime(name);
        Ok(())
    }

    fn require_not_in_config(&self, name: &RuntimeName) -> Result<(), BackendError> {
        let fleet = self.0.fleet();
        let in_config = fleet.runtimes.contains_key(name) && !fleet.registered.contains_key(name);
        if in_config { Err(BackendError::RuntimeInConfig(name.clone())) } else { Ok(()) }
    }

    /// Commits a change with its entry in the audit log.
    async fn commit_with_entry(
        &self,
        actor: &Actor,
        action: &Action,
        change: impl Fn(Batch) -> Batch,
    ) -> Result<(), BackendError> {
        let Shared { records, clock, .. } = &*self.0;
        let attempt = || async {
            let batch = change(Batch::default());
            let batch = audit::add_entry(records, batch, clock.now(), actor, action.clone(), None).await?;
            Ok(records::Decision::Commit(batch, ()))
        };
        records.update::<_, BackendError, _>(attempt).await
    }

    /// Replaces the Runtimes of the config. What is known of a Runtime that stays is kept.
    pub fn replace_runtimes(&self, runtimes: BTreeMap<RuntimeName, RuntimeEntry>) {
        let now = self.0.now();
        let mut fleet = self.0.fleet();
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
        // Texts of a Runtime are shortened and reduced to one line.
        let plain = |text: &str| one_line(&text.chars().take(MAX_VERSION_CHARS).collect::<String>());
        let report = known.status.as_ref().map(|status| RuntimeReport {
            id: status.id.clone(),
            version: plain(&status.version),
            worlds: status.worlds.iter().take(MAX_WORLDS).map(|world| plain(world)).collect(),
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
