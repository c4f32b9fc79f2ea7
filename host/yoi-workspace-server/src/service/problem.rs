//! Error responses of errors of the Backend.

use std::time::Duration;

use bundles::RuntimeName;
use runtime_service::ApiProblem;
use serde_json::{Value, json};

use crate::backend::BackendError;
use crate::link_error::LinkError;

/// Time after which a request can be sent again that a busy Runtime did not accept.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<BackendError> for ApiProblem {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Content(error) => error.into(),
            BackendError::WorkspaceNotFound(ref workspace) => {
                Self::new(error.code(), error.to_string(), error.help()).with_details(json!({ "workspace": workspace }))
            }
            BackendError::Link { ref runtime, error: ref link } => {
                let problem =
                    Self::new(error.code(), error.to_string(), error.help()).with_details(details(runtime, link));
                match link {
                    LinkError::Busy(_) => problem.with_retry_after(RETRY_AFTER),
                    _ => problem,
                }
            }
            BackendError::NotAllowed { ref runtime, .. } | BackendError::WorkerElsewhere { ref runtime, .. } => {
                Self::new(error.code(), error.to_string(), error.help()).with_details(json!({ "runtime": runtime }))
            }
            error => Self::new(error.code(), error.to_string(), error.help()),
        }
    }
}

/// Returns the Runtime of an error, and the details of its refusal.
fn details(runtime: &RuntimeName, error: &LinkError) -> Value {
    let mut fields = match error {
        LinkError::Refused { details, .. } => serde_json::to_value(details).unwrap_or_default(),
        LinkError::Unauthorized(code) => json!({ "refused": code }),
        _ => json!({}),
    };
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("runtime".to_owned(), json!(runtime));
    }
    fields
}
