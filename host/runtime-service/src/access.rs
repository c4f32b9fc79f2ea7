//! Authentication and authorization of requests, as extractors.
//!
//! [`Operator`], [`Reader`] and [`StatusReader`] authorize requests that concern no workspace, [`Tenant`] and [`Authorized`]
//! those that concern one. A handler takes one of them before all other extractors. Each of them authenticates the token and
//! counts the request. The state of the routes must contain the service (`Arc<Service>: FromRef<State>`), so that other APIs
//! over the tokens of a Runtime can use them too.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bundles::WorkspaceId;
use http_edge::{RequestConnection, RequestLabels, ShareReached};
use runtime_api::Code;
use runtime_api::token::{Scope, TokenSummary};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use worker_runtime::token::TokenError;

use super::extract::QueryParams;
use super::{ApiProblem, Service};

pub(super) async fn not_found() -> ApiProblem {
    ApiProblem::new(Code::NotFound, "path not found", "see /openapi.json")
}

pub(super) async fn method_not_allowed() -> ApiProblem {
    ApiProblem::new(Code::MethodNotAllowed, "method not allowed for this path", "see /openapi.json")
}

/// The authenticated token of a request.
#[derive(Debug)]
struct Caller {
    token: TokenSummary,
    /// Returns the name of a scope in error messages.
    scope_name: fn(Scope) -> &'static str,
}

/// Query parameter that names the workspace of a request.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceQuery {
    /// Workspace of the request. Required unless the token serves exactly one.
    workspace: Option<WorkspaceId>,
}

impl<T: Send + Sync> FromRequestParts<T> for Caller
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let service = Arc::<Service>::from_ref(state);
        let token = bearer(&parts.headers).ok_or(TokenError::Unknown)?;
        let management = service.runtime.management();
        if !management.is_known_token(&token) {
            service.count_unknown()?;
        }
        let summary = management.authenticate(&token).await?;
        service.count_request(parts, &summary).await?;
        Ok(Self { token: summary, scope_name: service.scope_name })
    }
}

impl Service {
    /// Counts a request whose credential must be looked up. Fails if there are too many of them.
    pub fn count_unknown(&self) -> Result<(), ApiProblem> {
        self.rates.count_unknown().map_err(|_| {
            ApiProblem::new(Code::RateLimited, "too many requests with unknown tokens", "retry after a second")
                .with_retry_after(RETRY_AFTER)
        })
    }

    /// Counts a request of the holder of a token against the rate and the connections of the token, and names the token in
    /// the log. The routes of this package call it themselves. Routes that authenticate in another way must call it.
    pub async fn count_request(&self, parts: &Parts, token: &TokenSummary) -> Result<(), ApiProblem> {
        if let Some(labels) = parts.extensions.get::<RequestLabels>() {
            labels.set_token(token.id.as_str());
        }
        self.rates.count(token.id.as_str()).map_err(|_| {
            ApiProblem::new(Code::RateLimited, "too many requests with this token", "send fewer requests per second")
                .with_retry_after(RETRY_AFTER)
        })?;
        let connection = parts.extensions.get::<RequestConnection>().cloned();
        if let Some(connection) = connection {
            let marked = connection.mark_authenticated(token.id.as_str(), token.grant.connections).await;
            marked.map_err(|reached| share_reached("this token", reached))?;
        }
        Ok(())
    }
}

/// Time after which a request above a rate limit or share can be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

fn share_reached(owner: &str, ShareReached { share }: ShareReached) -> ApiProblem {
    ApiProblem::new(
        Code::RateLimited,
        format!("the share of {owner} is reached ({share} connections)"),
        "wait until its other requests have ended, or use a token with a larger share",
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
    fn require(&self, scope: Scope) -> Result<(), ApiProblem> {
        if self.token.grant.scopes.contains(&scope) {
            return Ok(());
        }
        Err(ApiProblem::new(
            Code::ScopeMissing,
            format!("the token does not have the scope `{}`", (self.scope_name)(scope)),
            "use a token that has the scope",
        ))
    }
}

/// Authorizes a request of a token with the scope `operator`.
#[derive(Debug)]
pub struct Operator(Caller);

impl<T: Send + Sync> FromRequestParts<T> for Operator
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Operator)?;
        Ok(Self(caller))
    }
}

impl Operator {
    /// Returns the token of the request.
    pub fn token(&self) -> &TokenSummary {
        &self.0.token
    }
}

/// Authorizes a request that reads what belongs to no workspace. The token has the scope `read` or `operator`.
#[derive(Debug)]
pub struct Reader(Caller);

impl<T: Send + Sync> FromRequestParts<T> for Reader
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Read).or_else(|missing| caller.require(Scope::Operator).map_err(|_| missing))?;
        Ok(Self(caller))
    }
}

