//! Workers of the fleet, with the Runtimes that have them.

use bundles::RuntimeName;
use error_code::Code;
use runtime_api::worker::{WorkerId, WorkerSummary};
use serde::{Deserialize, Serialize};

/// A worker, with its Runtime. The Backend replaces texts of the Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// Summary of the worker.
    #[serde(flatten)]
    pub worker: WorkerSummary,
    /// Runtime of the worker.
    pub runtime: RuntimeName,
}

/// A page of workers, ordered by id. Clients of a Runtime can read it as its page of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerViewPage {
    /// Workers of the page.
    pub workers: Vec<WorkerView>,
    /// Value of `after` for the next page. Absent if this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub next: Option<WorkerId>,
    /// Runtimes whose workers are missing in the page, because they did not answer or may not be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub unavailable: Vec<UnavailableRuntime>,
}

/// A Runtime that did not answer a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnavailableRuntime {
    /// The Runtime.
    pub runtime: RuntimeName,
    /// Error code.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: Code,
}
