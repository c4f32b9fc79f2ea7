//! The resolvers of a Runtime: which ones are admitted, which one is active, and how one replaces another.
//!
//! A resolver is a component with a row in the metadata store. One resolver is active at a time; the row of the registry
//! names it together with the earlier ones. A change is committed under one lock, and takes effect for requests that begin
//! after the commit. A request in flight ends on the resolver with which it began; creating a worker fails if that resolver
//! is revoked or removed meanwhile. The rows decide; loaded components are a cache of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use component_host::{LoadError, Resolver};
use content_store::blob_store::{self, BlobError};
use content_store::metadata::{Key, MetadataError};
use content_store::records;
use host_policy::RuntimeConfig;
use runtime_api::comparison::{ActivateRequest, Objection};
use runtime_api::event::{Event, EventKind};
use runtime_api::resolver::{ResolverState, ResolverSummary};
use runtime_api::{Class, Code};
use serde::{Deserialize, Serialize};

use super::shadow::Watch;
use super::{Management, Shared, WorkerError};
use crate::content::ContentError;
use crate::ledger::{
    Change, ChangeError, ComparisonRow, Decision, EventRow, Mark, Page, RUNTIME_EVENTS, ResolverRow, Revocation, Row,
    comparison_key, event_key, events_key, holders_key, registry_key, resolved_by_key, resolver_key, resolvers_key,
};

/// Earlier resolvers that `rollback` can return to, and retired resolvers. When the limit is reached, the oldest of the
/// former is forgotten, and activating another resolver is refused for the latter.
pub(super) const MAX_EARLIER: usize = 64;

/// Owner key for blobs that belong to the Runtime and to no workspace.
pub(super) const RUNTIME: &str = "~runtime";

/// Error of an operation on a resolver.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The component is invalid or not allowed to run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The blob store failed, or the content has another digest.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The resolver is revoked, which is final.
    #[error("resolver {0} is revoked")]
    Revoked(Digest),
    /// No resolver with this digest is admitted.
    #[error("resolver {0} not found")]
    NotFound(Digest),
    /// The operation is not possible for the active resolver.
    #[error("resolver {0} is active")]
    Active(Digest),
    /// The config pins a resolver, so activating another one would have no effect.
    #[error("the config pins resolver {0}")]
    Pinned(Digest),
    /// Running workers use the resolver, or the config pins it.
    #[error("resolver {0} is in use")]
    InUse(Digest),
    /// There is no earlier resolver that can be activated.
    #[error("no earlier resolver found")]
    NoEarlier,
    /// No comparison of the active resolver with this one is new enough.
    #[error("the resolver was not compared with the active one")]
    ComparisonRequired,
    /// The Runtime has no records with which resolvers could be compared.
    #[error("there are no recorded resolutions with which the resolver could be compared")]
    NothingToCompare,
    /// The comparison shows changes that were not accepted.
    #[error("the changes of the resolver are not accepted: {}", super::comparisons::objection_words(objections))]
    NotAccepted {
        /// Digest of the changes.
        change_set: Digest,
        /// Reasons against the activation. Empty if another set of changes was accepted.
        objections: BTreeSet<Objection>,
    },
    /// Another comparison runs.
    #[error("another comparison runs")]
    Comparing,
    /// The resolver was not compared with the active one.
    #[error("no comparison with resolver {0} found")]
    ComparisonNotFound(Digest),
    /// A limit is reached.
    #[error("limit `{limit}` reached ({allowed})")]
    Full {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// Concurrent changes prevented the operation several times.
    #[error("concurrent changes of the same resolver")]
    Contended,
}

impl From<ChangeError> for ResolverError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => Self::Metadata(error),
            ChangeError::Conflict | ChangeError::Full { .. } => Self::Contended,
        }
    }
}

