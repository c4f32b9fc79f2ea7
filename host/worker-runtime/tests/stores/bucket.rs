//! Tests of blobs in a bucket, over HTTP: the suites, and tests that apply only to a bucket.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bundles::Digest;
use worker_runtime::blob_store::{BlobError, BlobStore, ObjectBlobs, S3Config, source_from};

use super::CANARY;
use super::blobs::{LARGE, MOST, content, listed, place_of, put, put_and_drop};
use super::damage::TamperableStore;
use super::peer::{Peer, peer};

#[derive(Debug)]
struct Bucket {
    blobs: ObjectBlobs,
    peer: &'static Peer,
    name: String,
}

fn config(endpoint: String, bucket: &str) -> S3Config {
    S3Config {
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: bucket.to_owned(),
        prefix: "some/prefix".to_owned(),
        access_key_id: "key".to_owned(),
        secret_access_key: CANARY.to_owned().into(),
        allow_http: true,
        certificates: Vec::new(),
    }
}

impl Bucket {
    async fn fresh() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let peer = peer()?;
        let name = format!("bucket-{}", MADE.fetch_add(1, Ordering::Relaxed));
        assert_eq!(peer.send("PUT", &format!("/{name}"), b""), 200);
        let blobs = ObjectBlobs::s3(&config(format!("http://{}", peer.address), &name)).await.unwrap();
        Some(Self { blobs, peer, name })
    }
}

impl TamperableStore for Bucket {
    fn store(&self) -> &dyn BlobStore {
        &self.blobs
    }

    fn write_past_it(&self, digest: Digest, content: &[u8]) {
        let path = format!("/{}/some/prefix/{}", self.name, place_of(digest));
        assert_eq!(self.peer.send("PUT", &path, content), 200);
    }
}

async fn fresh() -> Option<(Arc<dyn BlobStore>, ())> {
    Some((Arc::new(Bucket::fresh().await?.blobs), ()))
}

super::blobs::suite!(fresh());
super::damage::damage!(Bucket::fresh());

#[tokio::test]
async fn two_prefixes_of_a_bucket_are_two_stores() {
    let Some(bucket) = Bucket::fresh().await else { return };
    let other = config(format!("http://{}", bucket.peer.address), &bucket.name);
    let other = ObjectBlobs::s3(&S3Config { prefix: String::new(), ..other }).await.unwrap();
    let (digest, _) = put(&bucket.blobs, &content(10)).await;
    assert_eq!(other.get(digest, MOST).await, Err(BlobError::NotFound(digest)));
    put(&other, &content(10)).await;
    bucket.blobs.remove(digest).await.unwrap();
    assert_eq!(listed(&other).await, [(digest, 10)]);
}

#[tokio::test]
async fn two_processes_put_the_same_blob_into_the_same_bucket() {
    let Some(bucket) = Bucket::fresh().await else { return };
    let other = config(format!("http://{}", bucket.peer.address), &bucket.name);
    let other = ObjectBlobs::s3(&other).await.unwrap();
    let right = content(LARGE);
    let (one, two) = tokio::join!(put(&bucket.blobs, &right), put(&other, &right));
    assert_eq!(one.0, two.0);
    assert!(bucket.blobs.get(one.0, MOST).await.unwrap() == right);
    assert!(other.get(one.0, MOST).await.unwrap() == right);
}

#[tokio::test]
async fn dropped_upload_is_aborted() {
    let Some(bucket) = Bucket::fresh().await else { return };
    put_and_drop(&bucket.blobs, &content(LARGE)).await;
    // The listing of a bucket with an unfinished upload differs from one without.
    while bucket.peer.list(&format!("/{}?uploads", bucket.name)).contains("<UploadId>") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn missing_bucket_is_an_error_and_not_an_empty_bucket() {
    let Some(bucket) = Bucket::fresh().await else { return };
    let endpoint = format!("http://{}", bucket.peer.address);
    let refused = ObjectBlobs::s3(&config(endpoint.clone(), CANARY)).await.unwrap_err();
    assert_eq!(refused, BlobError::Unavailable { operation: "open the bucket", kind: ErrorKind::NotFound });
    ObjectBlobs::s3(&config(endpoint, &bucket.name)).await.unwrap();
}

#[tokio::test]
async fn removed_bucket_is_an_error_and_its_blobs_are_not_missing() {
    let Some(bucket) = Bucket::fresh().await else { return };
    let (digest, _) = put(&bucket.blobs, &content(10)).await;
    bucket.blobs.remove(digest).await.unwrap();
    assert_eq!(bucket.blobs.get(digest, MOST).await, Err(BlobError::NotFound(digest)));
    assert_eq!(bucket.peer.send("DELETE", &format!("/{}", bucket.name), b""), 204);
    let gone = |operation| BlobError::Unavailable { operation, kind: ErrorKind::NotFound };
    assert_eq!(bucket.blobs.get(digest, MOST).await, Err(gone("read a blob")));
    assert_eq!(bucket.blobs.check(digest).await, Err(gone("read a blob")));
    let put = bucket.blobs.put(digest, source_from(content(10)), MOST).await;
    assert_eq!(put, Err(gone("write a blob")));
}

#[tokio::test]
async fn service_is_accepted_only_with_a_trusted_certificate() {
    if peer().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (peer, authority) = Peer::start_with_tls(folder.path());
    let config = S3Config {
        endpoint: format!("https://{}", peer.address),
        allow_http: false,
        ..config(String::new(), "bucket")
    };
    let refused = ObjectBlobs::s3(&config).await.unwrap_err();
    assert_eq!(refused.code(), "store_unavailable");
    let trusting = S3Config { certificates: vec![authority], ..config };
    // The service responds that the bucket does not exist.
    let reached = ObjectBlobs::s3(&trusting).await.unwrap_err();
    assert_eq!(reached, BlobError::Unavailable { operation: "open the bucket", kind: ErrorKind::NotFound });
}

#[tokio::test]
async fn error_of_an_unreachable_service_does_not_contain_its_address() {
    // No process listens on this port any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = ObjectBlobs::s3(&config(format!("http://{address}/{CANARY}"), "bucket")).await.unwrap_err();
    assert!(matches!(refused, BlobError::Unavailable { kind: ErrorKind::ConnectionRefused, .. }), "{refused:?}");
    let told = format!("{refused} {refused:?}");
    assert!(!told.contains(CANARY) && !told.contains(&address.port().to_string()), "{told}");
}

#[tokio::test]
async fn endpoint_without_tls_is_refused_unless_it_is_allowed() {
    let Some(bucket) = Bucket::fresh().await else { return };
    let plain = config(format!("http://{}", bucket.peer.address), &bucket.name);
    ObjectBlobs::s3(&S3Config { allow_http: false, ..plain.clone() }).await.unwrap_err();
    ObjectBlobs::s3(&plain).await.unwrap();
}

#[test]
fn configuration_does_not_show_its_key() {
    let config = config(format!("http://{CANARY}"), CANARY);
    assert!(!format!("{config:?}").contains(CANARY));
}
