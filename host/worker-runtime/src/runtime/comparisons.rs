//! Comparisons of the active resolver with another one, over the records of all workspaces.
//!
//! One comparison runs at a time, as a job that outlives the request. Its result is stored, and `activate` needs it: see
//! [`Management::check_swap`]. Each case has the policy of its workspace enforced, so the result names what workers would gain.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bundles::{Digest, ProfileName, WorkspaceId};
use bytes::Bytes;
use component_host::{BundleView, Resolver};
use content_store::blob_store::{self, BlobError};
use content_store::metadata::{Key, MetadataError};
use host_policy::RuntimeConfig;
use runtime_api::comparison::{ActivateRequest, Comparison, ComparisonState, ComparisonStatus};
use runtime_api::{Class, Code};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::corpus::Snapshot;
use super::resolver_registry::{RUNTIME, Registry, ResolverError};
use super::{Management, Shared};
use crate::comparison::{CaseRun, Comparer, TooManyChanges};
use crate::content::ContentError;
use crate::ledger::{Change, ComparisonRow, Decision, Mark, Row, comparison_key, holders_key};
use crate::record::Record;
use crate::resolutions::Inputs;
use crate::workspace::Workspace;

/// The comparison that runs or ran last.
#[derive(Debug)]
pub(crate) struct Jobs {
    newest: Mutex<Option<Job>>,
    /// Held by each computation of a comparison, so that comparisons use one computing thread.
    slot: Arc<Semaphore>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { newest: Mutex::default(), slot: Arc::new(Semaphore::new(1)) }
    }
}

/// A comparison in progress, or one that ended without a result.
#[derive(Debug)]
struct Job {
    before: Digest,
    after: Digest,
    at: jiff::Timestamp,
    progress: Arc<Progress>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    /// Error code, if the comparison failed.
    failed: Mutex<Option<Code>>,
    cancelled: std::sync::atomic::AtomicBool,
}

impl Job {
    /// `true` unless the job has ended. A cancelled job ends soon, and does not keep another one from beginning.
    fn is_running(&self) -> bool {
        !self.task.is_finished() && !self.progress.cancelled.load(Ordering::Acquire)
    }

    /// Returns the state, unless the job has ended with a result.
    fn state(&self) -> Option<ComparisonState> {
        if self.progress.cancelled.load(Ordering::Acquire) {
            return Some(ComparisonState::Cancelled);
        }
        if let Some(code) = *self.progress.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(ComparisonState::Failed { code });
        }
        let (done, total) = (self.progress.done.load(Ordering::Acquire), self.progress.total.load(Ordering::Acquire));
        self.is_running().then_some(ComparisonState::Running { done, total })
    }
}

/// Both resolvers of a comparison.
struct ResolverPair {
    before: Resolver,
    after: Resolver,
}

impl Management {
    /// Compares the active resolver with another one, over the records that exist now. Returns at once; [`comparison`] returns
    /// the progress. If the same comparison already runs, it continues.
    ///
    /// [`comparison`]: Self::comparison
    pub async fn compare_resolver(&self, after: Digest) -> Result<ComparisonStatus, ResolverError> {
        let before = **self.shared.active_resolver.load();
        let pair =
            ResolverPair { before: self.usable_resolver(before).await?, after: self.usable_resolver(after).await? };
        let snapshot = self.snapshot().await?;
        if snapshot.0.is_empty() {
            return Err(ResolverError::NothingToCompare);
        }
        let at = self.shared.ledger.now();
        {
            let mut newest = self.shared.comparisons.newest.lock().unwrap_or_else(PoisonError::into_inner);
            match newest.as_ref().filter(|job| job.is_running()) {
                Some(job) if (job.before, job.after) == (before, after) => {}
                Some(_) => return Err(ResolverError::Comparing),
                None => {
                    let progress = Arc::new(Progress::default());
                    progress.total.store(snapshot.0.len() as u64, Ordering::Release);
                    let work = run(Arc::downgrade(&self.shared), pair, snapshot, at, progress.clone());
                    let task = tokio::spawn(work).abort_handle();
                    *newest = Some(Job { before, after, at, progress, task });
                }
            }
        }
        self.comparison(after).await
    }

