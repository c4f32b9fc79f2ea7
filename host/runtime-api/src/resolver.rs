//! Resolvers of a Runtime, as the API shows them.

use bundles::Digest;
use serde::{Deserialize, Serialize};

/// Summary of a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolverSummary {
    /// Digest of the component.
    pub digest: Digest,
    /// Size of the component in bytes.
    pub bytes: u64,
    /// `true` if requests that name no resolver use this one.
    pub active: bool,
    /// Time at which the resolver was admitted. Absent for the resolver that ships with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub admitted_at: Option<jiff::Timestamp>,
    /// Time at which the resolver was revoked. Absent if it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}
