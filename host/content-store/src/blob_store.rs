//! Blobs by digest: everything that travels, and every record.
//!
//! A store never believes a digest. What is put is hashed while it comes in and appears whole or
//! not at all; what is read is hashed before it is handed out, and what is damaged is set aside by
//! its name and never served. Putting twice is putting once. A store knows nothing of workspaces:
//! who may see a blob is decided above it.
//!
//! Every implementation passes the suite in `tests/stores`.

mod memory;
#[cfg(any(feature = "files", feature = "s3"))]
mod object;

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bundles::{Blob, BlobReader, Digest};
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use memory::MemoryBlobs;
#[cfg(any(feature = "files", feature = "s3"))]
pub use object::ObjectBlobs;
#[cfg(feature = "s3")]
pub use object::S3Config;

/// Where blobs are kept.
#[async_trait]
pub trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the content of `source`, which must have that digest and at most `most_bytes` bytes.
    /// The blob is durable when this returns.
    ///
    /// A blob that exists already is written again. The caller must have the content either way, and
    /// the time that this takes must not tell one workspace what another one has stored. An existing
    /// object of another size is damaged: it is set aside without being read.
    ///
    /// Dropping the future leaves nothing behind that can be seen.
    async fn put(&self, digest: Digest, source: Source<'_>, most_bytes: u64) -> Result<Put, BlobError>;

    /// Stores content that was digested already. The blob is durable when this returns.
    async fn put_whole(&self, blob: Blob) -> Result<Put, BlobError> {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        self.put(digest, whole(Bytes::from_owner(blob)), bytes).await
    }

    /// Returns the content of a blob of at most `most_bytes` bytes, after its digest was checked. One
    /// that is larger is [`BlobError::TooLarge`] by its size alone. A caller that knows the size uses
    /// [`get_sized`](Self::get_sized).
    async fn get(&self, digest: Digest, most_bytes: u64) -> Result<Bytes, BlobError>;

    /// Returns the content of a blob that was stored with `bytes` bytes, after its digest was checked.
    /// An object of another size is damaged: it is set aside without being read.
    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError>;

    /// Bytes of a blob, where it is there. Says nothing of its content.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError>;

    /// Every blob with its bytes, in no order.
    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>>;

    /// Takes a blob away. One that is not there is away.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError>;

    /// Reads a blob and says whether it is what its digest says. What is damaged is set aside.
    async fn check(&self, digest: Digest) -> Result<Condition, BlobError>;

    /// Checks that the store can take in a blob now: that it is where it was opened, and has some room.
    async fn check_writable(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Whether others may keep blobs in the same place. What belongs to nobody here may then be theirs.
    fn is_shared(&self) -> bool {
        false
    }

    /// The digest of everything that was found damaged and set aside since the store was made, also
    /// where it was healed since; as often as it was found.
    fn set_aside(&self) -> BoxStream<'_, Result<Digest, BlobError>>;
}

/// The digests of everything that is in a store, in order.
pub async fn digests(store: &dyn BlobStore) -> Result<BTreeSet<Digest>, BlobError> {
    use futures_util::TryStreamExt;
    store.list().map_ok(|(digest, _)| digest).try_collect().await
}

/// Reads blobs and says of each whether it is what its digest says. What is damaged is set aside.
pub async fn check_each(
    store: &dyn BlobStore,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Vec<(Digest, Condition)>, BlobError> {
    let mut checked = Vec::new();
    for digest in digests {
        checked.push((digest, store.check(digest).await?));
    }
    Ok(checked)
}

/// Content that comes in, piece by piece.
pub type Source<'a> = BoxStream<'a, Result<Bytes, SourceError>>;

/// Content that did not come in to its end. Why is the sender's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content ended before it was whole")]
pub struct SourceError;

/// What became of a blob that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Its bytes.
    pub bytes: u64,
    /// `true` if an object of this digest and size was there already.
    pub known: bool,
}

/// Whether a blob is what its digest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is, with so many bytes.
    Sound(u64),
    /// It was not, and is not served; unless the machine did not allow it, it is set aside.
    Damaged,
    /// There is none.
    Missing,
}

/// Why a store did not do what it was asked. No message of the system below is in it: those tell
/// paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The content has another digest.
    #[error("the content's digest is {actual}, not {declared}")]
    DigestMismatch {
        /// What it was declared to be.
        declared: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The content is larger than allowed.
    #[error("the content has more than the {allowed} bytes allowed")]
    TooLarge {
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The content ended before it was whole.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no such blob.
    #[error("there is no blob {0}")]
    Missing(Digest),
    /// What was there was not what its digest says. It is not served; unless the machine did not
    /// allow it, it is set aside.
    #[error("blob {0} is damaged and not served")]
    Damaged(Digest),
    /// The store has no room left.
    #[error("the store has no room left")]
    Full,
    /// The data folder is not at its path any more, so nothing is written.
    #[error("the data folder was moved or replaced while it was in use")]
    Moved,
    /// The store does not answer, or not as it should.
    #[error("the store cannot {doing}: {kind}")]
    Unavailable {
        /// What it was to do.
        doing: &'static str,
        /// The kind of the failure, in the system's own words without any place.
        kind: std::io::ErrorKind,
    },
}

impl BlobError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::Source(_) => "body_incomplete",
            Self::Missing(_) => "blob_not_found",
            Self::Damaged(_) => "blob_damaged",
            Self::Full => "store_full",
            Self::Moved => "data_folder_moved",
            Self::Unavailable { .. } => "store_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "send the bytes that were digested, unchanged",
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name",
            Self::Source(_) => "send it again, whole",
            Self::Missing(_) => "put it first",
            Self::Damaged(_) => "put it again: that heals it",
            Self::Full => "remove what is not used, or give the store more room",
            Self::Moved => crate::metadata::MOVED_HELP,
            Self::Unavailable { .. } => "try again; the log of the machine that keeps the store says more",
        }
    }

    #[cfg(any(feature = "files", feature = "s3"))]
    pub(crate) fn io(doing: &'static str, kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind;
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            kind => Self::Unavailable { doing, kind },
        }
    }
}

/// Bytes that are hashed without letting another task run.
const AT_ONCE: usize = 64 << 10;

/// Bytes that are reserved for content that was announced and has not come in.
const AT_MOST_RESERVED: usize = 1 << 20;

/// Brings content of at most `most_bytes` bytes together in memory, and digests it on the way.
pub async fn gathered(mut source: Source<'_>, most_bytes: u64) -> Result<Blob, BlobError> {
    use futures_util::StreamExt;
    let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let mut reader = BlobReader::with_capacity(most.min(AT_MOST_RESERVED));
    while let Some(piece) = source.next().await {
        let piece = piece?;
        if reader.len().saturating_add(piece.len()) > most {
            return Err(BlobError::TooLarge { allowed: most_bytes });
        }
        for portion in piece.chunks(AT_ONCE) {
            reader.update(portion);
            tokio::task::yield_now().await;
        }
    }
    Ok(reader.finish())
}

/// Content that is all there already.
pub fn whole(content: impl Into<Bytes>) -> Source<'static> {
    use futures_util::StreamExt;
    let content = content.into();
    futures_util::stream::once(async move { Ok(content) }).boxed()
}
