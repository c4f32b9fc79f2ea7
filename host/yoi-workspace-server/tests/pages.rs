//! The pages: login, sessions, forms, isolation of workspaces, live updates, and what they must never contain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use backend_api::audit::{Action, Actor};
use backend_api::fleet::{Access, Condition};
use backend_api::session::{LoginLink, SessionList, SessionSummary};
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use content_store::metadata::Key;
use futures_util::StreamExt;
use host_policy::Facts;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::runtime::RuntimeStatus;
use runtime_api::token::{Scope, TokenGrant, TokenId};
use runtime_api::worker::{
    CreateWorkerRequest, CreatedWorker, Suspension, SuspensionReason, WorkerId, WorkerState, WorkerSummary,
};
use runtime_service::{Hosts, ServiceOptions};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tower::ServiceExt;
use worker_runtime::ManualClock;
use worker_runtime::token::SystemEntropy;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RemoteRuntime, RuntimeLink, SignedManifest};
use yoi_workspace_server::service::BackendService;
use yoi_workspace_server::{Backend, BackendBuilder, LinkError, RuntimeEntry};

use crate::support::served::{tool_bundle, tool_config, tool_runtime};
use crate::support::{START_MS, World, bundle, config, desire, fast, name, open_rules, publish, runtime, until};

/// Host at which the tests reach the pages. Its port is part of the cookie's name.
const HOST: &str = "127.0.0.1:8090";

/// A Backend with its routes, without a listener.
pub(crate) struct Site {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
}

impl Site {
    pub(crate) async fn open(world: &World) -> Self {
        let clock = Arc::new(ManualClock::at(START_MS));
        let builder = BackendBuilder {
            catalogue: world.catalogue.clone(),
            metadata: world.metadata.clone(),
            clock: clock.clone(),
            workspaces: world.workspaces.clone(),
            runtimes: world.runtimes.clone(),
            connector: world.connector.clone(),
            limits: fast(),
            seed: 1,
        };
        let backend = builder.open().await.expect("a Backend");
        let hosts = [HOST, "yoi.example.com"].map(str::to_owned).into();
        let options = ServiceOptions { hosts: Hosts { hosts, ..Hosts::default() }, ..ServiceOptions::default() };
        let router = BackendService::new(backend.clone(), options).router();
        Self { backend, clock, router }
    }

    /// Issues a token.
    pub(crate) async fn token(&self, scopes: &[Scope], workspaces: &[&str]) -> (TokenId, String) {
        let grant = TokenGrant {
            name: name("pages"),
            scopes: scopes.iter().copied().collect(),
            workspaces: workspaces.iter().map(|id| name(id)).collect(),
            expires_at: None,
            connections: None,
            event_streams: None,
        };
        let management = self.backend.catalogue().management();
        let (summary, token) = management.issue_token(grant, &SystemEntropy).await.expect("a token");
        (summary.id, token.expose_secret().to_owned())
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("a response");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 8 << 20).await.expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        Reply { status: parts.status, headers: parts.headers, text }
    }

    async fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Reply {
        let request = Request::builder().method(method).uri(path).header("host", HOST);
        let request = request.header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    /// Issues a login link and returns its path.
    async fn link(&self, token: &str, body: Value) -> String {
        let reply = self.api("POST", "/v1/login-links", token, body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        serde_json::from_str::<LoginLink>(&reply.text).expect("a link").path
    }

    /// Presses the button of a link.
    async fn press(&self, path: &str, host: &str) -> Reply {
        let scheme = if host == HOST { "http" } else { "https" };
        let request = Request::post(path).header("host", host).header("origin", format!("{scheme}://{host}"));
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    /// Logs in and returns the cookie.
    async fn log_in(&self, token: &str, body: Value) -> Visit<'_> {
        let path = self.link(token, body).await;
        let reply = self.press(&path, HOST).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text);
        let cookie = reply.cookie().split(';').next().expect("a pair").to_owned();
        Visit { site: self, cookie }
    }

    /// Logs in as an administrator with all scopes.
    async fn visit(&self, workspaces: &[&str]) -> Visit<'_> {
        let scopes = [Scope::Operator, Scope::Read, Scope::Bundles];
        let (_, token) = self.token(&scopes, workspaces).await;
        self.log_in(&token, json!({})).await
    }
}

/// A browser with a session.
struct Visit<'a> {
    site: &'a Site,
    cookie: String,
}

