//! Blobs by digest, either way. What comes is digested before it is handed out.

use ::bundles::Digest;
use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::ask::{Ask, BYTES};
use super::{Client, ClientError, Unexpected};
use crate::blob_store::{Put, Source};
use crate::wire::KeptBlob;

impl Client {
    /// Puts a blob that is all there. Putting twice is putting once.
    pub async fn put_blob(&self, digest: Digest, content: Bytes) -> Result<Put, ClientError> {
        let bytes = content.len() as u64;
        let ask = self.put_to(&digest).body(BYTES, content);
        kept(ask, digest, bytes).await
    }

    /// Puts a blob of so many bytes while it is read. It is sent once: where the Runtime has no time, that
    /// is told and not tried again.
    pub async fn put_blob_from(&self, digest: Digest, source: Source<'static>, bytes: u64) -> Result<Put, ClientError> {
        kept(self.put_to(&digest).source(source, bytes), digest, bytes).await
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

async fn kept(ask: Ask<'_>, digest: Digest, bytes: u64) -> Result<Put, ClientError> {
    let answer = ask.send().await?;
    let known = answer.status() != StatusCode::CREATED;
    let kept: KeptBlob = answer.json().await?;
    if kept.digest == digest && kept.bytes == bytes {
        Ok(Put { bytes, known })
    } else {
        Err(ClientError::Unexpected(Unexpected::Contradiction))
    }
}
