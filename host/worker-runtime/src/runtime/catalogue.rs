//! The workers of a workspace: making, finding and stopping them.

use std::sync::Arc;

use bundles::{Blob, Digest, Revision};
use component_host::BundleView;
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use futures_util::StreamExt;
use host_policy::{ProfileSelector, Refusal, Request, ResolvedWorkerSpec, RuntimeConfig};
use runtime_api::event::EventKind;
use runtime_api::referrer::Referrer;
use runtime_api::worker::{
    CreateWorkerRequest, CreatedWorker, MAX_REQUIRED_CAPABILITIES, StopReason, Suspension, SuspensionReason, WorkerId,
    WorkerState, WorkerSummary,
};

use super::live_worker::{Live, LiveKey};
use crate::content::ContentError;
use crate::error::ResolveError;
use crate::ledger::{
    ATTEMPTS, BundleRow, Change, ChangeError, Mark, Page, ResolverRow, Row, StoredState, Usage, WorkerRow, blob_key,
    bundle_key, removal_key, resolved_by_key, resolver_key, uses_key, worker_key, workers_key,
};
use crate::record::Record;
use crate::report::{ResolutionReport, with_policy};
use crate::resolutions::{Inputs, Resolved};
use crate::tenants::Busy;
use crate::workspace::Workspace;

/// The workers of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(crate) workspace: Workspace,
}

