//! Bodies of requests and responses of the Backend's API.

use std::collections::{BTreeMap, BTreeSet};

use bundles::{Digest, LabelKey, WorkspaceId};
use runtime_api::bundle::BundleSummary;
use runtime_api::token::{TokenGrant, TokenId, TokenSummary};
use runtime_api::worker::DisplayName;
use serde::{Deserialize, Serialize};

use crate::audit::AuditEntry;
use crate::desired::{Desired, Stage};
use crate::fleet::RuntimeView;
use crate::policy::{Decision, Labels};
use crate::token::BackendScope;

/// A workspace of the Backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceView {
    /// Id of the workspace.
    pub id: WorkspaceId,
    /// Labels of the workspace in the config of the Backend.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub labels: Labels,
    /// Metadata of the workspace in the desired bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub about: Option<WorkspaceMetadata>,
    /// The desired state. Absent before the first decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub desired: Option<Desired>,
    /// `true` if a Runtime refuses the newest decision during a rollout in stages, so that no further Runtime gets it.
    pub halted: bool,
    /// Bundles that were desired before, the newest first, at most 64.
    pub earlier: Vec<Digest>,
}

/// Metadata of a workspace, written by the author of a bundle. It has no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceMetadata {
    /// Display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Purpose, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Display name of the repository that the workspace is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// Labels, such as that of a project.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub labels: BTreeMap<LabelKey, String>,
}

/// Workspaces that the caller may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkspaceList {
    /// The workspaces, ordered by id.
    pub workspaces: Vec<WorkspaceView>,
}

/// Result of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Publication {
    /// The bundle was stored as a new revision, or was stored before.
    Published {
        /// The bundle.
        bundle: BundleSummary,
        /// `true` if it is a new revision.
        new: bool,
    },
    /// The bundle differs from the newest one only in revision, time and provenance. Nothing was stored.
    Unchanged {
        /// The newest bundle.
        bundle: BundleSummary,
    },
    /// Nothing was stored, because these blobs are missing.
    Missing {
        /// The blobs to upload before the manifest is sent again.
        missing: BTreeSet<Digest>,
    },
}

/// Request that makes a bundle the desired one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetDesiredRequest {
    /// Digest of the bundle.
    pub bundle: Digest,
    /// `true` if the bundle may be older than the newest one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub allow_older: bool,
    /// Runtimes that get the bundle first. Absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub stage: Option<Stage>,
}

/// Request that moves a rollout on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AdvanceRequest {
    /// The new stage. Absent for all Runtimes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub stage: Option<Stage>,
    /// `true` to go on although a Runtime refuses the bundle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub despite_refusals: bool,
}

/// Runtimes of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeViews {
    /// The Runtimes, ordered by name.
    pub runtimes: Vec<RuntimeView>,
}

/// A page of the audit log, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// Entries of the page.
    pub entries: Vec<AuditEntry>,
    /// Value of `after` for the next page. Absent if this is the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub next: Option<u64>,
}

/// Result of a decision about a workspace and a Runtime, in sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// A sentence for each finding of the decision, in the same order.
    pub sentences: Vec<Sentence>,
}

/// Sentence about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sentence {
    /// The rule and its result.
    pub text: String,
    /// Change of the config that would allow the pair. Absent if the rule allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub help: Option<String>,
}

impl From<Decision> for Explanation {
    fn from(decision: Decision) -> Self {
        let sentence = |finding| {
            let (text, help) = decision.sentence(finding);
            Sentence { text, help }
        };
        let sentences = decision.findings.iter().map(sentence).collect();
        Self { decision, sentences }
    }
}

/// Request for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IssueBackendTokenRequest {
    /// Name for people.
    pub name: DisplayName,
    /// Permissions.
    pub scopes: BTreeSet<BackendScope>,
    /// Workspaces in which the permissions hold.
    #[serde(default)]
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Time from which the token is invalid. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub expires_at: Option<jiff::Timestamp>,
}

impl IssueBackendTokenRequest {
    /// Returns the permissions of the token as a Runtime's registry of tokens keeps them.
    pub fn grant(&self) -> TokenGrant {
        TokenGrant {
            name: self.name.clone(),
            scopes: self.scopes.iter().map(|scope| scope.of_runtime()).collect(),
            workspaces: self.workspaces.clone(),
            expires_at: self.expires_at,
            connections: None,
            event_streams: None,
        }
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackendTokenSummary {
    /// Id of the token.
    pub id: TokenId,
    /// Name for people.
    pub name: DisplayName,
    /// Permissions.
    pub scopes: BTreeSet<BackendScope>,
    /// Workspaces in which the permissions hold.
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Time from which the token is invalid. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub expires_at: Option<jiff::Timestamp>,
    /// Time at which the token was revoked. Absent if it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}

impl From<TokenSummary> for BackendTokenSummary {
    fn from(token: TokenSummary) -> Self {
        let TokenGrant { name, scopes, workspaces, expires_at, .. } = token.grant;
        let scopes = BackendScope::ALL.into_iter().filter(|scope| scopes.contains(&scope.of_runtime())).collect();
        Self { id: token.id, name, scopes, workspaces, expires_at, revoked_at: token.revoked_at }
    }
}

/// All tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackendTokenList {
    /// The tokens, ordered by id.
    pub tokens: Vec<BackendTokenSummary>,
}

/// A new token. No other response contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedBackendToken {
    /// The token.
    pub token: String,
    /// The token without its secret.
    #[serde(flatten)]
    pub summary: BackendTokenSummary,
}

/// Omits the token.
impl std::fmt::Debug for IssuedBackendToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedBackendToken").field("summary", &self.summary).finish_non_exhaustive()
    }
}
