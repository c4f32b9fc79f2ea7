//! Opens the access to Runtimes that requests add to the fleet.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backend_api::fleet::RegisterRuntimeRequest;
use runtime_api::Code;

use crate::runtime_link::RuntimeLink;

/// Opens the access to a Runtime. The program that embeds the Backend implements it, because it holds the secrets.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Returns the access to a Runtime. Sends nothing.
    async fn connect(&self, request: &RegisterRuntimeRequest) -> Result<Arc<dyn RuntimeLink>, ConnectorError>;
}

/// Error returned if the access to a Runtime cannot be opened. Its texts hold no URL and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// Stable error code.
    pub code: Code,
    /// Description.
    pub message: String,
    /// Remedy.
    pub help: String,
}

/// A connector for a Backend whose Runtimes all come from its config.
#[derive(Debug, Clone, Copy)]
pub struct NoConnector;

#[async_trait]
impl Connector for NoConnector {
    async fn connect(&self, _: &RegisterRuntimeRequest) -> Result<Arc<dyn RuntimeLink>, ConnectorError> {
        Err(ConnectorError {
            code: Code::InvalidConfig,
            message: "this Backend takes Runtimes only from its config".to_owned(),
            help: "add the Runtime to the config".to_owned(),
        })
    }
}