impl Reader {
    /// Returns the token of the request.
    pub fn token(&self) -> &TokenSummary {
        &self.0.token
    }
}

/// Authorizes a request for the status of the Runtime. The token has the scope `status`.
#[derive(Debug)]
pub struct StatusReader(Caller);

impl<T: Send + Sync> FromRequestParts<T> for StatusReader
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Status)?;
        Ok(Self(caller))
    }
}

impl StatusReader {
    /// Returns the workspaces that the token serves.
    pub fn workspaces(&self) -> &BTreeSet<WorkspaceId> {
        &self.0.token.grant.workspaces
    }

    /// Returns the token of the request.
    pub fn token(&self) -> &TokenSummary {
        &self.0.token
    }
}

/// The workspace of a request, with its token. Not yet authorized: the token may serve other workspaces only. Use
/// [`Tenant::readable_or`].
#[derive(Debug)]
pub struct Tenant {
    caller: Caller,
    workspace: WorkspaceId,
}

impl<T: Send + Sync> FromRequestParts<T> for Tenant
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let QueryParams(WorkspaceQuery { workspace }) = QueryParams::from_request_parts(parts, state).await?;
        let workspace = match workspace {
            Some(workspace) => workspace,
            None => {
                let mut served = caller.token.grant.workspaces.iter();
                match (served.next(), served.next()) {
                    (Some(only), None) => only.clone(),
                    _ => {
                        return Err(ApiProblem::new(
                            Code::WorkspaceUnnamed,
                            "the request names no workspace, and the token does not serve exactly one",
                            "name the workspace: `?workspace=ID`",
                        ));
                    }
                }
            }
        };
        // The name of a workspace that the token does not serve can be any text, so the log does not contain it.
        let tenant = Self { caller, workspace };
        if tenant.is_served() {
            if let Some(labels) = parts.extensions.get::<RequestLabels>() {
                labels.set_workspace(tenant.workspace.as_str());
            }
            if let Some(connection) = parts.extensions.get::<RequestConnection>() {
                let share = tenant.caller.token.grant.connections;
                let marked = connection.mark_workspace(tenant.workspace.as_str(), share);
                marked.map_err(|reached| share_reached("this workspace", reached))?;
            }
        }
        Ok(tenant)
    }
}

impl Tenant {
    /// Returns the workspace. Fails with `scope_missing` if the token does not have the scope `read`, and with `not_found()`
    /// if it does not serve the workspace, so that a client cannot tell a workspace of others from an empty one.
    pub fn readable_or<E: Into<ApiProblem>>(&self, not_found: impl FnOnce() -> E) -> Result<&WorkspaceId, ApiProblem> {
        self.caller.require(Scope::Read)?;
        if self.is_served() { Ok(&self.workspace) } else { Err(not_found().into()) }
    }

    /// Returns the token of the request.
    pub fn token(&self) -> &TokenSummary {
        &self.caller.token
    }

    fn is_served(&self) -> bool {
        self.caller.token.grant.workspaces.contains(&self.workspace)
    }
}

/// A scope that a route requires, as a type.
pub trait RequiredScope {
    /// The scope.
    const SCOPE: Scope;
}

macro_rules! required_scopes {
    ($($name:ident = $scope:ident),*) => {$(
        #[doc = concat!("Scope `", stringify!($scope), "`.")]
        #[derive(Debug)]
        pub struct $name;

        impl RequiredScope for $name {
            const SCOPE: Scope = Scope::$scope;
        }
    )*};
}

required_scopes! {
    ReadScope = Read, BundlesScope = Bundles, WorkersScope = Workers, CallScope = Call, IngressScope = Ingress,
    StatusScope = Status, OperatorScope = Operator
}

/// Authorizes a request of a token that serves the workspace and has the scope `S`. Lists of a whole workspace use it
/// too, because an empty list for a workspace of others would be misleading.
#[derive(Debug)]
pub struct Authorized<S> {
    tenant: Tenant,
    scope: PhantomData<S>,
}

impl<S: RequiredScope, T: Send + Sync> FromRequestParts<T> for Authorized<S>
where
    Arc<Service>: FromRef<T>,
{
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiProblem> {
        let tenant = Tenant::from_request_parts(parts, state).await?;
        tenant.caller.require(S::SCOPE)?;
        if tenant.is_served() {
            return Ok(Self { tenant, scope: PhantomData });
        }
        Err(ApiProblem::new(
            Code::WorkspaceDenied,
            "the token does not serve the workspace",
            "use a token that serves the workspace",
        ))
    }
}

impl<S> Authorized<S> {
    /// Returns the workspace of the request.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.tenant.workspace
    }

    /// Returns the token of the request.
    pub fn token(&self) -> &TokenSummary {
        &self.tenant.caller.token
    }
}
