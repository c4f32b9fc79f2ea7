//! Scopes of the Backend's tokens.

use std::fmt;
use std::str::FromStr;

use runtime_api::token::Scope;
use serde::{Deserialize, Serialize};

/// Permission of a token, in the workspaces that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BackendScope {
    /// Read bundles, the desired state and its condition on Runtimes.
    Read,
    /// Publish bundles, and decide which one is desired.
    Publish,
    /// Create and use workers.
    Workers,
    /// Administer the Backend: Runtimes, tokens and the audit log. Not bound to a workspace.
    Admin,
}

impl BackendScope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Publish, Self::Workers, Self::Admin];

    /// Returns the scope as it is written in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Workers => "workers",
            Self::Admin => "admin",
        }
    }

    /// Returns the scope of a Runtime's token that stands for this scope. The Backend keeps its tokens like a Runtime.
    pub fn of_runtime(self) -> Scope {
        match self {
            Self::Read => Scope::Read,
            Self::Publish => Scope::Bundles,
            Self::Workers => Scope::Workers,
            Self::Admin => Scope::Operator,
        }
    }

    /// Returns the name of the scope that a scope of a Runtime's token stands for.
    pub fn name_of(scope: Scope) -> &'static str {
        Self::ALL.into_iter().find(|own| own.of_runtime() == scope).map_or(scope.as_str(), Self::as_str)
    }
}

impl fmt::Display for BackendScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error returned for a text that is not a [`BackendScope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid scope: expected `read`, `publish`, `workers` or `admin`")]
pub struct InvalidBackendScope;

impl FromStr for BackendScope {
    type Err = InvalidBackendScope;

    fn from_str(text: &str) -> Result<Self, InvalidBackendScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidBackendScope)
    }
}
