//! Objects in a bucket: `blobs/sha256/ab/<hex>` and `quarantine/<hex>` below a prefix.
//!
//! An object becomes visible and durable when its upload completes. Content is therefore uploaded to its final name.
//!
//! Several processes may use one bucket, each below a prefix of its own. Under a common prefix, one Runtime would
//! remove blobs that only the records of another one name.

use std::sync::Arc;

use async_trait::async_trait;
use bundles::Digest;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::fault;
use super::storage::{self, BLOBS, ObjectStorage, OpenOutcome, QUARANTINE, UploadTarget};
use crate::blob_store::BlobError;

/// Storage in a bucket, below a prefix.
#[derive(Debug)]
pub(super) struct Bucket {
    engine: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    pub(super) fn new(engine: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { engine, prefix }
    }

    /// Lists one page of names, so that a missing bucket is not taken for an empty one.
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
        self.below(BLOBS).join(storage::shard(&hex)).join(hex.as_str())
    }
}

#[async_trait]
impl ObjectStorage for Bucket {
    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn engine(&self) -> &Arc<dyn ObjectStore> {
        &self.engine
    }

    /// S3 requires at least 5 MiB for each part but the last, and allows 10,000 parts.
    fn part_bytes(&self) -> usize {
        8 << 20
    }

    fn upload_target(&self, digest: Digest) -> UploadTarget {
        UploadTarget {
            path: self.object(digest),
            #[cfg(feature = "files")]
            staged: None,
        }
    }

    async fn publish(&self, _: Digest, _: UploadTarget) -> Result<(), BlobError> {
        Ok(())
    }

    async fn quarantine_wrong_size(&self, digest: Digest, bytes: u64) -> Result<bool, BlobError> {
        let found = self.size(digest).await?;
        if found.is_some_and(|found| found != bytes) {
            self.quarantine(digest).await?;
        }
        Ok(found == Some(bytes))
    }

    async fn open(&self, digest: Digest) -> Result<OpenOutcome, BlobError> {
        match self.engine.get(&self.object(digest)).await {
            Ok(object) => Ok(OpenOutcome::Object(object)),
            Err(error) if fault::is_absent(&error) => Ok(OpenOutcome::Missing),
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

    async fn quarantine(&self, digest: Digest) -> Result<(), BlobError> {
        let quarantined = self.below(QUARANTINE).join(digest.hex().as_str());
        match self.engine.copy(&self.object(digest), &quarantined).await {
            Ok(()) => self.remove(digest).await,
            Err(error) if fault::is_absent(&error) => Ok(()),
            Err(error) => Err(fault::engine("quarantine a damaged blob", &error)),
        }
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        self.list_folder(BLOBS, "list the blobs").boxed()
    }

    fn list_quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        self.list_folder(QUARANTINE, "list the quarantine").map(|found| Ok(found?.0)).boxed()
    }
}

impl Bucket {
    /// Lists the objects of a folder whose name is a digest, with their sizes in bytes.
    fn list_folder(
        &self,
        folder: &str,
        operation: &'static str,
    ) -> impl futures_util::Stream<Item = Result<(Digest, u64), BlobError>> + Send + use<> {
        self.engine.list(Some(&self.below(folder))).filter_map(move |found| {
            let named = match found {
                Ok(object) => object
                    .location
                    .filename()
                    .and_then(storage::digest_from_hex)
                    .map(|digest| Ok((digest, object.size))),
                Err(error) => Some(Err(fault::engine(operation, &error))),
            };
            std::future::ready(named)
        })
    }
}
