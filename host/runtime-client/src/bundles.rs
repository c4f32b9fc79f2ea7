//! Requests about config bundles. [`Client::put_bundle`] uploads a bundle with the blobs that the Runtime lacks.

use std::collections::BTreeSet;

use ::bundles::{Bundle, Contents, Digest};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use runtime_api::body::{BundleFindings, BundlePage, BundleReferrers, ENVELOPE, MANIFEST, MissingBlobs};
use runtime_api::bundle::{BundleFinding, BundleSummary};
use runtime_api::referrer::Referrer;
use runtime_api::worker::WorkerId;

use super::request::Response;
use super::workers::Pages;
use super::{Client, ClientError, UnexpectedResponse};

/// Maximum number of uploads of a manifest. The first one usually reports missing blobs. If a further one does, the Runtime
/// was restarted or blobs were removed meanwhile.
const MAX_MANIFEST_UPLOADS: usize = 8;

/// Result of the upload of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadedManifest<T> {
    /// The server has all blobs of the bundle.
    Complete(T),
    /// Nothing was stored, because these blobs are missing.
    Missing(BTreeSet<Digest>),
}

/// Blobs that a server lacked and that were uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadedBlobs {
    /// Digests of the blobs.
    pub digests: BTreeSet<Digest>,
    /// Size of the blobs in bytes.
    pub bytes: u64,
}

/// Result of the upload of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedBundle {
    /// Summary of the bundle.
    pub bundle: BundleSummary,
    /// `true` if the Runtime had the bundle before.
    pub known: bool,
    /// Blobs that the Runtime lacked and that were uploaded.
    pub uploaded: BTreeSet<Digest>,
    /// Size of the uploaded blobs in bytes.
    pub uploaded_bytes: u64,
}

/// A bundle that a Runtime has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// Summary of the bundle.
    pub bundle: BundleSummary,
    /// `true` if the Runtime had the bundle before.
    pub known: bool,
}

impl Client {
    /// Uploads a bundle: first its manifest, then the blobs that the Runtime lacks, then the manifest again. A signed bundle is
    /// sent in its envelope. Plugin packages must be uploaded separately and should be there first: see
    /// [`Client::has_blob`] and [`Client::put_blob_file`].
    pub async fn put_bundle(&self, contents: &Contents) -> Result<UploadedBundle, ClientError> {
        let (digest, manifest, envelope) = signed_manifest(contents);
        let put = async || self.put_manifest(digest, manifest.clone(), envelope.clone()).await;
        let (StoredBundle { bundle, known }, blobs) = self.put_missing_blobs(contents.bundle(), put).await?;
        Ok(UploadedBundle { bundle, known, uploaded: blobs.digests, uploaded_bytes: blobs.bytes })
    }

    /// Calls `put_manifest`, and uploads the blobs that it reports as missing, until none is missing.
    pub async fn put_missing_blobs<T>(
        &self,
        bundle: &Bundle,
        put_manifest: impl AsyncFn() -> Result<UploadedManifest<T>, ClientError>,
    ) -> Result<(T, UploadedBlobs), ClientError> {
        let contradiction = ClientError::Unexpected(UnexpectedResponse::Contradiction);
        let mut uploaded = UploadedBlobs::default();
        for round in 1..=MAX_MANIFEST_UPLOADS {
            let missing = match put_manifest().await? {
                UploadedManifest::Complete(result) => return Ok((result, uploaded)),
                UploadedManifest::Missing(missing) => missing,
            };
            // The server may only ask for blobs that the manifest names.
            let blobs = missing.iter().map(|digest| Some((*digest, bundle.blob(digest)?.clone())));
            let blobs = blobs.collect::<Option<Vec<_>>>().filter(|blobs| !blobs.is_empty());
            let Some(blobs) = blobs else { return Err(contradiction) };
            if round == MAX_MANIFEST_UPLOADS {
                return Err(ClientError::BlobsVanished { missing: blobs.len(), sent: round - 1 });
            }
            uploaded.bytes += blobs.iter().map(|(_, blob)| blob.len() as u64).sum::<u64>();
            let puts = blobs.into_iter().map(|(digest, blob)| self.put_blob(digest, Bytes::from_owner(blob)));
            let _: Vec<bool> =
                stream::iter(puts).buffer_unordered(self.shared.max_concurrent_uploads).try_collect().await?;
            uploaded.digests.extend(missing);
        }
        Err(contradiction)
    }