    /// Returns the newest comparison with a resolver.
    pub async fn comparison(&self, after: Digest) -> Result<ComparisonStatus, ResolverError> {
        let unfinished = {
            let newest = self.shared.comparisons.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest
                .as_ref()
                .filter(|job| job.after == after)
                .and_then(|job| Some(ComparisonStatus { before: job.before, after, at: job.at, state: job.state()? }))
        };
        if let Some(status) = unfinished {
            return Ok(status);
        }
        let row = self.shared.ledger.row::<ComparisonRow>(&comparison_key(&after)).await?;
        let row = row.ok_or(ResolverError::ComparisonNotFound(after))?.value;
        let comparison = Box::new(self.shared.report(row.report, row.report_bytes).await?);
        let objections = comparison.objections(self.shared.limits.comparison_cost_percent);
        let state = ComparisonState::Finished { comparison, objections };
        Ok(ComparisonStatus { before: row.before, after, at: row.at, state })
    }

    /// Cancels a comparison that runs. The operation is idempotent.
    pub async fn cancel_comparison(&self, after: Digest) -> Result<ComparisonStatus, ResolverError> {
        {
            let newest = self.shared.comparisons.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(job) = newest.as_ref().filter(|job| job.after == after && job.is_running()) {
                job.progress.cancelled.store(true, Ordering::Release);
                job.task.abort();
            }
        }
        self.comparison(after).await
    }

    /// Checks that a comparison allows the activation of a resolver, and returns it with its row. Returns `None` if the request
    /// allows an activation without a comparison.
    pub(super) async fn check_swap(
        &self,
        registry: &Registry,
        digest: Digest,
        request: ActivateRequest,
    ) -> Result<Option<(Row<ComparisonRow>, Comparison)>, ResolverError> {
        if request.unchecked {
            return Ok(None);
        }
        let row = self.shared.ledger.row::<ComparisonRow>(&comparison_key(&digest)).await?;
        let Some(row) = row.filter(|row| row.value.before == registry.active) else {
            let has_records = !self.snapshot().await?.0.is_empty();
            return Err(if has_records { ResolverError::ComparisonRequired } else { ResolverError::NothingToCompare });
        };
        let age = self.shared.ledger.now().duration_since(row.value.at).as_secs();
        if u64::try_from(age).unwrap_or(0) > self.shared.limits.comparison_seconds {
            return Err(ResolverError::ComparisonRequired);
        }
        let comparison = self.shared.report(row.value.report, row.value.report_bytes).await?;
        if comparison.cases.compared() == 0 {
            return Err(ResolverError::NothingToCompare);
        }
        let objections = comparison.objections(self.shared.limits.comparison_cost_percent);
        let is_accepted = match request.accept {
            Some(accepted) => accepted == comparison.change_set,
            None => objections.is_empty(),
        };
        if is_accepted {
            return Ok(Some((row, comparison)));
        }
        Err(ResolverError::NotAccepted { change_set: comparison.change_set, objections })
    }

    /// Removes the comparison with a resolver.
    pub(super) async fn without_comparison(&self, change: Change, resolver: &Digest) -> Result<Change, MetadataError> {
        let key = comparison_key(resolver);
        let found = self.shared.ledger.row::<ComparisonRow>(&key).await?;
        let change = change.expect(&key, found.as_ref());
        Ok(match &found {
            Some(found) => change.delete(&key).delete(&report_holder(&found.value.report, resolver)),
            None => change,
        })
    }