/// Why there is no such worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The workspace's content says no.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The bundle, or a blob of it, is not in the store.
    #[error("the bundle cannot be used: {0}, which it needs, is not in the store")]
    BundleMissing(Digest),
    /// The bundle, or a blob of it, is damaged in the store.
    #[error("the bundle cannot be used: {0}, which it needs, is damaged in the store")]
    BundleDamaged(Digest),
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
    /// The component of the resolver cannot be loaded.
    #[error("resolver {resolver} cannot be loaded ({code})")]
    ResolverUnavailable {
        /// Digest of the resolver.
        resolver: Digest,
        /// Code of the error.
        code: &'static str,
    },
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
    /// The worker takes no calls until the cause is removed.
    #[error("worker `{worker}` is suspended: {}", suspension.detail)]
    Suspended {
        /// The worker.
        worker: WorkerId,
        /// The cause and what removes it.
        suspension: Arc<Suspension>,
    },
    /// Only a stopped worker can be removed.
    #[error("worker `{0}` is not stopped")]
    NotStopped(WorkerId),
    /// What the profile requires is not granted.
    #[error("{}", host_policy::refusal_summary(.0))]
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
            Self::BundleMissing(_) => "bundle_missing",
            Self::BundleDamaged(_) => "bundle_damaged",
            Self::NotFound(_) => "worker_not_found",
            Self::Exists(_) => "worker_exists",
            Self::BundleUnnamed(_) => "bundle_unnamed",
            Self::BundleUnwanted(_) => "bundle_unwanted",
            Self::TooManyCapabilities(_) => "too_many_capabilities",
            Self::RevisionOlder { .. } => "revision_older",
            Self::ResolverNotFound(_) => "resolver_not_found",
            Self::ResolverRevoked(_) => "resolver_revoked",
            Self::ResolverUnavailable { .. } => "resolver_unavailable",
            Self::Resolve(error) => error.code(),
            Self::NotRunning { .. } => "worker_stopped",
            Self::Suspended { .. } => "worker_suspended",
            Self::NotStopped(_) => "worker_not_stopped",
            Self::Denied(_) => "denied",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Content(error) => return error.help(),
            Self::Resolve(error) => return error.help(),
            Self::Suspended { suspension, .. } => return suspension.remedy.clone(),
            Self::BundleMissing(_) | Self::BundleDamaged(_) => PUT_AGAIN,
            Self::NotFound(_) => "the list of workers has those that are there",
            Self::Exists(_) => "choose another id, or ask with the same again",
            Self::BundleUnnamed(_) => "name the bundle by its digest, or write `builtin:NAME`",
            Self::BundleUnwanted(_) => "leave the bundle out, or the `builtin:`",
            Self::TooManyCapabilities(_) => "ask for what the worker cannot do without",
            Self::RevisionOlder { .. } => "name the newest bundle, or say that an older one is meant (`allow_older`)",
            Self::ResolverNotFound(_) => "have the operator add it first, or leave it out for the active one",
            Self::ResolverRevoked(_) => "leave it out for the active one",
            Self::ResolverUnavailable { .. } => "have the operator add the resolver again, or activate another one",
            Self::NotRunning { .. } => "make another worker; the state of this one says why it takes no calls",
            Self::NotStopped(_) => "stop the worker first",
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
    pub async fn create(&self, id: WorkerId, request: CreateWorkerRequest) -> Result<CreatedWorker, WorkerError> {
        let there = self.found(&id, &request).await?;
        let mut created = match there {
            Some(there) => there,
            None => self.create_new(id, request).await?,
        };
        if let Some(bundle) = created.worker.request.bundle {
            // A bundle that does not open is the state of the worker.
            created.findings = self.workspace.content().findings(bundle).await.unwrap_or_default();
        }
        Ok(created)
    }

    async fn create_new(&self, id: WorkerId, request: CreateWorkerRequest) -> Result<CreatedWorker, WorkerError> {
        let shared = &self.workspace.shared;
        let _turn = shared.tenants.turn(&self.workspace.id).await?;
        let made = self.make(&request, |inputs, resolved, live| record(inputs, resolved, live)).await?;
        let Made { view, older, resolver, live, wanted: record } = made;
        let record_digest = record.digest();
        let workspace = &self.workspace.id;
        let policy = live.spec.policy();
        let row = WorkerRow {
            bundle: view.bundle().digest(),
            resolver,
            record: record_digest,
            policy,
            created_at: shared.ledger.now(),
            entries: 0,
            calls: Default::default(),
            state: StoredState::Running,
            request,
        };
        let bytes = record.bytes().len() as u64;
        let storing = shared.tenants.storing(workspace).await?;
        let _kept = shared.stripes.keeping(&record_digest).await;
        {
            let _storing = storing;
            shared.blobs.put_hashed(record).await.map_err(ContentError::from)?;
        }
        let created = self.acknowledge(id, row, bytes, older).await?;
        let key = LiveKey { workspace: workspace.clone(), record: record_digest, policy };
        shared.conditions.insert(key.clone(), None);
        shared.live.insert(key, Arc::new(live));
        Ok(created)
    }

    /// What a worker that is asked for like that would be. Nothing is made and nothing is recorded.
    pub async fn resolve(&self, request: &CreateWorkerRequest) -> Result<ResolutionReport, WorkerError> {
        few_capabilities(request)?;
        let _turn = self.workspace.shared.tenants.turn(&self.workspace.id).await?;
        let made = self.make(request, |_, resolved, _| resolved.clone()).await?;
        Ok(ResolutionReport::new(made.view.bundle().manifest(), &made.wanted, Some(&made.live.spec)))
    }

    /// Resolves and enforces. What is `wanted` of it is computed there as well: an answer may be large.
    async fn make<T: Send + 'static>(
        &self,
        request: &CreateWorkerRequest,
        wanted: impl FnOnce(&Inputs, &Arc<Resolved>, &Live) -> T + Send + 'static,
    ) -> Result<Made<T>, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let (view, older) = self.bundle(request).await?;
        let config = shared.config.load_full();
        let resolver = shared.resolver_for(workspace, &config, request.resolver).await?;
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

    /// The worker, where it is there and was asked for with the same. If the removal of an earlier worker of that id is
    /// under way, it is completed.
    async fn found(&self, id: &WorkerId, request: &CreateWorkerRequest) -> Result<Option<CreatedWorker>, WorkerError> {
        few_capabilities(request)?;
        let workspace = &self.workspace.id;
        let keys = (worker_key(workspace, id), removal_key(workspace, id));
        let [there, removal] = self.workspace.shared.ledger.records([&keys.0, &keys.1]).await?;
        if let Some(row) = same(id, there.map(Row::of).transpose()?, request)? {
            let worker = self.described(id.clone(), row).await?;
            return Ok(Some(CreatedWorker { worker, new: false, findings: Vec::new() }));
        }
        if removal.is_some() {
            self.complete_removal(id).await?;
        }
        Ok(None)
    }

    /// The bundle that a request names, and whether it is older than the newest.
    async fn bundle(&self, request: &CreateWorkerRequest) -> Result<(BundleView, bool), WorkerError> {
        let digest = match (&request.profile, request.bundle) {
            (ProfileSelector::Builtin(_), None) => return Ok((self.workspace.shared.builtin.clone(), false)),
            (ProfileSelector::Bundle(_), Some(digest)) => digest,
            (ProfileSelector::Bundle(_), None) => return Err(WorkerError::BundleUnnamed(request.profile.clone())),
            (ProfileSelector::Builtin(_), Some(_)) => return Err(WorkerError::BundleUnwanted(request.profile.clone())),
        };
        let view = match self.workspace.content().view(digest).await {
            Ok(view) => view,
            Err(error) => return Err(self.unusable(digest, error).await?),
        };
        let revision = view.bundle().manifest().revision;
        let newest = self.workspace.content().newest().await?.map_or(revision, |(newest, _)| newest);
        if newest > revision && !request.allow_older {
            return Err(WorkerError::RevisionOlder { revision, newest });
        }
        Ok((view, newest > revision))
    }

    async fn acknowledge(
        &self,
        id: WorkerId,
        row: WorkerRow,
        record_bytes: u64,
        older: bool,
    ) -> Result<CreatedWorker, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let _resolvers = shared.resolver_changes.read().await;
        let key = worker_key(workspace, &id);
        for _ in 0..ATTEMPTS {
            let keys =
                (resolver_key(&row.resolver), bundle_key(workspace, &row.bundle), blob_key(workspace, &row.record));
            let [there, resolver, bundle, blob] = shared.ledger.records([&key, &keys.0, &keys.1, &keys.2]).await?;
            let there = there.map(Row::of).transpose()?;
            if let Some(there) = same(&id, there, &row.request)? {
                return Ok(CreatedWorker { worker: summary(id, there, None), new: false, findings: Vec::new() });
            }
            let user = || Referrer::Worker(id.clone());
            let mut change = Change::default()
                .expect::<WorkerRow>(&key, None)
                // A history that is being removed is not this worker's.
                .expect::<Mark>(&removal_key(workspace, &id), None)
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
            if resolver.is_none() && row.resolver != shared.shipped.digest() {
                return Err(WorkerError::ResolverNotFound(row.resolver));
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
                change = self.workspace.content().owning(change, row.record, record_bytes);
            }
            match shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    return Ok(CreatedWorker { worker: summary(id, row, None), new: true, findings: Vec::new() });
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// Returns the summary of a worker, with its state under the config that is in force.
    pub async fn get(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        self.described(id.clone(), self.row(id).await?).await
    }

    async fn described(&self, id: WorkerId, row: WorkerRow) -> Result<WorkerSummary, WorkerError> {
        let suspension = match row.state {
            StoredState::Running => self.suspension(&row).await?,
            StoredState::Stopped { .. } => None,
        };
        Ok(summary(id, row, suspension.as_deref()))
    }

    pub(super) async fn row(&self, id: &WorkerId) -> Result<WorkerRow, WorkerError> {
        let key = worker_key(&self.workspace.id, id);
        let row = self.workspace.shared.ledger.row::<WorkerRow>(&key).await?;
        Ok(row.ok_or_else(|| WorkerError::NotFound(id.clone()))?.value)
    }

    /// Returns at most so many workers in the order of their ids, after another one. Their states are computed for
    /// this call, and remembered.
    pub async fn list(&self, after: Option<&WorkerId>, most: usize) -> Result<Vec<WorkerSummary>, WorkerError> {
        let (mut workers, mut after) = (Vec::new(), after.cloned());
        loop {
            let page = self.list_page(after.as_ref(), most.saturating_sub(workers.len())).await?;
            workers.extend(page.items);
            match workers.last() {
                Some(last) if page.more && workers.len() < most => after = Some(last.id.clone()),
                _ => return Ok(workers),
            }
        }
    }

    /// Returns a page of workers in the order of their ids, after another one: at most so many, and 256 KiB of them.
    pub async fn list_page(&self, after: Option<&WorkerId>, most: usize) -> Result<Page<WorkerSummary>, WorkerError> {
        let after = after.map(|id| worker_key(&self.workspace.id, id));
        let below = workers_key(&self.workspace.id);
        let Page { items, more } = self.workspace.shared.ledger.page::<WorkerRow>(&below, after.as_ref(), most).await?;
        let mut workers = Vec::with_capacity(items.len());
        for (key, row) in items {
            if let Ok(id) = key.last().parse() {
                workers.push(self.described(id, row).await?);
            }
        }
        Ok(Page { items: workers, more })
    }

    /// What a worker that takes calls is and may touch, as the host grants it now.
    pub async fn spec(&self, id: &WorkerId) -> Result<ResolvedWorkerSpec, WorkerError> {
        let row = self.row(id).await?;
        if let StoredState::Stopped { reason, .. } = row.state {
            return Err(WorkerError::NotRunning { worker: id.clone(), reason });
        }
        Ok(ResolvedWorkerSpec::clone(&self.live(id, &row).await?.spec))
    }

    /// Stops a worker for good. Stopping twice is stopping once. Its history stays.
    pub async fn stop(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        self.stop_because(id, StopReason::Requested).await
    }

    pub(crate) async fn stop_because(&self, id: &WorkerId, reason: StopReason) -> Result<WorkerSummary, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, id);
        for _ in 0..ATTEMPTS {
            let found = shared.ledger.row::<WorkerRow>(&key).await?;
            let found = found.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
            if found.value.state != StoredState::Running {
                return Ok(summary(id.clone(), found.value, None));
            }
            let at = shared.ledger.now();
            let row = WorkerRow { state: StoredState::Stopped { reason, at }, ..found.value.clone() };
            let change = Change::default()
                .expect(&key, Some(&found))
                .put(&key, &row)
                // What it was made from is free; what it did stays, and so does its record.
                .delete(&uses_key(workspace, &row.bundle).part(Referrer::Worker(id.clone())))
                .delete(&resolved_by_key(&row.resolver).part(workspace).part(id))
                .event(EventKind::WorkerStopped { worker: id.clone(), reason });
            match shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    return Ok(summary(id.clone(), row, None));
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// Returns the cause for which a running worker takes no calls, or `None` if it takes them.
    async fn suspension(&self, row: &WorkerRow) -> Result<Option<Arc<Suspension>>, WorkerError> {
        let config = self.workspace.shared.config.load_full();
        match self.workspace.shared.conditions.get(&self.live_key(row, &config)) {
            Some(known) => Ok(known),
            None => Ok(self.live_under(row, &config).await?.err()),
        }
    }

    /// Returns a worker's spec and tools under the config that is in force.
    pub(super) async fn live(&self, id: &WorkerId, row: &WorkerRow) -> Result<Arc<Live>, WorkerError> {
        let config = self.workspace.shared.config.load_full();
        let live = self.live_under(row, &config).await?;
        live.map_err(|suspension| WorkerError::Suspended { worker: id.clone(), suspension })
    }

    fn live_key(&self, row: &WorkerRow, config: &RuntimeConfig) -> LiveKey {
        let workspace = &self.workspace.id;
        LiveKey { workspace: workspace.clone(), record: row.record, policy: config.digest(workspace) }
    }

    /// Returns a worker's spec and tools under a config, or the cause for which it takes no calls.
    pub(super) async fn live_under(
        &self,
        row: &WorkerRow,
        config: &RuntimeConfig,
    ) -> Result<Result<Arc<Live>, Arc<Suspension>>, WorkerError> {
        let shared = &self.workspace.shared;
        let key = self.live_key(row, config);
        if let Some(live) = shared.live.get(&key) {
            return Ok(Ok(live));
        }
        if let Some(Some(suspension)) = shared.conditions.get(&key) {
            return Ok(Err(suspension));
        }
        let live = self.restored(row, config).await?.map(Arc::new).map_err(Arc::new);
        match &live {
            Ok(live) => {
                shared.conditions.insert(key.clone(), None);
                shared.live.insert(key, live.clone());
            }
            Err(suspension) if suspension.reason == SuspensionReason::PolicyDenied => {
                shared.conditions.insert(key, Some(suspension.clone()));
            }
            // What is missing or damaged can be put again.
            Err(_) => shared.conditions.remove(&key),
        }
        Ok(live)
    }

    async fn restored(&self, row: &WorkerRow, config: &RuntimeConfig) -> Result<Result<Live, Suspension>, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let view = if row.request.bundle.is_none() {
            if shared.builtin.bundle().digest() != row.bundle {
                return Ok(Err(Suspension::new(
                    SuspensionReason::BundleMissing,
                    "the bundle that ships inside is another one since this program was updated",
                    "make another worker",
                )));
            }
            shared.builtin.clone()
        } else {
            match self.workspace.content().view_under(row.bundle, config).await {
                Ok(view) => view,
                Err(error) => return Ok(Err(self.unusable_bundle(error).await?)),
            }
        };
        let record = match self.workspace.content().blob(row.record).await {
            Ok(record) => record,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(ContentError::Blob(BlobError::Damaged { .. })) => return Ok(Err(damaged_record())),
            Err(_) if self.is_set_aside(row.record).await? => return Ok(Err(damaged_record())),
            Err(_) => {
                let detail = format!("its resolution record {} is not in the store", row.record.short());
                return Ok(Err(Suspension::new(SuspensionReason::RecordMissing, detail, RESTORE_RECORD)));
            }
        };
        let place = shared.tenants.computing(workspace).await?;
        let restore = {
            let (shared, workspace, config) = (shared.clone(), workspace.clone(), config.clone());
            async move {
                let limits = &shared.sandbox.limits().bundle;
                let record = Record::from_json(&record).map_err(|_| damaged_record())?;
                let resolution = record.restore(view.bundle().manifest(), limits);
                let resolution = resolution.map_err(|_| damaged_record())?;
                let live = shared.enforce(&config, &workspace, &view, &resolution);
                live.map_err(|refusals| Suspension::denied(&refusals))
            }
        };
        Ok(shared.computing.run(place, restore).await.ok_or(ContentError::Contended)?)
    }

    /// Returns the content that is missing or damaged, and `true` if it is damaged; of other errors nothing.
    async fn lost(&self, error: &ContentError) -> Result<Option<(Digest, bool)>, WorkerError> {
        Ok(match error {
            ContentError::BundleNotFound(digest)
            | ContentError::BlobNotFound(digest)
            | ContentError::Blob(BlobError::NotFound(digest)) => Some((*digest, self.is_set_aside(*digest).await?)),
            ContentError::Blob(BlobError::Damaged(digest)) => Some((*digest, true)),
            _ => None,
        })
    }

    /// Returns the error for a bundle of which no worker can be made. Its code is the reason that a suspended worker of
    /// the bundle has.
    async fn unusable(&self, bundle: Digest, error: ContentError) -> Result<WorkerError, WorkerError> {
        if matches!(&error, ContentError::BundleNotFound(digest) if *digest == bundle) {
            return Ok(error.into());
        }
        Ok(match self.lost(&error).await? {
            Some((digest, true)) => WorkerError::BundleDamaged(digest),
            Some((digest, false)) => WorkerError::BundleMissing(digest),
            None => error.into(),
        })
    }

    /// Returns the cause for which a bundle cannot be used, or the error if it may be usable another time.
    async fn unusable_bundle(&self, error: ContentError) -> Result<Suspension, WorkerError> {
        if error.is_passing() {
            return Err(error.into());
        }
        if let Some((digest, is_damaged)) = self.lost(&error).await? {
            let (reason, state) = match is_damaged {
                true => (SuspensionReason::BundleDamaged, "is damaged in the store"),
                false => (SuspensionReason::BundleMissing, "is not in the store"),
            };
            return Ok(Suspension::new(reason, format!("{digest}, which its bundle needs, {state}"), PUT_AGAIN));
        }
        Ok(match &error {
            ContentError::Signature(_) | ContentError::Envelope(_) | ContentError::NoPosture(_) => {
                let detail = format!("its bundle does not satisfy `signatures` in the host's config: {error}");
                Suspension::new(SuspensionReason::SignatureRefused, detail, self.signature_remedy(&error))
            }
            ContentError::BundleRevoked(_) => {
                Suspension::new(SuspensionReason::BundleRevoked, "its bundle is revoked", error.help())
            }
            _ => {
                let detail = format!("its bundle is refused: {error}");
                Suspension::new(SuspensionReason::BundleRefused, detail, error.help())
            }
        })
    }

    fn signature_remedy(&self, error: &ContentError) -> String {
        let line = format!("change `signatures` under [workspaces.{}] in the host's config", self.workspace.id);
        match error {
            ContentError::NoPosture(_) => error.help(),
            error => format!("{line}, or put the bundle with other signatures: {}", error.help()),
        }
    }

    /// `true` if a blob was found damaged and moved out of the store.
    async fn is_set_aside(&self, digest: Digest) -> Result<bool, WorkerError> {
        let mut set_aside = self.workspace.shared.blobs.quarantined();
        while let Some(found) = set_aside.next().await {
            if found.map_err(ContentError::from)? == digest {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

const PUT_AGAIN: &str = "put the bundle again";

const RESTORE_RECORD: &str =
    "put the record again from a backup (it is a blob of the workspace), or make another worker";

fn damaged_record() -> Suspension {
    Suspension::new(SuspensionReason::RecordDamaged, "its resolution record is damaged", RESTORE_RECORD)
}

/// The worker that is there, where it was asked for with the same.
fn same(
    id: &WorkerId,
    there: Option<Row<WorkerRow>>,
    request: &CreateWorkerRequest,
) -> Result<Option<WorkerRow>, WorkerError> {
    match there {
        None => Ok(None),
        Some(row) if row.value.request == *request => Ok(Some(row.value)),
        Some(_) => Err(WorkerError::Exists(id.clone())),
    }
}

fn summary(id: WorkerId, row: WorkerRow, suspension: Option<&Suspension>) -> WorkerSummary {
    WorkerSummary {
        id,
        request: row.request,
        bundle: row.bundle,
        resolver: row.resolver,
        record: row.record,
        policy: row.policy,
        created_at: row.created_at,
        state: match (row.state, suspension) {
            (StoredState::Stopped { reason, at }, _) => WorkerState::Stopped { reason, at },
            (StoredState::Running, Some(suspension)) => WorkerState::Suspended(suspension.clone()),
            (StoredState::Running, None) => WorkerState::Running,
        },
    }
}
