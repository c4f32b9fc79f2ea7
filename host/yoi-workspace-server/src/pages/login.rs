//! `/login/{secret}` and `/logout`.
//!
//! To open a link uses nothing up: programs that preview links open them as well. The button of the page does.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::html;
use runtime_service::Service;

use super::access::{FormPost, NoFields, Visitor, session_cookie};
use super::layout::bare_document;
use super::origin::{RequestHost, check_same_origin};
use super::problem::PageProblem;
use crate::service::BackendState;
use crate::sessions::{Secret, SessionError};

/// Shows the page of a link.
pub(super) async fn preview(
    State(state): State<BackendState>,
    Path(secret): Path<String>,
) -> Result<Response, PageProblem> {
    let secret = known(&state, &secret)?;
    let (scopes, workspaces) = state.backend.preview_login(&secret).await?;
    let content = html! {
        h1 { "Log in" }
        p { "The link was made for one person. It can be used once, and only for ten minutes." }
        dl {
            dt { "Permissions" }
            dd { @for scope in &scopes { code.label { (scope) } " " } }
            dt { "Workspaces" }
            dd {
                @if workspaces.is_empty() { "none" }
                @for workspace in &workspaces { code.label { (workspace) } " " }
            }
        }
        form method="post" { button type="submit" { "Log in" } }
    };
    Ok(Html(bare_document("Log in", content).into_string()).into_response())
}

/// Uses a link up and begins a session.
pub(super) async fn log_in(
    State(state): State<BackendState>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response, PageProblem> {
    let (mut parts, _) = request.into_parts();
    // Otherwise another site could log a person in to a session of its own choice.
    check_same_origin(&parts)?;
    let host = RequestHost::of(&parts)?;
    let link = known(&state, &secret)?;
    // A session that the browser had before ends.
    let before = Visitor::from_request_parts(&mut parts, &state).await.ok();
    let session = state.backend.log_in(&link, &*state.entropy).await?;
    if let Some(before) = before {
        log_out_of(&state, &before).await?;
    }
    see_fleet(&host, Some(&session))
}

/// Returns the secret in a path, and counts its look-up.
fn known(state: &BackendState, secret: &str) -> Result<Secret, PageProblem> {
    Arc::<Service>::from_ref(state).count_unknown()?;
    Ok(Secret::parse(secret).ok_or(SessionError::LinkInvalid)?)
}

/// Ends the session.
pub(super) async fn log_out(
    State(state): State<BackendState>,
    form: FormPost<NoFields>,
) -> Result<Response, PageProblem> {
    log_out_of(&state, &form.visitor).await?;
    see_fleet(&form.host, None)
}

async fn log_out_of(state: &BackendState, visitor: &Visitor) -> Result<(), PageProblem> {
    match state.backend.log_out(&visitor.session).await {
        // Another tab was faster.
        Ok(()) | Err(SessionError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the redirection to the fleet, with the cookie of the session.
fn see_fleet(host: &RequestHost, session: Option<&Secret>) -> Result<Response, PageProblem> {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
    let cookie = HeaderValue::try_from(session_cookie(host, session)).map_err(|_| PageProblem::not_found())?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}
