//! Who asks, and whether they may: the checks that every request passes before it is looked at.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bundles::WorkspaceId;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use utoipa::IntoParams;

use super::connections::{RequestConnection, ShareReached};
use super::observe::Who;
use super::{Problem, Service};
use crate::token::{Scope, TokenSummary};

/// Names under which clients may ask for a service, and pages that may ask for it. Checked also on
/// loopback: a page that a browser shows can reach that, under a name that its own server chose.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// What `Host` may say: names and addresses, with the port where it is not the scheme's own.
    pub hosts: BTreeSet<String>,
    /// What `Origin` may say; none means that no page may ask.
    pub origins: BTreeSet<String>,
}

/// Limits the requests of each token, and the look-ups of all unknown tokens together.
pub(crate) struct Rates {
    tokens: DefaultKeyedRateLimiter<String>,
    strangers: DefaultDirectRateLimiter,
}

/// Requests with unknown tokens a second. Each costs a look-up in the store.
const STRANGERS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

impl Rates {
    pub(crate) fn new(per_second: u32) -> Self {
        let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            tokens: RateLimiter::keyed(
                Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(1))),
            ),
            strangers: RateLimiter::direct(Quota::per_second(STRANGERS)),
        }
    }

    /// Allows the look-up of an unknown token.
    fn look_up_unknown(&self) -> Result<(), Problem> {
        if self.strangers.check().is_ok() {
            return Ok(());
        }
        let told = "too many ask with tokens that are not known";
        Err(Problem::new("rate_limited", told, "ask again in a second").again_in_a_second())
    }

    fn take(&self, token: &str) -> Result<(), Problem> {
        self.tokens.check_key(&token.to_owned()).map_err(|_| {
            Problem::new("rate_limited", "this token asks too often", "ask less often").again_in_a_second()
        })
    }
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rates").field(&self.tokens.len()).finish()
    }
}

pub(super) async fn host_and_origin(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match allowed(&service.hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn allowed(hosts: &Hosts, request: &Request) -> Result<(), Problem> {
    let text = |name| request.headers().get_all(name).iter().map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let said = match request.uri().authority() {
        Some(authority) => vec![Some(authority.as_str())],
        None => text(header::HOST),
    };
    if !matches!(said.as_slice(), [Some(host)] if hosts.hosts.contains(&host.to_ascii_lowercase())) {
        return Err(Problem::new(
            "host_denied",
            "this service is not known by that name",
            "ask for it by a name of its config (`hosts`)",
        ));
    }
    if text(header::ORIGIN).iter().any(|origin| !origin.is_some_and(|origin| hosts.origins.contains(origin))) {
        return Err(Problem::new(
            "origin_denied",
            "pages of that origin may not ask",
            "add the origin to the service's config (`origins`) if you trust it",
        ));
    }
    Ok(())
}

pub(super) async fn not_found() -> Problem {
    Problem::new("not_found", "there is nothing at that path", "see /openapi.json")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new("method_not_allowed", "that path does not take that method", "see /openapi.json")
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Caller(TokenSummary);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// The workspace, where the token serves more than one.
    #[param(value_type = Option<WorkspaceId>)]
    workspace: Option<String>,
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(crate::token::TokenError::Unknown)?;
        let management = service.runtime.management();
        if !management.is_known(&token) {
            service.rates.look_up_unknown()?;
        }
        let summary = management.authenticate(&token).await?;
        if let Some(who) = parts.extensions.get::<Who>() {
            who.is_token(&summary.id);
        }
        service.rates.take(summary.id.as_str())?;
        let connection = parts.extensions.get::<RequestConnection>().cloned();
        if let Some(connection) = connection {
            connection.mark_authenticated(&summary).await.map_err(|reached| share_reached("this token", reached))?;
        }
        Ok(Self(summary))
    }
}

fn share_reached(owner: &str, ShareReached { share }: ShareReached) -> Problem {
    Problem::new(
        "rate_limited",
        format!("{owner} has {share} connections in use, which is its share"),
        "end some of its requests first, or have a token issued with a larger share",
    )
    .with(json!({ "limit": "connections", "allowed": share }))
    .again_in_a_second()
}

fn bearer(headers: &HeaderMap) -> Option<SecretString> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.to_owned()))
}

impl Caller {
    /// The operator, or nobody.
    pub(crate) fn operator(&self) -> Result<(), Problem> {
        self.has(Scope::Operator)
    }

    /// Who may see what belongs to no workspace.
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
            "have a token made that has the scope",
        ))
    }
}

/// The workspace that a request is about.
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
                            "the token does not serve one workspace alone",
                            "say which is meant: `?workspace=ID`",
                        ));
                    }
                }
            }
        };
        // Any other name is the client's own word, which the log does not repeat.
        if caller.0.grant.workspaces.contains(&workspace) {
            if let Some(who) = parts.extensions.get::<Who>() {
                who.is_workspace(&workspace);
            }
            if let Some(connection) = parts.extensions.get::<RequestConnection>() {
                let counted = connection.mark_workspace(&workspace, &caller.0);
                counted.map_err(|reached| share_reached("this workspace", reached))?;
            }
        }
        Ok(Self { caller, workspace })
    }
}

impl Tenant {
    /// The workspace, where the caller may see it. For any other there is nothing to be seen.
    pub(crate) fn read(&self) -> Result<Option<&WorkspaceId>, Problem> {
        self.caller.has(Scope::Read)?;
        Ok(self.caller.0.grant.workspaces.contains(&self.workspace).then_some(&self.workspace))
    }

    /// The workspace whose lists are read. An empty list would say that there is nothing in a workspace that
    /// the token does not serve, whether or not there is one of that name.
    pub(crate) fn list(&self) -> Result<&WorkspaceId, Problem> {
        self.write(Scope::Read)
    }

    /// The token of the request.
    pub(crate) fn token(&self) -> &TokenSummary {
        &self.caller.0
    }

    /// The workspace, where the caller may change it in that way.
    pub(crate) fn write(&self, scope: Scope) -> Result<&WorkspaceId, Problem> {
        self.caller.has(scope)?;
        if self.caller.0.grant.workspaces.contains(&self.workspace) {
            return Ok(&self.workspace);
        }
        Err(Problem::new(
            "workspace_denied",
            "the token does not serve that workspace",
            "have a token made that serves the workspace",
        ))
    }
}

/// The query, or a problem.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(asked) = Query::from_request_parts(parts, state).await.map_err(|_| Problem::query())?;
        Ok(Self(asked))
    }
}

/// What the path names, or a problem.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::path("a name"))?;
        Ok(Self(named))
    }
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The last that was seen; the page begins after it.
    pub(crate) after: Option<String>,
    /// How many at the most; 100 where it is not said, and never more than 1000.
    #[param(minimum = 0)]
    limit: Option<usize>,
}

impl Page {
    /// Most items of a page.
    pub(crate) const MOST: usize = 1000;

    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, Self::MOST)
    }
}
