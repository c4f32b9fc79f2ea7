//! Requests of a Backend: the status of a Runtime, the facts about its host, and the desired bundle of a workspace.

use ::bundles::Digest;
use host_policy::Facts;
use reqwest::Method;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;

use super::{Client, ClientError, UnexpectedResponse};

impl Client {
    /// Returns the status of the Runtime, with those of the workspaces that the token serves.
    pub async fn status(&self) -> Result<RuntimeStatus, ClientError> {
        self.request(Method::GET, ["v1", "status"]).send_json().await
    }

    /// Returns the facts with this digest, which the status has, about the host of the Runtime.
    pub async fn facts(&self, digest: Digest) -> Result<Facts, ClientError> {
        let json = self.content(["v1", "facts"], digest, host_policy::FACTS_BOUNDS.bytes.1).await?;
        Facts::from_json(&json).map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))
    }

    /// Tells the Runtime which bundle the workspace should use. The operation is idempotent.
    pub async fn set_desired(&self, desired: &DesiredBundle) -> Result<AcknowledgedBundle, ClientError> {
        let request = self.request(Method::PUT, ["v1", "desired"]).json(desired);
        let acknowledged: AcknowledgedBundle = request.timeout(self.shared.timeouts.transfer).send_json().await?;
        if (acknowledged.generation, acknowledged.bundle) == (desired.generation, desired.bundle) {
            Ok(acknowledged)
        } else {
            Err(ClientError::Unexpected(UnexpectedResponse::Contradiction))
        }
    }
}
