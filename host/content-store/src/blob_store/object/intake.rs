//! Content that comes in: hashed piece by piece, bounded, and nowhere to be seen.

use std::sync::Arc;

use bundles::{Digest, Digester};
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, PutPayloadMut};

use super::fault;
use super::place::{Incoming, Place};
use crate::blob_store::{AT_ONCE, BlobError, Source};

/// Content that came in whole and has the right digest.
pub(super) enum Content {
    /// It is in memory.
    Memory(PutPayload),
    /// It was sent out, and is not yet to be seen.
    Sent(Upload),
}

impl Content {
    /// Content that lies where it came in, whole.
    pub(super) async fn stored(self, place: &dyn Place, digest: Digest) -> Result<Incoming, BlobError> {
        let failed = |error| fault::engine("write a blob", &error);
        match self {
            Self::Memory(content) => {
                place.check_in_place().await?;
                let incoming = place.incoming(digest);
                place.objects().put(&incoming.path, content).await.map_err(failed)?;
                Ok(incoming)
            }
            Self::Sent(mut upload) => {
                if let Some(parts) = &mut upload.parts {
                    parts.complete().await.map_err(failed)?;
                }
                upload.parts = None;
                upload.incoming.take().ok_or_else(|| fault::cut_off("write a blob"))
            }
        }
    }
}

/// Parts that were sent out. Dropped before it was completed, it is as if it had never been.
pub(super) struct Upload {
    parts: Option<Box<dyn MultipartUpload>>,
    incoming: Option<Incoming>,
}

impl Upload {
    async fn begin(place: &dyn Place, digest: Digest) -> Result<Self, BlobError> {
        place.check_in_place().await?;
        let incoming = place.incoming(digest);
        let parts = place.objects().put_multipart(&incoming.path).await;
        let parts = parts.map_err(|error| fault::engine("write a blob", &error))?;
        Ok(Self { parts: Some(parts), incoming: Some(incoming) })
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), BlobError> {
        let Some(parts) = &mut self.parts else { return Err(fault::cut_off("write a blob")) };
        parts.put_part(part).await.map_err(|error| fault::engine("write a blob", &error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let incoming = self.incoming.take();
            runtime.spawn(async move {
                // What cannot be taken back is invisible, and cleared away later.
                let _ = parts.abort().await;
                drop(incoming);
            });
        }
    }
}

/// Takes in content of at most `most_bytes` bytes that must have that digest.
pub(super) async fn take_in(
    place: &Arc<dyn Place>,
    digest: Digest,
    mut source: Source<'_>,
    most_bytes: u64,
) -> Result<(u64, Content), BlobError> {
    let mut hash = Digester::default();
    let mut bytes = 0_u64;
    let mut gathered = PutPayloadMut::new();
    let mut upload: Option<Upload> = None;
    while let Some(piece) = source.next().await {
        let mut piece = piece?;
        bytes = bytes.saturating_add(piece.len() as u64);
        if bytes > most_bytes {
            return Err(BlobError::TooLarge { allowed: most_bytes });
        }
        while !piece.is_empty() {
            let room = place.part_bytes().saturating_sub(gathered.content_length());
            if room == 0 {
                let part = std::mem::take(&mut gathered).freeze();
                let upload = match &mut upload {
                    Some(upload) => upload,
                    none => none.insert(Upload::begin(&**place, digest).await?),
                };
                upload.send(part).await?;
                continue;
            }
            let next = piece.split_to(piece.len().min(room).min(AT_ONCE));
            hash.update(&next);
            gather(&mut gathered, next);
            tokio::task::yield_now().await;
        }
    }
    let actual = hash.finish();
    if actual != digest {
        return Err(BlobError::DigestMismatch { declared: digest, actual });
    }
    match upload {
        None => Ok((bytes, Content::Memory(gathered.freeze()))),
        Some(mut upload) => {
            if !gathered.is_empty() {
                upload.send(gathered.freeze()).await?;
            }
            Ok((bytes, Content::Sent(upload)))
        }
    }
}

/// Small pieces are copied together, so that content in single bytes costs no more than its bytes.
fn gather(gathered: &mut PutPayloadMut, piece: Bytes) {
    if piece.len() < AT_ONCE / 4 {
        gathered.extend_from_slice(&piece);
    } else {
        gathered.push(piece);
    }
}