impl ResolverError {
    /// Returns the error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Load(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::Revoked(_) => Code::ResolverRevoked,
            Self::NotFound(_) | Self::NoEarlier => Code::ResolverNotFound,
            Self::Active(_) => Code::ResolverActive,
            Self::Pinned(_) => Code::ResolverPinned,
            Self::InUse(_) => Code::InUse,
            Self::ComparisonRequired => Code::ComparisonRequired,
            Self::NothingToCompare => Code::NothingToCompare,
            Self::NotAccepted { .. } => Code::ChangesNotAccepted,
            Self::Comparing => Code::Busy,
            Self::ComparisonNotFound(_) => Code::ComparisonNotFound,
            Self::Full { .. } => Code::StoreFull,
            Self::Contended => Code::Contended,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Load(error) => error.help().to_owned(),
            Self::Blob(error) => error.help().to_owned(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::Revoked(_) => "use another version".to_owned(),
            Self::NotFound(_) => "add the resolver first".to_owned(),
            Self::NoEarlier => "activate the resolver that should be used".to_owned(),
            Self::Active(_) => "activate another resolver first, or roll back".to_owned(),
            Self::Pinned(_) => "change or remove `resolver` under [host] in the host's config".to_owned(),
            Self::InUse(_) => "stop its workers, and remove it from the host's config if it is pinned there".to_owned(),
            Self::ComparisonRequired | Self::ComparisonNotFound(_) => "compare it with the active resolver".to_owned(),
            Self::NothingToCompare => "activate it without a comparison, or create workers first".to_owned(),
            Self::NotAccepted { change_set, .. } => {
                format!("review the changes, and accept exactly them: `{change_set}`")
            }
            Self::Comparing => "wait until it ends, or cancel it".to_owned(),
            Self::Full { limit: "retired resolvers", .. } => "remove or revoke a retired resolver".to_owned(),
            Self::Full { .. } => "remove or revoke a resolver that is not needed, or raise the limit".to_owned(),
            Self::Contended => "try again".to_owned(),
        }
    }
}

/// Row of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    pub(super) active: Digest,
    activated_at: Option<jiff::Timestamp>,
    /// Resolvers that were active before, the newest last. `rollback` returns to the last one.
    earlier: Vec<Digest>,
    /// Resolvers that were active and are kept.
    retired: BTreeSet<Digest>,
    /// The accepted comparison of the active resolver with the one before. `None` if nothing was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted: Option<AcceptedReport>,
}

/// Report of a comparison that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptedReport {
    report: Digest,
    report_bytes: u64,
    /// The resolver that was active before.
    previous: Digest,
}

/// Returns the row that keeps the report of the accepted comparison.
fn accepted_holder(report: &Digest) -> Key {
    holders_key(report).part(format_args!("{RUNTIME}-accepted"))
}

impl Registry {
    fn new(shipped: Digest) -> Self {
        Self { active: shipped, activated_at: None, earlier: Vec::new(), retired: BTreeSet::new(), accepted: None }
    }

    fn state(&self, digest: &Digest, is_revoked: bool) -> ResolverState {
        match () {
            () if is_revoked => ResolverState::Revoked,
            () if self.active == *digest => ResolverState::Active,
            () if self.retired.contains(digest) => ResolverState::Retired,
            () => ResolverState::Admitted,
        }
    }
}

impl Shared {
    /// Returns the resolver that a request uses: the one that it names, or the one that the config pins for the workspace
    /// or the Runtime, or the active one.
    pub(crate) async fn resolver_for(
        &self,
        workspace: &WorkspaceId,
        config: &RuntimeConfig,
        named: Option<Digest>,
    ) -> Result<Resolver, WorkerError> {
        let pinned = || config.pinned_resolver(workspace);
        let digest = named.or_else(pinned).unwrap_or_else(|| **self.active_resolver.load());
        let row = self.ledger.row::<ResolverRow>(&resolver_key(&digest)).await?.map(|row| row.value);
        if row.as_ref().is_some_and(|row| row.revoked.is_some()) {
            return Err(WorkerError::ResolverRevoked(digest));
        }
        if digest == self.shipped.digest() {
            return Ok(self.shipped.clone());
        }
        let row = row.ok_or(WorkerError::ResolverNotFound(digest))?;
        self.loaded(digest, &row).await.map_err(|error| match error {
            ResolverError::Blob(error @ (BlobError::Unavailable { .. } | BlobError::Full | BlobError::Moved)) => {
                ContentError::Blob(error).into()
            }
            error => WorkerError::ResolverUnavailable { resolver: digest, code: error.code() },
        })
    }

    /// Returns an admitted resolver, and loads its component if it is not loaded.
    pub(super) async fn loaded(&self, digest: Digest, row: &ResolverRow) -> Result<Resolver, ResolverError> {
        if let Some(resolver) = self.resolvers.get(&digest) {
            return Ok(resolver);
        }
        // Concurrent requests for one resolver load it once.
        let _loading = self.resolver_loading.lock().await;
        if let Some(resolver) = self.resolvers.get(&digest) {
            return Ok(resolver);
        }
        let component = self.blobs.get_sized(digest, row.bytes).await?;
        let resolver = self.sandbox.load(&component).await?;
        self.resolvers.insert(digest, resolver.clone());
        Ok(resolver)
    }
}

