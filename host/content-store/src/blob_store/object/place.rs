//! Where objects are, and what differs between files and a bucket: how what came in becomes visible
//! and durable, and how it goes away again.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::Digest;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, PutPayload};

use crate::blob_store::BlobError;

/// Where objects are. Nothing here looks at a digest's truth.
#[async_trait]
pub(super) trait Place: fmt::Debug + Send + Sync + 'static {
    /// A word for it, without any address.
    fn kind(&self) -> &'static str;

    /// Whether others may keep blobs in the same place.
    fn is_shared(&self) -> bool {
        false
    }

    /// Checks that the place is still the one that was opened. Called before content goes to the engine, which would
    /// make a folder that is not there.
    async fn check_in_place(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Checks that there is room for some content.
    async fn check_room(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// The engine that moves bytes.
    fn objects(&self) -> &Arc<dyn ObjectStore>;

    /// Bytes that are gathered before any is written: content up to here is judged in memory, and
    /// what is larger goes out in parts of this size.
    fn part_bytes(&self) -> usize;

    /// Where content goes that is not known to be right yet.
    fn incoming(&self, digest: Digest) -> Incoming;

    /// Makes content that is in memory, and is right, the blob of that digest, if the place can do that in one step.
    /// Returns what [`make_way`](Self::make_way) would return, or none if nothing was done.
    async fn keep_whole(&self, _: Digest, _: PutPayload) -> Result<Option<bool>, BlobError> {
        Ok(None)
    }

    /// Sets aside what stands under that digest and cannot be the blob because it does not have that size. Returns
    /// `true` if an object of that size is there.
    async fn make_way(&self, digest: Digest, bytes: u64) -> Result<bool, BlobError>;

    /// Makes content that was written in full, and is right, the blob of that digest.
    async fn keep(&self, digest: Digest, incoming: Incoming) -> Result<(), BlobError>;

    /// Opens a blob.
    async fn open(&self, digest: Digest) -> Result<Opened, BlobError>;

    /// Bytes of what is there.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError>;

    /// Takes a blob away, durably.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError>;

    /// Moves a blob where it is never read.
    async fn set_aside(&self, digest: Digest) -> Result<(), BlobError>;

    /// Every blob with its bytes.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>>;

    /// The digest of everything that was moved aside.
    fn list_set_aside(&self) -> BoxStream<'_, Result<Digest, BlobError>>;
}

/// What is found under a digest.
pub(super) enum Opened {
    /// Nothing.
    Missing,
    /// What is no blob at all: a folder, a link, a pipe.
    #[cfg(feature = "files")]
    Odd,
    /// An object.
    Object(GetResult),
}

/// Content on its way in: where it is written, and what removes it where it does not stay.
pub(super) struct Incoming {
    pub(super) path: Path,
    #[cfg(feature = "files")]
    pub(super) staged: Option<super::folder::Staged>,
}

/// The folders of both kinds of places.
pub(super) const BLOBS: &str = "blobs/sha256";
pub(super) const SET_ASIDE: &str = "quarantine";

/// The two hex digits that a blob's folder is named by.
pub(super) fn shard(hex: &str) -> &str {
    hex.get(..2).unwrap_or_default()
}

/// The digest that a file is named by.
pub(super) fn named(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}
