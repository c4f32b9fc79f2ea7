//! Blob stores: immutable content under its digest.
//!
//! A store verifies every digest. Content is hashed while it is received, and becomes visible as a whole or not at all.
//! It is hashed again before it is returned. Damaged content is moved to a quarantine and never returned. A put is
//! idempotent. A store knows nothing of workspaces: the code above it decides who may read a blob.
//!
//! Every implementation passes the test suite in `tests/stores` of `worker-runtime`.

mod memory;
#[cfg(any(feature = "files", feature = "s3"))]
mod object;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bundles::{Blob, BlobReader, Digest};
use bytes::Bytes;
use error_code::Code;
use futures_util::stream::BoxStream;

pub use memory::MemoryBlobs;
#[cfg(any(feature = "files", feature = "s3"))]
pub use object::ObjectBlobs;
#[cfg(feature = "s3")]
pub use object::S3Config;

/// A store of blobs.
#[async_trait]
pub trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the content of `source`, which must have this digest and at most `max_bytes` bytes. The blob is durable
    /// when this method returns.
    ///
    /// A blob that already exists is written again. Otherwise the duration would reveal to one workspace what another
    /// one has stored. An existing object of another size is damaged, and is quarantined without being read.
    ///
    /// If the future is dropped, no partial content becomes visible.
    async fn put(&self, digest: Digest, source: BlobSource<'_>, max_bytes: u64) -> Result<PutOutcome, BlobError>;

    /// Stores content that is already hashed. The blob is durable when this method returns.
    async fn put_hashed(&self, blob: Blob) -> Result<PutOutcome, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        self.put(digest, source_from(Bytes::from_owner(blob)), bytes).await
    }

    /// Returns the content of a blob after checking its digest. A blob of more than `max_bytes` bytes is refused with
    /// [`BlobError::TooLarge`] without being read. A caller that knows the exact size uses
    /// [`get_sized`](Self::get_sized).
    async fn get(&self, digest: Digest, max_bytes: u64) -> Result<Bytes, BlobError>;

    /// Returns the content of a blob that was stored with `bytes` bytes, after checking its digest. An object of
    /// another size is damaged, and is quarantined without being read.
    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError>;

    /// Returns the size of a blob in bytes, or `None` if there is no such blob. The content is not checked.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError>;

    /// Lists all blobs with their sizes in bytes, in no particular order.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>>;

    /// Removes a blob. Succeeds if there is no such blob.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError>;

    /// Reads a blob and compares the content with the digest. A damaged blob is quarantined.
    async fn check(&self, digest: Digest) -> Result<BlobCondition, BlobError>;

    /// Checks that the store can receive a blob now: that it was not moved since it was opened, and has free space.
    async fn check_writable(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// `true` if other processes may use the same storage. A blob that no local record names may then belong to one of
    /// them.
    fn is_shared(&self) -> bool {
        false
    }

    /// Lists the digest of every quarantined object, since the store was created. A digest appears once for each time
    /// the blob was found damaged, even if the blob was stored again later.
    fn quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>>;
}

/// Returns the digests of all blobs in a store, sorted.
pub async fn digests(store: &dyn BlobStore) -> Result<BTreeSet<Digest>, BlobError> {
    use futures_util::TryStreamExt;
    store.list().map_ok(|(digest, _)| digest).try_collect().await
}

/// Checks several blobs with [`BlobStore::check`], and returns the results in the order of `digests`.
pub async fn check_each(
    store: &dyn BlobStore,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Vec<(Digest, BlobCondition)>, BlobError> {
    let mut checked = Vec::new();
    for digest in digests {
        checked.push((digest, store.check(digest).await?));
    }
    Ok(checked)
}

/// Stream of the content of one blob.
pub type BlobSource<'a> = BoxStream<'a, Result<Bytes, SourceError>>;

/// Error of a [`BlobSource`] that ends before the content is complete. The sender knows the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content is incomplete")]
pub struct SourceError;

/// Result of storing a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOutcome {
    /// Size of the blob in bytes.
    pub bytes: u64,
    /// `true` if an object with this digest and size already existed.
    pub existed: bool,
}

