//! Pages for people: the condition of the fleet, the revisions of a workspace, and the audit log.
//!
//! The pages are rendered on the server and work without scripts. A small script reloads the content of a page when something
//! visible changed. A person logs in with a one-time link, and acts through the same operations of the Backend as a client of
//! the API, with the rights of the session.
//!
//! Each page has view types of its own. They hold names, digests, numbers, times and error codes, and cannot hold the address
//! or the token of a Runtime, a path, or a text that a Runtime wrote. Read `access` next, then one page.

mod access;
mod assets;
mod audit;
mod bundle;
mod fleet;
mod layout;
mod live;
mod login;
mod origin;
mod problem;
mod runtime;
mod words;
mod worker;
mod workspace;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{self, HeaderName};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use axum::routing::{get, post};

use crate::service::{BackendState, run_to_end};

pub(crate) use access::SessionTable;
pub use fleet::render_fleet;
pub(crate) use origin::with_own_origins;

/// Returns the routes of the pages.
pub(crate) fn router() -> Router<BackendState> {
    Router::new()
        .route("/", get(fleet::show))
        .route("/workspaces/{workspace}", get(workspace::show))
        .route("/workspaces/{workspace}/desired", post(workspace::set_desired))
        .route("/workspaces/{workspace}/rollback", post(workspace::roll_back))
        .route("/workspaces/{workspace}/advance", post(workspace::advance))
        .route("/workspaces/{workspace}/sync", post(workspace::sync))
        .route("/workspaces/{workspace}/bundles/{digest}", get(bundle::show))
        .route("/workspaces/{workspace}/workers", get(worker::list))
        .route("/workspaces/{workspace}/workers/{worker}", get(worker::show))
        .route("/runtimes/{runtime}", get(runtime::show))
        .route("/runtimes/{runtime}/read", post(runtime::read))
        .route("/audit", get(audit::show))
        .route("/login/{secret}", get(login::preview).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/live", get(live::stream))
        .route("/assets/{digest}/{name}", get(assets::serve))
        .layer(from_fn(run_to_end))
        .layer(map_response(add_headers))
}

/// Headers of every response of a page. Scripts and styles come from this server alone, and no other page can embed one.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With `no-referrer`, browsers send `Origin: null` with a form, so the origin could not be checked.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
