//! `/v1/login-links` and `/v1/sessions`: access of people to the pages.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use backend_api::session::{InvalidSessionId, LoginLink, LoginLinkRequest, SessionId, SessionList, SessionSummary};
use runtime_service::ApiProblem;
use runtime_service::access::Operator;
use runtime_service::extract::{PathParams, PathSegment, RequestBody};

use super::{BackendState, actor};
use crate::sessions::SessionError;

/// Maximum size of a request for a login link.
const MAX_LINK_REQUEST_BYTES: usize = 64 << 10;

/// A session in a path.
#[derive(Debug)]
pub(super) struct SessionSegment(SessionId);

impl FromStr for SessionSegment {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        text.parse().map(Self)
    }
}

impl PathSegment for SessionSegment {
    const EXPECTED: &'static str = "a session id";
}

impl From<SessionError> for ApiProblem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Token(error) => error.into(),
            SessionError::Backend(error) => error.into(),
            error => Self::new(error.code(), error.to_string(), error.help()),
        }
    }
}

/// Issues a login link for the pages.
///
/// The link is valid for ten minutes and can be used once. To open it uses nothing up; the button of its page does. The
/// session has the permissions of the token, or fewer. An administrator's link may also grant `read` in any workspace. No
/// other response contains the link.
#[utoipa::path(post, path = "/v1/login-links", tag = "operation", operation_id = "issue_login_link",
    security(("token" = [])), request_body = LoginLinkRequest,
    responses((status = 201, description = "The link", body = LoginLink)))]
pub(super) async fn issue(
    State(state): State<BackendState>,
    operator: Operator,
    body: RequestBody,
) -> Result<Response, ApiProblem> {
    let request: LoginLinkRequest = body.json(MAX_LINK_REQUEST_BYTES).await?;
    let link = state.backend.issue_login_link(operator.token(), &request, &*state.entropy).await?;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Json(link)).into_response())
}

/// Lists the open sessions of the pages.
#[utoipa::path(get, path = "/v1/sessions", tag = "operation", operation_id = "list_sessions", security(("token" = [])),
    responses((status = 200, description = "The sessions, without their secrets", body = SessionList)))]
pub(super) async fn list(State(state): State<BackendState>, _: Operator) -> Result<Json<SessionList>, ApiProblem> {
    Ok(Json(SessionList { sessions: state.backend.sessions().await? }))
}

/// Ends a session of the pages.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "operation", operation_id = "end_session",
    security(("token" = [])), params(("id" = SessionId, Path)),
    responses((status = 200, description = "The session is ended", body = SessionSummary)))]
pub(super) async fn end(
    State(state): State<BackendState>,
    operator: Operator,
    PathParams(SessionSegment(id)): PathParams<SessionSegment>,
) -> Result<Json<SessionSummary>, ApiProblem> {
    Ok(Json(state.backend.end_session(&actor(operator.token()), &id).await?))
}
