//! Bearer tokens: ids, scopes and grants. The secret of a token is never part of these types.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use bundles::WorkspaceId;
use serde::{Deserialize, Serialize};

use crate::hex_id::hex_id;
use crate::worker::DisplayName;

/// Permission of a token, in the workspaces that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read bundles, workers, histories and events.
    Read,
    /// Upload and remove bundles and blobs.
    Bundles,
    /// Create, stop and remove workers.
    Workers,
    /// Call tools.
    Call,
    /// Deliver events to the services of workers.
    Ingress,
    /// Read the status of the Runtime and the facts about its host.
    Status,
    /// Operate the Runtime: resolvers, tokens, metrics and garbage collection. Not bound to a workspace.
    Operator,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Bundles, Self::Workers, Self::Call, Self::Ingress, Self::Status, Self::Operator];

    /// Returns the scope as it is written in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Bundles => "bundles",
            Self::Workers => "workers",
            Self::Call => "call",
            Self::Ingress => "ingress",
            Self::Status => "status",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error returned for a text that is not a [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope: expected `read`, `bundles`, `workers`, `call`, `ingress`, `status` or `operator`")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidScope)
    }
}

/// Permissions and limits of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenGrant {
    /// Name for people.
    pub name: DisplayName,
    /// Permissions.
    pub scopes: BTreeSet<Scope>,
    /// Workspaces in which the permissions hold.
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Time from which the token is invalid. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub expires_at: Option<jiff::Timestamp>,
    /// Limit of concurrent connections, which replaces the service's `connection_share_percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, required = false))]
    pub connections: Option<NonZeroU32>,
    /// Limit of concurrent event streams, which replaces the service's `event_streams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub event_streams: Option<u32>,
}

impl TokenGrant {
    /// Returns `true` if the grant has the scope in the workspace.
    pub fn allows(&self, scope: Scope, workspace: &WorkspaceId) -> bool {
        self.scopes.contains(&scope) && self.workspaces.contains(workspace)
    }
}

hex_id! {
    /// Public id of a token: 16 lower-case hexadecimal digits. It grants no access.
    TokenId, InvalidTokenId, 16, "invalid token id: expected 16 lower-case hexadecimal digits",
    "public id of a token, which grants no access"
}

/// Summary of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSummary {
    /// Id of the token.
    pub id: TokenId,
    /// Permissions and limits.
    #[serde(flatten)]
    pub grant: TokenGrant,
    /// Time at which the token was issued.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub created_at: jiff::Timestamp,
    /// Time at which the token was revoked. Absent if it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}
