//! Looking ahead: a blob is scanned for leaks while it waits for the disk. It is a prompt, most likely, and a bundle
//! will name it. One of a workspace is scanned at a time, in the workspace's place among the threads that compute; a
//! few more wait for it. Where the workspace computes something else, or more wait already, there is time later.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};

use bundles::{Blob, WorkspaceId};
use tokio::sync::OwnedSemaphorePermit;

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
pub(crate) fn look(shared: &Arc<Shared>, workspace: &WorkspaceId, blob: Blob) {
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
        scan(shared.clone(), tenant, place, blob);
    }
}

/// Scans a blob and then the next, each behind what others wait for meanwhile.
fn scan(shared: Arc<Shared>, tenant: Arc<Tenant>, place: OwnedSemaphorePermit, blob: Blob) {
    let more = shared.clone();
    shared.computing.begin(move || {
        if std::str::from_utf8(blob.as_ref()).is_ok() {
            blob.scan_in_turns(&mut std::thread::yield_now);
        }
        drop(blob);
        let mut ahead = lock(&tenant);
        match ahead.waiting.pop_front() {
            Some(next) => {
                drop(ahead);
                scan(more, tenant, place, next);
            }
            // The place is given back before anybody can add to what waits.
            None => {
                ahead.scanning = false;
                drop(place);
            }
        }
    });
}

fn lock(tenant: &Tenant) -> MutexGuard<'_, Ahead> {
    tenant.ahead.lock().unwrap_or_else(PoisonError::into_inner)
}