    async fn usable_resolver(&self, digest: Digest) -> Result<Resolver, ResolverError> {
        if digest == self.shared.shipped.digest() {
            return Ok(self.shared.shipped.clone());
        }
        let row = self.resolver_row(&digest).await?.ok_or(ResolverError::NotFound(digest))?;
        if row.value.revoked.is_some() {
            return Err(ResolverError::Revoked(digest));
        }
        self.shared.loaded(digest, &row.value).await
    }

    /// Stores the result of a comparison in place of the earlier one with the same resolver.
    async fn store_comparison(&self, at: jiff::Timestamp, comparison: &Comparison) -> Result<(), ResolverError> {
        // A comparison holds names, texts and numbers, so it can always be serialized.
        let report = Bytes::from(serde_json::to_vec(comparison).unwrap_or_default());
        let (digest, report_bytes) = (Digest::of(&report), report.len() as u64);
        let key = comparison_key(&comparison.after);
        let _locks = self.shared.stripes.keeping(&[digest]).await;
        self.shared.blobs.put(digest, blob_store::source_from(report), report_bytes).await?;
        let decide = || async {
            let found = self.shared.ledger.row::<ComparisonRow>(&key).await?;
            let row = ComparisonRow { before: comparison.before, at, report: digest, report_bytes };
            let mut change = Change::default().expect(&key, found.as_ref());
            if let Some(earlier) = &found {
                change = change.delete(&report_holder(&earlier.value.report, &comparison.after));
            }
            let holder = report_holder(&digest, &comparison.after);
            Ok(Decision::Commit(change.put(&key, &row).put(&holder, &Mark {}), ()))
        };
        self.shared.ledger.update_globally::<_, ResolverError, _>(decide).await
    }
}

/// Returns the row that keeps the report of a comparison with a resolver.
pub(super) fn report_holder(report: &Digest, resolver: &Digest) -> Key {
    holders_key(report).part(format_args!("{RUNTIME}-comparison-{}", resolver.hex()))
}

/// Compares all cases and stores the result.
async fn run(
    shared: Weak<Shared>,
    pair: ResolverPair,
    snapshot: Snapshot,
    at: jiff::Timestamp,
    progress: Arc<Progress>,
) {
    let compared = compare(&shared, &pair, snapshot, &progress).await;
    let stored = match (compared, shared.upgrade()) {
        (Ok(comparison), Some(shared)) => {
            Management { shared }.store_comparison(at, &comparison).await.map_err(|error| error.code())
        }
        (Err(code), _) => Err(code),
        (Ok(_), None) => return,
    };
    *progress.failed.lock().unwrap_or_else(PoisonError::into_inner) = stored.err();
}

async fn compare(
    shared: &Weak<Shared>,
    pair: &ResolverPair,
    snapshot: Snapshot,
    progress: &Progress,
) -> Result<Comparison, Code> {
    let mut comparer = Comparer::new(pair.before.digest(), pair.after.digest());
    for (record, workspace) in snapshot.0 {
        // The job must not keep a Runtime open that was closed.
        let Some(shared) = shared.upgrade() else { break };
        match shared.compare_case(pair, record, &workspace).await? {
            Some((profile, before, after)) => {
                comparer.add(record, &profile, &before, &after).map_err(|TooManyChanges| Code::TooLarge)?;
            }
            None => comparer.skip(record),
        }
        progress.done.fetch_add(1, Ordering::AcqRel);
    }
    Ok(comparer.finish())
}