/// Result of checking a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobCondition {
    /// The content matches the digest. Holds the size in bytes.
    Sound(u64),
    /// The content did not match the digest and is not returned. It was quarantined, unless that failed.
    Damaged,
    /// There is no such blob.
    Missing,
}

/// Error of a blob store. It contains no message of the operating system or service, because such messages contain
/// paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The content has another digest than declared.
    #[error("the digest of the content is `{actual}`, expected `{declared}`")]
    DigestMismatch {
        /// Declared digest.
        declared: Digest,
        /// Digest of the content.
        actual: Digest,
    },
    /// The content is larger than allowed.
    #[error("the content has more than the {allowed} bytes allowed")]
    TooLarge {
        /// Allowed size in bytes.
        allowed: u64,
    },
    /// The content ended before it was complete.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no such blob.
    #[error("blob `{0}` not found")]
    NotFound(Digest),
    /// The stored content did not match the digest and is not returned. It was quarantined, unless that failed.
    #[error("blob `{0}` is damaged and not served")]
    Damaged(Digest),
    /// The store has no free space.
    #[error("the store is full")]
    Full,
    /// The data folder is no longer at its path, so nothing is written.
    #[error("the data folder was moved or replaced while it was in use")]
    Moved,
    /// The storage failed or returned an unexpected response.
    #[error("the store cannot {operation}: {kind}")]
    Unavailable {
        /// Failed operation, as a verb phrase: `read a blob`.
        operation: &'static str,
        /// Kind of the failure.
        kind: std::io::ErrorKind,
    },
}

impl BlobError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::DigestMismatch { .. } => Code::DigestMismatch,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Source(_) => Code::BodyIncomplete,
            Self::NotFound(_) => Code::BlobNotFound,
            Self::Damaged(_) => Code::BlobDamaged,
            Self::Full => Code::StoreFull,
            Self::Moved => Code::DataFolderMoved,
            Self::Unavailable { .. } => Code::StoreUnavailable,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "send exactly the bytes that the digest was computed from",
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name",
            Self::Source(_) => "send the complete content again",
            Self::NotFound(_) => "put the blob first",
            Self::Damaged(_) => "put the blob again: this repairs it",
            Self::Full => "remove what is not used, or give the store more room",
            Self::Moved => crate::metadata::MOVED_HELP,
            Self::Unavailable { .. } => {
                "try again; if it fails again, read the log of the machine that holds the store"
            }
        }
    }

    #[cfg(any(feature = "files", feature = "s3"))]
    pub(crate) fn io(operation: &'static str, kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind;
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            kind => Self::Unavailable { operation, kind },
        }
    }
}

/// Number of bytes that are hashed before other tasks may run.
const HASH_CHUNK_BYTES: usize = 64 << 10;

/// Maximum number of bytes of memory that are reserved for announced content before it is received.
const MAX_RESERVED_BYTES: usize = 1 << 20;

/// Reads content of at most `max_bytes` bytes into memory and hashes it.
pub async fn collect_blob(mut source: BlobSource<'_>, max_bytes: u64) -> Result<Blob, BlobError> {
    use futures_util::StreamExt;
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut reader = BlobReader::with_capacity(limit.min(MAX_RESERVED_BYTES));
    while let Some(piece) = source.next().await {
        let piece = piece?;
        if reader.len().saturating_add(piece.len()) > limit {
            return Err(BlobError::TooLarge { allowed: max_bytes });
        }
        for portion in piece.chunks(HASH_CHUNK_BYTES) {
            reader.update(portion);
            tokio::task::yield_now().await;
        }
    }
    Ok(reader.finish())
}

/// Returns a source with this content as its only piece.
pub fn source_from(content: impl Into<Bytes>) -> BlobSource<'static> {
    use futures_util::StreamExt;
    let content = content.into();
    futures_util::stream::once(async move { Ok(content) }).boxed()
}
