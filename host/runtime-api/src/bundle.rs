//! Stored bundles, as the API shows them.

use bundles::{BundleError, Digest, Revision};
use serde::{Deserialize, Serialize};

/// Summary of a stored bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleSummary {
    /// Digest of the bundle.
    pub digest: Digest,
    /// Revision of the bundle in its workspace.
    pub revision: Revision,
    /// Size in bytes of the manifest and of all blobs that travel with it. Plugin packages do not count.
    pub bytes: u64,
    /// Number of blobs that travel with the bundle.
    pub blobs: u32,
    /// Time at which the bundle was stored.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub stored_at: jiff::Timestamp,
    /// Ids of the keys whose signatures the config required and found.
    pub signed_by: Vec<String>,
    /// Time at which the bundle was revoked. Absent if it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}

/// Violation of a rule that is newer than the stored bundle that violates it.
///
/// A new upload of the same bundle is refused. Texts name places and never hold content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleFinding {
    /// Code of the refusal.
    pub code: String,
    /// Place in the manifest, as a JSON pointer. `None` for the manifest as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Description of the violation.
    pub message: String,
}

impl From<&BundleError> for BundleFinding {
    fn from(error: &BundleError) -> Self {
        let pointer = error.pointer().map(|pointer| pointer.as_str().to_owned());
        Self { code: error.code().to_string(), pointer, message: error.to_string() }
    }
}
