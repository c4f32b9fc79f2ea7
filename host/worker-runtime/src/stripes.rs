//! Who keeps a blob and who removes it never meet: one lock for a part of all digests.

use bundles::Digest;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

const COUNT: usize = 64;

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

    /// While this is held, the blob is not removed.
    pub(crate) async fn keeping(&self, digest: &Digest) -> RwLockReadGuard<'_, ()> {
        self.of(digest).read().await
    }

    /// The same for two blobs. Everybody asks for two locks in the same order, and for one that is the same
    /// only once: otherwise two could wait for each other, each behind somebody who removes.
    pub(crate) async fn keeping_both(&self, one: &Digest, other: &Digest) -> [Option<RwLockReadGuard<'_, ()>>; 2] {
        let (first, second) = if Self::index(one) <= Self::index(other) { (one, other) } else { (other, one) };
        let held = self.keeping(first).await;
        let same = Self::index(first) == Self::index(second);
        [Some(held), if same { None } else { Some(self.keeping(second).await) }]
    }

    /// While this is held, nobody puts the blob.
    pub(crate) async fn removing(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.of(digest).write().await
    }
}
