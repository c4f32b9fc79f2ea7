//! Repeats a share of the resolutions after an activation with the previous resolver.
//!
//! A change that the accepted comparison does not have activates the previous resolver again, and is recorded, so that the next
//! comparison has it. Resolutions are compared before the policy is enforced, so a change of the config is not a difference. Only
//! requests that use the active resolver are repeated, because a comparison leaves out pinned workspaces. At most one resolution
//! is repeated at a time, in the background.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bundles::{Digest, WorkspaceId};
use component_host::BundleView;
use host_policy::ResolutionChange;
use runtime_api::Code;
use runtime_api::event::EventKind;
use tokio::sync::Semaphore;

use super::failures::NewRecord;
use super::resolver_registry::ResolverError;
use super::{Management, Shared, WorkerError};
use crate::comparison::CaseRun;
use crate::resolutions::{Inputs, Resolutions};
use crate::workspace::Workspace;

/// An activation that is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The resolver that was activated.
    pub(super) active: Digest,
    /// The resolver that was active before.
    pub(super) previous: Digest,
    /// Changes that were accepted.
    pub(super) accepted: BTreeSet<ResolutionChange>,
    /// Sum of `shadow_percent` over all resolutions. A resolution is repeated at each multiple of 100.
    credit: AtomicU64,
    slot: Arc<Semaphore>,
}

/// A resolution that is to be repeated.
#[derive(Debug)]
pub(crate) struct ShadowCase {
    watch: Arc<Watch>,
    view: BundleView,
    inputs: Inputs,
    after: CaseRun,
}

impl ShadowCase {
    pub(super) fn new(watch: Arc<Watch>, view: &BundleView, inputs: &Inputs, after: CaseRun) -> Self {
        Self { watch, view: view.clone(), inputs: inputs.clone(), after }
    }
}

impl Watch {
    pub(super) fn new(active: Digest, previous: Digest, accepted: BTreeSet<ResolutionChange>) -> Self {
        Self { active, previous, accepted, credit: AtomicU64::new(0), slot: Arc::new(Semaphore::new(1)) }
    }
}

impl Shared {
    /// Returns the watched activation if a resolution of the active resolver is to be repeated.
    pub(super) fn sample_shadow(&self, resolver: Digest) -> Option<Arc<Watch>> {
        let watch = self.watch.load_full()?;
        let percent = u64::from(self.limits.shadow_percent.min(100));
        if watch.active != resolver || percent == 0 {
            return None;
        }
        let before = watch.credit.fetch_add(percent, Ordering::AcqRel);
        (before / 100 != (before + percent) / 100).then_some(watch)
    }

    /// Repeats a resolution with the previous resolver. Returns at once.
    pub(super) fn repeat(self: &Arc<Self>, workspace: &WorkspaceId, case: ShadowCase) {
        let Ok(permit) = case.watch.slot.clone().try_acquire_owned() else { return };
        let (shared, workspace) = (self.clone(), workspace.clone());
        tokio::spawn(async move {
            let _permit = permit;
            shared.compare_with_previous(&workspace, case).await;
        });
    }

    async fn compare_with_previous(self: &Arc<Self>, workspace: &WorkspaceId, case: ShadowCase) {
        let ShadowCase { watch, view, inputs, after } = case;
        let named = Some(watch.previous);
        let previous = match self.resolver_for(workspace, &self.config.load_full(), named).await {
            Ok(previous) => previous,
            Err(WorkerError::ResolverRevoked(_) | WorkerError::ResolverNotFound(_)) => {
                // There is nothing to return to.
                self.watch.compare_and_swap(&Some(watch.clone()), None);
                tracing::warn!(
                    resolver = %watch.active,
                    "resolutions are no longer repeated: the previous resolver was revoked or removed"
                );
                return;
            }
            Err(_) => return,
        };
        let profile = inputs.request().profile().clone();
        let at = self.ledger.now();
        let computed = async move {
            let resolved = Resolutions::with_capacity(0).run(&previous, &view, &inputs).await;
            let before = CaseRun::of(&resolved)?;
            let changes = before.changes_to(&after, &profile);
            let change = changes.into_iter().find(|change| !watch.accepted.contains(change))?;
            let recorded = match &resolved {
                Ok(resolved) => Some(NewRecord::of_resolution(&inputs, resolved, Code::ChangesNotAccepted, at)),
                Err(failed) => NewRecord::of_failure(&inputs, failed, at),
            };
            Some((watch, change, recorded))
        };
        let computed = self.compute_pool.run(Arc::new(Semaphore::new(1)), computed).await.flatten();
        let Some((watch, change, recorded)) = computed else { return };
        let management = Management { shared: self.clone() };
        match management.return_from(&watch, &change).await {
            Ok(()) => tracing::warn!(
                resolver = %watch.active, profile = %change.profile, field = %change.field,
                "a resolver differs from the accepted comparison, so the previous one is active again"
            ),
            Err(error) => tracing::error!(
                resolver = %watch.active, code = error.code().as_str(),
                "a resolver differs from the accepted comparison, and the previous one cannot be activated"
            ),
        }
        // Without the record, the next comparison could lack the change again. It waits for changes of its workspace, which
        // must not delay the return to the previous resolver.
        if let Some(recorded) = recorded {
            Workspace { shared: self.clone(), id: workspace.clone() }.catalogue().record_beside_sample(recorded).await;
        }
    }
}

impl Management {
    /// Activates the previous resolver again, because of a change that was not accepted.
    async fn return_from(&self, watch: &Arc<Watch>, change: &ResolutionChange) -> Result<(), ResolverError> {
        // The resolver was activated again since, with other accepted changes.
        if !self.shared.watch.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, watch)) {
            return Ok(());
        }
        let (resolver, previous) = (watch.previous, watch.active);
        let diverged = EventKind::ResolverDiverged {
            resolver: watch.active,
            profile: change.profile.clone(),
            field: change.field.clone(),
        };
        self.roll_back_to(resolver, previous, vec![diverged, EventKind::ResolverRolledBack { resolver, previous }])
            .await
    }
}
