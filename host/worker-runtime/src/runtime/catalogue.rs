//! Creation, lookup and stopping of a workspace's workers.

use std::sync::Arc;

use bundles::{Blob, Digest};
use component_host::BundleView;
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use host_policy::{Facts, ProfileSelector, Refusal, Request, ResolvedWorkerSpec, RuntimeConfig};
use runtime_api::Code;
use runtime_api::event::EventKind;
use runtime_api::referrer::Referrer;
use runtime_api::worker::{
    CreateWorkerRequest, CreatedWorker, MAX_REQUIRED_CAPABILITIES, StopReason, Suspension, SuspensionReason, WorkerId,
    WorkerState, WorkerSummary,
};

use super::failures::NewRecord;
use super::live_worker::{LiveKey, LiveWorker};
use super::shadow::ShadowCase;
use crate::comparison::CaseRun;
use crate::content::{ContentError, StoredBlobs};
use crate::digests::Digests;
use crate::error::ResolveError;
use crate::ledger::{
    BundleRow, Change, ChangeError, Decision, Mark, Page, ResolverRow, Row, StoredState, Usage, WorkerRow, bundle_key,
    removal_key, resolved_by_key, resolver_key, uses_key, worker_key, workers_key,
};
use crate::record::Record;
use crate::report::{ResolutionReport, with_policy};
use crate::resolutions::{ComputedResolution, Inputs};
use crate::tenants::Busy;
use crate::workspace::Workspace;

/// Workers of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(crate) workspace: Workspace,
}

/// Error returned by the worker catalogue.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An operation on the workspace's content failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The manifest or a blob of the bundle is not in the store.
    #[error("the bundle cannot be used: blob `{0}` is not in the store")]
    BundleMissing(Digest),
    /// The manifest or a blob of the bundle is damaged in the store.
    #[error("the bundle cannot be used: blob `{0}` is damaged in the store")]
    BundleDamaged(Digest),
    /// No worker of the workspace has this id.
    #[error("worker `{0}` not found")]
    NotFound(WorkerId),
    /// A worker with this id was created with a different request.
    #[error("worker `{0}` already exists with a different request")]
    Exists(WorkerId),
    /// The request selects a profile of a bundle but names no bundle.
    #[error("profile `{0}` requires a bundle, but the request names none")]
    BundleUnnamed(ProfileSelector),
    /// The request selects a built-in profile and also names a bundle.
    #[error("built-in profile `{0}` does not accept a bundle")]
    BundleUnwanted(ProfileSelector),
    /// The request has too many required capabilities.
    #[error("the required capabilities exceed the limit ({0} > {MAX_REQUIRED_CAPABILITIES})")]
    TooManyCapabilities(usize),
    /// No resolver has this digest.
    #[error("resolver `{0}` not found")]
    ResolverNotFound(Digest),
    /// The resolver is revoked.
    #[error("resolver `{0}` is revoked")]
    ResolverRevoked(Digest),
    /// The component of the resolver cannot be loaded.
    #[error("resolver {resolver} cannot be loaded ({code})")]
    ResolverUnavailable {
        /// Digest of the resolver.
        resolver: Digest,
        /// Code of the error.
        code: Code,
    },
    /// The resolution failed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The worker is stopped.
    #[error("worker `{worker}` accepts no calls: {}", reason.sentence())]
    NotRunning {
        /// The worker.
        worker: WorkerId,
        /// Reason for the stop.
        reason: StopReason,
    },
    /// The worker accepts no calls until the cause of its suspension is removed.
    #[error("worker `{worker}` is suspended: {}", suspension.detail)]
    Suspended {
        /// The worker.
        worker: WorkerId,
        /// Cause and remedy.
        suspension: Arc<Suspension>,
    },
    /// The worker cannot be removed because it is not stopped.
    #[error("worker `{0}` is not stopped")]
    NotStopped(WorkerId),
    /// Permissions that the profile requires are not granted.
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
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Content(error) => error.code(),
            Self::BundleMissing(_) => Code::BundleMissing,
            Self::BundleDamaged(_) => Code::BundleDamaged,
            Self::NotFound(_) => Code::WorkerNotFound,
            Self::Exists(_) => Code::WorkerExists,
            Self::BundleUnnamed(_) => Code::BundleUnnamed,
            Self::BundleUnwanted(_) => Code::BundleUnwanted,
            Self::TooManyCapabilities(_) => Code::TooManyCapabilities,
            Self::ResolverNotFound(_) => Code::ResolverNotFound,
            Self::ResolverRevoked(_) => Code::ResolverRevoked,
            Self::ResolverUnavailable { .. } => Code::ResolverUnavailable,
            Self::Resolve(error) => error.code(),
            Self::NotRunning { .. } => Code::WorkerStopped,
            Self::Suspended { .. } => Code::WorkerSuspended,
            Self::NotStopped(_) => Code::WorkerNotStopped,
            Self::Denied(_) => Code::Denied,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Content(error) => return error.help(),
            Self::Resolve(error) => return error.help(),
            Self::Suspended { suspension, .. } => return suspension.remedy.clone(),
            Self::BundleMissing(_) | Self::BundleDamaged(_) => PUT_AGAIN,
            Self::NotFound(_) => "list the workers of the workspace",
            Self::Exists(_) => "choose another id, or send the original request again",
            Self::BundleUnnamed(_) => "name the bundle by its digest, or select a built-in profile (`builtin:NAME`)",
            Self::BundleUnwanted(_) => "omit the bundle, or select a profile of the bundle (without `builtin:`)",
            Self::TooManyCapabilities(_) => "require only capabilities that the worker cannot do without",
            Self::ResolverNotFound(_) => "ask the operator to add the resolver, or omit it to use the active one",
            Self::ResolverRevoked(_) => "omit the resolver to use the active one",
            Self::ResolverUnavailable { .. } => {
                "ask the operator to add the resolver again, or to activate another one"
            }
            Self::NotRunning { .. } => "create another worker",
            Self::NotStopped(_) => "stop the worker first",
            Self::Denied(_) => "apply the remedy of each refusal",
        };
        plain.to_owned()
    }
}

