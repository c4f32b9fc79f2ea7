//! State of the Runtimes and of the workspaces on them, as the Backend last read it.

use std::collections::BTreeMap;
use std::fmt;

use bundles::{Digest, RuntimeName, SecretRef, WorkspaceId};
use error_code::Code;
use jiff::Timestamp;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle, Generation};
use runtime_api::runtime::RuntimeId;
use serde::{Deserialize, Serialize};

use crate::policy::{Labels, Names};

/// A refused decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Number of the refused decision.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub generation: Generation,
    /// Error code.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: Code,
    /// Time of the newest refusal.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: Timestamp,
}

/// Failures to use a Runtime at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContactFailure {
    /// Error code of the newest failure.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: Code,
    /// Time of the first failure since the last success.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub since: Timestamp,
}

impl ContactFailure {
    /// Returns `unreachable` if the Runtime does not answer, and `unusable` if it answers, but does not accept the Backend or
    /// gives answers that the Backend does not understand.
    pub fn word(&self) -> &'static str {
        match self.code {
            Code::Unreachable | Code::TimedOut => "unreachable",
            _ => "unusable",
        }
    }
}

/// Condition of a workspace on a Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum Condition {
    /// The policy does not allow the workspace on the Runtime.
    NotAllowed,
    /// The workspace has no desired bundle for the Runtime.
    NothingDesired,
    /// The Runtime acknowledged the decision and can use its bundle.
    InSync,
    /// The decision has not been delivered yet.
    Pending,
    /// The Runtime has a newer decision than it should have, because a rollout was narrowed.
    Ahead,
    /// The Runtime refuses the decision, or acknowledged it and cannot use its bundle.
    Refused {
        /// Error code.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        code: Code,
    },
    /// The Runtime does not answer, or does not accept the Backend.
    Unavailable(ContactFailure),
    /// The Runtime has not been read yet.
    Unknown,
}

/// A workspace on a Runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PairView {
    /// Condition of the pair.
    #[serde(flatten)]
    pub condition: Condition,
    /// The decision that the Runtime should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub desired: Option<DesiredBundle>,
    /// The decision that the Runtime acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub acknowledged: Option<AcknowledgedBundle>,
    /// The decision with which the Runtime was last in sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub last_good: Option<AcknowledgedBundle>,
    /// The newest refusal, if the Runtime has not acknowledged a decision since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub refusal: Option<Refusal>,
}

/// A Runtime of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeView {
    /// Name of the Runtime in the Backend.
    pub name: RuntimeName,
    /// Kind of access to the Runtime.
    pub access: Access,
    /// Labels of the Runtime.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: Labels,
    /// Time of the newest answer. Absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub last_seen: Option<Timestamp>,
    /// Failures since the newest answer. Absent if the Runtime answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub failure: Option<ContactFailure>,
    /// Newest report of the Runtime. Absent if it has never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub report: Option<RuntimeReport>,
    /// The workspaces that the caller may read.
    pub workspaces: BTreeMap<WorkspaceId, PairView>,
}

/// Request that adds a remote Runtime to the fleet, or replaces one that was added by a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterRuntimeRequest {
    /// URL of the Runtime.
    pub url: String,
    /// Name of the secret of the Backend's host that holds the token. It begins with `runtime-`, so that a request cannot make
    /// the Backend send other secrets to a URL.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^runtime-"))]
    pub token: SecretRef,
    /// `true` if the URL may be `http://` to another machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub allow_http: bool,
    /// Labels of the Runtime.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>, required = false))]
    pub labels: Labels,
    /// Workspaces that may be on the Runtime: their ids, or only `*` for all.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub workspaces: Names<WorkspaceId>,
    /// Labels that a workspace must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>, required = false))]
    pub requires: Labels,
}

/// Omits the URL.
impl fmt::Debug for RegisterRuntimeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterRuntimeRequest").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// Kind of access to a Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// In the process of the Backend.
    Embedded,
    /// Through the HTTP API of the Runtime.
    Remote,
    /// The Runtime polls the Backend.
    Pulled,
}

/// Newest report of a Runtime about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeReport {
    /// Id of the Runtime.
    pub id: RuntimeId,
    /// Version of its program, in at most 64 printable ASCII characters.
    pub version: String,
    /// Worlds whose components it can run.
    pub worlds: Vec<String>,
    /// Its active resolver.
    pub active_resolver: Digest,
}
