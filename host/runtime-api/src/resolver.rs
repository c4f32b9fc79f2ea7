//! Resolvers of a Runtime, as the API shows them.

use bundles::Digest;
use serde::{Deserialize, Serialize};

/// State of a resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResolverState {
    /// Examined and compiled. Requests may name it.
    Admitted,
    /// Used by requests that name no resolver, unless the config pins another one.
    Active,
    /// Was active before. Requests may name it, and a rollback may activate it again.
    Retired,
    /// Must not be used any more. This state is final.
    Revoked,
}

/// Summary of a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolverSummary {
    /// Digest of the component.
    pub digest: Digest,
    /// Size of the component in bytes.
    pub bytes: u64,
    /// State of the resolver.
    pub state: ResolverState,
    /// `true` if the state is `active`.
    pub active: bool,
    /// Time at which the resolver was admitted. Absent for the resolver that ships with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub admitted_at: Option<jiff::Timestamp>,
    /// Time at which the resolver was activated. Absent unless it is active and was activated by an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub activated_at: Option<jiff::Timestamp>,
    /// Time at which the resolver was revoked. Absent if it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}
