//! A bucket: `blobs/sha256/ab/<hex>` and `quarantine/<hex>` below a prefix. An object is seen when
//! its upload is completed, and durable then; so content goes to its own name at once.
//!
//! Other processes may use the same bucket, each below a prefix of its own: a Runtime removes what its own
//! records name no more, and knows nothing of the records of others.

use std::sync::Arc;

use async_trait::async_trait;
use bundles::Digest;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::fault;
use super::place::{self, BLOBS, Incoming, Opened, Place, SET_ASIDE};
use crate::blob_store::BlobError;

/// Blobs as objects of a bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    engine: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    pub(super) fn new(engine: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { engine, prefix }
    }

    /// Asks for one page of names, so that a bucket that is not there is not an empty one.
    pub(super) async fn probe(&self) -> Result<(), BlobError> {
        match self.engine.list(Some(&self.below(BLOBS))).next().await {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(fault::engine("open the bucket", &error)),
        }
    }

    fn below(&self, folder: &str) -> Path {
        self.prefix.parts().chain(Path::from(folder).parts()).collect()
    }

    fn object(&self, digest: Digest) -> Path {
        let hex = digest.hex();
        self.below(BLOBS).join(place::shard(&hex)).join(hex.as_str())
    }
}

#[async_trait]
impl Place for Bucket {
    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.engine
    }

    /// All parts but the last need 5 MiB, and there may be 10,000 of them.
    fn part_bytes(&self) -> usize {
        8 << 20
    }

    fn incoming(&self, digest: Digest) -> Incoming {
        Incoming {
            path: self.object(digest),
            #[cfg(feature = "files")]
            staged: None,
        }
    }

    async fn keep(&self, _: Digest, _: Incoming) -> Result<(), BlobError> {
        Ok(())
    }

    async fn make_way(&self, digest: Digest, bytes: u64) -> Result<bool, BlobError> {
        let found = self.size(digest).await?;
        if found.is_some_and(|found| found != bytes) {
            self.set_aside(digest).await?;
        }
        Ok(found == Some(bytes))
    }

    async fn open(&self, digest: Digest) -> Result<Opened, BlobError> {
        match self.engine.get(&self.object(digest)).await {
            Ok(object) => Ok(Opened::Object(object)),
            Err(error) if fault::is_absent(&error) => Ok(Opened::Missing),
            Err(error) => Err(fault::engine("read a blob", &error)),
        }
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        match self.engine.head(&self.object(digest)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(error) if fault::is_absent(&error) => Ok(None),
            Err(error) => Err(fault::engine("look for a blob", &error)),
        }
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        match self.engine.delete(&self.object(digest)).await {
            Ok(()) => Ok(()),
            Err(error) if fault::is_absent(&error) => Ok(()),
            Err(error) => Err(fault::engine("remove a blob", &error)),
        }
    }

    async fn set_aside(&self, digest: Digest) -> Result<(), BlobError> {
        let aside = self.below(SET_ASIDE).join(digest.hex().as_str());
        match self.engine.copy(&self.object(digest), &aside).await {
            Ok(()) => self.remove(digest).await,
            Err(error) if fault::is_absent(&error) => Ok(()),
            Err(error) => Err(fault::engine("set a damaged blob aside", &error)),
        }
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        self.listed(BLOBS, "list the blobs").boxed()
    }

    fn list_set_aside(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        self.listed(SET_ASIDE, "list what is set aside").map(|found| Ok(found?.0)).boxed()
    }
}

impl Bucket {
    fn listed(
        &self,
        folder: &str,
        doing: &'static str,
    ) -> impl futures_util::Stream<Item = Result<(Digest, u64), BlobError>> + Send + use<> {
        self.engine.list(Some(&self.below(folder))).filter_map(move |found| {
            let named = match found {
                Ok(object) => object.location.filename().and_then(place::named).map(|digest| Ok((digest, object.size))),
                Err(error) => Some(Err(fault::engine(doing, &error))),
            };
            std::future::ready(named)
        })
    }
}
