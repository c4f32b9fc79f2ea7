//! State of a worker's services: the plugins of which one instance runs for the life of the worker.

use bundles::PluginName;
use serde::{Deserialize, Serialize};

/// A service of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceSummary {
    /// Plugin of the service.
    pub plugin: PluginName,
    /// Restarts in a row. A service that runs for long enough begins again at 0.
    pub restarts: u32,
    /// State of the service.
    #[serde(flatten)]
    pub state: ServiceState,
}

/// State of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ServiceState {
    /// The instance is being created, or its `start` runs.
    Starting,
    /// The instance takes calls and events.
    Running {
        /// `true` if the plugin says that the service can do its work. Absent until the plugin was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        ready: Option<bool>,
        /// Description of the state by the plugin, in one line. Empty until the plugin was asked.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        detail: String,
    },
    /// The instance ended with an error. Another one is started later.
    Restarting {
        /// Error code.
        code: String,
        /// Description of the error.
        reason: String,
        /// Time of the next start.
        #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
        at: jiff::Timestamp,
    },
    /// The instance ended with an error and is not started again, because the limit `service_restarts` is reached.
    Stopped {
        /// Error code.
        code: String,
        /// Description of the error.
        reason: String,
    },
}
