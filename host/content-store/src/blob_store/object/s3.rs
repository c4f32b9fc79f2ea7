//! How a bucket is reached: everything is said here, nothing is read from the environment, no proxy
//! is used, no redirect followed, and TLS is rustls with ring.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use http_client::Trust;
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret, SecretString};

use crate::blob_store::BlobError;

/// A bucket that speaks S3, and what opens it.
#[derive(Clone)]
pub struct S3Config {
    /// The address of the service, as `https://s3.example.com`; the bucket is named in the path.
    pub endpoint: String,
    /// The region that requests are signed for; `us-east-1` where the service has none.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// What all names begin with; empty for none.
    pub prefix: String,
    /// The name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: SecretString,
    /// Whether the endpoint may be `http://`, where anybody on the way can read and change what is
    /// kept.
    pub allow_http: bool,
    /// Certificates that are trusted besides those of the system, each in DER.
    pub certificates: Vec<Vec<u8>>,
}

/// A request that fails on the way is tried so often again.
const RETRIES: usize = 3;
/// After so long without a byte the other side is gone.
const SILENCE: Duration = Duration::from_secs(30);

const DOING: &str = "open the bucket";

impl S3Config {
    pub(super) fn prefix(&self) -> Path {
        Path::from(self.prefix.as_str())
    }

    pub(super) fn client(&self) -> Result<Arc<dyn ObjectStore>, BlobError> {
        let invalid = |_| BlobError::Unavailable { doing: DOING, kind: ErrorKind::InvalidInput };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: SILENCE,
        };
        let bucket = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_region(&self.region)
            .with_bucket_name(&self.bucket)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(self.secret_access_key.expose_secret())
            .with_virtual_hosted_style_request(false)
            .with_allow_http(self.allow_http)
            .with_retry(retry)
            .with_client_options(ClientOptions::new().with_allow_http(self.allow_http))
            .with_http_connector(Connector { certificates: self.certificates.clone(), allow_http: self.allow_http });
        Ok(Arc::new(bucket.build().map_err(invalid)?))
    }
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config").field("allow_http", &self.allow_http).finish_non_exhaustive()
    }
}

struct Connector {
    certificates: Vec<Vec<u8>>,
    allow_http: bool,
}

impl Connector {
    fn client(&self) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        Ok(http_client::builder(Trust::System { extra_roots: &self.certificates })?
            .https_only(!self.allow_http)
            .read_timeout(SILENCE)
            .build()?)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source| object_store::Error::Generic { store: "S3", source };
        Ok(HttpClient::new(self.client().map_err(failed)?))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
