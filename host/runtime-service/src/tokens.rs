//! `/v1/tokens`.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runtime_api::body::{IssueTokenRequest, IssuedToken, TokenList};
use runtime_api::token::{TokenGrant, TokenId, TokenSummary};
use secrecy::ExposeSecret;
use worker_runtime::token::TokenError;

use super::access::Operator;
use super::extract::{PathParams, RequestBody};
use super::{ApiProblem, Service};

/// Maximum size of a request for a token.
const MAX_TOKEN_REQUEST_BYTES: usize = 64 << 10;

/// Issues a token.
///
/// No other response contains the token itself.
#[utoipa::path(post, path = "/v1/tokens", tag = "operation", operation_id = "issue_token", security(("token" = [])),
    request_body = IssueTokenRequest,
    responses((status = 201, description = "The token", body = IssuedToken)))]
pub(super) async fn issue(
    State(service): State<Arc<Service>>,
    _: Operator,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let IssueTokenRequest { name, scopes, workspaces, expires_at, connections, event_streams } =
        body.json(MAX_TOKEN_REQUEST_BYTES).await?;
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
    responses((status = 200, description = "All tokens, without their secret part", body = TokenList)))]
pub(super) async fn list(State(service): State<Arc<Service>>, _: Operator) -> Result<Json<TokenList>, ApiProblem> {
    Ok(Json(TokenList { tokens: service.runtime.management().tokens().await? }))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "operation", operation_id = "revoke_token",
    security(("token" = [])), params(("id" = TokenId, Path)),
    responses((status = 200, description = "The token is revoked", body = TokenSummary)))]
pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    _: Operator,
    PathParams(id): PathParams<TokenId>,
) -> Result<Json<TokenSummary>, ApiProblem> {
    Ok(Json(service.runtime.management().revoke_token(&id).await?))
}
