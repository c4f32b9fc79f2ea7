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
        let [first, .., last] = &self.0;
        let index = usize::from(digest.as_bytes()[0]) % COUNT;
        // There are as many as the index can name.
        self.0.get(index).unwrap_or(if index == 0 { first } else { last })
    }

    /// While this is held, the blob is not removed.
    pub(crate) async fn keeping(&self, digest: &Digest) -> RwLockReadGuard<'_, ()> {
        self.of(digest).read().await
    }

    /// While this is held, nobody puts the blob.
    pub(crate) async fn removing(&self, digest: &Digest) -> RwLockWriteGuard<'_, ()> {
        self.of(digest).write().await
    }
}
