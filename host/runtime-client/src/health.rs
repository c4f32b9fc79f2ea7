//! Health checks and the summary of a Runtime.

use reqwest::{Method, StatusCode};
use runtime_api::body::{Readiness, RuntimeInfo};

use super::{Client, ClientError};

impl Client {
    /// Returns the version, capabilities and usage of the Runtime. Requires the scope `operator`.
    pub async fn runtime(&self) -> Result<RuntimeInfo, ClientError> {
        self.request(Method::GET, ["v1", "runtime"]).send_json().await
    }

    /// Checks that the process responds. Requires no token.
    pub async fn live(&self) -> Result<(), ClientError> {
        self.request(Method::GET, ["livez"]).send_ignore_body().await
    }

    /// Checks that the Runtime can process requests. Otherwise returns [`ClientError::Problem`]. Requires no token.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.request(Method::GET, ["readyz"]).send_ignore_body().await
    }

    /// Returns the result of each readiness check. Requires no token.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let request = self.request(Method::GET, ["readyz"]).query("verbose", "");
        request.accept_status(StatusCode::SERVICE_UNAVAILABLE).send_json().await
    }
}
