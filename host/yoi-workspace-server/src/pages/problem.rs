//! Error pages.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use runtime_api::Code;
use runtime_service::ApiProblem;

use super::layout::bare_document;
use super::words::ticked;
use crate::backend::BackendError;
use crate::sessions::SessionError;

/// An error that a page shows. It has the status, the code and the texts of the API's error.
#[derive(Debug)]
pub(super) struct PageProblem(ApiProblem);

impl From<ApiProblem> for PageProblem {
    fn from(problem: ApiProblem) -> Self {
        Self(problem)
    }
}

impl From<BackendError> for PageProblem {
    fn from(error: BackendError) -> Self {
        Self(error.into())
    }
}

impl From<SessionError> for PageProblem {
    fn from(error: SessionError) -> Self {
        Self(error.into())
    }
}

impl PageProblem {
    /// Creates the problem of a page that does not exist.
    pub(super) fn not_found() -> Self {
        Self(ApiProblem::new(Code::NotFound, "page not found", "begin at the fleet"))
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let code = self.0.code();
        let (title, is_logged_out) = match code {
            Code::SessionEnded => ("Not logged in", true),
            Code::LoginLinkInvalid => ("This link cannot be used", true),
            _ => ("That did not work", false),
        };
        let content = html! {
            h1 { (title) }
            p { (sentence(self.0.detail())) }
            p { (sentence(self.0.help())) }
            @if is_logged_out {
                p { "An administrator creates a link with " code { "yoi backend login" } "." }
            } @else {
                p { a href="/" { "Back to the fleet" } }
            }
            p.code { "Code: " code { (code) } }
        };
        let document = bare_document(title, content);
        // Keeps the status and the code in the log.
        let (mut parts, _) = self.0.into_response().into_parts();
        parts.headers.remove(header::WWW_AUTHENTICATE);
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        Response::from_parts(parts, document.into_string().into())
    }
}

/// Renders an error message as a sentence.
pub(super) fn sentence(text: &str) -> Markup {
    let mut chars = text.chars();
    let text: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    html! { (ticked(&text)) "." }
}
