//! Authentication and authorisation of a request: token, rate, scope and workspace.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bundles::WorkspaceId;
use http_edge::{RequestConnection, RequestLabels, ShareReached};
use runtime_api::token::{Scope, TokenSummary};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use utoipa::IntoParams;
use worker_runtime::token::TokenError;

use super::{Problem, Service};

pub(super) async fn not_found() -> Problem {
    Problem::new("not_found", "path not found", "see /openapi.json")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new("method_not_allowed", "method not allowed for this path", "see /openapi.json")
}

/// The token of a request.
#[derive(Debug)]
pub(crate) struct Caller(TokenSummary);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// Workspace of the request. Required if the token serves more than one.
    #[param(value_type = Option<WorkspaceId>)]
    workspace: Option<String>,
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(TokenError::Unknown)?;
        let management = service.runtime.management();
        if !management.is_known_token(&token) {
            service.rates.count_unknown().map_err(|_| {
                Problem::new("rate_limited", "too many requests with unknown tokens", "retry after a second")
                    .with_retry_after(RETRY_AFTER)
            })?;
        }
        let summary = management.authenticate(&token).await?;
        if let Some(labels) = parts.extensions.get::<RequestLabels>() {
            labels.set_token(summary.id.as_str());
        }
        service.rates.count(summary.id.as_str()).map_err(|_| {
            Problem::new("rate_limited", "too many requests with this token", "send fewer requests per second")
                .with_retry_after(RETRY_AFTER)
        })?;
        let connection = parts.extensions.get::<RequestConnection>().cloned();
        if let Some(connection) = connection {
            let marked = connection.mark_authenticated(summary.id.as_str(), summary.grant.connections).await;
            marked.map_err(|reached| share_reached("this token", reached))?;
        }
        Ok(Self(summary))
    }
}

/// Time after which a request above a rate limit or share may be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn share_reached(owner: &str, ShareReached { share }: ShareReached) -> Problem {
    Problem::new(
        "rate_limited",
        format!("the share of {owner} is reached ({share} connections)"),
        "wait until requests of it have ended, or use a token with a larger share",
    )
    .with_details(json!({ "limit": "connections", "allowed": share }))
    .with_retry_after(RETRY_AFTER)
}

fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.to_owned()))
}

impl Caller {
    /// Checks that the token has the scope `operator`.
    pub(crate) fn operator(&self) -> Result<(), Problem> {
        self.has(Scope::Operator)
    }

    /// Checks that the token may read what belongs to no workspace.
    pub(crate) fn reader(&self) -> Result<(), Problem> {
        self.has(Scope::Read).or_else(|missing| self.operator().map_err(|_| missing))
    }

    fn has(&self, scope: Scope) -> Result<(), Problem> {
        if self.0.grant.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Problem::new(
            "scope_missing",
            format!("the token does not have the scope `{scope}`"),
            "use a token that has the scope",
        ))
    }
}

/// The workspace of a request, with its token.
#[derive(Debug)]
pub(crate) struct Tenant {
    caller: Caller,
    workspace: WorkspaceId,
}

impl FromRequestParts<Arc<Service>> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, service).await?;
        let Asked(Named { workspace }) = Asked::from_request_parts(parts, service).await?;
        let workspace = match workspace {
            Some(name) => name.parse().map_err(|_| Problem::query())?,
            None => {
                let mut served = caller.0.grant.workspaces.iter();
                match (served.next(), served.next()) {
                    (Some(only), None) => only.clone(),
                    _ => {
                        return Err(Problem::new(
                            "workspace_unnamed",
                            "the request names no workspace, and the token serves more than one",
                            "name the workspace: `?workspace=ID`",
                        ));
                    }
                }
            }
        };
        // A name of a workspace that the token does not serve can be any text, so the log does not repeat it.
        if caller.0.grant.workspaces.contains(&workspace) {
            if let Some(labels) = parts.extensions.get::<RequestLabels>() {
                labels.set_workspace(workspace.as_str());
            }
            if let Some(connection) = parts.extensions.get::<RequestConnection>() {
                let counted = connection.mark_workspace(workspace.as_str(), caller.0.grant.connections);
                counted.map_err(|reached| share_reached("this workspace", reached))?;
            }
        }
        Ok(Self { caller, workspace })
    }
}

impl Tenant {
    /// Returns the workspace if the token may read it. Other workspaces look as if they were empty.
    pub(crate) fn read(&self) -> Result<Option<&WorkspaceId>, Problem> {
        self.caller.has(Scope::Read)?;
        Ok(self.caller.0.grant.workspaces.contains(&self.workspace).then_some(&self.workspace))
    }

    /// Returns the workspace if the token may read its lists. For other workspaces an empty list would be misleading, so
    /// that they are refused.
    pub(crate) fn list(&self) -> Result<&WorkspaceId, Problem> {
        self.write(Scope::Read)
    }

    /// Returns the token of the request.
    pub(crate) fn token(&self) -> &TokenSummary {
        &self.caller.0
    }

    /// Returns the workspace if the token has the scope in it.
    pub(crate) fn write(&self, scope: Scope) -> Result<&WorkspaceId, Problem> {
        self.caller.has(scope)?;
        if self.caller.0.grant.workspaces.contains(&self.workspace) {
            return Ok(&self.workspace);
        }
        Err(Problem::new(
            "workspace_denied",
            "the token does not serve the workspace",
            "use a token that serves the workspace",
        ))
    }
}

/// Extracts the query string.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::from_request_parts(parts, state).await.map_err(|_| Problem::query())?;
        Ok(Self(asked))
    }
}

/// Extracts the parameters of the path.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::path("a name"))?;
        Ok(Self(named))
    }
}

/// Parameters of a paged list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Last item of the previous page. The page begins after it.
    pub(crate) after: Option<String>,
    /// Maximum number of items. Default: 100. Values above 1000 count as 1000.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl Page {
    /// Maximum number of items of a page.
    pub(crate) const MOST: usize = 1000;

    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, Self::MOST)
    }
}
