//! Error responses of this API. Each error of the library maps to one [`ApiProblem`].

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use component_host::LoadError;
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use host_tools::tool::ToolError;
use runtime_api::Code;
use serde_json::{Value, json};
use worker_runtime::content::ContentError;
use worker_runtime::token::TokenError;
use worker_runtime::{Busy, CallError, IngressError, ReloadError, ResolveError, ResolverError, WorkerError};

/// An error response of this API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiProblem(http_edge::Problem);

impl ApiProblem {
    /// Creates a problem. `detail` says what failed, and `help` names the remedy.
    pub fn new(code: Code, detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self(http_edge::Problem::new(code, detail, help))
    }

    /// Adds a JSON object with the values that the detail names.
    pub fn with_details(self, details: Value) -> Self {
        Self(self.0.with_details(details))
    }

    /// Replaces the HTTP status of the code.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self(self.0.with_status(status))
    }

    /// Sets the time after which the request can be sent again.
    pub fn with_retry_after(self, after: Duration) -> Self {
        Self(self.0.with_retry_after(after))
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        self.0.code()
    }

    /// Returns the fields for programs, or null.
    pub fn details(&self) -> &Value {
        self.0.details()
    }

    /// Returns the description of the error.
    pub fn detail(&self) -> &str {
        self.0.detail()
    }

    /// Returns the remedy.
    pub fn help(&self) -> &str {
        self.0.help()
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<Busy> for ApiProblem {
    fn from(error: Busy) -> Self {
        let details = json!({ "limit": error.limit });
        Self::new(error.code(), error.to_string(), error.help())
            .with_details(details)
            .with_retry_after(error.retry_after)
    }
}

impl From<MetadataError> for ApiProblem {
    fn from(error: MetadataError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<TokenError> for ApiProblem {
    fn from(error: TokenError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<ContentError> for ApiProblem {
    fn from(error: ContentError) -> Self {
        let details = match &error {
            ContentError::Busy(busy) => return (*busy).into(),
            ContentError::Bundle(error) => json!({ "pointer": error.pointer() }),
            ContentError::RevisionConflict { revision, held_by } => json!({ "revision": revision, "held_by": held_by }),
            ContentError::RevisionOlder { revision, newest } => json!({ "revision": revision, "newest": newest }),
            ContentError::GenerationOlder { acknowledged, .. } => json!({ "acknowledged": acknowledged }),
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

impl From<WorkerError> for ApiProblem {
    fn from(error: WorkerError) -> Self {
        let details = match error {
            WorkerError::Content(error) => return error.into(),
            WorkerError::Denied(ref refusals) => json!({ "refusals": refusals }),
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
        ResolveError::Call(component_host::RunError::Limit { limit, allowed }) => {
            json!({ "limit": limit, "allowed": allowed })
        }
        ResolveError::Call(_) => Value::Null,
    }
}

impl From<CallError> for ApiProblem {
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
            CallError::Tool(ToolError::Refused { ref code, .. }) => json!({ "tool_code": code }),
            _ => Value::Null,
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<IngressError> for ApiProblem {
    fn from(error: IngressError) -> Self {
        let details = match error {
            IngressError::Worker(error) => return error.into(),
            IngressError::NotRunning { reason, .. } => json!({ "reason": reason }),
            IngressError::NotGranted { ref refusal, .. } => json!({ "refusals": [refusal] }),
            IngressError::Ambiguous { ref plugins, .. } => json!({ "plugins": [plugins.0, plugins.1] }),
            IngressError::QueueFull { allowed } => json!({ "limit": "ingress_queue", "allowed": allowed }),
            IngressError::HistoryFull { entries } => json!({ "entries": entries }),
            IngressError::TooLarge { limit, actual, allowed } => {
                json!({ "limit": limit, "actual": actual, "allowed": allowed })
            }
            _ => Value::Null,
        };
        let problem = Self::new(error.code(), error.to_string(), error.help()).with_details(details);
        match error {
            IngressError::QueueFull { .. } => problem.with_retry_after(QUEUE_RETRY_AFTER),
            _ => problem,
        }
    }
}

/// Time after which an event can be sent again that found the queue full.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<ResolverError> for ApiProblem {
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

impl From<BlobError> for ApiProblem {
    fn from(error: BlobError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<ReloadError> for ApiProblem {
    fn from(error: ReloadError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl ApiProblem {
    /// Returns the problem of an invalid query string.
    pub fn query() -> Self {
        Self::new(Code::InvalidRequest, "invalid query string", "see /openapi.json")
    }

    /// Returns the problem of an invalid path parameter.
    pub fn path(expected: &'static str) -> Self {
        Self::new(Code::InvalidRequest, format!("invalid path: expected {expected}"), "see /openapi.json")
    }

    /// Returns the problem of a body with the wrong media type.
    pub fn media_type(detail: &'static str, help: String) -> Self {
        Self::new(Code::UnsupportedMediaType, detail, help)
    }
}