/// Error of a resolution or of its enforcement.
struct ResolutionFailure {
    error: WorkerError,
    /// Record of the resolution, unless the error says nothing about it.
    failure: Option<NewRecord>,
    /// Set if the resolution is to be repeated with the previous resolver.
    shadow: Option<ShadowCase>,
}

impl<E: Into<WorkerError>> From<E> for ResolutionFailure {
    fn from(error: E) -> Self {
        Self { error: error.into(), failure: None, shadow: None }
    }
}

/// An enforced resolution, with a value that was derived from it.
struct EnforcedResolution<T> {
    view: BundleView,
    /// `true` if the bundle is older than the newest one.
    older: bool,
    resolver: Digest,
    live: LiveWorker,
    /// Value that the caller's closure derived.
    derived: T,
    /// Set if the resolution is to be repeated with the previous resolver.
    shadow: Option<ShadowCase>,
}

/// Returns the resolution record of a worker.
fn record(inputs: &Inputs, resolved: &ComputedResolution, live: &LiveWorker) -> Blob {
    let digests = with_policy(*resolved.digests(), Some(live.spec.policy()));
    Blob::new(Record::write(inputs, resolved, &digests))
}

fn check_capability_count(request: &CreateWorkerRequest) -> Result<(), WorkerError> {
    match request.required_capabilities.len() {
        count if count > MAX_REQUIRED_CAPABILITIES => Err(WorkerError::TooManyCapabilities(count)),
        _ => Ok(()),
    }
}

