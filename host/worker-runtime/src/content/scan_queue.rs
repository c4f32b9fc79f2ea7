//! Scans blobs for leaks while they wait for the disk.
//!
//! A new blob is most likely a prompt, and a bundle will name it soon. The blobs of a workspace are scanned in its place
//! among the computing threads. If that place is taken, one of a few spare places is used, which other scans share. If no
//! place is free, or too many blobs wait already, the blob is scanned later, when its bundle is verified.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bundles::{Blob, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::computing::{self, Computing};
use crate::tenants::Tenant;

/// Blobs of one workspace that wait for a scan.
const MAX_WAITING: usize = 8;

/// Concurrent scans of one workspace.
const MAX_SCANNING: usize = 2;

/// The queues of all workspaces. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ScanQueue(Arc<Queues>);

#[derive(Debug)]
struct Queues {
    /// Spare places among the computing threads.
    spare: Arc<Semaphore>,
    /// Queues of the workspaces of which a blob is being scanned.
    each: Mutex<HashMap<WorkspaceId, Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Blob>,
    scanning: usize,
}

impl ScanQueue {
    /// Creates queues that use fewer than half of the computing threads: most are for computations that a caller waits for.
    pub(crate) fn new(computing_threads: u32) -> Self {
        let spare = computing_threads.min(computing::MOST).saturating_sub(1) / 2;
        let spare = Arc::new(Semaphore::new(usize::try_from(spare).unwrap_or_default()));
        Self(Arc::new(Queues { spare, each: Mutex::default() }))
    }

    /// Scans a blob soon, or leaves it for later if the workspace has enough to do.
    pub(crate) fn push(&self, computing: &Computing, workspace: &WorkspaceId, tenant: &Arc<Tenant>, blob: Blob) {
        let mut each = self.0.lock();
        let queue = each.entry(workspace.clone()).or_default();
        let place = if queue.scanning < MAX_SCANNING { self.0.place(tenant) } else { None };
        if let Some(place) = place {
            queue.scanning += 1;
            drop(each);
            let scans = Scans { queues: self.0.clone(), workspace: workspace.clone(), tenant: tenant.clone() };
            computing.begin(move || scans.scan(place, blob));
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

    /// Returns a free place for a scan.
    fn place(&self, tenant: &Tenant) -> Option<OwnedSemaphorePermit> {
        tenant.try_computing().or_else(|| self.spare.clone().try_acquire_owned().ok())
    }
}

/// A series of scans of one workspace, one after the other. When the last series of a workspace ends, blobs that still wait
/// are left for later.
struct Scans {
    queues: Arc<Queues>,
    workspace: WorkspaceId,
    tenant: Arc<Tenant>,
}

impl Scans {
    /// Scans a blob. Then queues the next scan behind other computations, unless no place is free.
    fn scan(self, held: OwnedSemaphorePermit, blob: Blob) {
        if std::str::from_utf8(blob.as_ref()).is_ok() {
            blob.leaks_with_pauses(&mut std::thread::yield_now);
        }
        drop((blob, held));
        let mut each = self.queues.lock();
        if let Some(queue) = each.get_mut(&self.workspace)
            && !queue.waiting.is_empty()
            && let Some(place) = self.queues.place(&self.tenant)
            && let Some(next) = queue.waiting.pop_front()
        {
            drop(each);
            Computing::begin_more(move || self.scan(place, next));
        }
    }
}

impl Drop for Scans {
    fn drop(&mut self) {
        let mut each = self.queues.lock();
        let Some(queue) = each.get_mut(&self.workspace) else { return };
        queue.scanning = queue.scanning.saturating_sub(1);
        if queue.scanning == 0 {
            let left = each.remove(&self.workspace);
            drop(each);
            drop(left);
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

    /// Twenty times longer than the scans take on a busy machine.
    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn two_of_a_workspace_are_scanned_at_a_time_and_the_others_in_turn() {
        let (tenants, queue) = (Tenants::new(RuntimeLimits::default()), ScanQueue::new(3));
        let computing = Computing::start(1).expect("threads");
        let [acme, other] = ["acme", "other"].map(|id| id.parse::<WorkspaceId>().expect("an id"));
        let push = |workspace, text: String| {
            queue.push(&computing, workspace, &tenants.tenant(workspace), Blob::new(text.into_bytes()));
        };
        // The only thread is busy until all blobs are there.
        let (go, gone) = mpsc::channel::<()>();
        computing.begin(move || {
            let _ = gone.recv();
        });
        for number in 0..2 + MAX_WAITING + 3 {
            push(&acme, format!("Prompt {number}."));
        }
        let state = |workspace: &WorkspaceId| {
            queue.0.lock().get(workspace).map_or((0, 0), |queue| (queue.scanning, queue.waiting.len()))
        };
        assert_eq!(state(&acme), (2, MAX_WAITING), "more blobs are left for later");
        let tenant = tenants.tenant(&acme);
        assert!(tenant.try_computing().is_none() && queue.0.spare.available_permits() == 0);
        push(&other, "Another prompt.".to_owned());
        assert_eq!(state(&other), (1, 0), "another workspace has its own place");
        drop(go);
        let begun = Instant::now();
        while !queue.0.lock().is_empty() {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
        assert!(tenant.try_computing().is_some() && queue.0.spare.available_permits() == 1);
    }

    #[test]
    fn few_threads_have_no_spare_place() {
        for (threads, spare) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (8, 3), (1000, 127)] {
            assert_eq!(ScanQueue::new(threads).0.spare.available_permits(), spare, "{threads}");
        }
    }
}
