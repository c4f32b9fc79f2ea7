//! What one workspace may have going at a time, so that none takes what belongs to the others.
//!
//! Waiting is fair: a workspace waits in its own line, and only its foremost ones stand in the line of
//! all. It is bounded, and ends in [`Busy`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bundles::WorkspaceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::content::pending::PendingPuts;
use crate::limits::RuntimeLimits;

/// A workspace has as much going as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this workspace has reached `{limit}`; try again in {} s", retry_after.as_secs().max(1))]
pub struct Busy {
    /// The limit that is reached.
    pub limit: &'static str,
    /// After which time trying again makes sense.
    pub retry_after: Duration,
}

impl Busy {
    /// Creates an error for a limit. A retry makes sense after a second.
    pub fn new(limit: &'static str) -> Self {
        Self { limit, retry_after: Duration::from_secs(1) }
    }

    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        "busy"
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        "try again later, with fewer requests at a time"
    }
}

#[derive(Debug)]
pub(crate) struct Tenants {
    limits: RuntimeLimits,
    all: Arc<Semaphore>,
    each: Mutex<HashMap<WorkspaceId, Arc<Tenant>>>,
}

#[derive(Debug)]
pub(crate) struct Tenant {
    running: Arc<Semaphore>,
    queued: AtomicU32,
    inflight: Arc<Semaphore>,
    computing: Arc<Semaphore>,
    storing: Arc<Semaphore>,
    /// Held while a change of the workspace is decided: deciding it twice would cost twice.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pending: Mutex<PendingPuts>,
}

impl Tenant {
    /// The bundles that are being put.
    pub(crate) fn pending(&self) -> MutexGuard<'_, PendingPuts> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the workspace among the threads that compute, where it is free.
    pub(crate) fn try_computing(&self) -> Option<OwnedSemaphorePermit> {
        self.computing.clone().try_acquire_owned().ok()
    }
}

/// The right to compute, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Reservation of bytes of a request that is being received. Dropping it releases the bytes.
#[derive(Debug)]
pub struct Inflight(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Bytes are counted in these.
const UNIT: u64 = 1 << 10;

impl Tenants {
    pub(crate) fn new(limits: RuntimeLimits) -> Self {
        let all = Arc::new(Semaphore::new(permits(limits.running_calls_of_all.max(1).into())));
        Self { limits, all, each: Mutex::default() }
    }

    pub(crate) fn tenant(&self, workspace: &WorkspaceId) -> Arc<Tenant> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Tenant {
                running: Arc::new(Semaphore::new(permits(self.limits.running_calls.max(1).into()))),
                queued: AtomicU32::new(0),
                inflight: Arc::new(Semaphore::new(permits(self.limits.inflight_bytes.div_ceil(UNIT)))),
                computing: Arc::new(Semaphore::new(1)),
                storing: Arc::new(Semaphore::new(1)),
                changing: tokio::sync::Mutex::default(),
                pending: Mutex::default(),
            })
        };
        each.entry(workspace.clone()).or_insert_with(new).clone()
    }

    /// How many run of a workspace, and how many wait.
    pub(crate) fn load(&self, workspace: &WorkspaceId) -> (u32, u32) {
        let each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = each.get(workspace) else { return (0, 0) };
        let free = u32::try_from(tenant.running.available_permits()).unwrap_or(u32::MAX);
        (self.limits.running_calls.max(1).saturating_sub(free), tenant.queued.load(Ordering::Acquire))
    }

    /// Waits for a turn to compute.
    pub(crate) async fn turn(&self, workspace: &WorkspaceId) -> Result<Turn, Busy> {
        let tenant = self.tenant(workspace);
        let own = match tenant.running.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::enter(&tenant, self.limits.queued_calls)?;
                tenant.running.clone().acquire_owned().await.map_err(|_| Busy::new("running_calls"))?
            }
        };
        let of_all = self.all.clone().acquire_owned().await.map_err(|_| Busy::new("running_calls_of_all"))?;
        Ok(Turn { _own: own, _of_all: of_all })
    }

    /// Waits for the place of the workspace among the threads that compute. Who waits for it holds a turn,
    /// or bytes that are on their way in, so that not many do.
    pub(crate) async fn computing(&self, workspace: &WorkspaceId) -> Result<OwnedSemaphorePermit, Busy> {
        let place = self.tenant(workspace).computing.clone().acquire_owned().await;
        place.map_err(|_| Busy::new("computing_threads"))
    }

    /// Waits for the workspace's place at the disk. It waits for one blob at a time: who syncs much makes
    /// all others wait for theirs.
    pub(crate) async fn storing(&self, workspace: &WorkspaceId) -> Result<OwnedSemaphorePermit, Busy> {
        let place = self.tenant(workspace).storing.clone().acquire_owned().await;
        place.map_err(|_| Busy::new("inflight_bytes"))
    }

    /// Room for so many bytes on their way in. Nobody waits for that: who sends would wait with half
    /// a body.
    pub(crate) fn inflight(&self, workspace: &WorkspaceId, bytes: u64) -> Result<Inflight, Busy> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = self.tenant(workspace).inflight.clone().try_acquire_many_owned(units);
        permit.map(Inflight).map_err(|_| Busy::new("inflight_bytes"))
    }
}

fn permits(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// A place in a workspace's line.
struct Waiting<'a>(&'a Tenant);

impl<'a> Waiting<'a> {
    fn enter(tenant: &'a Tenant, most: u32) -> Result<Self, Busy> {
        let entered = tenant
            .queued
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| (waiting < most).then_some(waiting + 1));
        entered.map(|_| Self(tenant)).map_err(|_| Busy::new("queued_calls"))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
