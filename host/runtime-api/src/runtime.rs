//! A Runtime as a whole: identity, capabilities, usage and garbage collection.

use std::collections::BTreeMap;

use bundles::{Digest, ToolName, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Summary of a Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeSummary {
    /// Version of the program.
    pub version: String,
    /// Resolver that requests use which name none.
    pub active_resolver: Digest,
    /// Resolver that the config pins for all workspaces. Absent if it pins none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_resolver: Option<Digest>,
    /// Bundle that ships with the program.
    pub builtin_bundle: Digest,
    /// Resolvers that requests may name, including the active one.
    pub resolvers: Vec<Digest>,
    /// Workspaces that the config names.
    pub workspaces: Vec<WorkspaceId>,
}

/// Capabilities of a Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Capabilities {
    /// Host tools that the Runtime provides.
    pub tools: Vec<ToolName>,
    /// Worlds whose components the Runtime can run.
    pub worlds: Vec<String>,
}

/// Storage used by a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceUsage {
    /// Bytes of manifests, blobs, records and histories.
    pub bytes: u64,
    /// Number of bundles.
    pub bundles: u64,
    /// Number of workers, including stopped ones.
    pub workers: u64,
}

/// Result of a garbage collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Garbage {
    /// Result for each workspace.
    pub workspaces: BTreeMap<WorkspaceId, CollectionResult>,
    /// Number of removed blobs that belonged to no workspace. Such blobs remain if a process ends after it has received a
    /// blob and before it has acknowledged it.
    pub strays: u64,
}

/// Result of a garbage collection in one workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CollectionResult {
    /// Number of blobs that were removed from the workspace.
    pub blobs: u64,
    /// Size of the removed blobs in bytes.
    pub bytes: u64,
    /// Number of unused blobs that were not removed, because they were received a short while ago or a bundle that names
    /// them is being uploaded.
    pub young: u64,
}
