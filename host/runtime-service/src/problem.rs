//! Error responses of this API, with their codes and statuses. Each error of the library maps to one [`Problem`].

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use component_host::LoadError;
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use host_tools::tool::ToolError;
use serde_json::{Value, json};
use worker_runtime::content::ContentError;
use worker_runtime::token::TokenError;
use worker_runtime::{Busy, CallError, ReloadError, ResolveError, ResolverError, WorkerError};

/// Error codes of this API with their statuses. A code keeps its meaning and its status.
pub const REGISTRY: &[(&str, u16)] = &[
    // Access.
    ("unauthenticated", 401),
    ("token_expired", 401),
    ("token_not_found", 404),
    ("scope_missing", 403),
    ("workspace_denied", 403),
    ("workspace_unnamed", 400),
    ("host_denied", 421),
    ("origin_denied", 403),
    ("rate_limited", 429),
    ("busy", 503),
    ("stopping", 503),
    ("no_entropy", 503),
    // The request itself.
    ("invalid_request", 400),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("unsupported_media_type", 415),
    ("body_too_large", 413),
    ("body_incomplete", 400),
    ("body_too_slow", 408),
    ("deadline_exceeded", 504),
    ("precondition_failed", 412),
    // Content.
    ("digest_mismatch", 422),
    ("too_large", 413),
    ("blob_not_found", 404),
    ("blob_damaged", 500),
    ("bundle_not_found", 404),
    ("bundle_revoked", 409),
    ("bundle_missing", 404),
    ("bundle_damaged", 500),
    ("revision_conflict", 409),
    ("in_use", 409),
    ("store_full", 507),
    ("store_unavailable", 503),
    ("data_folder_moved", 503),
    ("metadata_damaged", 500),
    ("contended", 503),
    ("no_signature_posture", 403),
    ("bundle_unsigned", 403),
    ("signature_invalid", 422),
    ("signing_key_unknown", 403),
    // Workers.
    ("worker_not_found", 404),
    ("worker_exists", 409),
    ("worker_stopped", 409),
    ("worker_not_stopped", 409),
    ("worker_suspended", 409),
    ("bundle_unnamed", 422),
    ("bundle_unwanted", 422),
    ("too_many_capabilities", 422),
    ("revision_older", 409),
    ("resolver_not_found", 404),
    ("resolver_revoked", 409),
    ("resolver_active", 409),
    ("resolver_pinned", 409),
    ("resolver_unavailable", 503),
    ("denied", 403),
    ("unknown_profile", 404),
    ("unmet_capability", 422),
    ("no_model", 422),
    ("unsupported_declaration", 422),
    ("resolver_misbehaved", 502),
    ("resolver_trapped", 502),
    ("resolver_malformed", 502),
    ("sandbox_unavailable", 503),
    ("limit_exceeded", 422),
    ("compiler_failed", 503),
    // Calls.
    ("tool_not_found", 404),
    ("confirmation_required", 409),
    ("calls_used_up", 409),
    ("history_full", 409),
    ("invalid_input", 422),
    ("invalid_output", 502),
    ("tool_panicked", 502),
    ("not_granted", 403),
    ("mount_unavailable", 502),
    ("secret_not_found", 502),
    ("secret_not_private", 502),
    ("secret_unusable", 502),
    ("secret_unavailable", 502),
    ("tool_refused", 422),
];

/// Status of a code that is not in the registry. Refusals of a bundle, an envelope or a component have many codes, and all of
/// them mean that the content is invalid.
const INVALID_CONTENT: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// An error response of this API.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(http_edge::Problem);

impl Problem {
    pub(crate) fn new(code: &str, detail: impl Into<String>, help: impl Into<String>) -> Self {
        let status = REGISTRY.iter().find(|(known, _)| *known == code).map(|(_, status)| *status);
        let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(INVALID_CONTENT);
        Self(http_edge::Problem::new(status, code, detail, help))
    }