impl Catalogue {
    /// Creates a worker: resolves the profile, enforces the policy and stores the record. The worker is durable when
    /// the method returns. The operation is idempotent: the same request returns the existing worker.
    pub async fn create(&self, id: WorkerId, request: CreateWorkerRequest) -> Result<CreatedWorker, WorkerError> {
        let existing = self.find_existing(&id, &request).await?;
        let mut created = match existing {
            Some(existing) => existing,
            None => self.create_new(id, request).await?,
        };
        if let Some(bundle) = created.worker.request.bundle {
            // An error is not returned here: a bundle that cannot be opened shows in the state of the worker.
            created.findings = self.workspace.content().findings(bundle).await.unwrap_or_default();
        }
        Ok(created)
    }

    async fn create_new(&self, id: WorkerId, request: CreateWorkerRequest) -> Result<CreatedWorker, WorkerError> {
        let shared = &self.workspace.shared;
        let _permit = shared.tenants.acquire_run_permit(&self.workspace.id).await?;
        let derive = |inputs: &Inputs, resolved: &Arc<ComputedResolution>, live: &LiveWorker| {
            (record(inputs, resolved, live), *resolved.digests())
        };
        let enforced = match self.enforce_request(&request, derive).await {
            Ok(enforced) => enforced,
            Err(ResolutionFailure { error, failure, shadow }) => {
                self.repeat(shadow);
                if let Some(failure) = failure {
                    self.record_beside_sample(failure).await;
                }
                return Err(error);
            }
        };
        let EnforcedResolution { view, older, resolver, live, derived: (record, digests), shadow } = enforced;
        self.repeat(shadow);
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
        let record = self.workspace.store(vec![(record, Referrer::Worker(id.clone()))]).await?;
        let (created, evicted) = self.commit_worker(id, row, &record, &digests, older).await?;
        drop(record);
        if let Some(evicted) = evicted {
            // The worker of the record may be gone already. A failure leaves the blob to the garbage collection.
            let removed = self.workspace.content().remove_released(evicted).await;
            if let Err(error) = removed {
                tracing::warn!(workspace = %self.workspace.id, code = error.code().as_str(), "cannot remove a record");
            }
        }
        let key = LiveKey { workspace: workspace.clone(), record: record_digest, policy };
        let live = Arc::new(live);
        if live.is_complete {
            shared.conditions.insert(key.clone(), None);
            shared.live.insert(key, live.clone());
        }
        if shared.config.load().digest(workspace) == policy {
            self.sync_services(&created.worker.id, record_digest, Some(&live));
        }
        Ok(created)
    }

    fn repeat(&self, case: Option<ShadowCase>) {
        if let Some(case) = case {
            self.workspace.shared.repeat(&self.workspace.id, case);
        }
    }

    /// Resolves a request and returns the report of the worker that it would create. Stores nothing.
    pub async fn resolve(&self, request: &CreateWorkerRequest) -> Result<ResolutionReport, WorkerError> {
        check_capability_count(request)?;
        let _permit = self.workspace.shared.tenants.acquire_run_permit(&self.workspace.id).await?;
        let mut enforced = self.enforce_request(request, |_, resolved, _| resolved.clone()).await;
        let shadow = match &mut enforced {
            Ok(enforced) => enforced.shadow.take(),
            Err(unresolved) => unresolved.shadow.take(),
        };
        self.repeat(shadow);
        let enforced = enforced.map_err(|unresolved| unresolved.error)?;
        Ok(ResolutionReport::new(enforced.view.bundle().manifest(), &enforced.derived, Some(&enforced.live.spec)))
    }

    /// Resolves a request for another host, with the facts about it. Enforces no policy and stores nothing.
    pub async fn resolve_for(
        &self,
        request: &CreateWorkerRequest,
        facts: Facts,
    ) -> Result<Arc<ComputedResolution>, WorkerError> {
        check_capability_count(request)?;
        let (shared, workspace) = (&self.workspace.shared, &self.workspace.id);
        let _permit = shared.tenants.acquire_run_permit(workspace).await?;
        let (view, _) = self.requested_bundle(request).await?;
        let resolver = shared.resolver_for(workspace, &shared.config.load_full(), request.resolver).await?;
        let resolve_request =
            Request::new(request.profile.profile().clone(), request.required_capabilities.iter().cloned());
        let inputs = Inputs::new(facts, resolve_request);
        let slot = shared.tenants.compute_slot(workspace);
        let computed = {
            let shared = shared.clone();
            async move { shared.resolutions.resolve(&resolver, &view, &inputs).await }
        };
        Ok(shared.compute_pool.run(slot, computed).await.ok_or(ContentError::Contended)??)
    }

