//! Error responses of errors of the Backend.

use runtime_service::ApiProblem;
use serde_json::json;

use crate::backend::BackendError;

impl From<BackendError> for ApiProblem {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Content(error) => error.into(),
            BackendError::WorkspaceNotFound(ref workspace) => {
                Self::new(error.code(), error.to_string(), error.help()).with_details(json!({ "workspace": workspace }))
            }
            error => Self::new(error.code(), error.to_string(), error.help()),
        }
    }
}
