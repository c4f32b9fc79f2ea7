//! The session of a request, and the forms of a session.
//!
//! [`Visitor`] authenticates a request by its cookie. A handler that changes something takes a [`FormPost`], which checks
//! the origin of the form and the token in it as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use backend_api::session::SessionId;
use backend_api::token::BackendScope;
use bundles::{Digest, WorkspaceId};
use cookie::{Cookie, SameSite};
use runtime_api::Code;
use runtime_service::extract::{QueryParams, RequestBody};
use runtime_service::{ApiProblem, Service};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::origin::{RequestHost, check_same_origin};
use super::problem::PageProblem;
use crate::service::BackendState;
use crate::sessions::{Secret, Session, SessionError};

/// Maximum size of a form.
const MAX_FORM_BYTES: usize = 16 << 10;

/// Maximum number of event streams of a session. The tabs of a browser share one.
const MAX_STREAMS: u32 = 4;

/// Maximum number of sessions that are remembered: several times the number that can be open.
const MAX_KNOWN_SESSIONS: usize = 4096;

/// Lifetime of the cookie, which is that of a session.
const COOKIE_LIFETIME: cookie::time::Duration = cookie::time::Duration::hours(12);

/// Sessions that this process has seen. Cheap to clone; clones share one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionTable(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Sessions that were open when they were last seen. Their requests do not count as look-ups of unknown secrets.
    known: HashSet<SessionId>,
    streams: HashMap<SessionId, u32>,
}

/// Counts an event stream until it is dropped.
#[derive(Debug)]
pub(super) struct StreamGuard {
    table: SessionTable,
    id: SessionId,
}

impl SessionTable {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an open session.
    fn remember(&self, id: SessionId) {
        let mut table = self.table();
        if table.known.len() >= MAX_KNOWN_SESSIONS {
            // Their next requests count as look-ups of unknown secrets once.
            table.known.clear();
        }
        table.known.insert(id);
    }

    /// Counts an event stream. `None` if the session has as many as it may have.
    pub(super) fn open_stream(&self, id: &SessionId) -> Option<StreamGuard> {
        let mut table = self.table();
        let open = table.streams.entry(id.clone()).or_default();
        if *open >= MAX_STREAMS {
            return None;
        }
        *open += 1;
        Some(StreamGuard { table: self.clone(), id: id.clone() })
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut table = self.table.table();
        if let Some(open) = table.streams.get_mut(&self.id) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                table.streams.remove(&self.id);
            }
        }
    }
}

/// Returns the name of the cookie. Browsers do not keep the cookies of ports apart, so on loopback the name has the port.
fn cookie_name(host: &RequestHost) -> String {
    match host.port() {
        // Browsers store a cookie of this name only if it is `Secure`, for all paths and for this host alone.
        _ if !host.is_loopback() => "__Host-yoi-session".to_owned(),
        Some(port) => format!("yoi-session-{port}"),
        None => "yoi-session".to_owned(),
    }
}

