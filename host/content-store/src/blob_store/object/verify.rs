//! What is there, read and hashed. Bytes leave this module only when their digest was right.
//!
//! A file is read and hashed in portions off the threads that wait for the network; whoever waits
//! for it can be dropped between two of them.

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
use super::place::{Opened, Place};
use crate::blob_store::{AT_ONCE, BlobError};

/// Bytes of a file that are read and hashed in one go.
#[cfg(feature = "files")]
const PORTION: usize = 1 << 20;

const DOING: &str = "read a blob";

/// What a blob was found to be.
pub(super) enum Verdict {
    Missing,
    Sound(u64),
    Damaged,
}

/// The size that a blob may have.
#[derive(Clone, Copy)]
pub(super) enum Size {
    /// The caller knows a bound.
    AtMost(u64),
    /// The caller knows the size. Any other one is damage.
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

/// Reads a blob to see whether it is what its digest says, and keeps none of it. One that does not have the expected
/// size is damaged without being read.
pub(super) async fn verify(place: &dyn Place, digest: Digest, expected: Option<u64>) -> Result<Verdict, BlobError> {
    let object = match place.open(digest).await? {
        Opened::Missing => return Ok(Verdict::Missing),
        #[cfg(feature = "files")]
        Opened::Odd => return Ok(Verdict::Damaged),
        Opened::Object(object) => object,
    };
    if expected.is_some_and(|bytes| bytes != object.meta.size) {
        return Ok(Verdict::Damaged);
    }
    let (actual, bytes, _) = Reading::new(false).finish(object.payload).await?;
    Ok(if actual == digest { Verdict::Sound(bytes) } else { Verdict::Damaged })
}

/// Returns the content of a blob; none if it is damaged.
pub(super) async fn read(place: &dyn Place, digest: Digest, size: Size) -> Result<Option<Bytes>, BlobError> {
    let object = match place.open(digest).await? {
        Opened::Missing => return Err(BlobError::Missing(digest)),
        #[cfg(feature = "files")]
        Opened::Odd => return Ok(None),
        Opened::Object(object) => object,
    };
    match size {
        Size::AtMost(allowed) if object.meta.size > allowed => return Err(BlobError::TooLarge { allowed }),
        Size::Exactly(bytes) if object.meta.size != bytes => return Ok(None),
        Size::AtMost(_) | Size::Exactly(_) => {}
    }
    let (actual, _, content) = Reading::new(true).finish(object.payload).await?;
    Ok((actual == digest).then_some(content))
}

/// A reading under way.
struct Reading {
    hash: Digester,
    bytes: u64,
    kept: Option<BytesMut>,
}

impl Reading {
    fn new(keep: bool) -> Self {
        Self { hash: Digester::default(), bytes: 0, kept: keep.then(BytesMut::new) }
    }

    async fn finish(self, payload: GetResultPayload) -> Result<(Digest, u64, Bytes), BlobError> {
        let read = match payload {
            #[cfg(feature = "files")]
            GetResultPayload::File(file, _) => self.of_file(file).await?,
            GetResultPayload::Stream(pieces) => self.of_stream(pieces).await?,
        };
        Ok((read.hash.finish(), read.bytes, read.kept.unwrap_or_default().freeze()))
    }

    #[cfg(feature = "files")]
    async fn of_file(mut self, mut file: File) -> Result<Self, BlobError> {
        let failed = |error: std::io::Error| BlobError::io(DOING, error.kind());
        // A file that grows meanwhile is read no further than it reached when it was opened, and one
        // byte more, which its digest does not survive.
        let mut left = None;
        loop {
            let portion = tokio::task::spawn_blocking(move || {
                let before = match left {
                    Some(left) => left,
                    None => file.metadata()?.len().saturating_add(1),
                };
                let read = self.portion(&mut file, before)?;
                Ok((self, file, before.saturating_sub(read), read))
            });
            let read;
            (self, file, left, read) = match portion.await {
                Ok(done) => {
                    done.map(|(reading, file, left, read)| (reading, file, Some(left), read)).map_err(failed)?
                }
                Err(_) => return Err(fault::cut_off(DOING)),
            };
            if read < PORTION as u64 {
                return Ok(self);
            }
        }
    }

    /// Reads and hashes the next portion, and says how many bytes it had.
    #[cfg(feature = "files")]
    fn portion(&mut self, file: &mut File, most: u64) -> std::io::Result<u64> {
        let mut portion = Vec::with_capacity(PORTION.min(usize::try_from(most).unwrap_or(PORTION)));
        let read = file.take(most.min(PORTION as u64)).read_to_end(&mut portion)?;
        self.take(&portion);
        Ok(read as u64)
    }

    async fn of_stream(
        mut self,
        mut pieces: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Result<Self, BlobError> {
        while let Some(piece) = pieces.next().await {
            for portion in piece.map_err(|error| fault::engine(DOING, &error))?.chunks(AT_ONCE) {
                self.take(portion);
                tokio::task::yield_now().await;
            }
        }
        Ok(self)
    }

    fn take(&mut self, portion: &[u8]) {
        self.hash.update(portion);
        self.bytes += portion.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(portion);
        }
    }
}
