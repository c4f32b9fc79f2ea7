//! Receives content: hashes it piece by piece, enforces its maximum size, and uploads it in parts if it is large.
//! Nothing becomes visible here.

use std::sync::Arc;

use bundles::{Digest, Digester};
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, PutPayloadMut};

use super::fault;
use super::storage::{ObjectStorage, UploadTarget};
use crate::blob_store::{BlobError, BlobSource, HASH_CHUNK_BYTES};

/// Complete content with the right digest.
pub(super) enum Content {
    /// Content in memory.
    Memory(PutPayload),
    /// Content whose parts are uploaded, but not yet visible.
    Uploaded(Upload),
}

impl Content {
    /// Completes the upload, and returns the target with all of the content.
    pub(super) async fn complete_upload(
        self,
        storage: &dyn ObjectStorage,
        digest: Digest,
    ) -> Result<UploadTarget, BlobError> {
        let failed = |error| fault::engine("write a blob", &error);
        match self {
            Self::Memory(content) => {
                storage.check_not_moved().await?;
                let target = storage.upload_target(digest);
                storage.engine().put(&target.path, content).await.map_err(failed)?;
                Ok(target)
            }
            Self::Uploaded(mut upload) => {
                if let Some(parts) = &mut upload.parts {
                    parts.complete().await.map_err(failed)?;
                }
                upload.parts = None;
                upload.target.take().ok_or_else(|| fault::interrupted("write a blob"))
            }
        }
    }
}

/// A multipart upload. It is aborted if it is dropped before it is completed.
pub(super) struct Upload {
    parts: Option<Box<dyn MultipartUpload>>,
    target: Option<UploadTarget>,
}

impl Upload {
    async fn begin(storage: &dyn ObjectStorage, digest: Digest) -> Result<Self, BlobError> {
        storage.check_not_moved().await?;
        let target = storage.upload_target(digest);
        let parts = storage.engine().put_multipart(&target.path).await;
        let parts = parts.map_err(|error| fault::engine("write a blob", &error))?;
        Ok(Self { parts: Some(parts), target: Some(target) })
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), BlobError> {
        let Some(parts) = &mut self.parts else { return Err(fault::interrupted("write a blob")) };
        parts.put_part(part).await.map_err(|error| fault::engine("write a blob", &error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let target = self.target.take();
            runtime.spawn(async move {
                // If aborting fails, the parts stay invisible. A later start or a lifecycle rule removes them.
                let _ = parts.abort().await;
                drop(target);
            });
        }
    }
}

/// Receives content that must have this digest and at most `max_bytes` bytes. Returns its size and the content.
pub(super) async fn receive(
    storage: &Arc<dyn ObjectStorage>,
    digest: Digest,
    mut source: BlobSource<'_>,
    max_bytes: u64,
) -> Result<(u64, Content), BlobError> {
    let mut hash = Digester::default();
    let mut bytes = 0_u64;
    let mut buffer = PutPayloadMut::new();
    let mut upload: Option<Upload> = None;
    while let Some(piece) = source.next().await {
        let mut piece = piece?;
        bytes = bytes.saturating_add(piece.len() as u64);
        if bytes > max_bytes {
            return Err(BlobError::TooLarge { allowed: max_bytes });
        }
        while !piece.is_empty() {
            let room = storage.part_bytes().saturating_sub(buffer.content_length());
            if room == 0 {
                let part = std::mem::take(&mut buffer).freeze();
                let upload = match &mut upload {
                    Some(upload) => upload,
                    none => none.insert(Upload::begin(&**storage, digest).await?),
                };
                upload.send(part).await?;
                continue;
            }
            let next = piece.split_to(piece.len().min(room).min(HASH_CHUNK_BYTES));
            hash.update(&next);
            append(&mut buffer, next);
            tokio::task::yield_now().await;
        }
    }
    let actual = hash.finish();
    if actual != digest {
        return Err(BlobError::DigestMismatch { declared: digest, actual });
    }
    match upload {
        None => Ok((bytes, Content::Memory(buffer.freeze()))),
        Some(mut upload) => {
            if !buffer.is_empty() {
                upload.send(buffer.freeze()).await?;
            }
            Ok((bytes, Content::Uploaded(upload)))
        }
    }
}

/// Appends a piece to the buffer. Small pieces are copied, because each piece that is kept as it is has an overhead:
/// content that arrives in single bytes would need many times its size.
fn append(buffer: &mut PutPayloadMut, piece: Bytes) {
    if piece.len() < HASH_CHUNK_BYTES / 4 {
        buffer.extend_from_slice(&piece);
    } else {
        buffer.push(piece);
    }
}
