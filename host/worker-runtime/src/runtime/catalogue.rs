//! The workers of a workspace: making, finding and stopping them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{Blob, Digest, Revision};
use component_host::{BundleView, Resolver};
use host_policy::{ProfileSelector, Refusal, Request, ResolvedWorkerSpec, RuntimeConfig};

use super::restore::{Live, LiveKey};
use crate::content::{Content, ContentError, User};
use crate::error::ResolveError;
use crate::event::EventKind;
use crate::ledger::{
    ATTEMPTS, BundleRow, Change, ChangeError, Mark, ResolverRow, Row, Usage, WorkerRow, blob_key, bundle_key,
    resolved_by_key, resolver_key, uses_key, worker_key, workers_key,
};
use crate::metadata::MetadataError;
use crate::record::Record;
use crate::report::{ResolutionReport, with_policy};
use crate::resolutions::{Inputs, Resolved};
use crate::tenants::Busy;
use crate::worker::{CreateWorkerRequest, MAX_REQUIRED_CAPABILITIES, StopReason, WorkerId, WorkerState, WorkerSummary};

/// The workers of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(crate) content: Content,
}

/// A worker that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// What is told of it.
    pub worker: WorkerSummary,
    /// Whether it is new; asking for the same again finds it.
    pub new: bool,
}

/// Why there is no such worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The workspace's content says no.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The workspace has no such worker.
    #[error("there is no worker `{0}`")]
    NotFound(WorkerId),
    /// There is a worker of that id, asked for with something else.
    #[error("worker `{0}` is there already, asked for with something else")]
    Exists(WorkerId),
    /// A profile of a bundle, without a bundle.
    #[error("profile `{0}` is one of a bundle, and no bundle is named")]
    BundleUnnamed(ProfileSelector),
    /// A profile that ships inside, and a bundle.
    #[error("profile `{0}` ships inside, and a bundle is named")]
    BundleUnwanted(ProfileSelector),
    /// More capabilities than a request may name.
    #[error("{0} required capabilities are more than the {MAX_REQUIRED_CAPABILITIES} allowed")]
    TooManyCapabilities(usize),
    /// The bundle is older than the newest one that was acknowledged.
    #[error("revision {} is older than {}, which was acknowledged", revision.get(), newest.get())]
    RevisionOlder {
        /// The bundle's.
        revision: Revision,
        /// The newest.
        newest: Revision,
    },
    /// This Runtime has no such resolver.
    #[error("there is no resolver {0}")]
    ResolverNotFound(Digest),
    /// The resolver must not be used any more.
    #[error("resolver {0} is revoked")]
    ResolverRevoked(Digest),
    /// There is no resolution.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The worker takes no calls.
    #[error("worker `{worker}` takes no calls: {}", reason.sentence())]
    NotRunning {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: StopReason,
    },
    /// What the profile requires is not granted.
    #[error("{}", host_policy::refused(.0))]
    Denied(Vec<Refusal>),
}

impl From<MetadataError> for WorkerError {
    fn from(error: MetadataError) -> Self {
        Self::Content(error.into())
    }
}

impl From<Busy> for WorkerError {
    fn from(error: Busy) -> Self {
        Self::Content(error.into())
    }
}

impl From<ChangeError> for WorkerError {
    fn from(error: ChangeError) -> Self {
        Self::Content(error.into())
    }
}

