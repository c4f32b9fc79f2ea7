//! Uploads and downloads of blobs. The digest of downloaded content is verified before the content is returned.

use ::bundles::Digest;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use runtime_api::body::StoredBlob;

use super::request::{OCTET_STREAM, Request};
use super::{BodyStream, Client, ClientError, UnexpectedResponse};

impl Client {
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

    fn put_request(&self, digest: &Digest) -> Request<'_> {
        self.request(Method::PUT, ["v1", "blobs", &digest.to_string()]).timeout(self.shared.timeouts.transfer)
    }

    /// Downloads a blob of at most `max_bytes` bytes.
    pub async fn blob(&self, digest: Digest, max_bytes: usize) -> Result<Bytes, ClientError> {
        self.content(["v1", "blobs", &digest.to_string()], digest, max_bytes).await
    }

    /// Downloads content of at most `max_bytes` bytes from `path` and verifies its digest.
    pub(super) async fn content<const N: usize>(
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