impl Visit<'_> {
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("host", HOST).header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Reply {
        self.site.send(self.request("GET", path).body(Body::empty()).expect("a request")).await
    }

    /// Reads a page that exists.
    async fn page(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
        reply.text
    }

    async fn form_token(&self) -> String {
        let page = self.page("/").await;
        let (_, rest) = page.split_once("name=\"form\" value=\"").expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Sends a form like the page of this server.
    async fn post(&self, path: &str, fields: &str) -> Reply {
        let body = format!("form={}&{fields}", self.form_token().await);
        let request = self.request("POST", path).header("origin", format!("http://{HOST}"));
        self.site.send(request.header("sec-fetch-site", "same-origin").body(Body::from(body)).expect("a request")).await
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn cookie(&self) -> &str {
        self.headers[header::SET_COOKIE].to_str().expect("ASCII")
    }

    /// Checks that the reply is an error page, or a problem document of the API.
    fn assert_refused(&self, code: Code) {
        let is_page = self.text.contains(&format!("<code>{}</code>", code.as_str()));
        let is_problem = self.text.contains(&format!("\"code\":\"{}\"", code.as_str()));
        assert!(is_page || is_problem, "{code} expected: {} {}", self.status, self.text);
        assert_eq!(self.status.as_u16(), code.http_status());
    }
}

async fn acme() -> Site {
    Site::open(&World::new(&["acme", "other"]).await).await
}

async fn audit(backend: &Backend) -> Vec<(Actor, Action, Option<Code>)> {
    let page = backend.audit_page(0, 1000).await.expect("the audit log");
    page.items.into_iter().map(|entry| (entry.actor, entry.action, entry.refused)).collect()
}

#[tokio::test]
async fn link_opens_a_page_and_only_its_button_uses_it_up() {
    let site = acme().await;
    let (_, token) = site.token(&[Scope::Operator, Scope::Bundles], &["acme"]).await;
    let path = site.link(&token, json!({})).await;
    // Previews of chat programs and mail scanners do this.
    for method in ["GET", "HEAD", "GET"] {
        let request = Request::builder().method(method).uri(&path).header("host", HOST);
        let reply = site.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(!reply.headers.contains_key(header::SET_COOKIE));
        assert!(method == "HEAD" || reply.text.contains("acme") && reply.text.contains("publish"), "{}", reply.text);
    }
    let reply = site.press(&path, HOST).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert_eq!(reply.headers[header::LOCATION], "/");
    site.press(&path, HOST).await.assert_refused(Code::LoginLinkInvalid);
    let again = site.send(Request::get(&path).header("host", HOST).body(Body::empty()).expect("a request")).await;
    again.assert_refused(Code::LoginLinkInvalid);
    let actions: Vec<Action> = audit(&site.backend).await.into_iter().map(|(_, action, _)| action).collect();
    assert!(matches!(actions.as_slice(), [Action::IssueLoginLink { .. }, Action::LogIn]), "{actions:?}");
}

#[tokio::test]
async fn link_ends_after_ten_minutes_and_with_its_token() {
    let site = acme().await;
    let (id, token) = site.token(&[Scope::Operator], &[]).await;
    let (early, late) = (site.link(&token, json!({})).await, site.link(&token, json!({})).await);
    site.clock.advance(Duration::from_secs(599));
    assert_eq!(site.press(&early, HOST).await.status, StatusCode::SEE_OTHER);
    site.clock.advance(Duration::from_secs(1));
    site.press(&late, HOST).await.assert_refused(Code::LoginLinkInvalid);
    let of_revoked = site.link(&token, json!({})).await;
    site.backend.catalogue().management().revoke_token(&id).await.expect("revoked");
    site.press(&of_revoked, HOST).await.assert_refused(Code::LoginLinkInvalid);
}

#[tokio::test]
async fn link_grants_no_more_than_its_token() {
    let site = acme().await;
    let (_, token) = site.token(&[Scope::Operator, Scope::Bundles], &["acme"]).await;
    for (body, expected) in [
        (json!({ "scopes": ["workers", "read"] }), Code::ScopeMissing),
        (json!({ "scopes": ["publish"] }), Code::InvalidRequest),
        (json!({ "scopes": ["read", "publish"], "workspaces": ["other"] }), Code::WorkspaceDenied),
        (json!({ "scope": ["read"] }), Code::InvalidRequest),
    ] {
        site.api("POST", "/v1/login-links", &token, body).await.assert_refused(expected);
    }
    let (_, reader) = site.token(&[Scope::Read], &["acme"]).await;
    site.api("POST", "/v1/login-links", &reader, json!({})).await.assert_refused(Code::ScopeMissing);
    // An administrator may read every workspace, and so may a person whom the administrator lets in.
    let visit = site.log_in(&token, json!({ "scopes": ["read"], "workspaces": ["other"] })).await;
    visit.page("/workspaces/other").await;
    visit.get("/workspaces/acme").await.assert_refused(Code::WorkspaceNotFound);
    visit.get("/audit").await.assert_refused(Code::ScopeMissing);
}

#[tokio::test]
async fn cookie_is_strict_and_secure_unless_the_host_is_loopback() {
    let site = acme().await;
    let (_, token) = site.token(&[Scope::Operator], &[]).await;
    for (host, prefix, is_secure) in
        [(HOST, "yoi-session-8090=", false), ("yoi.example.com", "__Host-yoi-session=", true)]
    {
        let path = site.link(&token, json!({})).await;
        let reply = site.press(&path, host).await;
        let cookie = reply.cookie();
        let attributes: BTreeSet<&str> = cookie.split("; ").skip(1).collect();
        assert!(cookie.starts_with(prefix), "{cookie}");
        let expected = ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"].into_iter();
        assert_eq!(attributes, expected.chain(is_secure.then_some("Secure")).collect(), "{cookie}");
    }
}

#[tokio::test]
async fn every_response_of_the_pages_has_strict_headers() {
    let site = acme().await;
    publish(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    let visit = site.visit(&["acme"]).await;
    let style = visit.page("/").await;
    let style =
        style.split("rel=\"stylesheet\" href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a style");
    let paths = ["/", "/workspaces/acme", "/audit", "/workspaces/none", "/runtimes/none", "/login/none", style];
    for path in paths {
        let reply = visit.get(path).await;
        let policy = reply.headers["content-security-policy"].to_str().expect("ASCII");
        assert_eq!(
            policy,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["referrer-policy"], "same-origin");
        let cache = reply.headers["cache-control"].to_str().expect("ASCII");
        assert_eq!(cache, if path == style { "public, max-age=31536000, immutable" } else { "no-store" }, "{path}");
        for inline in ["style=", "<style", "onclick", "javascript:"] {
            assert!(path == style || !reply.text.contains(inline), "{path}: {inline}");
        }
    }
    visit.get(&style.replace("/assets/", "/assets/0")).await.assert_refused(Code::NotFound);
}

#[tokio::test]
async fn forms_need_the_origin_and_the_token_of_the_session() {
    let site = acme().await;
    desire(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    let visit = site.visit(&["acme"]).await;
    let token = visit.form_token().await;
    let send = async |token: &str, fields: &[(&str, &str)]| {
        let mut request = visit.request("POST", "/workspaces/acme/rollback");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        site.send(request.body(Body::from(format!("form={token}&generation=1"))).expect("a request")).await
    };
    let own = ("origin", "http://127.0.0.1:8090");
    let same = ("sec-fetch-site", "same-origin");
    send(&token, &[]).await.assert_refused(Code::CrossSiteRequest);
    send(&token, &[("sec-fetch-site", "cross-site")]).await.assert_refused(Code::CrossSiteRequest);
    send(&token, &[("sec-fetch-site", "same-site"), own]).await.assert_refused(Code::CrossSiteRequest);
    // The origins of other sites do not reach the page.
    send(&token, &[("origin", "https://evil.example")]).await.assert_refused(Code::OriginDenied);
    send(&token, &[("origin", "null"), same]).await.assert_refused(Code::OriginDenied);
    // An allowed origin of the same server is still another host.
    send(&token, &[("origin", "https://yoi.example.com")]).await.assert_refused(Code::CrossSiteRequest);
    send("", &[own, same]).await.assert_refused(Code::FormOutdated);
    let other = site.visit(&["acme"]).await.form_token().await;
    send(&other, &[own, same]).await.assert_refused(Code::FormOutdated);
    // The form itself is right, and there is nothing to roll back to.
    send(&token, &[own, same]).await.assert_refused(Code::NoEarlierBundle);
    // Without a session, the token is worth nothing.
    let request = Request::post("/workspaces/acme/rollback").header("host", HOST).header(own.0, own.1);
    let reply = site.send(request.body(Body::from(format!("form={token}"))).expect("a request")).await;
    reply.assert_refused(Code::SessionEnded);
    // A link cannot be pressed from another site either.
    let (_, issuer) = site.token(&[Scope::Operator], &[]).await;
    let link = site.link(&issuer, json!({})).await;
    for field in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "none")] {
        let request = Request::post(&link).header("host", HOST).header(field.0, field.1);
        let reply = site.send(request.body(Body::empty()).expect("a request")).await;
        reply.assert_refused(Code::CrossSiteRequest);
    }
    assert_eq!(site.press(&link, HOST).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn session_ends_when_it_is_not_used_and_at_the_latest_after_twelve_hours() {
    let site = acme().await;
    let hour = Duration::from_secs(60 * 60);
    let (idle, used) = (site.visit(&["acme"]).await, site.visit(&["acme"]).await);
    for elapsed in 1..=11 {
        site.clock.advance(hour);
        used.page("/").await;
        // The script of an open page does not keep the session open.
        let reload = idle.request("GET", "/").header("sec-fetch-mode", "cors");
        let reply = site.send(reload.body(Body::empty()).expect("a request")).await;
        assert_eq!(reply.status == StatusCode::OK, elapsed < 2, "after {elapsed} hours");
    }
    idle.get("/").await.assert_refused(Code::SessionEnded);
    site.clock.advance(hour - Duration::from_secs(1));
    used.page("/").await;
    site.clock.advance(Duration::from_secs(1));
    used.get("/").await.assert_refused(Code::SessionEnded);
}

#[tokio::test]
async fn session_ends_by_logout_by_an_administrator_and_with_its_token() {
    let site = acme().await;
    let (id, token) = site.token(&[Scope::Operator], &["acme"]).await;
    let [first, second, third] = [
        site.log_in(&token, json!({})).await,
        site.log_in(&token, json!({})).await,
        site.log_in(&token, json!({})).await,
    ];
    let reply = first.post("/logout", "").await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    assert!(reply.cookie().starts_with("yoi-session-8090=;") && reply.cookie().contains("Max-Age=0"));
    first.get("/").await.assert_refused(Code::SessionEnded);

    let (_, admin) = site.token(&[Scope::Operator], &[]).await;
    let reply = site.api("GET", "/v1/sessions", &admin, json!(null)).await;
    let list: SessionList = serde_json::from_str(&reply.text).expect("a list");
    assert_eq!(list.sessions.len(), 2);
    // The audit log names the session that did something.
    second.post("/runtimes/none/read", "").await.assert_refused(Code::RuntimeNotFound);
    let acted = audit(&site.backend).await.into_iter().find_map(|(actor, action, _)| match (actor, action) {
        (Actor::Session { session, token }, Action::ReadRuntime { .. }) => Some((session, token)),
        _ => None,
    });
    let (acted, issuer) = acted.expect("an entry");
    assert_eq!(issuer, id);
    let path = format!("/v1/sessions/{acted}");
    let reply = site.api("DELETE", &path, &admin, json!(null)).await;
    assert_eq!(serde_json::from_str::<SessionSummary>(&reply.text).expect("a session").id, acted);
    second.get("/").await.assert_refused(Code::SessionEnded);
    site.api("DELETE", &path, &admin, json!(null)).await.assert_refused(Code::SessionNotFound);

    third.page("/").await;
    site.backend.catalogue().management().revoke_token(&id).await.expect("revoked");
    third.get("/").await.assert_refused(Code::SessionEnded);
    let reply = site.api("GET", "/v1/sessions", &admin, json!(null)).await;
    assert!(serde_json::from_str::<SessionList>(&reply.text).expect("a list").sessions.is_empty());
}

#[tokio::test]
async fn session_outlives_a_restart_and_its_secret_is_not_stored() {
    let world = World::new(&["acme"]).await;
    let site = Site::open(&world).await;
    let visit = site.visit(&["acme"]).await;
    let restarted = Site::open(&world).await;
    Visit { site: &restarted, cookie: visit.cookie.clone() }.page("/workspaces/acme").await;
    let secret = visit.cookie.split('=').nth(1).expect("a value");
    let key = Key::new("backend-session");
    let rows = world.metadata.scan(&key, None, 10).await.expect("rows");
    assert_eq!(rows.len(), 1);
    assert!(!String::from_utf8_lossy(&rows[0].1.value).contains(secret));
    // A secret of another form, and an unknown one.
    for secret in ["", "0", &"0".repeat(64), &"A".repeat(64)] {
        let visit = Visit { site: &restarted, cookie: format!("yoi-session-8090={secret}") };
        visit.get("/").await.assert_refused(Code::SessionEnded);
    }
}

#[tokio::test]
async fn session_sees_and_changes_only_its_workspaces() {
    let (one, two) = (runtime(config(&["acme", "other"])).await, runtime(config(&["other"])).await);
    let world = World::new(&["acme", "other"]).await.with_embedded("one", &one).with_embedded("two", &two);
    let site = Site::open(&world).await;
    desire(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    let secret = desire(&site.backend, &bundle("other", 1, "Be brief.")).await;
    let (_, token) = site.token(&[Scope::Operator, Scope::Bundles, Scope::Read], &["acme", "other"]).await;
    let visit = site.log_in(&token, json!({ "scopes": ["read"], "workspaces": ["acme"] })).await;
    for path in ["/", "/workspaces/acme", "/runtimes/one", "/runtimes/two"] {
        let page = visit.page(path).await;
        assert!(page.contains("acme") && !page.contains("other") && !page.contains(&secret.hex()), "{path}");
    }
    let bundle_path = format!("/workspaces/other/bundles/{secret}");
    for path in ["/workspaces/other", bundle_path.as_str(), "/workspaces/none"] {
        visit.get(path).await.assert_refused(Code::WorkspaceNotFound);
    }
    for path in ["rollback", "desired", "advance", "sync"].map(|action| format!("/workspaces/other/{action}")) {
        visit.post(&path, "generation=1").await.assert_refused(Code::WorkspaceNotFound);
    }
    visit.post("/workspaces/acme/rollback", "generation=1").await.assert_refused(Code::ScopeMissing);
    visit.post("/runtimes/one/read", "").await.assert_refused(Code::ScopeMissing);
    assert!(!visit.page("/workspaces/acme").await.contains("Make desired"));
    // A bundle of another workspace cannot be made the desired one.
    let visit = site.log_in(&token, json!({ "scopes": ["read", "publish"], "workspaces": ["acme"] })).await;
    let reply = visit.post("/workspaces/acme/desired", &format!("generation=1&bundle={secret}&percent=")).await;
    reply.assert_refused(Code::BundleNotFound);
}

#[tokio::test]
async fn buttons_change_the_desired_state_once_and_are_audited() {
    let site = acme().await;
    let first = desire(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    let second = desire(&site.backend, &bundle("acme", 2, "Be brief.")).await;
    let visit = site.visit(&["acme"]).await;
    let desired = async || {
        let view = site.backend.workspace(&name("acme")).await.expect("a workspace");
        let desired = view.desired.expect("a decision");
        (desired.target.bundle, desired.target.generation.get(), desired.rollout.is_some())
    };
    let page = visit.page("/workspaces/acme").await;
    assert!(page.contains("Roll back to revision 1") && page.contains("generation 2"), "{page}");
    assert!(!page.contains("Advance the rollout"));
    let reply = visit.post("/workspaces/acme/rollback", "generation=2").await;
    assert_eq!(reply.headers[header::LOCATION], "/workspaces/acme");
    assert_eq!(desired().await, (first, 3, false));
    // A second click on the same button.
    visit.post("/workspaces/acme/rollback", "generation=2").await.assert_refused(Code::FormOutdated);
    let fields = format!("generation=3&bundle={second}&percent=25");
    assert_eq!(visit.post("/workspaces/acme/desired", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(desired().await, (second, 4, true));
    assert!(visit.page("/workspaces/acme").await.contains("Advance the rollout"));
    for percent in ["0", "100", "many"] {
        let fields = format!("generation=4&percent={percent}");
        visit.post("/workspaces/acme/advance", &fields).await.assert_refused(Code::InvalidRequest);
    }
    assert_eq!(visit.post("/workspaces/acme/advance", "generation=4&percent=").await.status, StatusCode::SEE_OTHER);
    assert_eq!(desired().await, (second, 4, false));
    let by_session =
        audit(&site.backend).await.into_iter().filter(|(actor, ..)| matches!(actor, Actor::Session { .. }));
    let actions: Vec<Action> = by_session.map(|(_, action, _)| action).collect();
    assert!(
        matches!(
            actions.as_slice(),
            [Action::LogIn, Action::RollBack { .. }, Action::SetDesired { .. }, Action::AdvanceRollout { .. }]
        ),
        "{actions:?}"
    );
    let log = visit.page("/audit").await;
    assert!(log.contains("rolled <code>acme</code> back") && log.contains("advanced the rollout"), "{log}");
}

#[tokio::test]
async fn workspace_page_shows_revisions_and_their_difference() {
    let site = acme().await;
    desire(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    publish(&site.backend, &bundle("acme", 2, "Be brief & <b>bold</b>.")).await;
    let visit = site.visit(&["acme"]).await;
    let page = visit.page("/workspaces/acme?from=1&to=2").await;
    assert!(page.contains("From revision 1 to revision 2"), "{page}");
    assert!(page.contains("prompt hello") && page.contains("<code>/text/digest</code>"), "{page}");
    assert!(visit.page("/workspaces/acme?from=1&to=1").await.contains("The revisions are the same"));
    visit.get("/workspaces/acme?from=1&to=9").await.assert_refused(Code::BundleNotFound);
    visit.get("/workspaces/acme?from=x&to=9").await.assert_refused(Code::InvalidRequest);
}

#[tokio::test]
async fn log_has_its_newest_entry_first_and_pages() {
    let site = acme().await;
    for _ in 0..60 {
        let action = Action::ReadRuntime { runtime: name("one") };
        site.backend.record(&Actor::Local, action, None).await.expect("recorded");
    }
    let visit = site.visit(&["acme"]).await;
    let page = visit.page("/audit").await;
    assert!(page.contains("<th scope=\"row\">62</th>") && page.contains("<th scope=\"row\">13</th>"), "{page}");
    assert!(!page.contains("<th scope=\"row\">12</th>") && page.contains("/audit?before=13"));
    let older = visit.page("/audit?before=13").await;
    assert!(older.contains("<th scope=\"row\">12</th>") && older.contains("<th scope=\"row\">1</th>"));
    assert!(!older.contains("Older"));
}

/// Reads the next event of a stream, without comments.
async fn event(
    frames: &mut (impl futures_util::Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin),
) -> Option<String> {
    loop {
        let frame = frames.next().await?.expect("a frame");
        let text = String::from_utf8(frame.to_vec()).expect("UTF-8");
        if text.starts_with("event: changed\ndata: ") {
            return Some(text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_tells_of_visible_changes_only_and_ends_with_the_session() {
    let site = acme().await;
    let (_, token) = site.token(&[Scope::Operator, Scope::Bundles, Scope::Read], &["acme", "other"]).await;
    let visit = site.log_in(&token, json!({ "scopes": ["read"], "workspaces": ["acme"] })).await;
    let open = async || {
        let request = visit.request("GET", "/live").body(Body::empty()).expect("a request");
        site.router.clone().oneshot(request).await.expect("a response")
    };
    let response = open().await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut frames = response.into_body().into_data_stream();
    let first = event(&mut frames).await.expect("the first event at once");
    let page = visit.page("/").await;
    let digest = first.rsplit("data: ").next().expect("data").trim();
    assert!(page.contains(&format!("data-digest=\"{digest}\"")), "{first}");
    // A change that the session cannot see is no event.
    desire(&site.backend, &bundle("other", 1, "Be brief.")).await;
    let quiet = tokio::time::timeout(Duration::from_secs(2), event(&mut frames)).await;
    assert!(quiet.is_err());
    publish(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    let second = event(&mut frames).await.expect("an event");
    assert_ne!(first, second);
    // A session has few streams, so that open tabs must share them.
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(open().await);
    }
    assert_eq!(open().await.status(), StatusCode::TOO_MANY_REQUESTS);
    others.clear();
    assert_eq!(open().await.status(), StatusCode::OK);
    visit.post("/logout", "").await;
    let ended =
        tokio::time::timeout(Duration::from_secs(6), async { while event(&mut frames).await.is_some() {} }).await;
    assert!(ended.is_ok());
}

/// Words that only the parts of the system know that the pages must not show.
const CANARIES: [&str; 4] = ["runtime.canary.example", "canarytoken", "/canary/data", "evil.canary.example"];

/// A Runtime that writes what it wants into its status.
#[derive(Debug)]
struct Liar(EmbeddedRuntime);

#[async_trait]
impl RuntimeLink for Liar {
    async fn status(&self) -> Result<RuntimeStatus, LinkError> {
        let mut status = self.0.status().await?;
        status.version = "https://evil.canary.example".to_owned();
        status.worlds = ["/canary/data", "canarytoken", "yoi:runtime/tool@1.0.0-canarytoken"]
            .map(str::to_owned)
            .into_iter()
            .collect();
        if let Some(workspace) = status.workspaces.get_mut("acme") {
            workspace.fault = Some("evil.canary.example".into());
        }
        Ok(status)
    }

    async fn facts(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Facts, LinkError> {
        self.0.facts(workspace, digest).await
    }

    async fn put_manifest(
        &self,
        workspace: &WorkspaceId,
        manifest: &SignedManifest,
    ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
        self.0.put_manifest(workspace, manifest).await
    }

    async fn has_blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<bool, LinkError> {
        self.0.has_blob(workspace, digest).await
    }

    async fn put_blob(&self, workspace: &WorkspaceId, digest: Digest, content: Bytes) -> Result<(), LinkError> {
        self.0.put_blob(workspace, digest, content).await
    }

    async fn set_desired(
        &self,
        workspace: &WorkspaceId,
        desired: &DesiredBundle,
    ) -> Result<AcknowledgedBundle, LinkError> {
        self.0.set_desired(workspace, desired).await
    }

    async fn create_worker(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, LinkError> {
        self.0.create_worker(workspace, id, request).await
    }

    async fn worker(&self, workspace: &WorkspaceId, id: &WorkerId) -> Result<WorkerSummary, LinkError> {
        let worker = self.0.worker(workspace, id).await?;
        let suspension = Suspension::new(SuspensionReason::PolicyDenied, "/canary/data", "evil.canary.example");
        Ok(WorkerSummary { state: WorkerState::Suspended(suspension), ..worker })
    }

    async fn record(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Bytes, LinkError> {
        self.0.record(workspace, digest).await
    }

    async fn worker_spec(&self, _: &WorkspaceId, _: &WorkerId) -> Result<Value, LinkError> {
        let refusal = json!({
            "subject": "shell", "need": "optional", "rule": "shell_not_granted", "reason": "/canary/data",
            "remedy": "evil.canary.example",
        });
        let odd = json!({ "subject": "evil.canary.example", "need": "optional", "rule": "canarytoken" });
        Ok(json!({ "narrowed": [refusal, odd, "/canary/data"] }))
    }
}

#[tokio::test]
async fn worker_page_shows_each_value_with_its_origin_and_what_the_runtime_refused() {
    let runtime = tool_runtime(tool_config("")).await;
    let site = Site::open(&World::new(&["acme", "other"]).await.with_embedded("one", &runtime)).await;
    desire(&site.backend, &tool_bundle(1)).await;
    until(&site.backend, "one", "acme", |condition| *condition == Condition::InSync).await;
    let (actor, acme) = (Actor::Local, name("acme"));
    let request =
        CreateWorkerRequest { bundle: None, ..CreateWorkerRequest::of_bundle(name("curious"), Digest::of("")) };
    site.backend.create_worker(&actor, &acme, &name("w"), &request, None).await.expect("created");
    let visit = site.visit(&["acme"]).await;
    let list = visit.page("/workspaces/acme/workers").await;
    assert!(list.contains("href=\"/workspaces/acme/workers/w\"") && list.contains("running"), "{list}");
    let page = visit.page("/workspaces/acme/workers/w").await;
    assert!(page.contains("from <code>plain</code>, layer 0") && page.contains("appends it"), "{page}");
    assert!(page.contains("<code>secret:token</code>") && page.contains("secret_not_granted"), "{page}");
    // A stopped worker is explained too.
    site.backend.stop_worker(&actor, &acme, &name("w")).await.expect("stopped");
    let page = visit.page("/workspaces/acme/workers/w").await;
    assert!(page.contains("has no authority at all") && page.contains("layer 0"), "{page}");
    visit.get("/workspaces/acme/workers/none").await.assert_refused(Code::WorkerNotFound);
    visit.get("/workspaces/acme/workers/..").await.assert_refused(Code::WorkerNotFound);
    // An administrator reads all workspaces, and the worker is not in this one.
    visit.get("/workspaces/other/workers/w").await.assert_refused(Code::WorkerNotFound);
}

/// Collects the lines of the log.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_page_header_event_or_line_of_the_log_has_an_address_a_secret_or_a_path() {
    let lines = Lines::default();
    let writer = lines.clone();
    // For all threads: the interest in a log line is decided once, by the first thread that writes it. Libraries log the names
    // of hosts, so their lines are not part of the program's log.
    let subscriber = tracing_subscriber::fmt().with_env_filter("yoi=trace").with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only log of this runner");

    let token = format!("yoi_{}_{}", "0".repeat(16), "c".repeat(64));
    let options = runtime_client::ClientOptions::new("https://runtime.canary.example:9443", token.clone().into());
    let client = runtime_client::Client::new(options).expect("a client");
    let good = runtime(config(&["acme"])).await;
    let liar = Liar(EmbeddedRuntime::from(good.clone()));
    let mut world = World::new(&["acme", "other"]).await.with_embedded("good", &good);
    let remote =
        RuntimeEntry { rules: open_rules(), access: Access::Remote, link: Arc::new(RemoteRuntime::from(client)) };
    world.runtimes.insert(name("remote"), remote);
    let world = world.with("liar", open_rules(), Arc::new(liar));
    let site = Site::open(&world).await;
    let digest = desire(&site.backend, &bundle("acme", 1, "Be kind.")).await;
    desire(&site.backend, &bundle("other", 1, "Be brief.")).await;
    until(&site.backend, "good", "acme", |condition| *condition == Condition::InSync).await;
    until(&site.backend, "remote", "acme", |condition| matches!(condition, Condition::Unavailable(_))).await;
    until(&site.backend, "liar", "acme", |condition| *condition != Condition::Unknown).await;

    let (_, issuer) = site.token(&[Scope::Operator, Scope::Read, Scope::Bundles], &["acme"]).await;
    let link = site.link(&issuer, json!({})).await;
    let mut seen = Vec::new();
    let mut keep = |reply: Reply| {
        // A new session's cookie is the only header with its secret.
        let headers: Vec<String> = reply
            .headers
            .iter()
            .filter(|(name, _)| *name != header::SET_COOKIE)
            .map(|one| format!("{one:?}"))
            .collect();
        seen.push(format!("{} {}", headers.join("\n"), reply.text));
    };
    keep(site.send(Request::get(&link).header("host", HOST).body(Body::empty()).expect("a request")).await);
    let reply = site.press(&link, HOST).await;
    let cookie = reply.cookie().split(';').next().expect("a pair").to_owned();
    keep(reply);
    let visit = Visit { site: &site, cookie };
    let plain = CreateWorkerRequest { bundle: None, ..CreateWorkerRequest::of_bundle(name("plain"), digest) };
    let (actor, acme) = (Actor::Local, name("acme"));
    for on in ["good", "liar"] {
        until(&site.backend, on, "acme", |condition| !matches!(condition, Condition::Pending | Condition::Unknown))
            .await;
        site.backend.create_worker(&actor, &acme, &name(on), &plain, Some(&name(on))).await.expect("created");
    }
    let bundle_path = format!("/workspaces/acme/bundles/{digest}");
    let paths = ["/", "/?show=attention", "/workspaces/acme", "/workspaces/acme?from=1&to=1", "/runtimes/good"];
    let more = ["/runtimes/remote", "/runtimes/liar", "/audit", "/workspaces/none", bundle_path.as_str()];
    let workers = ["/workspaces/acme/workers", "/workspaces/acme/workers/good", "/workspaces/acme/workers/liar"];
    for path in paths.into_iter().chain(more).chain(workers) {
        keep(visit.get(path).await);
    }
    keep(visit.post("/workspaces/acme/rollback", "generation=1").await);
    keep(visit.post("/runtimes/remote/read", "").await);
    let request = visit.request("GET", "/live").body(Body::empty()).expect("a request");
    let response = site.router.clone().oneshot(request).await.expect("a response");
    let mut frames = response.into_body().into_data_stream();
    let event = event(&mut frames).await.expect("an event");
    keep(visit.post("/logout", "").await);
    keep(visit.get("/").await);
    seen.push(event);

    assert!(seen.iter().any(|text| text.contains("unreachable")) && seen.iter().any(|text| text.contains("in sync")));
    assert!(seen.iter().any(|text| text.contains("not a version")));
    assert!(seen.iter().any(|text| text.contains("shell_not_granted")));
    let log = String::from_utf8(lines.0.lock().expect("a lock").clone()).expect("UTF-8");
    assert!(log.contains("route=\"/login/{secret}\"") && log.contains("could not be brought up to date"), "{log}");
    let secrets = [
        token.rsplit('_').next().expect("a secret").to_owned(),
        issuer.rsplit('_').next().expect("a secret").to_owned(),
        link.trim_start_matches("/login/").to_owned(),
        visit.cookie.split('=').nth(1).expect("a value").to_owned(),
    ];
    let folder = env!("CARGO_MANIFEST_DIR").to_owned();
    let temporary = env!("CARGO_TARGET_TMPDIR").to_owned();
    for (kind, text) in seen.iter().map(|text| ("page", text)).chain([("log", &log)]) {
        let hidden = CANARIES.map(str::to_owned).into_iter().chain(secrets.clone());
        for canary in hidden.chain([folder.clone(), temporary.clone()]) {
            assert!(!text.contains(&canary), "{kind} with {canary}: {text}");
        }
    }
}
