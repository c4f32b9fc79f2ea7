//! Looking ahead: a blob is scanned for leaks while it waits for the disk. It is a prompt, most likely, and a bundle
//! will name it. One of a workspace is scanned at a time, in the workspace's place among the threads that compute; a
//! few more wait for it. Where the workspace computes something else, or more wait already, there is time later.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};

use bundles::{Blob, WorkspaceId};
use tokio::sync::OwnedSemaphorePermit;

use crate::computing::Computing;
use crate::runtime::Shared;
use crate::tenants::Tenant;

/// Blobs of a workspace that wait for another one to be scanned.
const MOST_WAITING: usize = 8;

/// The blobs of one workspace that are to be scanned.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    waiting: VecDeque<Blob>,
    /// Whether one is scanned now, and those that wait come next.
    scanning: bool,
}

/// Scans a blob soon, unless the workspace has enough to do.
pub(crate) fn look(shared: &Shared, workspace: &WorkspaceId, blob: Blob) {
    let tenant = shared.tenants.tenant(workspace);
    let mut ahead = lock(&tenant);
    if ahead.scanning {
        if ahead.waiting.len() < MOST_WAITING {
            ahead.waiting.push_back(blob);
        }
        return;
    }
    if let Some(place) = tenant.try_computing() {
        ahead.scanning = true;
        drop(ahead);
        let scanning = Scanning(tenant);
        shared.computing.begin(move || scanning.scan(place, blob));
    }
}

/// The scans of one workspace, one behind the other. Dropped, whatever waits is forgotten, for who wants it later.
struct Scanning(Arc<Tenant>);

impl Scanning {
    /// Scans a blob, and begins the next scan behind what others wait for meanwhile; not where something else of the
    /// workspace waits for its place.
    fn scan(self, place: OwnedSemaphorePermit, blob: Blob) {
        if std::str::from_utf8(blob.as_ref()).is_ok() {
            blob.scan_in_turns(&mut std::thread::yield_now);
        }
        drop((blob, place));
        let next = lock(&self.0).waiting.pop_front();
        if let Some(next) = next
            && let Some(place) = self.0.try_computing()
        {
            Computing::begin_more(move || self.scan(place, next));
        }
    }
}

impl Drop for Scanning {
    fn drop(&mut self) {
        let forgotten = std::mem::take(&mut *lock(&self.0));
        drop(forgotten);
    }
}

fn lock(tenant: &Tenant) -> MutexGuard<'_, Ahead> {
    tenant.ahead.lock().unwrap_or_else(PoisonError::into_inner)
}
