//! Tool calls: the request and its result.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Request to call a tool of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Input of the tool. It must be valid against the input schema that the bundle declares.
    pub input: Value,
    /// `true` if a person has confirmed the call. Required for tools for which the bundle demands confirmation.
    #[serde(default)]
    pub confirmed: bool,
}

/// Result of a tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallResult {
    /// Number of the entry that ends the call in the worker's history.
    pub entry: u64,
    /// Output of the tool. It is valid against the output schema that the bundle declares, if there is one.
    pub output: Value,
}
