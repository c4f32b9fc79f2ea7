//! Blobs as objects: in files of this machine, or in a bucket.
//!
//! This module has the steps that are the same for both. Content is hashed while it is received, and published under
//! its digest only if the hash is right. Content is hashed again before it is returned, and quarantined if it is
//! damaged. Everything that differs, such as how a change becomes durable, is behind [`ObjectStorage`]. A change that
//! has begun is completed even if the caller's future is dropped.

#[cfg(feature = "s3")]
mod bucket;
mod fault;
#[cfg(feature = "files")]
mod folder;
#[cfg(feature = "s3")]
mod s3;
mod storage;
mod upload;
mod verify;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::{Blob, Digest};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use storage::ObjectStorage;
use tokio::sync::{Mutex, OwnedMutexGuard};
use upload::Content;
use verify::{Size, Verdict};

use super::{BlobCondition, BlobError, BlobSource, BlobStore, PutOutcome};

#[cfg(feature = "s3")]
pub use s3::S3Config;

/// Number of locks, and thus of concurrent changes. The first byte of a digest selects the lock, so two changes of one
/// blob never run at the same time.
const LOCKS: usize = 64;

/// Blob store whose blobs are files or objects of a bucket. A clone uses the same storage and locks.
#[derive(Clone)]
pub struct ObjectBlobs {
    storage: Arc<dyn ObjectStorage>,
    locks: Arc<[Arc<Mutex<()>>]>,
}

impl ObjectBlobs {
    fn new(storage: impl ObjectStorage) -> Self {
        Self { storage: Arc::new(storage), locks: (0..LOCKS).map(|_| Arc::default()).collect() }
    }

    /// Opens a store of files below `folder`, which only this process may use. The file `lock` is the lock of the
    /// folder, and stays open as long as the store. Unfinished uploads of an earlier process are removed.
    #[cfg(feature = "files")]
    pub(crate) async fn local(folder: std::path::PathBuf, lock: std::fs::File) -> Result<Self, BlobError> {
        Ok(Self::new(folder::Folder::open(folder, lock).await?))
    }

    /// Opens a store in a bucket of a service with the S3 API. The bucket must exist, and the key must be allowed to
    /// list it. Uploads that a crash interrupted stay invisible, and a lifecycle rule of the bucket should remove them.
    #[cfg(feature = "s3")]
    pub async fn s3(config: &S3Config) -> Result<Self, BlobError> {
        let bucket = bucket::Bucket::new(config.client()?, config.prefix());
        bucket.probe().await?;
        Ok(Self::new(bucket))
    }

    /// Acquires the lock for changes of a blob.
    fn lock(&self, digest: Digest) -> impl Future<Output = Option<OwnedMutexGuard<()>>> + Send + use<> {
        let first = digest.as_bytes().first().map_or(0, |byte| usize::from(*byte));
        let lock = self.locks.get(first % LOCKS).cloned();
        async move { Some(lock?.lock_owned().await) }
    }

    /// Publishes verified content under the lock of its blob.
    async fn store_content(&self, digest: Digest, bytes: u64, content: Content) -> Result<PutOutcome, BlobError> {
        let (storage, lock) = (self.storage.clone(), self.lock(digest));
        run_to_completion(async move {
            let _lock = lock.await;
            publish(&*storage, digest, bytes, content).await
        })
        .await
    }

    /// Checks a blob again under its lock, and quarantines it if it is still damaged.
    async fn quarantine_if_damaged(&self, digest: Digest, expected: Option<u64>) -> Result<BlobCondition, BlobError> {
        let (storage, lock) = (self.storage.clone(), self.lock(digest));
        run_to_completion(async move {
            let _lock = lock.await;
            match verify::verify(&*storage, digest, expected).await? {
                Verdict::Missing => Ok(BlobCondition::Missing),
                Verdict::Sound(bytes) => Ok(BlobCondition::Sound(bytes)),
                Verdict::Damaged => {
                    if let Err(error) = storage.quarantine(digest).await {
                        tracing::warn!(blob = %digest, code = error.code().as_str(), "cannot quarantine a damaged blob");
                    }
                    Ok(BlobCondition::Damaged)
                }
            }
        })
        .await
    }

    async fn read(&self, digest: Digest, size: Size) -> Result<Bytes, BlobError> {
        // Another request may replace the blob after it was read and before it is checked under the lock. Then it is
        // read once more.
        for _ in 0..2 {
            if let Some(content) = verify::read(&*self.storage, digest, size).await? {
                return Ok(content);
            }
            match self.quarantine_if_damaged(digest, size.exact()).await {
                Ok(BlobCondition::Sound(_)) => {}
                Ok(_) | Err(_) => return Err(BlobError::Damaged(digest)),
            }
        }
        Err(BlobError::Damaged(digest))
    }
}

#[async_trait]
impl BlobStore for ObjectBlobs {
    async fn put(&self, digest: Digest, source: BlobSource<'_>, max_bytes: u64) -> Result<PutOutcome, BlobError> {
        let (bytes, content) = upload::receive(&self.storage, digest, source, max_bytes).await?;
        self.store_content(digest, bytes, content).await
    }

    async fn put_hashed(&self, blob: Blob) -> Result<PutOutcome, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        self.store_content(digest, bytes, Content::Memory(Bytes::from_owner(blob).into())).await
    }

    async fn get(&self, digest: Digest, max_bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest, Size::AtMost(max_bytes)).await
    }

    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest, Size::Exactly(bytes)).await
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        self.storage.size(digest).await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        self.storage.list()
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        let (storage, lock) = (self.storage.clone(), self.lock(digest));
        run_to_completion(async move {
            let _lock = lock.await;
            storage.remove(digest).await
        })
        .await
    }

    async fn check(&self, digest: Digest) -> Result<BlobCondition, BlobError> {
        match verify::verify(&*self.storage, digest, None).await? {
            Verdict::Missing => Ok(BlobCondition::Missing),
            Verdict::Sound(bytes) => Ok(BlobCondition::Sound(bytes)),
            Verdict::Damaged => self.quarantine_if_damaged(digest, None).await,
        }
    }

    async fn check_writable(&self) -> Result<(), BlobError> {
        self.storage.check_not_moved().await?;
        self.storage.check_free_space().await
    }

    fn is_shared(&self) -> bool {
        self.storage.is_shared()
    }

    fn quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        self.storage.list_quarantined()
    }
}

impl fmt::Debug for ObjectBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBlobs").field("kind", &self.storage.kind()).finish_non_exhaustive()
    }
}

/// Publishes content that has the right digest. An existing object is overwritten, so that the duration does not depend
/// on whether the blob exists: it would reveal what another workspace has stored.
async fn publish(
    storage: &dyn ObjectStorage,
    digest: Digest,
    bytes: u64,
    content: Content,
) -> Result<PutOutcome, BlobError> {
    if let Content::Memory(content) = &content
        && let Some(existed) = storage.publish_in_memory(digest, content.clone()).await?
    {
        return Ok(PutOutcome { bytes, existed });
    }
    let existed = storage.quarantine_wrong_size(digest, bytes).await?;
    storage.publish(digest, content.complete_upload(storage, digest).await?).await?;
    Ok(PutOutcome { bytes, existed })
}

/// Runs `work` as a task of its own, so that it completes even if the caller's future is dropped.
async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, BlobError>> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(fault::interrupted("finish its work")),
    }
}