/// Returns the cookie of a new session. Without a secret, the cookie that removes it.
pub(super) fn session_cookie(host: &RequestHost, secret: Option<&Secret>) -> String {
    let value = secret.map(Secret::expose).unwrap_or_default().to_owned();
    let lifetime = if secret.is_some() { COOKIE_LIFETIME } else { cookie::time::Duration::ZERO };
    Cookie::build((cookie_name(host), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(!host.is_loopback())
        .max_age(lifetime)
        .build()
        .to_string()
}

fn secret_of(headers: &HeaderMap, host: &RequestHost) -> Option<Secret> {
    let name = cookie_name(host);
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = values.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.find(|cookie| cookie.name() == name).and_then(|cookie| Secret::parse(cookie.value()))
}

/// A person with an open session.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) session: Session,
    /// Secret of the session, for the check of a long stream.
    secret: Secret,
}

impl FromRequestParts<BackendState> for Visitor {
    type Rejection = PageProblem;

    async fn from_request_parts(parts: &mut Parts, state: &BackendState) -> Result<Self, PageProblem> {
        let host = RequestHost::of(parts)?;
        let secret = secret_of(&parts.headers, &host).ok_or(SessionError::Ended)?;
        let service = Arc::<Service>::from_ref(state);
        if !state.sessions.table().known.contains(&secret.id()) {
            service.count_unknown()?;
        }
        // The script reloads an open page again and again, which must not keep a session open for ever.
        let is_use = parts.headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        let session = match state.backend.session(&secret, is_use).await {
            Ok(session) => session,
            Err(error) => {
                state.sessions.table().known.remove(&secret.id());
                return Err(error.into());
            }
        };
        state.sessions.remember(session.id.clone());
        service.count_request(parts, &session.token).await?;
        Ok(Self { session, secret })
    }
}

impl Visitor {
    /// Returns the token that every form of the session contains.
    pub(super) fn form_token(&self) -> String {
        self.secret.form_token()
    }

    /// Returns `true` if the session is still open.
    pub(super) async fn is_still_open(&self, state: &BackendState) -> bool {
        state.backend.session(&self.secret, false).await.is_ok()
    }

    /// Checks that the session may administer the Backend.
    pub(super) fn require_admin(&self) -> Result<(), PageProblem> {
        if self.session.is_admin() { Ok(()) } else { Err(scope_missing(BackendScope::Admin)) }
    }

    /// Returns the workspace that a segment of the path names, if the session has the scope there. Fails like for a workspace
    /// that does not exist if the session may not read it.
    pub(super) fn workspace(&self, segment: &str, scope: BackendScope) -> Result<WorkspaceId, PageProblem> {
        let readable = segment.parse().ok().filter(|id| self.session.allows(BackendScope::Read, id));
        let workspace = readable.ok_or_else(|| {
            let detail = "the workspace does not exist, or the session may not read it";
            ApiProblem::new(Code::WorkspaceNotFound, detail, "see the workspaces of the fleet")
        })?;
        if self.session.allows(scope, &workspace) { Ok(workspace) } else { Err(scope_missing(scope)) }
    }
}

fn scope_missing(scope: BackendScope) -> PageProblem {
    let detail = format!("the session does not have the scope `{scope}`");
    ApiProblem::new(Code::ScopeMissing, detail, "ask an administrator for a login link with the scope").into()
}

/// The query string of a page.
#[derive(Debug)]
pub(super) struct PageQuery<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<BackendState> for PageQuery<T> {
    type Rejection = PageProblem;

    async fn from_request_parts(parts: &mut Parts, state: &BackendState) -> Result<Self, PageProblem> {
        let params = QueryParams::from_request_parts(parts, state).await?;
        Ok(Self(params.0))
    }
}

/// A form that a page of the session sent.
#[derive(Debug)]
pub(super) struct FormPost<T> {
    pub(super) visitor: Visitor,
    pub(super) host: RequestHost,
    pub(super) fields: T,
}

/// Fields of a form that consists of a button.
#[derive(Debug, Deserialize)]
pub(super) struct NoFields {}

/// The field that every form has.
#[derive(Debug, Deserialize)]
struct TokenField {
    form: String,
}

impl<T: DeserializeOwned> FromRequest<BackendState> for FormPost<T> {
    type Rejection = PageProblem;

    async fn from_request(request: Request, state: &BackendState) -> Result<Self, PageProblem> {
        let (mut parts, body) = request.into_parts();
        check_same_origin(&parts)?;
        let host = RequestHost::of(&parts)?;
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        let Ok(body) = RequestBody::from_request(Request::from_parts(parts, body), state).await;
        let bytes = body.bytes(MAX_FORM_BYTES).await?;
        let sent = serde_urlencoded::from_bytes::<TokenField>(&bytes).map(|field| field.form).unwrap_or_default();
        // Digests are compared, so the time of the comparison tells nothing about the token.
        if Digest::of(sent) != Digest::of(visitor.form_token()) {
            return Err(ApiProblem::new(
                Code::FormOutdated,
                "the form does not belong to this session",
                "reload the page and send its form again",
            )
            .into());
        }
        let fields = serde_urlencoded::from_bytes(&bytes).map_err(|_| {
            ApiProblem::new(Code::InvalidRequest, "a field of the form is invalid", "go back and correct the form")
        })?;
        Ok(Self { visitor, host, fields })
    }
}
