//! The API over HTTP: authentication, authorization and responses.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tower::ServiceExt;
use worker_runtime::token::{Scope, TokenGrant};

use crate::support::api::{Api, MANIFEST};
use crate::support::{World, acme, bundle, bundle_of, doubling_schema, name};

#[tokio::test]
async fn worker_of_uploaded_bundle_answers_calls() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    let path = format!("/v1/config-bundles/{}", bundle.digest());
    let manifest = || bundle.manifest_bytes().to_vec();
    let missing = api.ask("PUT", &path, &token, manifest(), MANIFEST).await;
    assert_eq!(missing.status, StatusCode::ACCEPTED);
    assert_eq!(missing.json()["missing"].as_array().expect("a list").len(), bundle.blobs().count());
    assert_eq!(api.get(&path, &token).await.code(), (404, "bundle_not_found".to_owned()));
    api.bring(&token, &bundle).await;
    assert_eq!(api.ask("PUT", &path, &token, manifest(), MANIFEST).await.status, StatusCode::OK);
    let got = api.get(&path, &token).await;
    assert_eq!(got.body, manifest());
    assert_eq!(got.headers[header::ETAG], format!("\"{}\"", bundle.digest()));
    assert_eq!(api.get("/v1/config-bundles", &token).await.json()["bundles"][0]["revision"], "1");

    let request = json!({ "profile": "plain", "bundle": bundle.digest() });
    let made = api.put_json("/v1/workers/w", &token, &request).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.status, StatusCode::OK);
    let call = json!({ "input": { "text": "hello" } }).to_string();
    let called = api.ask("POST", "/v1/workers/w/tools/echo", &token, call, "application/json").await;
    assert_eq!(called.json(), json!({ "entry": 2, "output": { "said": "hello" } }));
    let history = api.get("/v1/workers/w/history?after=1", &token).await.json();
    assert_eq!(history["entries"][0]["entry"], "call_ended");
    assert_eq!(api.ask("DELETE", &path, &token, "", "").await.code(), (409, "in_use".to_owned()));
    let users = api.get(&format!("{path}/users"), &token).await.json();
    assert_eq!(users["users"], json!(["worker:w"]));
    assert_eq!(api.ask("DELETE", "/v1/workers/w", &token, "", "").await.json()["state"], "stopped");
    assert_eq!(api.ask("DELETE", &path, &token, "", "").await.status, StatusCode::NO_CONTENT);
}

// Single-threaded: other requests would be delayed if the validation ran on the thread that serves them.
#[tokio::test]
async fn expensive_schema_does_not_delay_other_requests() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let (_, other) = api.token(&Scope::ALL, &["other"]).await;
    let bundle = bundle_of("acme", 1, &[("schemas/echo.input.json", &doubling_schema())]);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "plain", "bundle": bundle.digest() });
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.status, StatusCode::CREATED);
    let call = json!({ "input": { "text": "hello" } }).to_string();
    let call = api.ask("POST", "/v1/workers/w/tools/echo", &token, call, "application/json");
    let others = async {
        for _ in 0..5 {
            assert_eq!(api.get("/livez", &other).await.status, StatusCode::OK);
            assert_eq!(api.get("/v1/workers", &other).await.status, StatusCode::OK);
        }
    };
    let (called, ()) = tokio::join!(call, others);
    assert_eq!(called.code(), (422, "limit_exceeded".to_owned()));
    assert_eq!(called.json()["details"]["limit"], "schema_work");
}

#[tokio::test]
async fn matching_etag_is_answered_without_body() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let (blob, _) = bundle.blobs().next().expect("a blob");
    for path in [format!("/v1/config-bundles/{}", bundle.digest()), format!("/v1/blobs/{blob}")] {
        let etag = api.get(&path, &token).await.headers[header::ETAG].to_str().expect("text").to_owned();
        for (said, status) in
            [(etag.clone(), 304), (format!("\"x\", W/{etag}"), 304), ("*".to_owned(), 304), ("\"x\"".to_owned(), 200)]
        {
            let request = Request::get(&path)
                .header(header::HOST, "runtime.test:7070")
                .header(header::AUTHORIZATION, format!("bearer {token}"))
                .header(header::IF_NONE_MATCH, said);
            let answer = api.send(request.body(Body::empty()).expect("a request")).await;
            assert_eq!((answer.status.as_u16(), answer.body.is_empty()), (status, status == 304));
        }
    }
}

