//! Looking ahead: a blob is scanned for leaks while it waits for the disk. It is a prompt, most likely, and a bundle
//! will name it. The blobs of a workspace are scanned in its place among the threads that compute, and where another
//! processor may be idle in one of a few more places that are for this alone; the next ones wait. Where the workspace
//! computes something else and no other place is free, or more wait already, there is time later.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};

use bundles::{Blob, WorkspaceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::computing::Computing;
use crate::tenants::{Tenant, Tenants};

/// Blobs of a workspace that wait for others to be scanned.
const MOST_WAITING: usize = 8;

/// Blobs of a workspace that are scanned at a time.
const MOST_SCANNING: usize = 2;

/// The blobs of one workspace that are to be scanned.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    waiting: VecDeque<Blob>,
    /// How many are scanned now. Those that wait come next.
    scanning: usize,
}

/// Scans a blob soon, unless the workspace has enough to do.
pub(crate) fn look(tenants: &Tenants, computing: &Computing, workspace: &WorkspaceId, blob: Blob) {
    let tenant = tenants.tenant(workspace);
    let spare = tenants.spare();
    let mut ahead = lock(&tenant);
    let place = if ahead.scanning < MOST_SCANNING { place(&tenant, &spare) } else { None };
    if let Some(place) = place {
        ahead.scanning += 1;
        drop(ahead);
        let scanning = Scanning { tenant, spare };
        computing.begin(move || scanning.scan(place, blob));
    } else if ahead.scanning > 0 && ahead.waiting.len() < MOST_WAITING {
        ahead.waiting.push_back(blob);
    }
}

/// A place to scan in, where one is free.
fn place(tenant: &Tenant, spare: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    tenant.try_computing().or_else(|| spare.clone().try_acquire_owned().ok())
}

/// Scans of one workspace, one behind the other; two such rows may go on at a time. When the last is dropped, whatever
/// waits is forgotten, for who wants it later.
struct Scanning {
    tenant: Arc<Tenant>,
    spare: Arc<Semaphore>,
}

impl Scanning {
    /// Scans a blob, and begins the next scan behind what others wait for meanwhile; not where something else of the
    /// workspace waits for its place and no other is free.
    fn scan(self, held: OwnedSemaphorePermit, blob: Blob) {
        if std::str::from_utf8(blob.as_ref()).is_ok() {
            blob.scan_in_turns(&mut std::thread::yield_now);
        }
        drop((blob, held));
        let mut ahead = lock(&self.tenant);
        if !ahead.waiting.is_empty()
            && let Some(place) = place(&self.tenant, &self.spare)
            && let Some(next) = ahead.waiting.pop_front()
        {
            drop(ahead);
            Computing::begin_more(move || self.scan(place, next));
        }
    }
}

impl Drop for Scanning {
    fn drop(&mut self) {
        let mut ahead = lock(&self.tenant);
        ahead.scanning = ahead.scanning.saturating_sub(1);
        if ahead.scanning == 0 {
            let forgotten = std::mem::take(&mut ahead.waiting);
            drop(ahead);
            drop(forgotten);
        }
    }
}

fn lock(tenant: &Tenant) -> MutexGuard<'_, Ahead> {
    tenant.ahead.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::RuntimeLimits;

    /// A limit so generous that only a scan that never ends reaches it.
    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn two_of_a_workspace_are_scanned_at_a_time_and_the_others_in_turn() {
        let limits = RuntimeLimits { computing_threads: 3, ..RuntimeLimits::default() };
        let tenants = Tenants::new(limits);
        let computing = Computing::start(1).expect("threads");
        let [acme, other] = ["acme", "other"].map(|id| id.parse().expect("an id"));
        // The only thread does something else until all have come.
        let (go, gone) = mpsc::channel::<()>();
        computing.begin(move || {
            let _ = gone.recv();
        });
        for number in 0..2 + MOST_WAITING + 3 {
            look(&tenants, &computing, &acme, Blob::new(format!("Prompt {number}.").into_bytes()));
        }
        let tenant = tenants.tenant(&acme);
        let state = || {
            let ahead = lock(&tenant);
            (ahead.scanning, ahead.waiting.len())
        };
        assert_eq!(state(), (2, MOST_WAITING), "what is too much waits for who wants it");
        assert!(tenant.try_computing().is_none() && tenants.spare().available_permits() == 0);
        look(&tenants, &computing, &other, Blob::new(*b"Another prompt."));
        assert_eq!(lock(&tenants.tenant(&other)).scanning, 1, "another workspace has its own place");
        drop(go);
        let begun = Instant::now();
        while state() != (0, 0) || lock(&tenants.tenant(&other)).scanning > 0 {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
        assert!(tenant.try_computing().is_some() && tenants.spare().available_permits() == 1);
    }

    #[test]
    fn few_threads_are_all_for_who_waits_for_them() {
        for (threads, spare) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (8, 3), (1000, 127)] {
            let limits = RuntimeLimits { computing_threads: threads, ..RuntimeLimits::default() };
            assert_eq!(Tenants::new(limits).spare().available_permits(), spare, "{threads}");
        }
    }
}
