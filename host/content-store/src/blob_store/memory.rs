//! Blobs in memory: for tests, and for Runtimes that need not outlive their process.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use bundles::{Blob, Digest};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{BlobError, BlobStore, Condition, Put, Source, gathered};

/// Blobs in memory, of so many bytes at the most.
pub struct MemoryBlobs {
    blobs: RwLock<Kept>,
    most_bytes: u64,
}

#[derive(Default)]
struct Kept {
    by_digest: HashMap<Digest, Bytes>,
    bytes: u64,
}

impl MemoryBlobs {
    /// A store of at most so many bytes.
    pub fn new(most_bytes: u64) -> Self {
        Self { blobs: RwLock::default(), most_bytes }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, digest: Digest, source: Source<'_>, most_bytes: u64) -> Result<Put, BlobError> {
        let blob = gathered(source, most_bytes).await?;
        if blob.digest() != digest {
            return Err(BlobError::DigestMismatch { declared: digest, actual: blob.digest() });
        }
        self.put_whole(blob).await
    }

    async fn put_whole(&self, blob: Blob) -> Result<Put, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        let mut kept = self.blobs.write().unwrap_or_else(PoisonError::into_inner);
        let known = kept.by_digest.contains_key(&digest);
        if !known {
            if kept.bytes.saturating_add(bytes) > self.most_bytes {
                return Err(BlobError::Full);
            }
            kept.bytes += bytes;
            kept.by_digest.insert(digest, Bytes::from_owner(blob));
        }
        Ok(Put { bytes, known })
    }

    async fn get(&self, digest: Digest, most_bytes: u64) -> Result<Bytes, BlobError> {
        let kept = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        let content = kept.by_digest.get(&digest).ok_or(BlobError::Missing(digest))?;
        if content.len() as u64 > most_bytes {
            return Err(BlobError::TooLarge { allowed: most_bytes });
        }
        Ok(content.clone())
    }

    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError> {
        let content = self.get(digest, u64::MAX).await?;
        if content.len() as u64 == bytes { Ok(content) } else { Err(BlobError::Damaged(digest)) }
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        let kept = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.by_digest.get(&digest).map(|content| content.len() as u64))
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        let kept = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = kept.by_digest.iter().map(|(digest, content)| Ok((*digest, content.len() as u64))).collect();
        stream::iter(all).boxed()
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        let mut kept = self.blobs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = kept.by_digest.remove(&digest) {
            kept.bytes = kept.bytes.saturating_sub(content.len() as u64);
        }
        Ok(())
    }

    /// Memory is not damaged: what was put was hashed.
    async fn check(&self, digest: Digest) -> Result<Condition, BlobError> {
        Ok(self.size(digest).await?.map_or(Condition::Missing, Condition::Sound))
    }

    fn set_aside(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        stream::empty().boxed()
    }
}

impl std::fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBlobs").field("most_bytes", &self.most_bytes).finish_non_exhaustive()
    }
}