#[tokio::test]
async fn requests_without_valid_token_are_refused() {
    let world = World::default();
    let api = Api::new(&world).await;
    let (summary, token) = api.token(&Scope::ALL, &["acme"]).await;
    let mut wrong = vec![String::new(), "x".to_owned(), token.replace("yoi_", "yoj_"), format!("{token}0")];
    // Any changed digit makes the token invalid.
    for index in [4, 19, 21, 84] {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
        wrong.push(String::from_utf8(bytes).expect("text"));
    }
    for token in wrong {
        let answer = api.get("/v1/workers", &token).await;
        assert_eq!(answer.code(), (401, "unauthenticated".to_owned()), "{token}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    assert_eq!(api.get("/v1/workers", &token).await.status, StatusCode::OK);
    api.runtime.management().revoke_token(&summary.id).await.expect("revoked");
    assert_eq!(api.get("/v1/workers", &token).await.code(), (401, "unauthenticated".to_owned()));

    let grant = TokenGrant {
        name: name("short"),
        scopes: Scope::ALL.into_iter().collect(),
        workspaces: std::iter::once(acme()).collect(),
        expires_at: Some(jiff::Timestamp::from_millisecond(crate::support::START_MS + 1000).expect("a time")),
        connections: None,
        event_streams: None,
    };
    let (_, short) = api.runtime.management().issue_token(grant, &api.entropy).await.expect("a token");
    assert_eq!(api.get("/v1/workers", short.expose_secret()).await.status, StatusCode::OK);
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(api.get("/v1/workers", short.expose_secret()).await.code(), (401, "token_expired".to_owned()));
}

#[tokio::test]
async fn token_is_limited_to_its_scopes_and_workspaces() {
    let api = Api::new(&World::default()).await;
    let (_, all) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&all, &bundle).await;
    let worker = json!({ "profile": "plain", "bundle": bundle.digest() });
    assert_eq!(api.put_json("/v1/workers/w", &all, &worker).await.status, StatusCode::CREATED);
    let blob = format!("/v1/blobs/{}", bundle.blobs().next().expect("a blob").0);
    let whole = format!("/v1/config-bundles/{}", bundle.digest());
    let asked = [
        ("GET", "/v1/config-bundles", Scope::Read),
        ("GET", whole.as_str(), Scope::Read),
        ("GET", blob.as_str(), Scope::Read),
        ("GET", "/v1/workers", Scope::Read),
        ("GET", "/v1/workers/w", Scope::Read),
        ("GET", "/v1/workers/w/history", Scope::Read),
        ("PUT", blob.as_str(), Scope::Bundles),
        ("DELETE", whole.as_str(), Scope::Bundles),
        ("PUT", "/v1/workers/w", Scope::Workers),
        ("DELETE", "/v1/workers/w", Scope::Workers),
        ("POST", "/v1/workers/w/remove", Scope::Workers),
        ("POST", "/v1/workers/w/tools/echo", Scope::Call),
        ("GET", "/v1/runtime", Scope::Operator),
    ];
    for (method, path, needed) in asked {
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != needed).collect();
        let (_, without) = api.token(&others, &["acme"]).await;
        let answer = api.ask(method, path, &without, "{}", "application/json").await;
        assert_eq!(answer.code(), (403, "scope_missing".to_owned()), "{method} {path}");
        if needed == Scope::Operator {
            continue;
        }
        // Another workspace is neither readable nor writable.
        let (_, other) = api.token(&Scope::ALL, &["other"]).await;
        for query in ["", "?workspace=acme"] {
            let answer = api.ask(method, &format!("{path}{query}"), &other, "{}", "application/json").await;
            match (needed, query) {
                (Scope::Read, _) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    // An empty list would be a valid response, because a list names no worker or bundle.
                    let is_denied = answer.status == StatusCode::FORBIDDEN && text.contains("workspace_denied");
                    let nothing = answer.status == StatusCode::NOT_FOUND
                        || if query.is_empty() { text.ends_with(":[]}") } else { is_denied };
                    assert!(nothing, "{method} {path}{query}: {text}");
                }
                (_, "") => assert_ne!(answer.status, StatusCode::CREATED, "{method} {path}"),
                _ => assert_eq!(answer.code(), (403, "workspace_denied".to_owned()), "{method} {path}"),
            }
        }
    }
    let (_, both) = api.token(&Scope::ALL, &["acme", "other"]).await;
    let (_, other) = api.token(&[Scope::Read], &["other"]).await;
    // A silent stream would look like a workspace without events.
    for workspace in ["acme", "nobody"] {
        let events = api.get(&format!("/v1/events?workspace={workspace}"), &other).await;
        assert_eq!(events.code(), (403, "workspace_denied".to_owned()), "{workspace}");
    }
    assert_eq!(api.get("/v1/workers", &both).await.code(), (400, "workspace_unnamed".to_owned()));
    assert_eq!(api.get("/v1/workers?workspace=acme", &both).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_known_hosts_and_origins_are_accepted() {
    let api = Api::new(&World::default()).await;
    let ask = |host: Option<&str>, origin: Option<&str>| {
        let mut request = Request::get("/livez");
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        api.send(request.body(Body::empty()).expect("a request"))
    };
    let good = Some("runtime.test:7070");
    assert_eq!(ask(good, None).await.status, StatusCode::OK);
    assert_eq!(ask(Some("RUNTIME.test:7070"), Some("https://console.test")).await.status, StatusCode::OK);
    for host in [None, Some("runtime.test"), Some("evil.test"), Some("127.0.0.1:7070"), Some("")] {
        assert_eq!(ask(host, None).await.code(), (421, "host_denied".to_owned()), "{host:?}");
    }
    for origin in ["https://evil.test", "null", "http://console.test", "https://console.test:444"] {
        assert_eq!(ask(good, Some(origin)).await.code(), (403, "origin_denied".to_owned()), "{origin}");
    }
}

#[tokio::test]
async fn malformed_request_is_answered_with_a_problem() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    let whole = format!("/v1/config-bundles/{}", bundle.digest());
    let activate = format!("/v1/resolvers/{}/activate", bundle.digest());
    let cases: [(&str, &str, &str, &str, u16, &str); 15] = [
        ("GET", "/v1/nothing", "", "", 404, "not_found"),
        ("PATCH", "/v1/workers", "", "", 405, "method_not_allowed"),
        ("GET", "/v1/blobs/x", "", "", 400, "invalid_request"),
        ("GET", "/v1/workers/%20", "", "", 400, "invalid_request"),
        ("GET", "/v1/workers/%ff", "", "", 400, "invalid_request"),
        ("GET", "/v1/workers?limit=x", "", "", 400, "invalid_request"),
        ("GET", "/v1/workers?workspace=A", "", "", 400, "invalid_request"),
        ("GET", "/v1/workers?after=%20", "", "", 400, "invalid_request"),
        ("PUT", &whole, "{}", "application/json", 415, "unsupported_media_type"),
        ("PUT", &whole, "{}", MANIFEST, 422, "digest_mismatch"),
        ("PUT", "/v1/workers/w", "{", "application/json", 400, "invalid_request"),
        ("PUT", "/v1/workers/w", "{\"profile\":\"a\",\"CANARY\":1}", "application/json", 400, "invalid_request"),
        ("POST", &activate, "\n[null, true]", "application/json", 400, "invalid_request"),
        ("POST", &activate, "{\"unchecked\":true}", "application/json", 404, "resolver_not_found"),
        ("POST", "/v1/workers/w/tools/echo", "{\"input\":{}}", "application/json", 404, "worker_not_found"),
    ];
    for (method, path, body, kind, status, code) in cases {
        let answer = api.ask(method, path, &token, body.to_owned(), kind).await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("CANARY"));
        assert_eq!(answer.code(), (status, code.to_owned()), "{method} {path}");
    }
    let large = api.ask("PUT", "/v1/workers/w", &token, "x".repeat(100_000), "application/json").await;
    assert_eq!(large.code(), (413, "body_too_large".to_owned()));
}

