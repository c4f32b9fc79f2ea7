//! Blobs by digest, either way. What comes is digested before it is handed out.

use ::bundles::Digest;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, TryStreamExt};
use reqwest::{Method, StatusCode};
use runtime_api::body::StoredBlob;

use super::ask::{Ask, BYTES};
use super::{BodyStream, Client, ClientError, Unexpected};

impl Client {
    /// Uploads a blob. Returns `true` if the workspace had it already.
    pub async fn put_blob(&self, digest: Digest, content: Bytes) -> Result<bool, ClientError> {
        let bytes = content.len() as u64;
        let ask = self.put_to(&digest).body(BYTES, content);
        kept(ask, digest, bytes).await
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
        kept(self.put_to(&digest).source(content, bytes), digest, bytes).await
    }

    fn put_to(&self, digest: &Digest) -> Ask<'_> {
        self.ask(Method::PUT, ["v1", "blobs", &digest.to_string()]).within(self.shared.deadlines.transfer)
    }

    /// A blob of at most so many bytes.
    pub async fn blob(&self, digest: Digest, most_bytes: usize) -> Result<Bytes, ClientError> {
        self.content(["v1", "blobs", &digest.to_string()], digest, most_bytes).await
    }

    /// What has that digest, from wherever it is.
    pub(super) async fn content<const N: usize>(
        &self,
        path: [&str; N],
        declared: Digest,
        most_bytes: usize,
    ) -> Result<Bytes, ClientError> {
        let mut answer = self.ask(Method::GET, path).within(self.shared.deadlines.transfer).send().await?;
        let content = answer.bytes(most_bytes).await?;
        let actual = Digest::of(&content);
        if actual == declared { Ok(content) } else { Err(ClientError::DigestMismatch { declared, actual }) }
    }
}

async fn kept(ask: Ask<'_>, digest: Digest, bytes: u64) -> Result<bool, ClientError> {
    let answer = ask.send().await?;
    let known = answer.status() != StatusCode::CREATED;
    let kept: StoredBlob = answer.json().await?;
    if kept.digest == digest && kept.bytes == bytes {
        Ok(known)
    } else {
        Err(ClientError::Unexpected(Unexpected::Contradiction))
    }
}
