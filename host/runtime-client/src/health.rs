//! Whether a Runtime is there, and what it is.

use reqwest::{Method, StatusCode};
use runtime_api::body::{Readiness, RuntimeInfo};

use super::{Client, ClientError};

impl Client {
    /// What the Runtime is, for who has the scope `operator`.
    pub async fn runtime(&self) -> Result<RuntimeInfo, ClientError> {
        self.ask(Method::GET, ["v1", "runtime"]).answer().await
    }

    /// Whether the process answers. Needs no token.
    pub async fn live(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, ["livez"]).done().await
    }

    /// Whether it can do its work; a problem says why not. Needs no token.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, ["readyz"]).done().await
    }

    /// Whether it can do its work, part by part. Needs no token.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let ask = self.ask(Method::GET, ["readyz"]).query("verbose", "");
        ask.also(StatusCode::SERVICE_UNAVAILABLE).answer().await
    }
}
