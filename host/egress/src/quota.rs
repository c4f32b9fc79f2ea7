//! Quotas of workspaces and instances.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bundles::WorkspaceId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::failure::Failure;
use crate::limits::EgressLimits;

/// Retry delay that is reported when `workspace_requests` requests run.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// A number of events in a second.
#[derive(Debug)]
pub(crate) struct Rate {
    limiter: DefaultDirectRateLimiter,
    per_second: NonZeroU32,
}

impl Rate {
    /// Creates a rate. Zero counts as one.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self { limiter: RateLimiter::direct(Quota::per_second(per_second)), per_second }
    }

    /// Takes `amount`, at most the amount of a second, or returns the time until it can be taken.
    pub(crate) fn take(&self, amount: usize) -> Result<(), Duration> {
        let amount = u32::try_from(amount).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        match self.limiter.check_n(amount.min(self.per_second)) {
            Ok(Err(not_until)) => Err(not_until.wait_time_from(DefaultClock::default().now())),
            // The amount is not above the burst, so the outer error does not occur.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Waits until `amount` can be taken, and takes it.
    pub(crate) async fn wait(&self, amount: usize) {
        while let Err(wait) = self.take(amount) {
            sleep(wait).await;
        }
    }
}

/// Quotas of all workspaces that have used the network.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<HashMap<WorkspaceId, Arc<WorkspaceQuota>>>);

/// Quota of one workspace.
#[derive(Debug)]
pub(crate) struct WorkspaceQuota {
    requests: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    max_connections: u32,
    rate: Rate,
}

fn permits(count: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)))
}

impl Quotas {
    /// Returns the quota of a workspace. The config bounds the number of workspaces.
    pub(crate) fn of(&self, workspace: &WorkspaceId, limits: &EgressLimits) -> Arc<WorkspaceQuota> {
        let new = || WorkspaceQuota {
            requests: permits(limits.workspace_requests),
            connections: permits(limits.workspace_connections),
            max_connections: limits.workspace_connections,
            rate: Rate::new(limits.workspace_requests_per_second),
        };
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        quotas.entry(workspace.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Returns the numbers of open connections.
    pub(crate) fn open_connections(&self) -> BTreeMap<WorkspaceId, u32> {
        let quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |quota: &WorkspaceQuota| {
            let free = u32::try_from(quota.connections.available_permits()).unwrap_or(u32::MAX);
            quota.max_connections.saturating_sub(free)
        };
        quotas.iter().map(|(workspace, quota)| (workspace.clone(), open(quota))).collect()
    }
}

impl WorkspaceQuota {
    /// Counts the start of a request or a handshake, for the workspace and for the instance.
    pub(crate) fn begin(&self, instance: &Rate) -> Result<(), Failure> {
        instance.take(1).and_then(|()| self.rate.take(1)).map_err(Failure::RateLimited)
    }

    /// Acquires a slot for a request.
    pub(crate) fn request(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.requests.clone().try_acquire_owned().map_err(|_| Failure::RateLimited(BUSY_RETRY))
    }

    /// Acquires a slot for a connection. The error is the limit.
    pub(crate) fn connection(&self) -> Result<OwnedSemaphorePermit, u32> {
        self.connections.clone().try_acquire_owned().map_err(|_| self.max_connections)
    }
}