impl Shared {
    /// Returns the outcomes of both resolvers for a recorded case. Returns `None` if the case cannot be repeated.
    ///
    /// # Errors
    ///
    /// The code of a failure that says nothing about the resolvers, such as an exceeded deadline.
    async fn compare_case(
        self: &Arc<Self>,
        pair: &ResolverPair,
        record: Digest,
        workspace: &WorkspaceId,
    ) -> Result<Option<(ProfileName, CaseRun, CaseRun)>, Code> {
        let config = self.config.load_full();
        let Some((record, view)) = self.recorded_case(record, workspace, &config).await? else { return Ok(None) };
        let (before, after) = (pair.before.clone(), pair.after.clone());
        let is_replay = before.digest() == after.digest();
        let (shared, workspace) = (self.clone(), workspace.clone());
        let compared = async move {
            let profile = record.request().profile().clone();
            let inputs = Inputs::new(record.facts().clone(), record.request().clone());
            let after = CaseRun::compute(&after, &view, &inputs).await?;
            let limits = &shared.sandbox.limits().bundle;
            let restored = || CaseRun::restore_own(&record, view.bundle().manifest(), limits, &after);
            let before = if is_replay {
                // A resolver that is compared with itself repeats the recorded resolutions, those of other resolvers and
                // versions too.
                let Some(restored) = restored() else { return Ok(None) };
                restored
            } else {
                let is_own = record.digests().resolver == before.digest() && record.is_of_this_engine();
                match is_own.then(restored).flatten() {
                    Some(restored) => restored,
                    None => CaseRun::compute(&before, &view, &inputs).await?,
                }
            };
            if before.has_outcome_of(&after) {
                return Ok(Some((profile, before, after)));
            }
            let before = shared.decide(before, &config, &workspace, &view).await?;
            let after = shared.decide(after, &config, &workspace, &view).await?;
            Ok(Some((profile, before, after)))
        };
        self.compute_pool.run(self.comparisons.slot.clone(), compared).await.unwrap_or(Err(Code::Failed))
    }

    /// Reads a record and opens its bundle. Returns `None` if one of them is missing, damaged or revoked.
    ///
    /// # Errors
    ///
    /// The code of a failure of the store or of the system. A comparison without the cases that could not be read now would
    /// prove too little.
    async fn recorded_case(
        self: &Arc<Self>,
        record: Digest,
        workspace: &WorkspaceId,
        config: &RuntimeConfig,
    ) -> Result<Option<(Record, BundleView)>, Code> {
        let content = Workspace { shared: self.clone(), id: workspace.clone() }.content();
        let Some(record) = usable_content(content.blob(record).await)? else { return Ok(None) };
        let Ok(record) = Record::from_json(&record) else { return Ok(None) };
        let bundle = record.digests().bundle;
        let view = match bundle == self.builtin.bundle().digest() {
            true => Some(self.builtin.clone()),
            false => usable_content(content.view_under(bundle, config).await)?,
        };
        Ok(view.map(|view| (record, view)))
    }

    /// Adds the decision of the host to an outcome. Fails if the content of a plugin cannot be read now.
    async fn decide(
        self: &Arc<Self>,
        run: CaseRun,
        config: &RuntimeConfig,
        workspace: &WorkspaceId,
        view: &BundleView,
    ) -> Result<CaseRun, Code> {
        let Some(resolution) = run.resolution() else { return Ok(run) };
        let decision = self.enforce(config, workspace, view, resolution).await.map_err(|error| error.code())?;
        Ok(run.with_decision(decision.map(|live| live.spec).map_err(|_| Code::Denied)))
    }

    /// Returns the stored report of a comparison.
    pub(super) async fn report(&self, report: Digest, bytes: u64) -> Result<Comparison, ResolverError> {
        let content = self.blobs.get_sized(report, bytes).await?;
        serde_json::from_slice(&content).map_err(|_| BlobError::Damaged(report).into())
    }
}

/// Returns `None` for an error that says that the content cannot be used, and the code of any other error.
fn usable_content<T>(read: Result<T, ContentError>) -> Result<Option<T>, Code> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code().class() == Class::Failed => Err(error.code()),
        Err(_) => Ok(None),
    }
}

/// Returns the names of objections in one line.
pub(super) fn objection_words(objections: &BTreeSet<runtime_api::comparison::Objection>) -> String {
    objections.iter().map(|objection| objection.as_str()).collect::<Vec<_>>().join(", ")
}