    pub(crate) fn with_details(self, details: Value) -> Self {
        Self(self.0.with_details(details))
    }

    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self(self.0.with_status(status))
    }

    pub(crate) fn with_retry_after(self, after: Duration) -> Self {
        Self(self.0.with_retry_after(after))
    }

    /// Returns the stable error code.
    pub fn code(&self) -> &str {
        self.0.code()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<Busy> for Problem {
    fn from(error: Busy) -> Self {
        let details = json!({ "limit": error.limit });
        Self::new(error.code(), error.to_string(), error.help())
            .with_details(details)
            .with_retry_after(error.retry_after)
    }
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<ContentError> for Problem {
    fn from(error: ContentError) -> Self {
        let details = match &error {
            ContentError::Busy(busy) => return (*busy).into(),
            ContentError::Bundle(error) => json!({ "pointer": error.pointer() }),
            ContentError::RevisionConflict { revision, held_by } => json!({ "revision": revision, "held_by": held_by }),
            ContentError::InUse { users, .. } => json!({ "users": users }),
            ContentError::Full { limit, allowed } => json!({ "limit": limit, "allowed": allowed }),
            ContentError::TooLarge { limit, actual, allowed } => {
                json!({ "limit": limit, "actual": actual, "allowed": allowed })
            }
            _ => Value::Null,
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<WorkerError> for Problem {
    fn from(error: WorkerError) -> Self {
        let details = match error {
            WorkerError::Content(error) => return error.into(),
            WorkerError::Denied(ref refusals) => json!({ "refusals": refusals }),
            WorkerError::RevisionOlder { revision, newest } => json!({ "revision": revision, "newest": newest }),
            WorkerError::NotRunning { reason, .. } => json!({ "reason": reason }),
            WorkerError::Suspended { ref suspension, .. } => json!({ "reason": suspension.reason }),
            WorkerError::Resolve(ref error) => resolve_details(error),
            _ => Value::Null,
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

fn resolve_details(error: &ResolveError) -> Value {
    match error {
        ResolveError::Failed(failure) => serde_json::to_value(failure).unwrap_or_default(),
        ResolveError::Misbehaved(misbehaved) => json!({ "field": misbehaved.field }),
        ResolveError::Call(component_host::CallError::Limit { limit, allowed }) => {
            json!({ "limit": limit, "allowed": allowed })
        }
        ResolveError::Call(_) => Value::Null,
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let details = match error {
            CallError::Worker(error) => return error.into(),
            CallError::NotRunning { reason, .. } => json!({ "reason": reason }),
            CallError::InvalidInput { ref pointer, .. } => json!({ "pointer": pointer }),
            CallError::ValidationLimit { cause: tool_schema::IncompleteValidation::Work { .. }, .. } => {
                json!({ "limit": "schema_work" })
            }
            CallError::ToolNotGranted { ref refusal, .. } => json!({ "refusals": [refusal] }),
            CallError::CallsUsedUp { allowed, .. } => json!({ "allowed": allowed }),
            CallError::HistoryFull { entries } => json!({ "entries": entries }),
            // A tool defines its own codes, which are not codes of this API.
            CallError::Tool(ToolError::Refused { code, .. }) => {
                return Self::new("tool_refused", error.to_string(), error.help())
                    .with_details(json!({ "tool_code": code }));
            }
            _ => Value::Null,
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<ResolverError> for Problem {
    fn from(error: ResolverError) -> Self {
        let details = match &error {
            ResolverError::Load(LoadError::ForeignImport { imports, .. }) => json!({ "imports": imports }),
            ResolverError::Load(LoadError::CompileLimit { limit, allowed } | LoadError::Exceeds { limit, allowed }) => {
                json!({ "limit": limit, "allowed": allowed })
            }
            ResolverError::Full { limit, allowed } => json!({ "limit": limit, "allowed": allowed }),
            _ => Value::Null,
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl Problem {
    /// Returns the problem of an invalid query string.
    pub(crate) fn query() -> Self {
        Self::new("invalid_request", "invalid query string", "see /openapi.json")
    }

    /// Returns the problem of an invalid path parameter.
    pub(crate) fn path(expected: &'static str) -> Self {
        Self::new("invalid_request", format!("invalid path: expected {expected}"), "see /openapi.json")
    }

    /// Returns the problem of a body with the wrong media type.
    pub(crate) fn media_type(detail: &'static str, help: String) -> Self {
        Self::new("unsupported_media_type", detail, help)
    }
}