impl Management {
    async fn registry(&self) -> Result<(Registry, Option<Row<Registry>>), MetadataError> {
        let row = self.shared.ledger.row::<Registry>(&registry_key()).await?;
        let registry = row.as_ref().map(|row| row.value.clone());
        Ok((registry.unwrap_or_else(|| Registry::new(self.shared.shipped.digest())), row))
    }

    pub(super) async fn resolver_row(&self, digest: &Digest) -> Result<Option<Row<ResolverRow>>, MetadataError> {
        self.shared.ledger.row::<ResolverRow>(&resolver_key(digest)).await
    }

    /// Returns all resolvers, including revoked ones, ordered by digest.
    pub async fn resolvers(&self) -> Result<Vec<ResolverSummary>, MetadataError> {
        let (registry, _) = self.registry().await?;
        let rows = self.shared.ledger.rows::<ResolverRow>(&resolvers_key(), None, usize::MAX).await?;
        let shipped = self.shared.shipped.digest();
        let rows = rows.into_iter().filter_map(|(key, row)| Some((key.last().parse::<Digest>().ok()?, row)));
        let mut all: Vec<_> = rows.map(|(digest, row)| self.resolver_summary(&registry, digest, Some(row))).collect();
        if all.iter().all(|resolver| resolver.digest != shipped) {
            all.push(self.resolver_summary(&registry, shipped, None));
        }
        all.sort_unstable_by_key(|resolver| resolver.digest);
        Ok(all)
    }

    /// Returns a resolver.
    pub async fn resolver(&self, digest: Digest) -> Result<ResolverSummary, ResolverError> {
        let (registry, _) = self.registry().await?;
        let row = self.resolver_row(&digest).await?.map(|row| row.value);
        if row.is_none() && digest != self.shared.shipped.digest() {
            return Err(ResolverError::NotFound(digest));
        }
        Ok(self.resolver_summary(&registry, digest, row))
    }

    /// Returns the component of a resolver.
    pub async fn component(&self, digest: Digest) -> Result<Bytes, ResolverError> {
        if digest == self.shared.shipped.digest() {
            return Ok(Bytes::from_static(crate::shipped::RESOLVER));
        }
        let bytes = self.resolver(digest).await?.bytes;
        Ok(self.shared.blobs.get_sized(digest, bytes).await?)
    }

    fn resolver_summary(&self, registry: &Registry, digest: Digest, row: Option<ResolverRow>) -> ResolverSummary {
        let shipped = digest == self.shared.shipped.digest();
        let bytes = row.as_ref().map_or(crate::shipped::RESOLVER.len() as u64, |row| row.bytes);
        let admitted_at = row.as_ref().filter(|_| !shipped).map(|row| row.at);
        let revoked_at = row.and_then(|row| row.revoked).map(|revoked| revoked.at);
        let state = registry.state(&digest, revoked_at.is_some());
        let active = state == ResolverState::Active;
        let activated_at = registry.activated_at.filter(|_| active);
        ResolverSummary { digest, bytes, state, active, admitted_at, activated_at, revoked_at }
    }

    /// Admits a resolver: examines, compiles and stores its component. Returns `true` if it was not admitted before. The
    /// operation is idempotent.
    pub async fn admit_resolver(&self, digest: Digest, component: Bytes) -> Result<bool, ResolverError> {
        let actual = Digest::of(&component);
        if actual != digest {
            return Err(BlobError::DigestMismatch { declared: digest, actual }.into());
        }
        let key = resolver_key(&digest);
        // A resolver that is refused anyway is not compiled. The check is repeated before the commit.
        self.can_admit(&digest).await?;
        let resolver = self.shared.sandbox.load(&component).await?;
        let bytes = component.len() as u64;
        let _locks = self.shared.stripes.keeping(&[digest]).await;
        self.shared.blobs.put(digest, blob_store::source_from(component), bytes).await?;
        let _changing = self.shared.resolver_changes.write().await;
        let decide = || async {
            if self.can_admit(&digest).await? {
                return Ok(Decision::Keep(false));
            }
            let row = ResolverRow { bytes, at: self.shared.ledger.now(), revoked: None };
            let change = Change::default()
                .expect::<ResolverRow>(&key, None)
                .put(&key, &row)
                .put(&holders_key(&digest).part(RUNTIME), &Mark {})
                .event(EventKind::ResolverAdmitted { resolver: digest });
            Ok(Decision::Commit(change, true))
        };
        let is_new = self.shared.ledger.update_globally::<_, ResolverError, _>(decide).await?;
        self.shared.resolvers.insert(digest, resolver);
        Ok(is_new)
    }

