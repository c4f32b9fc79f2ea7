//! Blobs as objects: files of this machine, or a bucket.
//!
//! What holds for both stands here: content is hashed while it comes in and put in its place only
//! when its digest was right; what is read is hashed before it is handed out; what is damaged is
//! moved aside. What the two do not share, above all how a change becomes durable, is a [`Place`].
//! A change that has begun is brought to its end even where nobody waits for it any more.

#[cfg(feature = "s3")]
mod bucket;
mod fault;
#[cfg(feature = "files")]
mod folder;
mod intake;
mod place;
#[cfg(feature = "s3")]
mod s3;
mod verify;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::{Blob, Digest};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use intake::Content;
use place::Place;
use tokio::sync::{Mutex, OwnedMutexGuard};
use verify::{Size, Verdict};

use super::{BlobError, BlobStore, Condition, Put, Source};

#[cfg(feature = "s3")]
pub use s3::S3Config;

/// So many changes go on at the same time; two of one blob never do.
const TURNS: usize = 64;

/// Blobs as objects. A clone is the same store.
#[derive(Clone)]
pub struct ObjectBlobs {
    place: Arc<dyn Place>,
    turns: Arc<[Arc<Mutex<()>>]>,
}

impl ObjectBlobs {
    fn new(place: impl Place) -> Self {
        Self { place: Arc::new(place), turns: (0..TURNS).map(|_| Arc::default()).collect() }
    }

    /// Blobs as files below a folder of this process alone, which `lock` stands for: it is kept as
    /// long as the store. What uploads of an earlier process left is cleared away.
    #[cfg(feature = "files")]
    pub(crate) async fn local(folder: std::path::PathBuf, lock: std::fs::File) -> Result<Self, BlobError> {
        Ok(Self::new(folder::Folder::open(folder, lock).await?))
    }

    /// Blobs in a bucket that speaks S3, which must be there and let itself be listed. Uploads that
    /// a process did not live to end are invisible; a lifecycle rule of the bucket removes them.
    #[cfg(feature = "s3")]
    pub async fn s3(config: &S3Config) -> Result<Self, BlobError> {
        let bucket = bucket::Bucket::new(config.client()?, config.prefix());
        bucket.probe().await?;
        Ok(Self::new(bucket))
    }

    /// Waits for its turn to change a blob.
    fn turn(&self, digest: Digest) -> impl Future<Output = Option<OwnedMutexGuard<()>>> + Send + use<> {
        let first = digest.as_bytes().first().map_or(0, |byte| usize::from(*byte));
        let turn = self.turns.get(first % TURNS).cloned();
        async move { Some(turn?.lock_owned().await) }
    }

    /// Brings content to where it is kept when its turn has come.
    async fn settle(&self, digest: Digest, bytes: u64, content: Content) -> Result<Put, BlobError> {
        let (place, turn) = (self.place.clone(), self.turn(digest));
        to_its_end(async move {
            let _turn = turn.await;
            settle(&*place, digest, bytes, content).await
        })
        .await
    }

    /// Sets a blob aside, if it is still damaged when its turn has come.
    async fn condemn(&self, digest: Digest, expected: Option<u64>) -> Result<Condition, BlobError> {
        let (place, turn) = (self.place.clone(), self.turn(digest));
        to_its_end(async move {
            let _turn = turn.await;
            match verify::verify(&*place, digest, expected).await? {
                Verdict::Missing => Ok(Condition::Missing),
                Verdict::Sound(bytes) => Ok(Condition::Sound(bytes)),
                Verdict::Damaged => {
                    if let Err(error) = place.set_aside(digest).await {
                        tracing::warn!(blob = %digest, code = error.code(), "a damaged blob cannot be set aside");
                    }
                    Ok(Condition::Damaged)
                }
            }
        })
        .await
    }

    async fn read(&self, digest: Digest, size: Size) -> Result<Bytes, BlobError> {
        // A second time if the blob was replaced between reading and verdict.
        for _ in 0..2 {
            if let Some(content) = verify::read(&*self.place, digest, size).await? {
                return Ok(content);
            }
            match self.condemn(digest, size.exact()).await {
                Ok(Condition::Sound(_)) => {}
                Ok(_) | Err(_) => return Err(BlobError::Damaged(digest)),
            }
        }
        Err(BlobError::Damaged(digest))
    }
}

#[async_trait]
impl BlobStore for ObjectBlobs {
    async fn put(&self, digest: Digest, source: Source<'_>, most_bytes: u64) -> Result<Put, BlobError> {
        let (bytes, content) = intake::take_in(&self.place, digest, source, most_bytes).await?;
        self.settle(digest, bytes, content).await
    }

    async fn put_whole(&self, blob: Blob) -> Result<Put, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        self.settle(digest, bytes, Content::Memory(Bytes::from_owner(blob).into())).await
    }

    async fn get(&self, digest: Digest, most_bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest, Size::AtMost(most_bytes)).await
    }

    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest, Size::Exactly(bytes)).await
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        self.place.size(digest).await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        self.place.list()
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        let (place, turn) = (self.place.clone(), self.turn(digest));
        to_its_end(async move {
            let _turn = turn.await;
            place.remove(digest).await
        })
        .await
    }

    async fn check(&self, digest: Digest) -> Result<Condition, BlobError> {
        match verify::verify(&*self.place, digest, None).await? {
            Verdict::Missing => Ok(Condition::Missing),
            Verdict::Sound(bytes) => Ok(Condition::Sound(bytes)),
            Verdict::Damaged => self.condemn(digest, None).await,
        }
    }

    async fn check_writable(&self) -> Result<(), BlobError> {
        self.place.check_in_place().await?;
        self.place.check_room().await
    }

    fn is_shared(&self) -> bool {
        self.place.is_shared()
    }

    fn set_aside(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        self.place.list_set_aside()
    }
}

impl fmt::Debug for ObjectBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBlobs").field("kind", &self.place.kind()).finish_non_exhaustive()
    }
}

/// Brings content that has the right digest to its place. What is there is written over, so that the work is the
/// same whether or not a blob exists: nobody learns from a duration what others have stored.
async fn settle(place: &dyn Place, digest: Digest, bytes: u64, content: Content) -> Result<Put, BlobError> {
    if let Content::Memory(content) = &content
        && let Some(known) = place.keep_whole(digest, content.clone()).await?
    {
        return Ok(Put { bytes, known });
    }
    let known = place.make_way(digest, bytes).await?;
    place.keep(digest, content.stored(place, digest).await?).await?;
    Ok(Put { bytes, known })
}

/// Does all of it, also where the caller is dropped meanwhile.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, BlobError>> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(fault::cut_off("finish its work")),
    }
}
