//! Whether a Runtime is there, and what it is.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Client, ClientError};
use crate::{Capabilities, RuntimeSummary};

/// What a Runtime is and can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// What it is.
    pub runtime: RuntimeSummary,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl Client {
    /// What the Runtime is, for who has the scope `operator`.
    pub async fn runtime(&self) -> Result<RuntimeStatus, ClientError> {
        self.ask(Method::GET, ["v1", "runtime"]).answer().await
    }

    /// Whether the process answers. Needs no token.
    pub async fn live(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, ["livez"]).done().await
    }

    /// Whether it can do its work. Needs no token.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, ["readyz"]).done().await
    }
}
