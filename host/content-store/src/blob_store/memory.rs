//! Blobs in memory, for tests and for Runtimes without persistent data.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use bundles::{Blob, Digest};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{BlobCondition, BlobError, BlobSource, BlobStore, PutOutcome, collect_blob};

/// Blob store in memory, with a limit on the total size of its blobs.
pub struct MemoryBlobs {
    blobs: RwLock<Blobs>,
    max_bytes: u64,
}

#[derive(Default)]
struct Blobs {
    by_digest: HashMap<Digest, Bytes>,
    bytes: u64,
}

impl MemoryBlobs {
    /// Creates a store whose blobs may have at most `max_bytes` bytes in total.
    pub fn new(max_bytes: u64) -> Self {
        Self { blobs: RwLock::default(), max_bytes }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, digest: Digest, source: BlobSource<'_>, max_bytes: u64) -> Result<PutOutcome, BlobError> {
        let blob = collect_blob(source, max_bytes).await?;
        if blob.digest() != digest {
            return Err(BlobError::DigestMismatch { declared: digest, actual: blob.digest() });
        }
        self.put_hashed(blob).await
    }

    async fn put_hashed(&self, blob: Blob) -> Result<PutOutcome, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        let mut blobs = self.blobs.write().unwrap_or_else(PoisonError::into_inner);
        let existed = blobs.by_digest.contains_key(&digest);
        if !existed {
            if blobs.bytes.saturating_add(bytes) > self.max_bytes {
                return Err(BlobError::Full);
            }
            blobs.bytes += bytes;
            blobs.by_digest.insert(digest, Bytes::from_owner(blob));
        }
        Ok(PutOutcome { bytes, existed })
    }

    async fn get(&self, digest: Digest, max_bytes: u64) -> Result<Bytes, BlobError> {
        let blobs = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        let content = blobs.by_digest.get(&digest).ok_or(BlobError::NotFound(digest))?;
        if content.len() as u64 > max_bytes {
            return Err(BlobError::TooLarge { allowed: max_bytes });
        }
        Ok(content.clone())
    }

    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError> {
        let content = self.get(digest, u64::MAX).await?;
        if content.len() as u64 == bytes { Ok(content) } else { Err(BlobError::Damaged(digest)) }
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        let blobs = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        Ok(blobs.by_digest.get(&digest).map(|content| content.len() as u64))
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        let blobs = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = blobs.by_digest.iter().map(|(digest, content)| Ok((*digest, content.len() as u64))).collect();
        stream::iter(all).boxed()
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        let mut blobs = self.blobs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = blobs.by_digest.remove(&digest) {
            blobs.bytes = blobs.bytes.saturating_sub(content.len() as u64);
        }
        Ok(())
    }

    /// Content in memory was hashed when it was stored, and is not hashed again.
    async fn check(&self, digest: Digest) -> Result<BlobCondition, BlobError> {
        Ok(self.size(digest).await?.map_or(BlobCondition::Missing, BlobCondition::Sound))
    }

    fn quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        stream::empty().boxed()
    }
}

impl std::fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBlobs").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}