    /// Checks that a resolver is not revoked and that the limit allows it. Returns `true` if it is admitted already.
    async fn can_admit(&self, digest: &Digest) -> Result<bool, ResolverError> {
        if let Some(row) = self.resolver_row(digest).await? {
            return if row.value.revoked.is_some() { Err(ResolverError::Revoked(*digest)) } else { Ok(true) };
        }
        let admitted = self.resolvers().await?;
        let admitted = admitted.iter().filter(|resolver| resolver.state == ResolverState::Admitted).count() as u64;
        let allowed = self.shared.limits.resolvers;
        if admitted >= allowed && *digest != self.shared.shipped.digest() {
            return Err(ResolverError::Full { limit: "resolvers", allowed });
        }
        Ok(false)
    }

    /// Activates an admitted or retired resolver. Requests that name no resolver use it from now on, unless the config pins
    /// one for their workspace. Activating the active resolver does nothing.
    ///
    /// A comparison with the active resolver must allow it ([`compare_resolver`](Self::compare_resolver)): it is new enough,
    /// and shows no growth of authority, no new failures and no high cost, unless the request accepts exactly its changes.
    /// Afterwards a share of the resolutions is repeated with the previous resolver. A change that was not accepted activates
    /// the previous resolver again.
    pub async fn activate_resolver(
        &self,
        digest: Digest,
        request: ActivateRequest,
    ) -> Result<ResolverSummary, ResolverError> {
        self.swap(Some(request), None, |registry| {
            registry.earlier.push(registry.active);
            if registry.earlier.len() > MAX_EARLIER {
                registry.earlier.remove(0);
            }
            Ok((digest, Vec::new()))
        })
        .await
    }

    /// Activates the resolver that was active before `from`, if `from` is still active.
    pub(super) async fn roll_back_to(
        &self,
        previous: Digest,
        from: Digest,
        events: Vec<EventKind>,
    ) -> Result<(), ResolverError> {
        // The previous resolver may have been revoked or removed, and an earlier one was not compared.
        let choose = |registry: &mut Registry| match registry.earlier.pop() {
            Some(earlier) if registry.active == from && earlier == previous => Ok((earlier, events.clone())),
            _ => Err(ResolverError::NoEarlier),
        };
        self.swap(None, Some(from), choose).await.map(drop)
    }

    /// Activates the resolver that was active before the current one. Several calls go back step by step. Resolvers that were
    /// revoked or removed since are skipped.
    pub async fn rollback_resolver(&self) -> Result<ResolverSummary, ResolverError> {
        self.swap(None, None, |registry| {
            let previous = registry.active;
            while let Some(earlier) = registry.earlier.pop() {
                if earlier != previous {
                    return Ok((earlier, vec![EventKind::ResolverRolledBack { resolver: earlier, previous }]));
                }
            }
            Err(ResolverError::NoEarlier)
        })
        .await
    }