    /// Resolves a request and enforces the policy. `derive` also runs in the compute pool, because serialising a large
    /// resolution takes a while.
    async fn enforce_request<T: Send + 'static>(
        &self,
        request: &CreateWorkerRequest,
        derive: impl FnOnce(&Inputs, &Arc<ComputedResolution>, &LiveWorker) -> T + Send + 'static,
    ) -> Result<EnforcedResolution<T>, ResolutionFailure> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let (view, older) = self.requested_bundle(request).await?;
        let config = shared.config.load_full();
        let resolver = shared.resolver_for(workspace, &config, request.resolver).await?;
        let uses_active = request.resolver.is_none() && config.pinned_resolver(workspace).is_none();
        let resolve_request =
            Request::new(request.profile.profile().clone(), request.required_capabilities.iter().cloned());
        let inputs = Inputs::of(shared.facts(&config, workspace), resolve_request);
        let digest = resolver.digest();
        let slot = shared.tenants.compute_slot(workspace);
        let computed = {
            let (shared, workspace, view) = (shared.clone(), workspace.clone(), view.clone());
            async move {
                let watch = uses_active.then(|| shared.sample_shadow(resolver.digest())).flatten();
                let resolved = match shared.resolutions.run(&resolver, &view, &inputs).await {
                    Ok(resolved) => resolved,
                    Err(failed) => {
                        let failure = NewRecord::of_failure(&inputs, &failed, shared.ledger.now());
                        let shadow = watch
                            .zip(CaseRun::of_failure(&failed))
                            .map(|(watch, after)| ShadowCase::new(watch, &view, &inputs, after));
                        return Err(ResolutionFailure { error: failed.error.into(), failure, shadow });
                    }
                };
                let shadow = watch.map(|watch| ShadowCase::new(watch, &view, &inputs, CaseRun::from(&*resolved)));
                let live = shared.enforce(&config, &workspace, &view, resolved.resolution()).await?;
                let live = match live {
                    Ok(live) => live,
                    Err(refusals) => {
                        let at = shared.ledger.now();
                        let failure = NewRecord::of_resolution(&inputs, &resolved, Code::Denied, at);
                        return Err(ResolutionFailure {
                            error: WorkerError::Denied(refusals),
                            failure: Some(failure),
                            shadow,
                        });
                    }
                };
                let derived = derive(&inputs, &resolved, &live);
                Ok::<_, ResolutionFailure>((live, derived, shadow))
            }
        };
        let computed = shared.compute_pool.run(slot, computed).await;
        let (live, derived, shadow) = computed.ok_or(ContentError::Contended)??;
        Ok(EnforcedResolution { view, older, resolver: digest, live, derived, shadow })
    }

    /// Returns the worker with this id if the same request created it. Otherwise completes the removal of an earlier
    /// worker with this id, if one is in progress.
    async fn find_existing(
        &self,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<Option<CreatedWorker>, WorkerError> {
        check_capability_count(request)?;
        let workspace = &self.workspace.id;
        let keys = (worker_key(workspace, id), removal_key(workspace, id));
        let [existing, removal] = self.workspace.shared.ledger.records([&keys.0, &keys.1]).await?;
        if let Some(row) = match_request(id, existing.map(Row::of).transpose()?, request)? {
            let worker = self.summarize(id.clone(), row).await?;
            return Ok(Some(CreatedWorker { worker, new: false, findings: Vec::new() }));
        }
        if removal.is_some() {
            self.complete_removal(id).await?;
        }
        Ok(None)
    }

    /// Returns the bundle that a request names, and `true` if it is older than the newest one.
    async fn requested_bundle(&self, request: &CreateWorkerRequest) -> Result<(BundleView, bool), WorkerError> {
        let digest = match (&request.profile, request.bundle) {
            (ProfileSelector::Builtin(_), None) => return Ok((self.workspace.shared.builtin.clone(), false)),
            (ProfileSelector::Bundle(_), Some(digest)) => digest,
            (ProfileSelector::Bundle(_), None) => return Err(WorkerError::BundleUnnamed(request.profile.clone())),
            (ProfileSelector::Builtin(_), Some(_)) => return Err(WorkerError::BundleUnwanted(request.profile.clone())),
        };
        let view = match self.workspace.content().view(digest).await {
            Ok(view) => view,
            Err(error) => return Err(self.unusable_bundle_error(digest, error).await?),
        };
        let content = self.workspace.content();
        let older = content.compare_with_newest(view.bundle().manifest().revision).await?;
        match older {
            Some(error) if !request.allow_older && !content.is_desired(digest).await? => Err(error.into()),
            older => Ok((view, older.is_some())),
        }
    }

    /// Writes all rows of a new worker in one commit. Returns the record that was evicted or replaced by that of the worker.
    async fn commit_worker(
        &self,
        id: WorkerId,
        row: WorkerRow,
        record: &StoredBlobs<'_>,
        digests: &Digests,
        older: bool,
    ) -> Result<(CreatedWorker, Option<Digest>), WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let _resolvers = shared.resolver_changes.read().await;
        let key = worker_key(workspace, &id);
        let decide = || async {
            let keys = (resolver_key(&row.resolver), bundle_key(workspace, &row.bundle));
            let [existing, resolver, bundle] = shared.ledger.records([&key, &keys.0, &keys.1]).await?;
            let existing = existing.map(Row::of).transpose()?;
            if let Some(existing) = match_request(&id, existing, &row.request)? {
                return Ok(Decision::Keep((existing, false, None)));
            }
            let mut change = record.add_rows(Change::default()).await?;
            change = change
                .expect::<WorkerRow>(&key, None)
                // A removal in progress would delete this worker's history together with that of the earlier worker.
                .expect::<Mark>(&removal_key(workspace, &id), None)
                .put(&key, &row)
                .put(&resolved_by_key(&row.resolver).part(workspace).part(&id), &Mark {})
                .add_usage(Usage { workers: 1, ..Usage::default() })
                .event(EventKind::WorkerCreated { worker: id.clone(), bundle: row.bundle, older });
            // The resolver may have been revoked since it resolved. The commit fails if its row changes meanwhile.
            let resolver = resolver.map(Row::<ResolverRow>::of).transpose()?;
            if resolver.as_ref().is_some_and(|resolver| resolver.value.revoked.is_some()) {
                return Err(WorkerError::ResolverRevoked(row.resolver));
            }
            if resolver.is_none() && row.resolver != shared.shipped.digest() {
                return Err(WorkerError::ResolverNotFound(row.resolver));
            }
            change = change.expect(&keys.0, resolver.as_ref());
            if row.request.bundle.is_some() {
                // The bundle may have been removed or revoked since it was resolved.
                let bundle = bundle.map(Row::<BundleRow>::of).transpose()?;
                let bundle = bundle.ok_or(ContentError::BundleNotFound(row.bundle))?;
                if bundle.value.revoked_at.is_some() {
                    return Err(ContentError::BundleRevoked(row.bundle).into());
                }
                let user = Referrer::Worker(id.clone());
                change =
                    change.expect(&keys.1, Some(&bundle)).put(&uses_key(workspace, &row.bundle).part(user), &Mark {});
            }
            let (change, evicted) = shared.add_to_corpus(change, workspace, digests, row.record).await?;
            Ok(Decision::Commit(change, (row.clone(), true, evicted)))
        };
        let (row, new, evicted) = shared.ledger.update::<_, WorkerError, _>(workspace, decide).await?;
        Ok((CreatedWorker { worker: summary(id, row, None), new, findings: Vec::new() }, evicted))
    }

    /// Returns the summary of a worker, with its state under the config that is in force.
    pub async fn get(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        self.summarize(id.clone(), self.row(id).await?).await
    }

    async fn summarize(&self, id: WorkerId, row: WorkerRow) -> Result<WorkerSummary, WorkerError> {
        let suspension = match row.state {
            StoredState::Running => self.suspension(&id, &row).await?,
            StoredState::Stopped { .. } => None,
        };
        Ok(summary(id, row, suspension.as_deref()))
    }

    pub(super) async fn row(&self, id: &WorkerId) -> Result<WorkerRow, WorkerError> {
        let key = worker_key(&self.workspace.id, id);
        let row = self.workspace.shared.ledger.row::<WorkerRow>(&key).await?;
        Ok(row.ok_or_else(|| WorkerError::NotFound(id.clone()))?.value)
    }

    /// Returns at most `limit` workers in the order of their ids, starting after `after`. States that are not cached
    /// are computed.
    pub async fn list(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSummary>, WorkerError> {
        let (mut workers, mut after) = (Vec::new(), after.cloned());
        loop {
            let page = self.list_page(after.as_ref(), limit.saturating_sub(workers.len())).await?;
            workers.extend(page.items);
            match workers.last() {
                Some(last) if page.more && workers.len() < limit => after = Some(last.id.clone()),
                _ => return Ok(workers),
            }
        }
    }

    /// Returns a page of workers in the order of their ids, starting after `after`. A page has at most `limit` workers
    /// and 256 KiB of rows.
    pub async fn list_page(&self, after: Option<&WorkerId>, limit: usize) -> Result<Page<WorkerSummary>, WorkerError> {
        let after = after.map(|id| worker_key(&self.workspace.id, id));
        let below = workers_key(&self.workspace.id);
        let Page { items, more } =
            self.workspace.shared.ledger.page::<WorkerRow>(&below, after.as_ref(), limit).await?;
        let mut workers = Vec::with_capacity(items.len());
        for (key, row) in items {
            if let Ok(id) = key.last().parse() {
                workers.push(self.summarize(id, row).await?);
            }
        }
        Ok(Page { items: workers, more })
    }

    /// Returns the spec of a running worker under the current grants.
    pub async fn spec(&self, id: &WorkerId) -> Result<ResolvedWorkerSpec, WorkerError> {
        let row = self.row(id).await?;
        if let StoredState::Stopped { reason, .. } = row.state {
            return Err(WorkerError::NotRunning { worker: id.clone(), reason });
        }
        Ok(ResolvedWorkerSpec::clone(&self.live(id, &row).await?.spec))
    }

    /// Stops a worker permanently and keeps its history. The operation is idempotent.
    pub async fn stop(&self, id: &WorkerId) -> Result<WorkerSummary, WorkerError> {
        self.stop_because(id, StopReason::Requested).await
    }

    pub(crate) async fn stop_because(&self, id: &WorkerId, reason: StopReason) -> Result<WorkerSummary, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, id);
        let decide = || async {
            let found = shared.ledger.row::<WorkerRow>(&key).await?;
            let found = found.ok_or_else(|| WorkerError::NotFound(id.clone()))?;
            if found.value.state != StoredState::Running {
                return Ok(Decision::Keep(found.value));
            }
            let at = shared.ledger.now();
            let row = WorkerRow { state: StoredState::Stopped { reason, at }, ..found.value.clone() };
            let change = Change::default()
                .expect(&key, Some(&found))
                .put(&key, &row)
                // The bundle and the resolver are no longer in use. The record and the history stay.
                .delete(&uses_key(workspace, &row.bundle).part(Referrer::Worker(id.clone())))
                .delete(&resolved_by_key(&row.resolver).part(workspace).part(id))
                .event(EventKind::WorkerStopped { worker: id.clone(), reason });
            Ok(Decision::Commit(change, row))
        };
        let row = shared.ledger.update::<_, WorkerError, _>(workspace, decide).await?;
        shared.services.end(&self.workspace.plugin_owner(id));
        Ok(summary(id.clone(), row, None))
    }

    /// Returns the cause for which a running worker accepts no calls, or `None` if it accepts them.
    async fn suspension(&self, id: &WorkerId, row: &WorkerRow) -> Result<Option<Arc<Suspension>>, WorkerError> {
        let config = self.workspace.shared.config.load_full();
        if let Some(known) = self.workspace.shared.conditions.get(&self.live_key(row, &config)) {
            return Ok(known);
        }
        match self.live(id, row).await {
            Ok(_) => Ok(None),
            Err(WorkerError::Suspended { suspension, .. }) => Ok(Some(suspension)),
            Err(error) => Err(error),
        }
    }

    /// Returns a worker's spec and tools under the config that is in force, and gives the worker its services.
    pub(super) async fn live(&self, id: &WorkerId, row: &WorkerRow) -> Result<Arc<LiveWorker>, WorkerError> {
        let config = self.workspace.shared.config.load_full();
        let live = self.live_under(row, &config).await?;
        if Arc::ptr_eq(&config, &self.workspace.shared.config.load()) {
            self.sync_services(id, row.record, live.as_deref().ok());
        }
        live.map_err(|suspension| WorkerError::Suspended { worker: id.clone(), suspension })
    }

    fn live_key(&self, row: &WorkerRow, config: &RuntimeConfig) -> LiveKey {
        let workspace = &self.workspace.id;
        LiveKey { workspace: workspace.clone(), record: row.record, policy: config.digest(workspace) }
    }

    /// Returns a worker's spec and tools under a config, or the cause for which it accepts no calls.
    pub(super) async fn live_under(
        &self,
        row: &WorkerRow,
        config: &RuntimeConfig,
    ) -> Result<Result<Arc<LiveWorker>, Arc<Suspension>>, WorkerError> {
        let shared = &self.workspace.shared;
        let key = self.live_key(row, config);
        if let Some(live) = shared.live.get(&key) {
            return Ok(Ok(live));
        }
        if let Some(Some(suspension)) = shared.conditions.get(&key) {
            return Ok(Err(suspension));
        }
        let live = self.restore(row, config).await?.map(Arc::new).map_err(Arc::new);
        match &live {
            Ok(live) if live.is_complete => {
                shared.conditions.insert(key.clone(), None);
                shared.live.insert(key, live.clone());
            }
            Ok(_) => {}
            Err(suspension) if suspension.reason == SuspensionReason::PolicyDenied => {
                shared.conditions.insert(key, Some(suspension.clone()));
            }
            // Not cached, because missing or damaged content can be put again.
            Err(_) => shared.conditions.remove(&key),
        }
        Ok(live)
    }

    /// Enforces the recorded resolution of a worker under a config.
    async fn restore(
        &self,
        row: &WorkerRow,
        config: &RuntimeConfig,
    ) -> Result<Result<LiveWorker, Suspension>, WorkerError> {
        let shared = &self.workspace.shared;
        let workspace = &self.workspace.id;
        let view = if row.request.bundle.is_none() {
            if shared.builtin.bundle().digest() != row.bundle {
                return Ok(Err(Suspension::new(
                    SuspensionReason::BundleMissing,
                    "an update of this program replaced the built-in bundle",
                    "create another worker",
                )));
            }
            shared.builtin.clone()
        } else {
            match self.workspace.content().view_under(row.bundle, config).await {
                Ok(view) => view,
                Err(error) => return Ok(Err(self.bundle_suspension(error).await?)),
            }
        };
        let record = match self.workspace.content().blob(row.record).await {
            Ok(record) => record,
            Err(error) if error.is_temporary() => return Err(error.into()),
            Err(ContentError::Blob(BlobError::Damaged { .. })) => return Ok(Err(damaged_record())),
            Err(_) if self.workspace.content().is_set_aside(row.record).await? => return Ok(Err(damaged_record())),
            Err(_) => {
                let detail = format!("resolution record `{}` is not in the store", row.record.short());
                return Ok(Err(Suspension::new(SuspensionReason::RecordMissing, detail, RESTORE_RECORD)));
            }
        };
        let slot = shared.tenants.compute_slot(workspace);
        let restore = {
            let (shared, workspace, config) = (shared.clone(), workspace.clone(), config.clone());
            async move {
                let limits = &shared.sandbox.limits().bundle;
                let record = Record::from_json(&record).ok();
                let resolution = record.and_then(|record| record.restore(view.bundle().manifest(), limits).ok());
                let Some(resolution) = resolution else { return Ok(Err(damaged_record())) };
                let live = shared.enforce(&config, &workspace, &view, &resolution).await?;
                Ok::<_, ContentError>(live.map_err(|refusals| Suspension::denied(&refusals)))
            }
        };
        Ok(shared.compute_pool.run(slot, restore).await.ok_or(ContentError::Contended)??)
    }

    /// Returns the missing or damaged blob that an error reports, and `true` if it is damaged. Returns `None` for other
    /// errors.
    async fn lost_blob(&self, error: &ContentError) -> Result<Option<(Digest, bool)>, WorkerError> {
        Ok(match error {
            ContentError::BundleNotFound(digest)
            | ContentError::BlobNotFound(digest)
            | ContentError::Blob(BlobError::NotFound(digest)) => {
                Some((*digest, self.workspace.content().is_set_aside(*digest).await?))
            }
            ContentError::Blob(BlobError::Damaged(digest)) => Some((*digest, true)),
            _ => None,
        })
    }

    /// Returns the error for a bundle from which no worker can be created. Its code equals the suspension reason of
    /// existing workers of the bundle.
    async fn unusable_bundle_error(&self, bundle: Digest, error: ContentError) -> Result<WorkerError, WorkerError> {
        if matches!(&error, ContentError::BundleNotFound(digest) if *digest == bundle) {
            return Ok(error.into());
        }
        Ok(match self.lost_blob(&error).await? {
            Some((digest, true)) => WorkerError::BundleDamaged(digest),
            Some((digest, false)) => WorkerError::BundleMissing(digest),
            None => error.into(),
        })
    }

    /// Returns the suspension of workers whose bundle cannot be used, or the error itself if it is temporary.
    async fn bundle_suspension(&self, error: ContentError) -> Result<Suspension, WorkerError> {
        if error.is_temporary() {
            return Err(error.into());
        }
        if let Some((digest, is_damaged)) = self.lost_blob(&error).await? {
            let (reason, state) = match is_damaged {
                true => (SuspensionReason::BundleDamaged, "is damaged in the store"),
                false => (SuspensionReason::BundleMissing, "is not in the store"),
            };
            return Ok(Suspension::new(reason, format!("blob `{digest}` of its bundle {state}"), PUT_AGAIN));
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
                let detail = format!("its bundle is invalid: {error}");
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
}

const PUT_AGAIN: &str = "put the bundle again";

const RESTORE_RECORD: &str =
    "put the record again from a backup (it is a blob of the workspace), or create another worker";

fn damaged_record() -> Suspension {
    Suspension::new(SuspensionReason::RecordDamaged, "its resolution record is damaged", RESTORE_RECORD)
}

/// Returns an existing worker if the same request created it, and an error if a different request did.
fn match_request(
    id: &WorkerId,
    existing: Option<Row<WorkerRow>>,
    request: &CreateWorkerRequest,
) -> Result<Option<WorkerRow>, WorkerError> {
    match existing {
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
