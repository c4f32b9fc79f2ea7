//! Log lines of a worker's plugins.

use bundles::PluginName;
use serde::{Deserialize, Serialize};

/// A log line that a plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Number of the line, from 1 for each worker. A restart of the Runtime begins again.
    pub number: u64,
    /// Time at which the line was written.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// The plugin.
    pub plugin: PluginName,
    /// Severity, as the plugin states it.
    pub severity: LogSeverity,
    /// Text of the plugin, without control characters.
    pub text: String,
    /// `true` if the end of a longer line was cut off.
    pub is_truncated: bool,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogSeverity {
    /// Detail for the plugin's author.
    Debug,
    /// Normal operation.
    Info,
    /// Unexpected, but handled.
    Warn,
    /// Failure.
    Error,
}

impl LogSeverity {
    /// Returns the severity as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
