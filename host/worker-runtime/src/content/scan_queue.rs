//! Scans blobs for leaks while they wait for the disk.
//!
//! A new blob is most likely a prompt that a bundle will soon name. A scan uses the compute slot of its workspace. If
//! that slot is taken, the scan uses one of a few spare slots, which the scans of all workspaces share. If no slot is
//! free, or too many blobs already wait, the blob is scanned later, when its bundle is verified.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::{Blob, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::compute_pool::{self, ComputePool};
use crate::tenants::Tenant;

/// Limit on the blobs of one workspace that wait for a scan.
const MAX_WAITING: usize = 8;

/// Limit on the concurrent scans of one workspace.
const MAX_SCANNING: usize = 2;

/// Scan queues of all workspaces. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ScanQueue(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    /// Spare compute slots.
    spare: Arc<Semaphore>,
    /// Queue of each workspace that has a running scan.
    each: Mutex<HashMap<WorkspaceId, Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Blob>,
    scanning: usize,
}

impl ScanQueue {
    /// Creates queues with spare slots for fewer than half of the computing threads. The other threads remain free for
    /// computations that a caller waits for.
    pub(crate) fn new(computing_threads: u32) -> Self {
        let spare = computing_threads.min(compute_pool::MAX_THREADS).saturating_sub(1) / 2;
        let spare = Arc::new(Semaphore::new(usize::try_from(spare).unwrap_or_default()));
        Self(Arc::new(Queues { spare, each: Mutex::default() }))
    }

    /// Starts or queues the scan of a blob. Does nothing if the workspace has no free slot and a full queue.
    pub(crate) fn push(&self, pool: &ComputePool, workspace: &WorkspaceId, tenant: &Arc<Tenant>, blob: Blob) {
        let mut each = self.0.lock();
        let queue = each.entry(workspace.clone()).or_default();
        let slot = if queue.scanning < MAX_SCANNING { self.0.free_slot(tenant) } else { None };
        if let Some(slot) = slot {
            queue.scanning += 1;
            drop(each);
            let series = ScanSeries { queues: self.0.clone(), workspace: workspace.clone(), tenant: tenant.clone() };
            pool.spawn(move || series.scan(slot, blob));
        } else if queue.scanning > 0 && queue.waiting.len() < MAX_WAITING {
            queue.waiting.push_back(blob);
        } else if queue.scanning == 0 {
            each.remove(workspace);
        }
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Queue>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a free compute slot for a scan.
    fn free_slot(&self, tenant: &Tenant) -> Option<OwnedSemaphorePermit> {
        tenant.try_compute_slot().or_else(|| self.spare.clone().try_acquire_owned().ok())
    }
}

/// A series of scans of one workspace, one after the other. When the last series of a workspace ends, its queue is
/// discarded. The remaining blobs are scanned when their bundles are verified.
struct ScanSeries {
    queues: Arc<Queues>,
    workspace: WorkspaceId,
    tenant: Arc<Tenant>,
}

impl ScanSeries {
    /// Scans a blob, and then queues the next scan behind other computations if a slot is free.
    fn scan(self, slot: OwnedSemaphorePermit, blob: Blob) {
        if std::str::from_utf8(blob.as_ref()).is_ok() {
            blob.leaks_with_pauses(&mut std::thread::yield_now);
        }
        drop((blob, slot));
        let mut each = self.queues.lock();
        if let Some(queue) = each.get_mut(&self.workspace)
            && !queue.waiting.is_empty()
            && let Some(slot) = self.queues.free_slot(&self.tenant)
            && let Some(next) = queue.waiting.pop_front()
        {
            drop(each);
            ComputePool::spawn_from_pool(move || self.scan(slot, next));
        }
    }
}

impl Drop for ScanSeries {
    fn drop(&mut self) {
        let mut each = self.queues.lock();
        let Some(queue) = each.get_mut(&self.workspace) else { return };
        queue.scanning = queue.scanning.saturating_sub(1);
        if queue.scanning == 0 {
            let queue = each.remove(&self.workspace);
            drop(each);
            drop(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::RuntimeLimits;
    use crate::tenants::Tenants;

    /// Twenty times the duration of the scans on a busy machine.
    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn two_blobs_of_a_workspace_are_scanned_concurrently_and_others_wait() {
        let (tenants, queue) = (Tenants::new(RuntimeLimits::default()), ScanQueue::new(3));
        let pool = ComputePool::start(1).expect("threads");
        let [acme, other] = ["acme", "other"].map(|id| id.parse::<WorkspaceId>().expect("an id"));
        let push = |workspace, text: String| {
            queue.push(&pool, workspace, &tenants.tenant(workspace), Blob::new(text.into_bytes()));
        };
        // The only thread is busy until all blobs are queued.
        let (release, released) = mpsc::channel::<()>();
        pool.spawn(move || {
            let _ = released.recv();
        });
        for number in 0..2 + MAX_WAITING + 3 {
            push(&acme, format!("Prompt {number}."));
        }
        let state = |workspace: &WorkspaceId| {
            queue.0.lock().get(workspace).map_or((0, 0), |queue| (queue.scanning, queue.waiting.len()))
        };
        assert_eq!(state(&acme), (2, MAX_WAITING), "more blobs are not queued");
        let tenant = tenants.tenant(&acme);
        assert!(tenant.try_compute_slot().is_none() && queue.0.spare.available_permits() == 0);
        push(&other, "Another prompt.".to_owned());
        assert_eq!(state(&other), (1, 0), "another workspace has its own slot");
        drop(release);
        let started = Instant::now();
        while !queue.0.lock().is_empty() {
            assert!(started.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
        assert!(tenant.try_compute_slot().is_some() && queue.0.spare.available_permits() == 1);
    }

    #[test]
    fn few_threads_have_no_spare_slot() {
        for (threads, spare) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (8, 3), (1000, 127)] {
            assert_eq!(ScanQueue::new(threads).0.spare.available_permits(), spare, "{threads}");
        }
    }
}
