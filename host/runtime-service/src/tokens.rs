//! `/v1/tokens`: who may ask for what, for who runs the Runtime.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime_api::body::{IssueTokenRequest, IssuedToken, TokenList};
use runtime_api::token::{TokenGrant, TokenId, TokenSummary};
use secrecy::ExposeSecret;
use worker_runtime::token::TokenError;

use super::access::{At, Caller};
use super::workers::json;
use super::{Problem, Service};

/// Most bytes of a request for a token.
const TOKEN_BYTES: usize = 64 << 10;

/// Makes a token.
///
/// This answer is the only time that anybody sees it.
#[utoipa::path(post, path = "/v1/tokens", tag = "operation", operation_id = "issue_token", security(("token" = [])),
    request_body = IssueTokenRequest,
    responses((status = 201, description = "The token", body = IssuedToken)))]
pub(super) async fn issue(
    State(service): State<Arc<Service>>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    caller.operator()?;
    let IssueTokenRequest { name, scopes, workspaces, expires_at, connections, event_streams } =
        json(body, TOKEN_BYTES).await?;
    let not_zero = |connections| NonZeroU32::new(connections).ok_or(TokenError::InvalidLimit("connections"));
    let connections = connections.map(not_zero).transpose()?;
    let grant = TokenGrant { name, scopes, workspaces, expires_at, connections, event_streams };
    let (summary, token) = service.runtime.management().issue_token(grant, &*service.entropy).await?;
    let issued = IssuedToken { token: token.expose_secret().to_owned(), summary };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Json(issued)).into_response())
}

/// Lists the tokens.
#[utoipa::path(get, path = "/v1/tokens", tag = "operation", operation_id = "list_tokens", security(("token" = [])),
    responses((status = 200, description = "All of them, without what lets anybody in", body = TokenList)))]
pub(super) async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<TokenList>, Problem> {
    caller.operator()?;
    Ok(Json(TokenList { tokens: service.runtime.management().tokens().await? }))
}

/// Refuses a token from here on.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "operation", operation_id = "revoke_token",
    security(("token" = [])), params(("id" = TokenId, Path)),
    responses((status = 200, description = "It is revoked", body = TokenSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    caller: Caller,
    At(id): At<String>,
) -> Result<Json<TokenSummary>, Problem> {
    caller.operator()?;
    let id = id.parse().map_err(|_| Problem::path("a token's id"))?;
    Ok(Json(service.runtime.management().revoke_token(&id).await?))
}