impl WorkerError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Content(error) => error.code(),
            Self::NotFound(_) => "worker_not_found",
            Self::Exists(_) => "worker_exists",
            Self::BundleUnnamed(_) => "bundle_unnamed",
            Self::BundleUnwanted(_) => "bundle_unwanted",
            Self::TooManyCapabilities(_) => "too_many_capabilities",
            Self::RevisionOlder { .. } => "revision_older",
            Self::ResolverNotFound(_) => "resolver_not_found",
            Self::ResolverRevoked(_) => "resolver_revoked",
            Self::Resolve(error) => error.code(),
            Self::NotRunning { .. } => "worker_stopped",
            Self::Denied(_) => "denied",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Content(error) => return error.help(),
            Self::Resolve(error) => return error.help(),
            Self::NotFound(_) => "the list of workers has those that are there",
            Self::Exists(_) => "choose another id, or ask with the same again",
            Self::BundleUnnamed(_) => "name the bundle by its digest, or write `builtin:NAME`",
            Self::BundleUnwanted(_) => "leave the bundle out, or the `builtin:`",
            Self::TooManyCapabilities(_) => "ask for what the worker cannot do without",
            Self::RevisionOlder { .. } => "name the newest bundle, or say that an older one is meant (`allow_older`)",
            Self::ResolverNotFound(_) => "have the operator add it first, or leave it out for the active one",
            Self::ResolverRevoked(_) => "leave it out for the active one",
            Self::NotRunning { .. } => "make another worker; the state of this one says why it takes no calls",
            Self::Denied(_) => "each refusal names what would grant it",
        };
        plain.to_owned()
    }
}

/// A resolution, and what the host made of it.
struct Made<T> {
    view: BundleView,
    /// Whether the bundle is older than the newest.
    older: bool,
    resolver: Digest,
    live: Live,
    /// What whoever asked for it wants of it.
    wanted: T,
}

/// A record's bytes and their digest.
fn record(inputs: &Inputs, resolved: &Resolved, live: &Live) -> Blob {
    let digests = with_policy(*resolved.digests(), Some(live.spec.policy()));
    Blob::new(Record::write(inputs, resolved, &digests))
}

fn few_capabilities(request: &CreateWorkerRequest) -> Result<(), WorkerError> {
    match request.required_capabilities.len() {
        count if count > MAX_REQUIRED_CAPABILITIES => Err(WorkerError::TooManyCapabilities(count)),
        _ => Ok(()),
    }
}

impl Catalogue {
    /// Makes a worker: resolves, enforces, records, and only then answers. Asking again with the same
    /// answers the same worker.
    pub async fn create(&self, id: WorkerId, request: CreateWorkerRequest) -> Result<Created, WorkerError> {
        if let Some(there) = self.found(&id, &request).await? {
            return Ok(there);
        }
        let shared = &self.content.shared;
        let _turn = shared.tenants.turn(&self.content.workspace).await?;
        let made = self.make(&request, |inputs, resolved, live| record(inputs, resolved, live)).await?;
        let Made { view, older, resolver, live, wanted: record } = made;
        let record_digest = record.digest();
        let workspace = &self.content.workspace;
        let policy = live.spec.policy();
        let row = WorkerRow {
            bundle: view.bundle().digest(),
            resolver,
            record: record_digest,
            policy,
            created_at: shared.ledger.now(),
            entries: 0,
            calls: Default::default(),
            state: WorkerState::Running,
            request,
        };
        let bytes = record.bytes().len() as u64;
        let storing = shared.tenants.storing(workspace).await?;
        let _kept = shared.stripes.keeping(&record_digest).await;
        {
            let _storing = storing;
            shared.blobs.put_whole(record).await.map_err(ContentError::from)?;
        }
        let created = self.acknowledge(id, row, bytes, older).await?;
        shared.live.insert(LiveKey { workspace: workspace.clone(), record: record_digest, policy }, Arc::new(live));
        Ok(created)
    }

    /// What a worker that is asked for like that would be. Nothing is made and nothing is recorded.
    pub async fn resolve(&self, request: &CreateWorkerRequest) -> Result<ResolutionReport, WorkerError> {
        few_capabilities(request)?;
        let _turn = self.content.shared.tenants.turn(&self.content.workspace).await?;
        let made = self.make(request, |_, resolved, _| resolved.clone()).await?;
        Ok(ResolutionReport::new(made.view.bundle().manifest(), &made.wanted, Some(&made.live.spec)))
    }

