//! Concurrency limits of each workspace.
//!
//! Waiting is fair: each workspace has its own queue, and only the requests at its head compete with those of other
//! workspaces. The queue is bounded; a request that finds it full fails with [`Busy`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bundles::WorkspaceId;
use runtime_api::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::content::pending::PendingPuts;
use crate::limits::RuntimeLimits;

/// Error for a workspace that has reached a concurrency limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit `{limit}` of this workspace reached; retry in {} s", retry_after.as_secs().max(1))]
pub struct Busy {
    /// Name of the limit.
    pub limit: &'static str,
    /// Delay before a retry makes sense.
    pub retry_after: Duration,
}

impl Busy {
    /// Creates an error for a limit, with a retry after one second.
    pub fn new(limit: &'static str) -> Self {
        Self { limit, retry_after: Duration::from_secs(1) }
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        Code::Busy
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        "retry later, with fewer concurrent requests"
    }
}

/// Concurrency limits of all workspaces.
#[derive(Debug)]
pub(crate) struct Tenants {
    limits: RuntimeLimits,
    total: Arc<Semaphore>,
    each: Mutex<HashMap<WorkspaceId, Arc<Tenant>>>,
}

/// Concurrency limits and locks of one workspace.
#[derive(Debug)]
pub(crate) struct Tenant {
    run_permits: Arc<Semaphore>,
    queued: AtomicU32,
    inflight: Arc<Semaphore>,
    compute_slot: Arc<Semaphore>,
    store_slot: Arc<Semaphore>,
    /// Serialises changes of the workspace. Without it, concurrent changes conflict in the store and are repeated.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pending: Mutex<PendingPuts>,
}

impl Tenant {
    /// Returns the pending puts of bundles.
    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingPuts> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the compute slot of the workspace if it is free.
    pub(crate) fn try_compute_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.compute_slot.clone().try_acquire_owned().ok()
    }
}

/// Permit to run one resolution or call. Dropping it releases the permit.
#[derive(Debug)]
pub(crate) struct RunPermit {
    _own: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// Reservation of bytes of a request that is being received. Dropping it releases the bytes.
#[derive(Debug)]
pub struct InflightReservation(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Bytes that one semaphore permit stands for.
const PERMIT_BYTES: u64 = 1 << 10;

impl Tenants {
    pub(crate) fn new(limits: RuntimeLimits) -> Self {
        let total = Arc::new(Semaphore::new(permits(limits.running_calls_of_all.max(1).into())));
        Self { limits, total, each: Mutex::default() }
    }

    pub(crate) fn tenant(&self, workspace: &WorkspaceId) -> Arc<Tenant> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Tenant {
                run_permits: Arc::new(Semaphore::new(permits(self.limits.running_calls.max(1).into()))),
                queued: AtomicU32::new(0),
                inflight: Arc::new(Semaphore::new(permits(self.limits.inflight_bytes.div_ceil(PERMIT_BYTES)))),
                compute_slot: Arc::new(Semaphore::new(1)),
                store_slot: Arc::new(Semaphore::new(1)),
                changing: tokio::sync::Mutex::default(),
                pending: Mutex::default(),
            })
        };
        each.entry(workspace.clone()).or_insert_with(new).clone()
    }

    /// Returns the numbers of running and of waiting requests of a workspace.
    pub(crate) fn load(&self, workspace: &WorkspaceId) -> (u32, u32) {
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = each.get(workspace) else { return (0, 0) };
        let free = u32::try_from(tenant.run_permits.available_permits()).unwrap_or(u32::MAX);
        (self.limits.running_calls.max(1).saturating_sub(free), tenant.queued.load(Ordering::Acquire))
    }

    /// Waits for a permit to run a resolution or call.
    pub(crate) async fn acquire_run_permit(&self, workspace: &WorkspaceId) -> Result<RunPermit, Busy> {
        let tenant = self.tenant(workspace);
        let own = match tenant.run_permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = QueuePlace::enter(&tenant, self.limits.queued_calls)?;
                tenant.run_permits.clone().acquire_owned().await.map_err(|_| Busy::new("running_calls"))?
            }
        };
        let total = self.total.clone().acquire_owned().await.map_err(|_| Busy::new("running_calls_of_all"))?;
        Ok(RunPermit { _own: own, _total: total })
    }

    /// Returns the compute slot of the workspace. Its queue is unbounded, but a waiting caller holds a run permit or an
    /// inflight reservation, which are both limited.
    pub(crate) fn compute_slot(&self, workspace: &WorkspaceId) -> Arc<Semaphore> {
        self.tenant(workspace).compute_slot.clone()
    }

    /// Waits for the store slot of the workspace, which allows one blob to be written at a time. Concurrent syncs of
    /// one workspace would delay those of all others.
    pub(crate) async fn acquire_store_slot(&self, workspace: &WorkspaceId) -> Result<OwnedSemaphorePermit, Busy> {
        let slot = self.tenant(workspace).store_slot.clone().acquire_owned().await;
        slot.map_err(|_| Busy::new("inflight_bytes"))
    }

    /// Reserves bytes of a request that is being received. Fails at once if the limit is reached, because a client that
    /// had to wait would be left with half a body sent.
    pub(crate) fn reserve_inflight(&self, workspace: &WorkspaceId, bytes: u64) -> Result<InflightReservation, Busy> {
        let units = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permit = self.tenant(workspace).inflight.clone().try_acquire_many_owned(units);
        permit.map(InflightReservation).map_err(|_| Busy::new("inflight_bytes"))
    }
}

fn permits(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// A place in the queue of a workspace.
struct QueuePlace<'a>(&'a Tenant);

impl<'a> QueuePlace<'a> {
    fn enter(tenant: &'a Tenant, max_queued: u32) -> Result<Self, Busy> {
        let entered = tenant
            .queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| (waiting < max_queued).then_some(waiting + 1));
        entered.map(|_| Self(tenant)).map_err(|_| Busy::new("queued_calls"))
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