    /// Uploads a manifest, in its envelope if there is one. If blobs of the bundle are missing, nothing is stored.
    pub async fn put_manifest(
        &self,
        digest: Digest,
        manifest: Bytes,
        envelope: Option<Bytes>,
    ) -> Result<UploadedManifest<StoredBundle>, ClientError> {
        let response = self.send_manifest(digest, manifest, envelope).await?;
        let status = response.status();
        if status == StatusCode::ACCEPTED {
            let missing = response.json::<MissingBlobs>().await?.missing;
            return Ok(UploadedManifest::Missing(missing.into_iter().collect()));
        }
        let bundle: BundleSummary = response.json().await?;
        if bundle.digest != digest {
            return Err(ClientError::Unexpected(UnexpectedResponse::Contradiction));
        }
        Ok(UploadedManifest::Complete(StoredBundle { bundle, known: status != StatusCode::CREATED }))
    }

    /// Sends a manifest, in its envelope if there is one, and returns the response.
    pub async fn send_manifest(
        &self,
        digest: Digest,
        manifest: Bytes,
        envelope: Option<Bytes>,
    ) -> Result<Response, ClientError> {
        let (media_type, body) = match envelope {
            Some(envelope) => (ENVELOPE, envelope),
            None => (MANIFEST, manifest),
        };
        let request = self.request(Method::PUT, ["v1", "config-bundles", &digest.to_string()]);
        request.body(media_type, body).timeout(self.shared.timeouts.transfer).send().await
    }

    /// Returns at most `limit` bundles after the bundle `after`, ordered by digest. Sends one request per page.
    pub async fn bundles(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BundleSummary>, ClientError> {
        let mut pages = Pages::new(after, limit, |bundle: &BundleSummary| bundle.digest);
        while let Some((after, page_limit)) = pages.next() {
            let request = self.request(Method::GET, ["v1", "config-bundles"]).query("limit", page_limit);
            let request = if let Some(after) = after { request.query("after", after) } else { request };
            let page = request.send_json::<BundlePage>().await?;
            pages.push(page.bundles, page.next)?;
        }
        Ok(pages.into_items())
    }

    /// Returns the manifest of a bundle, byte for byte.
    pub async fn manifest(&self, digest: Digest) -> Result<Bytes, ClientError> {
        self.content(["v1", "config-bundles", &digest.to_string()], digest, self.shared.max_manifest_bytes).await
    }

    /// Removes an unused bundle.
    pub async fn remove_bundle(&self, digest: Digest) -> Result<(), ClientError> {
        self.request(Method::DELETE, ["v1", "config-bundles", &digest.to_string()]).send_ignore_body().await
    }

    /// Revokes a bundle and stops its workers. There are no retries. The operation is idempotent.
    pub async fn revoke_bundle(&self, digest: Digest) -> Result<BundleSummary, ClientError> {
        self.request(Method::POST, ["v1", "config-bundles", &digest.to_string(), "revoke"]).send_json().await
    }

    /// Pins a bundle under a name, so that it cannot be removed.
    pub async fn pin(&self, digest: Digest, name: &WorkerId) -> Result<(), ClientError> {
        self.request(Method::PUT, ["v1", "config-bundles", &digest.to_string(), "pins", name.as_str()])
            .send_ignore_body()
            .await
    }

    /// Removes a pin. The operation is idempotent.
    pub async fn unpin(&self, digest: Digest, name: &WorkerId) -> Result<(), ClientError> {
        self.request(Method::DELETE, ["v1", "config-bundles", &digest.to_string(), "pins", name.as_str()])
            .send_ignore_body()
            .await
    }

    /// Returns at most 100 users of a bundle (workers, pins) or a blob (bundles, workers).
    pub async fn users(&self, digest: Digest) -> Result<Vec<Referrer>, ClientError> {
        let request = self.request(Method::GET, ["v1", "config-bundles", &digest.to_string(), "users"]);
        let users = request.send_json::<BundleReferrers>().await?.users;
        let users = users.iter().map(|user| user.parse()).collect::<Result<_, _>>();
        users.map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))
    }

    /// Returns the rules that a stored bundle violates because they are newer than it.
    pub async fn bundle_findings(&self, digest: Digest) -> Result<Vec<BundleFinding>, ClientError> {
        let request = self.request(Method::GET, ["v1", "config-bundles", &digest.to_string(), "findings"]);
        Ok(request.send_json::<BundleFindings>().await?.findings)
    }
}

/// Returns the digest, the manifest and the envelope of a bundle.
pub fn signed_manifest(contents: &Contents) -> (Digest, Bytes, Option<Bytes>) {
    let bundle = contents.bundle();
    let envelope = contents.envelope().map(|envelope| Bytes::from(envelope.to_json()));
    (bundle.digest(), Bytes::from_owner(bundle.manifest_bytes().clone()), envelope)
}
