//! Connection to a bucket. All settings are in [`S3Config`], and none is read from the environment. The client uses no
//! proxy, follows no redirect, and does TLS with rustls and ring.

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

/// Address and credentials of a bucket with the S3 API.
#[derive(Clone)]
pub struct S3Config {
    /// URL of the service, such as `https://s3.example.com`. Requests name the bucket in the path.
    pub endpoint: String,
    /// Region in the signature of requests. `us-east-1` if the service has no regions.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of all object names. May be empty.
    pub prefix: String,
    /// Id of the access key.
    pub access_key_id: String,
    /// Secret of the access key.
    pub secret_access_key: SecretString,
    /// Allows an `http://` endpoint. Everyone on the network path can then read and change the blobs.
    pub allow_http: bool,
    /// Root certificates that are trusted in addition to those of the system, each in DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Maximum number of retries after a failed request.
const MAX_RETRIES: usize = 3;
/// Maximum time between two received bytes, and of all retries of a request together.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const OPERATION: &str = "open the bucket";

impl S3Config {
    pub(super) fn prefix(&self) -> Path {
        Path::from(self.prefix.as_str())
    }

    pub(super) fn client(&self) -> Result<Arc<dyn ObjectStore>, BlobError> {
        let invalid = |_| BlobError::Unavailable { operation: OPERATION, kind: ErrorKind::InvalidInput };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: MAX_RETRIES,
            retry_timeout: READ_TIMEOUT,
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
            .read_timeout(READ_TIMEOUT)
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
