//! Placements: the Runtimes on which a worker could run, and the requirements that the others do not meet.

use bundles::{Digest, RuntimeName};
use error_code::Code;
use serde::{Deserialize, Serialize};

use crate::refusal::RefusedSubject;

/// Runtimes on which a worker could run, and what the others lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlacementTable {
    /// Digest of the bundle. Absent for a profile of the built-in bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub bundle: Option<Digest>,
    /// The Runtimes that the workspace may use, ordered by name.
    pub runtimes: Vec<Placement>,
}

/// Result for one Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placement {
    /// The Runtime.
    pub runtime: RuntimeName,
    /// `true` if the published facts have everything that the worker requires.
    pub can_run: bool,
    /// Error code of the resolution, or the code with which the facts could not be read. Absent if the profile was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = false))]
    pub code: Option<Code>,
    /// Requirements that the Runtime does not meet. Items with the need `optional` only narrow the worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub missing: Vec<RefusedSubject>,
    /// `true` if the Runtime uses another resolver, whose result may differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub other_resolver: bool,
}