#[tokio::test]
async fn rate_limited_token_receives_retry_after() {
    let world = World::default();
    let api = Api::rated(&world, 1).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let (_, other) = api.token(&Scope::ALL, &["acme"]).await;
    let mut limited = None;
    for _ in 0..10 {
        let answer = api.get("/v1/workers", &token).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            limited = Some(answer);
        }
    }
    let limited = limited.expect("ten at once are too many");
    assert_eq!(limited.code().1, "rate_limited");
    assert_eq!(limited.headers[header::RETRY_AFTER], "1");
    assert_eq!(api.get("/v1/workers", &other).await.status, StatusCode::OK);
}

/// Reads a number of frames of an event stream as (id, event, data).
async fn frames(api: &Api, path: &str, token: &str, last: Option<&str>, count: usize) -> Vec<(String, String, Value)> {
    use futures_util::StreamExt;
    let mut request = Request::get(path)
        .header(header::HOST, "runtime.test:7070")
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response =
        api.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let piece = body.next().await.expect("more").expect("a piece");
        text.push_str(std::str::from_utf8(&piece).expect("text"));
    }
    let frame = |frame: &str| {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
        (field("id:"), field("event:"), serde_json::from_str(&field("data:")).expect("JSON"))
    };
    text.split("\n\n").take(count).map(frame).collect()
}

