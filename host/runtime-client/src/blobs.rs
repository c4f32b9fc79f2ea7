//! Uploads and downloads of blobs. The digest of downloaded content is verified before the content is returned.

use std::io::Read;

use ::bundles::Digest;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, TryStreamExt, try_unfold};
use reqwest::{Method, StatusCode};
use runtime_api::body::StoredBlob;

use super::request::{OCTET_STREAM, Request};
use super::{BodyStream, Client, ClientError, UnexpectedResponse};

/// Size of the pieces in which a file is read.
const PIECE_BYTES: u64 = 256 << 10;

impl Client {
    /// Returns `true` if the workspace has the blob, which protects the blob from garbage collection like an upload.
    /// Returns `None` if the Runtime does not tell, for example because the token has no scope `read`.
    pub async fn has_blob(&self, digest: Digest) -> Result<Option<bool>, ClientError> {
        let request = self.request(Method::HEAD, ["v1", "blobs", &digest.to_string()]);
        match request.send().await {
            Ok(_) => Ok(Some(true)),
            Err(ClientError::Unexpected(UnexpectedResponse::Status(404))) => Ok(Some(false)),
            // A response to `HEAD` has no body that would give the reason. The next request of the caller gets it.
            Err(ClientError::Unexpected(UnexpectedResponse::Status(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads a blob. Returns `true` if the workspace had it already.
    pub async fn put_blob(&self, digest: Digest, content: Bytes) -> Result<bool, ClientError> {
        let bytes = content.len() as u64;
        let request = self.put_request(&digest).body(OCTET_STREAM, content);
        upload(request, digest, bytes).await
    }

    /// Uploads a blob of `bytes` bytes from a stream. Returns `true` if the workspace had it already. A stream can be sent
    /// only once, so there are no retries.
    pub async fn put_blob_from<E>(
        &self,
        digest: Digest,
        content: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
        bytes: u64,
    ) -> Result<bool, ClientError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let content: BodyStream = content.map_err(Into::into).boxed();
        upload(self.put_request(&digest).stream(content, bytes), digest, bytes).await
    }

    /// Uploads the next `bytes` bytes of a file as a blob, in pieces. Returns `true` if the workspace had it already. Like
    /// [`Client::put_blob_from`], it is sent once.
    pub async fn put_blob_file(&self, digest: Digest, file: std::fs::File, bytes: u64) -> Result<bool, ClientError> {
        let pieces = try_unfold(file.take(bytes), |mut file| async {
            let read = move || {
                let mut piece = Vec::new();
                file.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
                Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
            };
            tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
        });
        self.put_blob_from(digest, pieces, bytes).await
    }

    fn put_request(&self, digest: &Digest) -> Request<'_> {
        self.request(Method::PUT, ["v1", "blobs", &digest.to_string()]).timeout(self.shared.timeouts.transfer)
    }

    /// Downloads a blob of at most `max_bytes` bytes.
    pub async fn blob(&self, digest: Digest, max_bytes: usize) -> Result<Bytes, ClientError> {
        self.content(["v1", "blobs", &digest.to_string()], digest, max_bytes).await
    }

    /// Downloads content of at most `max_bytes` bytes from `path` and verifies its digest.
    pub async fn content<const N: usize>(
        &self,
        path: [&str; N],
        declared: Digest,
        max_bytes: usize,
    ) -> Result<Bytes, ClientError> {
        let mut response = self.request(Method::GET, path).timeout(self.shared.timeouts.transfer).send().await?;
        let content = response.bytes(max_bytes).await?;
        let actual = Digest::of(&content);
        if actual == declared { Ok(content) } else { Err(ClientError::DigestMismatch { declared, actual }) }
    }
}

async fn upload(request: Request<'_>, digest: Digest, bytes: u64) -> Result<bool, ClientError> {
    let response = request.send().await?;
    let known = response.status() != StatusCode::CREATED;
    let stored: StoredBlob = response.json().await?;
    if stored.digest == digest && stored.bytes == bytes {
        Ok(known)
    } else {
        Err(ClientError::Unexpected(UnexpectedResponse::Contradiction))
    }
}
