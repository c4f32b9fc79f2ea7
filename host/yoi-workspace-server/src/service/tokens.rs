//! `/v1/tokens`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::audit::Action;
use backend_api::body::{BackendTokenList, BackendTokenSummary, IssueBackendTokenRequest, IssuedBackendToken};
use runtime_api::token::TokenId;
use runtime_service::ApiProblem;
use runtime_service::access::Operator;
use runtime_service::extract::{PathParams, RequestBody};
use secrecy::ExposeSecret;

use super::{BackendState, actor};

/// Maximum size of a request for a token.
const MAX_TOKEN_REQUEST_BYTES: usize = 64 << 10;

/// Issues a token.
///
/// No other response contains the token itself.
#[utoipa::path(post, path = "/v1/tokens", tag = "operation", operation_id = "issue_token", security(("token" = [])),
    request_body = IssueBackendTokenRequest,
    responses((status = 201, description = "The token", body = IssuedBackendToken)))]
pub(super) async fn issue(
    State(state): State<BackendState>,
    operator: Operator,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let request: IssueBackendTokenRequest = body.json(MAX_TOKEN_REQUEST_BYTES).await?;
    let actor = actor(operator.token());
    let management = state.backend.catalogue().management();
    let (summary, token) = match management.issue_token(request.grant(), &*state.entropy).await {
        Ok(issued) => issued,
        Err(error) => {
            state.backend.record(&actor, Action::IssueToken { issued: None }, Some(error.code())).await?;
            return Err(error.into());
        }
    };
    state.backend.record(&actor, Action::IssueToken { issued: Some(summary.id.clone()) }, None).await?;
    let issued = IssuedBackendToken { token: token.expose_secret().to_owned(), summary: summary.into() };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Json(issued)).into_response())
}

/// Lists the tokens.
#[utoipa::path(get, path = "/v1/tokens", tag = "operation", operation_id = "list_tokens", security(("token" = [])),
    responses((status = 200, description = "All tokens, without their secret part", body = BackendTokenList)))]
pub(super) async fn list(State(state): State<BackendState>, _: Operator) -> Result<Json<BackendTokenList>, ApiProblem> {
    let tokens = state.backend.catalogue().management().tokens().await?;
    Ok(Json(BackendTokenList { tokens: tokens.into_iter().map(BackendTokenSummary::from).collect() }))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "operation", operation_id = "revoke_token",
    security(("token" = [])), params(("id" = TokenId, Path)),
    responses((status = 200, description = "The token is revoked", body = BackendTokenSummary)))]
pub(super) async fn revoke(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(id): PathParams<TokenId>,
) -> Result<Json<BackendTokenSummary>, ApiProblem> {
    let revoked = state.backend.catalogue().management().revoke_token(&id).await;
    let refused = revoked.as_ref().err().map(|error| error.code());
    state.backend.record(&actor(operator.token()), Action::RevokeToken { revoked: id }, refused).await?;
    Ok(Json(revoked?.into()))
}
