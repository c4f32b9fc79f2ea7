//! Sessions of people on the Backend's pages, and the links that begin them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bundles::WorkspaceId;
use runtime_api::hex_id;
use runtime_api::token::TokenId;
use serde::{Deserialize, Serialize};

use crate::token::BackendScope;

hex_id! {
    /// Public id of a session: 16 lower-case hexadecimal digits. It grants no access.
    SessionId, InvalidSessionId, 16, "invalid session id: expected 16 lower-case hexadecimal digits",
    "public id of a session, which grants no access"
}

/// Request for a login link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginLinkRequest {
    /// Permissions of the session. Absent for those of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub scopes: Option<BTreeSet<BackendScope>>,
    /// Workspaces in which the permissions hold. Absent for those of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub workspaces: Option<BTreeSet<WorkspaceId>>,
}

/// A login link. No other response contains it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginLink {
    /// Path of the link on the Backend. It allows one login, to any person who has it.
    pub path: String,
    /// Time from which the link is invalid.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub expires_at: jiff::Timestamp,
}

/// Omits the path.
impl fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A session, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionSummary {
    /// Id of the session.
    pub id: SessionId,
    /// Token that issued the login link. The session ends with it.
    pub token: TokenId,
    /// Permissions.
    pub scopes: BTreeSet<BackendScope>,
    /// Workspaces in which the permissions hold.
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Time of the login.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub began_at: jiff::Timestamp,
    /// Time of the newest use, within a minute. Updates of an open page do not count.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub used_at: jiff::Timestamp,
    /// Time at which the session ends, whether it is used or not.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub ends_at: jiff::Timestamp,
}

/// Open sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// The sessions, ordered by id.
    pub sessions: Vec<SessionSummary>,
}
