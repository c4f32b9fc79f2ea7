//! Interface of the two kinds of object storage, files and buckets. They differ in how content becomes visible and
//! durable, and in how it is removed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::Digest;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, PutPayload};

use crate::blob_store::BlobError;

/// Storage of objects by digest. It does not verify digests.
#[async_trait]
pub(super) trait ObjectStorage: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of storage, for `Debug`.
    fn kind(&self) -> &'static str;

    /// `true` if other processes may use the same storage.
    fn is_shared(&self) -> bool {
        false
    }

    /// Checks that the storage is still the one that was opened. Called before content is passed to the engine, which
    /// would create a missing folder.
    async fn check_not_moved(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Checks that there is free space for a small blob.
    async fn check_free_space(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Returns the engine that reads and writes objects.
    fn engine(&self) -> &Arc<dyn ObjectStore>;

    /// Returns the size of an upload part in bytes. Content up to this size is verified in memory. Larger content is
    /// uploaded in parts of this size.
    fn part_bytes(&self) -> usize;

    /// Returns a target for content that is not verified yet.
    fn upload_target(&self, digest: Digest) -> UploadTarget;

    /// Publishes verified content from memory as the blob of this digest, if the storage can do that in one step.
    /// Returns the result of [`quarantine_wrong_size`](Self::quarantine_wrong_size), or `None` if nothing was done.
    async fn publish_in_memory(&self, _: Digest, _: PutPayload) -> Result<Option<bool>, BlobError> {
        Ok(None)
    }

    /// Quarantines an object under this digest that is damaged because it does not have this size. Returns `true` if
    /// there is an object of this size.
    async fn quarantine_wrong_size(&self, digest: Digest, bytes: u64) -> Result<bool, BlobError>;

    /// Publishes a completed upload with verified content as the blob of this digest.
    async fn publish(&self, digest: Digest, target: UploadTarget) -> Result<(), BlobError>;

    /// Opens a blob for reading.
    async fn open(&self, digest: Digest) -> Result<OpenOutcome, BlobError>;

    /// Returns the size of a blob in bytes.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError>;

    /// Removes a blob durably. Succeeds if there is none.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError>;

    /// Moves a blob to the quarantine.
    async fn quarantine(&self, digest: Digest) -> Result<(), BlobError>;

    /// Lists all blobs with their sizes in bytes.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>>;

    /// Lists the digests of all quarantined objects.
    fn list_quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>>;
}

/// Result of opening a blob.
pub(super) enum OpenOutcome {
    /// There is no such blob.
    Missing,
    /// A folder, link, pipe or other entry that is not a regular file.
    #[cfg(feature = "files")]
    NotAFile,
    /// An object whose content is not verified yet.
    Object(GetResult),
}

/// Path that unverified content is written to.
pub(super) struct UploadTarget {
    pub(super) path: Path,
    /// Removes the file when it is dropped.
    #[cfg(feature = "files")]
    pub(super) staged: Option<super::folder::StagedFile>,
}

/// Folder of the blobs, in both kinds of storage.
pub(super) const BLOBS: &str = "blobs/sha256";
/// Folder of the quarantined objects.
pub(super) const QUARANTINE: &str = "quarantine";

/// Returns the first two hex digits of a digest, which name the blob's folder.
pub(super) fn shard(hex: &str) -> &str {
    hex.get(..2).unwrap_or_default()
}

/// Parses the digest that is the name of a file, 64 hex digits.
pub(super) fn digest_from_hex(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}