    /// Makes another resolver the active one, as `choose` decides. A `request` must be allowed by a comparison, and writes the
    /// event of an activation. The comparison with the resolver `refuted` allows no activation any more.
    async fn swap(
        &self,
        request: Option<ActivateRequest>,
        refuted: Option<Digest>,
        choose: impl Fn(&mut Registry) -> Result<(Digest, Vec<EventKind>), ResolverError>,
    ) -> Result<ResolverSummary, ResolverError> {
        let decide = || async {
            let (mut registry, found) = self.registry().await?;
            let chosen = choose(&mut registry);
            // The pinned resolver itself can be activated, so that the earlier one can be revoked while the pin holds.
            let is_chosen = |pinned: &Digest| chosen.as_ref().is_ok_and(|(digest, _)| digest == pinned);
            if let Some(pinned) = self.shared.config.load().host_resolver().filter(|pinned| !is_chosen(pinned)) {
                return Err(ResolverError::Pinned(pinned));
            }
            let (digest, mut events) = chosen?;
            let row = self.resolver_row(&digest).await?;
            if row.as_ref().is_some_and(|row| row.value.revoked.is_some()) {
                return Err(ResolverError::Revoked(digest));
            }
            if digest != self.shared.shipped.digest() {
                let row = row.as_ref().ok_or(ResolverError::NotFound(digest))?;
                // A component that cannot be loaded must not become active. Loading can take seconds, so it happens before
                // the lock is taken, which worker creation of all tenants waits for.
                self.shared.loaded(digest, &row.value).await?;
            }
            if digest == registry.active {
                return Ok(Decision::Keep((digest, None)));
            }
            let compared = match request {
                Some(request) => self.check_swap(&registry, digest, request).await?,
                None => None,
            };
            if request.is_some() {
                let change_set = compared.as_ref().map(|(_, comparison)| comparison.change_set);
                events.push(EventKind::ResolverActivated { resolver: digest, previous: registry.active, change_set });
            }
            registry.retired.remove(&digest);
            registry.retired.insert(registry.active);
            if registry.retired.len() > MAX_EARLIER {
                return Err(ResolverError::Full { limit: "retired resolvers", allowed: MAX_EARLIER as u64 });
            }
            registry.active = digest;
            registry.activated_at = Some(self.shared.ledger.now());
            let mut change =
                Change::default().expect(&registry_key(), found.as_ref()).expect(&resolver_key(&digest), row.as_ref());
            if let Some(refuted) = &refuted {
                change = self.without_comparison(change, refuted).await?;
            }
            if let Some(earlier) = registry.accepted.take() {
                change = change.delete(&accepted_holder(&earlier.report));
            }
            let mut watch = None;
            if let Some((row, comparison)) = compared {
                let ComparisonRow { report, report_bytes, before, .. } = row.value;
                registry.accepted = Some(AcceptedReport { report, report_bytes, previous: before });
                // A later comparison would let go of the report.
                change = change.expect(&comparison_key(&digest), Some(&row)).put(&accepted_holder(&report), &Mark {});
                watch = Some(Arc::new(Watch::new(digest, before, comparison.changes)));
            }
            change = events.into_iter().fold(change.put(&registry_key(), &registry), Change::event);
            Ok(Decision::Commit(change, (digest, watch)))
        };
        let commit =
            |change, (digest, watch): &(Digest, Option<Arc<Watch>>)| self.commit_active(change, *digest, watch.clone());
        let (digest, _) = records::retry::<_, _, _, ResolverError, _, _>(decide, commit).await?;
        self.resolver(digest).await
    }

    /// Commits a change of the active resolver, and makes requests use the new one. Runs in a task of its own: if the caller
    /// is cancelled after the store has the commit, requests would otherwise go on with the earlier resolver.
    async fn commit_active(
        &self,
        change: Change,
        digest: Digest,
        watch: Option<Arc<Watch>>,
    ) -> Result<(), ChangeError> {
        let changing = self.shared.resolver_changes.clone().write_owned().await;
        let shared = self.shared.clone();
        let commit = tokio::spawn(async move {
            let _changing = changing;
            shared.ledger.commit_globally(change).await?;
            shared.active_resolver.store(Arc::new(digest));
            shared.watch.store(watch);
            Ok(())
        });
        commit.await.unwrap_or(Err(ChangeError::Conflict))
    }

    /// Revokes a resolver, which is final: requests that name it are refused, and its workers are stopped. The active
    /// resolver cannot be revoked. The operation is idempotent.
    pub async fn revoke_resolver(&self, digest: Digest) -> Result<(), ResolverError> {
        let changing = self.shared.resolver_changes.write().await;
        let key = resolver_key(&digest);
        let decide = || async {
            let (mut registry, registry_row) = self.registry().await?;
            if registry.active == digest {
                return Err(ResolverError::Active(digest));
            }
            let found = self.resolver_row(&digest).await?;
            let before = match &found {
                Some(row) => row.value.clone(),
                None if digest == self.shared.shipped.digest() => ResolverRow {
                    bytes: crate::shipped::RESOLVER.len() as u64,
                    at: self.shared.ledger.now(),
                    revoked: None,
                },
                None => return Err(ResolverError::NotFound(digest)),
            };
            let mut change = Change::default().expect(&key, found.as_ref());
            if before.revoked.is_none() {
                let row = ResolverRow { revoked: Some(Revocation { at: self.shared.ledger.now() }), ..before };
                registry.retired.remove(&digest);
                registry.earlier.retain(|earlier| *earlier != digest);
                change = change
                    .expect(&registry_key(), registry_row.as_ref())
                    .put(&registry_key(), &registry)
                    .put(&key, &row)
                    .event(EventKind::ResolverRevoked { resolver: digest });
            }
            Ok(Decision::Commit(change, ()))
        };
        self.shared.ledger.update_globally::<_, ResolverError, _>(decide).await?;
        self.shared.resolvers.remove(&digest);
        // Stopping workers takes a while and needs no registry.
        drop(changing);
        Ok(self.stop_workers_of(digest).await?)
    }

