//! Locks that prevent a blob from being stored and removed at the same time.
//!
//! A digest is assigned to one of 64 read-write locks by its first byte. A put holds the lock for reading, a removal
//! holds it for writing.

use bundles::Digest;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Number of locks.
const COUNT: usize = 64;

/// Read-write locks for blobs.
#[derive(Debug)]
pub(crate) struct Stripes([RwLock<()>; COUNT]);

impl Default for Stripes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::new(())))
    }
}

impl Stripes {
    fn of(&self, digest: &Digest) -> &RwLock<()> {
        let [first, ..] = &self.0;
        self.0.get(Self::index(digest)).unwrap_or(first)
    }

    fn index(digest: &Digest) -> usize {
        let [first, ..] = digest.as_bytes();
        usize::from(*first) % COUNT
    }

    /// Waits until no removal holds the lock of one of the blobs. No blob is removed while the guards are held.
    ///
    /// Two puts that acquired the same locks in different orders, or one lock twice, could deadlock with waiting
    /// removals. The locks are therefore acquired in one order, and a common lock only once.
    pub(crate) async fn keeping(&self, digests: &[Digest]) -> Vec<RwLockReadGuard<'_, ()>> {
        let mut digests: Vec<&Digest> = digests.iter().collect();
        digests.sort_by_key(|digest| Self::index(digest));
        digests.dedup_by_key(|digest| Self::index(digest));
        let mut guards = Vec::with_capacity(digests.len());
        for digest in digests {
            guards.push(self.of(digest).read().await);
        }
        guards
    }

    /// Waits until no put holds the lock of the blob. The blob is not stored while the guard is held.
    pub(crate) async fn removing(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.of(digest).write().await
    }
}
