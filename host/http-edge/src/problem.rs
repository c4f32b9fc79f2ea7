//! Error responses: problem details (RFC 9457), composed of a stable code and of fields that are safe to show. Messages of
//! a store or of the operating system are never part of one.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime_api::Code;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::metrics::ResponseCode;

/// An error response.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<ProblemBody>);

/// Body of an error response (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Always `about:blank`. The kind of the problem is in `code`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Meaning of the status.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// Stable error code.
    #[schema(value_type = String)]
    code: Code,
    /// Description of the error.
    detail: String,
    /// Remedy.
    help: String,
    /// More fields for programs.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    details: Value,
    /// Seconds after which a retry makes sense.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<u64>,
}

impl Problem {
    /// Creates a problem with the status of its code.
    pub fn new(code: Code, detail: impl Into<String>, help: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self(Box::new(ProblemBody {
            kind: "about:blank",
            title: title(status),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            help: help.into(),
            details: Value::Null,
            retry_after: None,
        }))
    }

    /// Returns the problem with more fields for programs.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = details;
        self
    }

    /// Returns the problem with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self.0.title = title(status);
        self
    }

    /// Returns the problem with a `Retry-After` header of at least one second.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after.as_secs().max(1));
        self
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns the fields for programs, or null.
    pub fn details(&self) -> &Value {
        &self.0.details
    }

    /// Returns the description of the error.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Returns the remedy.
    pub fn help(&self) -> &str {
        &self.0.help
    }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after;
        let code = ResponseCode(self.0.code);
        let mut response = (status, Json(*self.0)).into_response();
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