    /// Removes an admitted or retired resolver that nothing uses: no running worker and no pin of the config. The next
    /// garbage collection removes its component.
    pub async fn remove_resolver(&self, digest: Digest) -> Result<(), ResolverError> {
        let _changing = self.shared.resolver_changes.write().await;
        let key = resolver_key(&digest);
        let decide = || async {
            let (mut registry, registry_row) = self.registry().await?;
            if registry.active == digest {
                return Err(ResolverError::Active(digest));
            }
            let found = self.resolver_row(&digest).await?.ok_or(ResolverError::NotFound(digest))?;
            if found.value.revoked.is_some() {
                return Err(ResolverError::Revoked(digest));
            }
            let is_pinned = self.shared.config.load().pins_resolver(&digest);
            if is_pinned || !self.shared.ledger.keys(&resolved_by_key(&digest), None, 1).await?.is_empty() {
                return Err(ResolverError::InUse(digest));
            }
            registry.retired.remove(&digest);
            registry.earlier.retain(|earlier| *earlier != digest);
            let change = self.without_comparison(Change::default(), &digest).await?;
            let change = change
                .expect(&key, Some(&found))
                .delete(&key)
                .delete(&holders_key(&digest).part(RUNTIME))
                .expect(&registry_key(), registry_row.as_ref())
                .put(&registry_key(), &registry)
                .event(EventKind::ResolverRemoved { resolver: digest });
            Ok(Decision::Commit(change, ()))
        };
        self.shared.ledger.update_globally::<_, ResolverError, _>(decide).await?;
        self.shared.resolvers.remove(&digest);
        Ok(())
    }

    /// Takes up the resolvers of an earlier process: reads which one is active, loads the components, and stops workers of
    /// revoked resolvers. A component that cannot be loaded is logged; requests for it are refused.
    pub(super) async fn open_registry(&self) -> Result<(), MetadataError> {
        let (registry, _) = self.registry().await?;
        self.shared.active_resolver.store(Arc::new(registry.active));
        self.shared.watch.store(self.watch_of(&registry).await?);
        for (key, row) in self.shared.ledger.rows::<ResolverRow>(&resolvers_key(), None, usize::MAX).await? {
            let Ok(digest) = key.last().parse::<Digest>() else { continue };
            if row.revoked.is_some() {
                self.stop_workers_of(digest).await?;
                continue;
            }
            match self.shared.loaded(digest, &row).await {
                Ok(_) => {}
                // Retrying at each request would only repeat the failure of the whole store.
                Err(ResolverError::Blob(BlobError::Unavailable { .. } | BlobError::Full | BlobError::Moved)) => {
                    return Err(MetadataError::Unavailable { operation: "load a resolver" });
                }
                Err(error) => {
                    tracing::warn!(resolver = %digest, code = error.code().as_str(), "a resolver cannot be loaded")
                }
            }
        }
        Ok(())
    }

    /// Returns the watch of the activation that a registry names. `None` if the accepted report is missing or damaged.
    async fn watch_of(&self, registry: &Registry) -> Result<Option<Arc<Watch>>, MetadataError> {
        let Some(AcceptedReport { report, report_bytes, previous }) = registry.accepted else { return Ok(None) };
        match self.shared.report(report, report_bytes).await {
            Ok(report) => Ok(Some(Arc::new(Watch::new(registry.active, previous, report.changes)))),
            Err(error) if error.code().class() == Class::Failed => {
                Err(MetadataError::Unavailable { operation: "read the report of a comparison" })
            }
            Err(error) => {
                let code = error.code();
                tracing::warn!(
                    code = code.as_str(),
                    "the active resolver is not watched: the report of its comparison cannot be used"
                );
                Ok(None)
            }
        }
    }

    /// Returns a page of the Runtime's own events after another one, oldest first: the changes of its resolvers.
    pub async fn events_page(&self, after: u64, max_items: usize) -> Result<Page<Event>, MetadataError> {
        let after = event_key(RUNTIME_EVENTS, after);
        let Page { items, more } =
            self.shared.ledger.page::<EventRow>(&events_key(RUNTIME_EVENTS), Some(&after), max_items).await?;
        Ok(Page { items: items.into_iter().map(|(_, row)| row.event).collect(), more })
    }
}
