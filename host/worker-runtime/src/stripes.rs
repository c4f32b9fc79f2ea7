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

    /// The same for one blob more, by who holds the first already: asking for one lock twice could wait
    /// for ever behind somebody who waits for the first.
    pub(crate) async fn keeping_too(&self, held: &Digest, digest: &Digest) -> Option<RwLockReadGuard<'_, ()>> {
        if Self::index(held) == Self::index(digest) { None } else { Some(self.keeping(digest).await) }
    }

    /// While this is held, nobody puts the blob.
    pub(crate) async fn removing(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.of(digest).write().await
    }
}