/// Returns the number in the id of a frame.
fn number(id: &str) -> u64 {
    id.parse::<worker_runtime::event::Cursor>().expect("a cursor").number()
}

#[tokio::test]
async fn event_stream_is_live_and_resumes_at_last_event_id() {
    let world =
        World { limits: worker_runtime::RuntimeLimits { kept_events: 3, ..Default::default() }, ..World::default() };
    let api = Api::new(&world).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let (watched, ()) = tokio::join!(frames(&api, "/v1/events", &token, None, 2), async {
        api.bring(&token, &bundle(1)).await;
        api.bring(&token, &bundle(2)).await;
    });
    let names: Vec<(u64, &str)> = watched.iter().map(|(id, event, _)| (number(id), event.as_str())).collect();
    assert_eq!(names, [(1, "bundle_stored"), (2, "bundle_stored")]);
    assert_eq!(watched[0].2["bundle"], bundle(1).digest().to_string());
    for revision in 3..6 {
        api.bring(&token, &bundle(revision)).await;
    }
    // Five events were recorded and three are kept. A client that received two misses none; a client that received one
    // receives a gap.
    let (first, second) = (watched[0].0.as_str(), watched[1].0.as_str());
    for (path, last) in [("/v1/events?after=0", Some(second)), (&format!("/v1/events?after={second}"), None)] {
        let went_on = frames(&api, path, &token, last, 3).await;
        assert_eq!(went_on.iter().map(|(id, ..)| number(id)).collect::<Vec<_>>(), [3, 4, 5]);
    }
    // Another store, or an earlier state of this one, can also have an event 5.
    let elsewhere = second.replace(|digit: char| digit.is_ascii_hexdigit(), "7");
    for (last, after) in [(first, 1), (elsewhere.as_str(), 7), ("1", 1), ("4", 4)] {
        let gap = frames(&api, "/v1/events", &token, Some(last), 4).await;
        assert_eq!((gap[0].0.as_str(), gap[0].1.as_str()), (second, "gap"));
        assert_eq!(gap[0].2, json!({ "after": after, "first_kept": 3 }));
        assert_eq!(gap[1..].iter().map(|(id, ..)| number(id)).collect::<Vec<_>>(), [3, 4, 5]);
    }
    for text in ["x", "-1", "1-1", "7777777777777777-x", ""] {
        let asked = api.get(&format!("/v1/events?after={text}"), &token).await;
        assert_eq!(asked.code(), (400, "invalid_request".to_owned()), "{text}");
        let request = Request::get("/v1/events")
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("last-event-id", text);
        let asked = api.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(asked.code(), (400, "invalid_request".to_owned()), "{text}");
        let problem = asked.json();
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.starts_with("invalid header `Last-Event-ID`: expected the `id` of a frame"), "{detail}");
    }
}

#[tokio::test]
async fn buffered_bodies_are_bounded_per_workspace() {
    let limits = worker_runtime::RuntimeLimits { inflight_bytes: 1 << 20, ..Default::default() };
    let api = Api::new(&World { limits, ..World::default() }).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    let path = format!("/v1/config-bundles/{}", bundle.digest());
    let answer = api.ask("PUT", &path, &token, bundle.manifest_bytes().to_vec(), MANIFEST).await;
    assert_eq!(answer.code(), (503, "busy".to_owned()));
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!(answer.json()["details"]["limit"], "inflight_bytes");
    // A blob reserves its announced size.
    let (digest, blob) = bundle.blobs().next().expect("a blob");
    let request = Request::put(format!("/v1/blobs/{digest}"))
        .header(header::HOST, "runtime.test:7070")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_LENGTH, blob.len());
    let put = api.send(request.body(Body::from(blob.to_vec())).expect("a request")).await;
    assert_eq!(put.status, StatusCode::CREATED);
}
