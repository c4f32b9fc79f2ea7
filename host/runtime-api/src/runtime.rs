//! A Runtime as a whole: identity, capabilities, usage and garbage collection.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bundles::{Digest, Revision, ToolName, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::desired::AcknowledgedBundle;
use crate::hex_id::hex_id;

hex_id! {
    /// Id of a Runtime: 32 lower-case hexadecimal digits. Created at random with the Runtime's data, and then permanent.
    RuntimeId, InvalidRuntimeId, 32, "invalid Runtime id: expected 32 lower-case hexadecimal digits",
    "id of a Runtime, which is permanent"
}

/// Summary of a Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeSummary {
    /// Id of the Runtime.
    pub id: RuntimeId,
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

/// Status of a Runtime, as a Backend reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeStatus {
    /// Id of the Runtime.
    pub id: RuntimeId,
    /// Version of the program.
    pub version: String,
    /// Worlds whose components the Runtime can run.
    pub worlds: Vec<String>,
    /// Resolver that requests use which name none.
    pub active_resolver: Digest,
    /// Status of each workspace that the token serves and that the config names.
    pub workspaces: BTreeMap<WorkspaceId, WorkspaceStatus>,
}

/// Status of a workspace on a Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceStatus {
    /// Digest of the facts that resolvers get.
    pub facts: Digest,
    /// Resolver of requests which name none: the active one, unless the config pins another one.
    pub resolver: Digest,
    /// Newest revision that was ever stored. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub newest_revision: Option<Revision>,
    /// The decision of the Backend that the Runtime acknowledged last. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub acknowledged: Option<AcknowledgedBundle>,
    /// Error code with which the Runtime would now refuse the acknowledged bundle. Absent if it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub fault: Option<String>,
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