    /// Resolves and enforces. What is `wanted` of it is computed there as well: an answer may be large.
    async fn make<T: Send + 'static>(
        &self,
        request: &CreateWorkerRequest,
        wanted: impl FnOnce(&Inputs, &Arc<Resolved>, &Live) -> T + Send + 'static,
    ) -> Result<Made<T>, WorkerError> {
        let shared = &self.content.shared;
        let workspace = &self.content.workspace;
        let (view, older) = self.bundle(request).await?;
        let resolver = self.resolver(request.resolver).await?;
        let config = shared.config.load_full();
        let asked = Request::new(request.profile.profile().clone(), request.required_capabilities.iter().cloned());
        let inputs = Inputs::of(shared.facts(&config, workspace), asked);
        let digest = resolver.digest();
        let place = shared.tenants.computing(workspace).await?;
        let computed = {
            let (shared, workspace, view) = (shared.clone(), workspace.clone(), view.clone());
            async move {
                let resolved = shared.resolutions.resolve(&resolver, &view, &inputs).await?;
                let live = shared.enforce(&config, &workspace, &view, resolved.resolution());
                let live = live.map_err(WorkerError::Denied)?;
                let wanted = wanted(&inputs, &resolved, &live);
                Ok::<_, WorkerError>((live, wanted))
            }
        };
        let computed = shared.computing.run(place, computed).await;
        let (live, wanted) = computed.ok_or(ContentError::Contended)??;
        Ok(Made { view, older, resolver: digest, live, wanted })
    }

    /// The worker, where it is there and was asked for with the same.
    async fn found(&self, id: &WorkerId, request: &CreateWorkerRequest) -> Result<Option<Created>, WorkerError> {
        few_capabilities(request)?;
        let key = worker_key(&self.content.workspace, id);
        same(id, self.content.shared.ledger.row::<WorkerRow>(&key).await?, request)
    }

    /// The bundle that a request names, and whether it is older than the newest.
    async fn bundle(&self, request: &CreateWorkerRequest) -> Result<(BundleView, bool), WorkerError> {
        let digest = match (&request.profile, request.bundle) {
            (ProfileSelector::Builtin(_), None) => return Ok((self.content.shared.builtin.clone(), false)),
            (ProfileSelector::Bundle(_), Some(digest)) => digest,
            (ProfileSelector::Bundle(_), None) => return Err(WorkerError::BundleUnnamed(request.profile.clone())),
            (ProfileSelector::Builtin(_), Some(_)) => return Err(WorkerError::BundleUnwanted(request.profile.clone())),
        };
        let view = self.content.view(digest).await?;
        let revision = view.bundle().manifest().revision;
        let newest = self.content.newest().await?.map_or(revision, |(newest, _)| newest);
        if newest > revision && !request.allow_older {
            return Err(WorkerError::RevisionOlder { revision, newest });
        }
        Ok((view, newest > revision))
    }

    async fn resolver(&self, asked: Option<Digest>) -> Result<Resolver, WorkerError> {
        let shared = &self.content.shared;
        let digest = asked.unwrap_or_else(|| shared.shipped.digest());
        if let Some(row) = shared.ledger.row::<ResolverRow>(&resolver_key(&digest)).await?
            && row.value.revoked.is_some()
        {
            return Err(WorkerError::ResolverRevoked(digest));
        }
        if digest == shared.shipped.digest() {
            return Ok(shared.shipped.clone());
        }
        shared.resolvers.get(&digest).ok_or(WorkerError::ResolverNotFound(digest))
    }

    async fn acknowledge(
        &self,
        id: WorkerId,
        row: WorkerRow,
        record_bytes: u64,
        older: bool,
    ) -> Result<Created, WorkerError> {
        let shared = &self.content.shared;
        let workspace = &self.content.workspace;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, &id);
        for _ in 0..ATTEMPTS {
            let keys =
                (resolver_key(&row.resolver), bundle_key(workspace, &row.bundle), blob_key(workspace, &row.record));
            let [there, resolver, bundle, blob] = shared.ledger.records([&key, &keys.0, &keys.1, &keys.2]).await?;
            let there = there.map(Row::of).transpose()?;
            if let Some(there) = same(&id, there, &row.request)? {
                return Ok(there);
            }
            let user = || User::Worker(id.clone());
            let mut change = Change::default()
                .expect::<WorkerRow>(&key, None)
                .put(&key, &row)
                .put(&uses_key(workspace, &row.record).part(user()), &Mark {})
                .put(&resolved_by_key(&row.resolver).part(workspace).part(&id), &Mark {})
                .takes(Usage { workers: 1, ..Usage::default() })
                .event(EventKind::WorkerCreated { worker: id.clone(), bundle: row.bundle, older });
            // Revoked since it resolved: this row and the worker's are decided together.
            let resolver = resolver.map(Row::<ResolverRow>::of).transpose()?;
            if resolver.as_ref().is_some_and(|resolver| resolver.value.revoked.is_some()) {
                return Err(WorkerError::ResolverRevoked(row.resolver));
            }
            change = change.expect(&keys.0, resolver.as_ref());
            if row.request.bundle.is_some() {
                // Removed or revoked since it was resolved.
                let bundle = bundle.map(Row::<BundleRow>::of).transpose()?;
                let bundle = bundle.ok_or(ContentError::BundleNotFound(row.bundle))?;
                if bundle.value.revoked_at.is_some() {
                    return Err(ContentError::BundleRevoked(row.bundle).into());
                }
                change =
                    change.expect(&keys.1, Some(&bundle)).put(&uses_key(workspace, &row.bundle).part(user()), &Mark {});
            }
            if blob.is_none() {
                change = self.content.owning(change, row.record, record_bytes);
            }
            match shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    return Ok(Created { worker: summary(id, row), new: true });
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// What is told of a worker. One that may not go on says so.
    pub async fn get(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        Ok(summary(id.clone(), self.row(id).await?))
    }

    pub(super) async fn row(&self, id: &WorkerId) -> Result<WorkerRow, WorkerError> {
        let key = worker_key(&self.content.workspace, id);
        let row = self.content.shared.ledger.row::<WorkerRow>(&key).await?;
        Ok(row.ok_or_else(|| WorkerError::NotFound(id.clone()))?.value)
    }

    /// At most so many workers in the order of their ids, after another one.
    pub async fn list(&self, after: Option<&WorkerId>, most: usize) -> Result<Vec<WorkerSummary>, WorkerError> {
        let after = after.map(|id| worker_key(&self.content.workspace, id));
        let below = workers_key(&self.content.workspace);
        let rows = self.content.shared.ledger.rows::<WorkerRow>(&below, after.as_ref(), most).await?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some(summary(key.last().parse().ok()?, row))).collect())
    }

    /// What a worker that takes calls is and may touch, as the host grants it now.
    pub async fn spec(&self, id: &WorkerId) -> Result<ResolvedWorkerSpec, WorkerError> {
        let row = self.row(id).await?;
        let not_running = |reason| WorkerError::NotRunning { worker: id.clone(), reason };
        if let WorkerState::Stopped { reason, .. } = row.state {
            return Err(not_running(reason));
        }
        self.live(&row).await?.map(|live| live.spec.clone()).map_err(not_running)
    }

    /// Stops a worker for good. Stopping twice is stopping once. Its history stays.
    pub async fn stop(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        self.stop_because(id, StopReason::Requested).await
    }

    pub(crate) async fn stop_because(&self, id: &WorkerId, reason: StopReason) -> Result<WorkerSummary, WorkerError> {
        let shared = &self.content.shared;
        let workspace = &self.content.workspace;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, id);
        for _ in 0..ATTEMPTS {
            let found = shared.ledger.row::<WorkerRow>(&key).await?;
            let found = found.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
            if found.value.state != WorkerState::Running {
                return Ok(summary(id.clone(), found.value));
            }
            let at = shared.ledger.now();
            let row = WorkerRow { state: WorkerState::Stopped { reason, at }, ..found.value.clone() };
            let change = Change::default()
                .expect(&key, Some(&found))
                .put(&key, &row)
                // What it was made from is free; what it did stays, and so does its record.
                .delete(&uses_key(workspace, &row.bundle).part(User::Worker(id.clone())))
                .delete(&resolved_by_key(&row.resolver).part(workspace).part(id))
                .event(EventKind::WorkerStopped { worker: id.clone(), reason });
            match shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    return Ok(summary(id.clone(), row));
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// What a worker would hold under another config.
    pub(super) async fn authorities(&self, row: &WorkerRow, config: &RuntimeConfig) -> BTreeSet<String> {
        match self.restored(row, config).await {
            Ok(Ok(live)) => live.spec.authorities().map(|authority| authority.to_string()).collect(),
            _ => BTreeSet::new(),
        }
    }

    /// A worker's spec and tools under the config that is in force, or why it may not go on.
    pub(super) async fn live(&self, row: &WorkerRow) -> Result<Result<Arc<Live>, StopReason>, WorkerError> {
        let shared = &self.content.shared;
        let workspace = &self.content.workspace;
        let config = shared.config.load_full();
        let key = LiveKey { workspace: workspace.clone(), record: row.record, policy: config.digest(workspace) };
        if let Some(live) = shared.live.get(&key) {
            return Ok(Ok(live));
        }
        let live = self.restored(row, &config).await?.map(Arc::new);
        if let Ok(live) = &live {
            shared.live.insert(key, live.clone());
        }
        Ok(live)
    }

    async fn restored(&self, row: &WorkerRow, config: &RuntimeConfig) -> Result<Result<Live, StopReason>, WorkerError> {
        let shared = &self.content.shared;
        let workspace = &self.content.workspace;
        let view = if row.request.bundle.is_none() {
            // Another version of this program ships another bundle.
            if shared.builtin.bundle().digest() != row.bundle {
                return Ok(Err(StopReason::BundleMissing));
            }
            shared.builtin.clone()
        } else {
            match self.content.view(row.bundle).await {
                Ok(view) => view,
                Err(ContentError::BundleRevoked(_)) => return Ok(Err(StopReason::BundleRevoked)),
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(_) => return Ok(Err(StopReason::BundleMissing)),
            }
        };
        let record = match self.content.blob(row.record).await {
            Ok(record) => record,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(_) => return Ok(Err(StopReason::RecordDamaged)),
        };
        let place = shared.tenants.computing(workspace).await?;
        let restore = {
            let (shared, workspace, config) = (shared.clone(), workspace.clone(), config.clone());
            async move {
                let limits = &shared.sandbox.limits().bundle;
                let record = Record::from_json(&record).map_err(|_| StopReason::RecordDamaged)?;
                let resolution = record.restore(view.bundle().manifest(), limits);
                let resolution = resolution.map_err(|_| StopReason::RecordDamaged)?;
                shared.enforce(&config, &workspace, &view, &resolution).map_err(|_| StopReason::PolicyDenied)
            }
        };
        Ok(shared.computing.run(place, restore).await.ok_or(ContentError::Contended)?)
    }
}

/// The worker that is there, where it was asked for with the same.
fn same(
    id: &WorkerId,
    there: Option<Row<WorkerRow>>,
    request: &CreateWorkerRequest,
) -> Result<Option<Created>, WorkerError> {
    match there {
        None => Ok(None),
        Some(row) if row.value.request == *request => {
            Ok(Some(Created { worker: summary(id.clone(), row.value), new: false }))
        }
        Some(_) => Err(WorkerError::Exists(id.clone())),
    }
}

pub(super) fn summary(id: WorkerId, row: WorkerRow) -> WorkerSummary {
    WorkerSummary {
        id,
        request: row.request,
        bundle: row.bundle,
        resolver: row.resolver,
        record: row.record,
        policy: row.policy,
        created_at: row.created_at,
        state: row.state,
    }
}
