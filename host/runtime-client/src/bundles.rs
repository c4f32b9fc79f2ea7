//! Config bundles: sent whole, with what the Runtime lacks of them, listed, fetched and removed.

use std::collections::BTreeSet;

use ::bundles::{Contents, Digest};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use runtime_api::body::{BundleFindings, BundlePage, BundleReferrers, ENVELOPE, MANIFEST, MissingBlobs};
use runtime_api::bundle::{BundleFinding, BundleSummary};
use runtime_api::referrer::Referrer;
use runtime_api::worker::WorkerId;

use super::workers::Pages;
use super::{Client, ClientError, Unexpected};

/// Limit on the answers that blobs are missing. The first one is usual; another one means that the Runtime was
/// restarted or that blobs were removed meanwhile.
const MAX_ROUNDS: usize = 8;

/// What became of a bundle that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBundle {
    /// What the Runtime tells of it.
    pub bundle: BundleSummary,
    /// Whether it was there before.
    pub known: bool,
    /// The blobs that the Runtime did not have, and that were sent.
    pub sent: BTreeSet<Digest>,
    /// Bytes of these blobs.
    pub sent_bytes: u64,
}

impl Client {
    /// Sends a bundle: its manifest, the blobs that the Runtime lacks, and the manifest again. A signed one
    /// goes in its envelope. Packages of plugins travel apart ([`Client::put_blob`]).
    pub async fn put_bundle(&self, contents: &Contents) -> Result<SentBundle, ClientError> {
        let bundle = contents.bundle();
        let digest = bundle.digest();
        let (kind, body) = match contents.envelope() {
            Some(envelope) => (ENVELOPE, Bytes::from(envelope.to_json())),
            None => (MANIFEST, Bytes::from_owner(bundle.manifest_bytes().clone())),
        };
        let contradiction = ClientError::Unexpected(Unexpected::Contradiction);
        let (mut sent, mut sent_bytes) = (BTreeSet::new(), 0);
        for round in 1..=MAX_ROUNDS {
            let ask = self.ask(Method::PUT, ["v1", "config-bundles", &digest.to_string()]);
            let answer = ask.body(kind, body.clone()).within(self.shared.deadlines.transfer).send().await?;
            let status = answer.status();
            if status != StatusCode::ACCEPTED {
                let summary: BundleSummary = answer.json().await?;
                if summary.digest != digest {
                    return Err(contradiction);
                }
                let known = status != StatusCode::CREATED;
                return Ok(SentBundle { bundle: summary, known, sent, sent_bytes });
            }
            let lacks: MissingBlobs = answer.json().await?;
            // It may ask for what the manifest names and nothing else.
            let missing: BTreeSet<Digest> = lacks.missing.into_iter().collect();
            let blobs = missing.iter().map(|digest| Some((*digest, bundle.blob(digest)?.clone())));
            let blobs = blobs.collect::<Option<Vec<_>>>().filter(|blobs| !blobs.is_empty());
            let Some(blobs) = blobs else { return Err(contradiction) };
            if round == MAX_ROUNDS {
                return Err(ClientError::BlobsVanished { missing: blobs.len(), sent: round - 1 });
            }
            sent_bytes += blobs.iter().map(|(_, blob)| blob.len() as u64).sum::<u64>();
            let puts = blobs.into_iter().map(|(digest, blob)| self.put_blob(digest, Bytes::from_owner(blob)));
            let _: Vec<bool> = stream::iter(puts).buffer_unordered(self.shared.uploads).try_collect().await?;
            sent.extend(missing);
        }
        Err(contradiction)
    }

    /// At most so many bundles in the order of their digests, after another one; page by page.
    pub async fn bundles(&self, after: Option<Digest>, most: usize) -> Result<Vec<BundleSummary>, ClientError> {
        let mut pages = Pages::new(after, most, |bundle: &BundleSummary| bundle.digest);
        while let Some((after, limit)) = pages.next() {
            let ask = self.ask(Method::GET, ["v1", "config-bundles"]).query("limit", limit);
            let ask = if let Some(after) = after { ask.query("after", after) } else { ask };
            let page = ask.answer::<BundlePage>().await?;
            pages.take(page.bundles, page.next)?;
        }
        Ok(pages.all())
    }

    /// The manifest of a bundle, byte for byte.
    pub async fn manifest(&self, digest: Digest) -> Result<Bytes, ClientError> {
        self.content(["v1", "config-bundles", &digest.to_string()], digest, self.shared.manifest_bytes).await
    }

    /// Removes a bundle that nothing uses.
    pub async fn remove_bundle(&self, digest: Digest) -> Result<(), ClientError> {
        self.ask(Method::DELETE, ["v1", "config-bundles", &digest.to_string()]).done().await
    }

    /// Declares that a bundle must not be used any more, and stops its workers. It is sent once; doing it
    /// again changes nothing.
    pub async fn revoke_bundle(&self, digest: Digest) -> Result<BundleSummary, ClientError> {
        self.ask(Method::POST, ["v1", "config-bundles", &digest.to_string(), "revoke"]).answer().await
    }

    /// Keeps a bundle from being removed, under a name.
    pub async fn pin(&self, digest: Digest, name: &WorkerId) -> Result<(), ClientError> {
        self.ask(Method::PUT, ["v1", "config-bundles", &digest.to_string(), "pins", name.as_str()]).done().await
    }

    /// Takes a pin away. One that is not there is away.
    pub async fn unpin(&self, digest: Digest, name: &WorkerId) -> Result<(), ClientError> {
        self.ask(Method::DELETE, ["v1", "config-bundles", &digest.to_string(), "pins", name.as_str()]).done().await
    }

    /// Who uses a bundle, at most a hundred of them.
    pub async fn users(&self, digest: Digest) -> Result<Vec<Referrer>, ClientError> {
        let ask = self.ask(Method::GET, ["v1", "config-bundles", &digest.to_string(), "users"]);
        let users = ask.answer::<BundleReferrers>().await?.users;
        let users = users.iter().map(|user| user.parse()).collect::<Result<_, _>>();
        users.map_err(|_| ClientError::Unexpected(Unexpected::Body))
    }

    /// Returns the rules that a stored bundle violates because they are newer than it.
    pub async fn bundle_findings(&self, digest: Digest) -> Result<Vec<BundleFinding>, ClientError> {
        let ask = self.ask(Method::GET, ["v1", "config-bundles", &digest.to_string(), "findings"]);
        Ok(ask.answer::<BundleFindings>().await?.findings)
    }
}
