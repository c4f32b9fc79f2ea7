//! Reads and hashes objects. Content is returned only if its digest is right.
//!
//! Files are read and hashed in chunks on blocking threads. The caller's future can be dropped between two chunks.

#[cfg(feature = "files")]
use std::fs::File;
#[cfg(feature = "files")]
use std::io::Read;

use bundles::{Digest, Digester};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::GetResultPayload;

use super::fault;
use super::storage::{ObjectStorage, OpenOutcome};
use crate::blob_store::{BlobError, HASH_CHUNK_BYTES};

/// Number of bytes of a file that one blocking task reads and hashes.
#[cfg(feature = "files")]
const READ_BYTES: usize = 1 << 20;

const OPERATION: &str = "read a blob";

/// Result of verifying an object.
pub(super) enum Verdict {
    Missing,
    /// The content matches the digest. Holds the size in bytes.
    Sound(u64),
    Damaged,
}

/// Size that the caller accepts, in bytes.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// A larger blob is refused.
    AtMost(u64),
    /// A blob of another size is damaged.
    Exactly(u64),
}

impl Size {
    pub(super) fn exact(self) -> Option<u64> {
        match self {
            Self::AtMost(_) => None,
            Self::Exactly(bytes) => Some(bytes),
        }
    }
}

/// Compares the content of a blob with its digest, without collecting the content. A blob that does not have the
/// expected size is damaged, and is not read.
pub(super) async fn verify(
    storage: &dyn ObjectStorage,
    digest: Digest,
    expected: Option<u64>,
) -> Result<Verdict, BlobError> {
    let object = match storage.open(digest).await? {
        OpenOutcome::Missing => return Ok(Verdict::Missing),
        #[cfg(feature = "files")]
        OpenOutcome::NotAFile => return Ok(Verdict::Damaged),
        OpenOutcome::Object(object) => object,
    };
    if expected.is_some_and(|bytes| bytes != object.meta.size) {
        return Ok(Verdict::Damaged);
    }
    let (actual, bytes, _) = HashingReader::new(false).finish(object.payload).await?;
    Ok(if actual == digest { Verdict::Sound(bytes) } else { Verdict::Damaged })
}

/// Returns the content of a blob, or `None` if it is damaged.
pub(super) async fn read(storage: &dyn ObjectStorage, digest: Digest, size: Size) -> Result<Option<Bytes>, BlobError> {
    let object = match storage.open(digest).await? {
        OpenOutcome::Missing => return Err(BlobError::NotFound(digest)),
        #[cfg(feature = "files")]
        OpenOutcome::NotAFile => return Ok(None),
        OpenOutcome::Object(object) => object,
    };
    match size {
        Size::AtMost(allowed) if object.meta.size > allowed => return Err(BlobError::TooLarge { allowed }),
        Size::Exactly(bytes) if object.meta.size != bytes => return Ok(None),
        Size::AtMost(_) | Size::Exactly(_) => {}
    }
    let (actual, _, content) = HashingReader::new(true).finish(object.payload).await?;
    Ok((actual == digest).then_some(content))
}

/// Reads an object, hashes it and optionally collects its content.
struct HashingReader {
    hash: Digester,
    bytes: u64,
    content: Option<BytesMut>,
}

impl HashingReader {
    fn new(collect: bool) -> Self {
        Self { hash: Digester::default(), bytes: 0, content: collect.then(BytesMut::new) }
    }

    async fn finish(self, payload: GetResultPayload) -> Result<(Digest, u64, Bytes), BlobError> {
        let read = match payload {
            #[cfg(feature = "files")]
            GetResultPayload::File(file, _) => self.of_file(file).await?,
            GetResultPayload::Stream(pieces) => self.of_stream(pieces).await?,
        };
        Ok((read.hash.finish(), read.bytes, read.content.unwrap_or_default().freeze()))
    }

    #[cfg(feature = "files")]
    async fn of_file(mut self, mut file: File) -> Result<Self, BlobError> {
        let failed = |error: std::io::Error| BlobError::io(OPERATION, error.kind());
        // A file that grows during the read is read up to its size at the beginning, plus one byte. The additional byte
        // makes the digest wrong.
        let mut left = None;
        loop {
            let chunk = tokio::task::spawn_blocking(move || {
                let before = match left {
                    Some(left) => left,
                    None => file.metadata()?.len().saturating_add(1),
                };
                let read = self.chunk(&mut file, before)?;
                Ok((self, file, before.saturating_sub(read), read))
            });
            let read;
            (self, file, left, read) = match chunk.await {
                Ok(done) => {
                    done.map(|(reading, file, left, read)| (reading, file, Some(left), read)).map_err(failed)?
                }
                Err(_) => return Err(fault::interrupted(OPERATION)),
            };
            if read < READ_BYTES as u64 {
                return Ok(self);
            }
        }
    }

    /// Reads and hashes the next chunk, of at most `max_bytes` bytes. Returns its size in bytes.
    #[cfg(feature = "files")]
    fn chunk(&mut self, file: &mut File, max_bytes: u64) -> std::io::Result<u64> {
        let mut chunk = Vec::with_capacity(READ_BYTES.min(usize::try_from(max_bytes).unwrap_or(READ_BYTES)));
        let read = file.take(max_bytes.min(READ_BYTES as u64)).read_to_end(&mut chunk)?;
        self.take(&chunk);
        Ok(read as u64)
    }

    async fn of_stream(
        mut self,
        mut pieces: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Result<Self, BlobError> {
        while let Some(piece) = pieces.next().await {
            for chunk in piece.map_err(|error| fault::engine(OPERATION, &error))?.chunks(HASH_CHUNK_BYTES) {
                self.take(chunk);
                tokio::task::yield_now().await;
            }
        }
        Ok(self)
    }

    fn take(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        if let Some(content) = &mut self.content {
            content.extend_from_slice(chunk);
        }
    }
}
