//! The API for the operator: resolvers, tokens, garbage collection, metrics and readiness. Also covers preconditions of
//! requests.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bundles::Digest;
use runtime_api::Code;
use runtime_service::ServerLimits;
use serde_json::{Value, json};
use worker_runtime::shipped;
use worker_runtime::token::Scope;

use crate::support::api::{Answer, Api};
use crate::support::scene::Scene;
use crate::support::{World, bundle, variant};

const COMPONENT: &str = "application/wasm";

/// Sends a request with one additional header.
async fn with(api: &Api, method: &str, path: &str, token: &str, more: (&str, &str), body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "runtime.test:7070")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(more.0, more.1);
    api.send(request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn resolver_is_admitted_used_and_revoked() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let shipped = Digest::of(shipped::RESOLVER);
    let list = api.get("/v1/resolvers", &token).await.json();
    assert_eq!((&list["resolvers"][0]["digest"], &list["resolvers"][0]["active"]), (&json!(shipped), &json!(true)));

    // The same resolver with an additional custom section is a different component.
    let mut other = shipped::RESOLVER.to_vec();
    other.extend([0, 3, 2, b'h', b'i']);
    let digest = Digest::of(&other);
    let path = format!("/v1/resolvers/{digest}");
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "plain", "bundle": bundle.digest(), "resolver": digest });
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.code(), (404, "resolver_not_found".to_owned()));
    let put = api.ask("PUT", &path, &token, other.clone(), COMPONENT).await;
    assert_eq!(put.status, StatusCode::CREATED, "{:?}", put.json());
    assert_eq!(api.ask("PUT", &path, &token, other.clone(), COMPONENT).await.status, StatusCode::OK);
    assert_eq!(api.get(&path, &token).await.body, other);
    let made = api.put_json("/v1/workers/w", &token, &request).await;
    assert_eq!((made.status, &made.json()["resolver"]), (StatusCode::CREATED, &json!(digest)));
    let revoked = api.ask("POST", &format!("{path}/revoke"), &token, "", "").await.json();
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(api.get("/v1/workers/w", &token).await.json()["reason"], "resolver_revoked");
    assert_eq!(api.put_json("/v1/workers/v", &token, &request).await.code(), (409, "resolver_revoked".to_owned()));
    assert_eq!(api.ask("PUT", &path, &token, other, COMPONENT).await.code(), (409, "resolver_revoked".to_owned()));
}

#[tokio::test]
async fn invalid_resolver_is_refused_with_its_reason() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&[Scope::Operator], &[]).await;
    let text = "not a component";
    let path = format!("/v1/resolvers/{}", Digest::of(text));
    assert_eq!(api.ask("PUT", &path, &token, text, COMPONENT).await.code(), (422, "not_wasm".to_owned()));
    assert_eq!(api.ask("PUT", &path, &token, text, "").await.code(), (415, "unsupported_media_type".to_owned()));
    assert_eq!(api.ask("PUT", &path, &token, "other", COMPONENT).await.code(), (422, "digest_mismatch".to_owned()));
    assert_eq!(api.get(&path, &token).await.code(), (404, "resolver_not_found".to_owned()));
    let foreign =
        wat::parse_str(r#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#).expect("a component");
    let path = format!("/v1/resolvers/{}", Digest::of(&foreign));
    let refused = api.ask("PUT", &path, &token, foreign, COMPONENT).await;
    assert_eq!(refused.code(), (422, "foreign_import".to_owned()));
    assert_eq!(refused.json()["details"]["imports"], json!(["wasi:cli/environment@0.2.0"]));
    let (_, reader) = api.token(&[Scope::Read], &["acme"]).await;
    assert_eq!(api.get("/v1/resolvers", &reader).await.status, StatusCode::OK);
    assert_eq!(api.ask("PUT", &path, &reader, "", COMPONENT).await.code(), (403, "scope_missing".to_owned()));
}

#[tokio::test]
async fn dry_run_reports_worker_and_creates_none() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "plain", "bundle": bundle.digest() });
    let resolved = api.ask("POST", "/v1/resolve", &token, request.to_string(), "application/json").await;
    assert_eq!(resolved.status, StatusCode::OK);
    let resolved = resolved.json();
    assert_eq!((&resolved["schema"], &resolved["enforced"]), (&json!("yoi.resolution/1"), &json!(true)));
    assert_eq!(resolved["tools"][0]["name"], "echo");
    assert_eq!(api.get("/v1/workers", &token).await.json(), json!({ "workers": [] }));
    let unknown = json!({ "profile": "nobody", "bundle": bundle.digest() }).to_string();
    let unknown = api.ask("POST", "/v1/resolve", &token, unknown, "application/json").await;
    assert_eq!(unknown.code(), (404, "unknown_profile".to_owned()));
}

#[tokio::test]
async fn operator_issues_lists_and_revokes_tokens() {
    let api = Api::new(&World::default()).await;
    let (_, operator) = api.token(&[Scope::Operator], &[]).await;
    let asked = json!({ "name": "ci", "scopes": ["read"], "workspaces": ["acme"] }).to_string();
    let issued = api.ask("POST", "/v1/tokens", &operator, asked.clone(), "application/json").await;
    assert_eq!(issued.status, StatusCode::CREATED);
    assert_eq!(issued.headers[header::CACHE_CONTROL], "no-store");
    let issued = issued.json();
    let (token, id) = (issued["token"].as_str().expect("a token"), issued["id"].as_str().expect("an id"));
    assert_eq!(api.get("/v1/workers", token).await.status, StatusCode::OK);
    assert_eq!(api.ask("POST", "/v1/tokens", token, asked, "application/json").await.code().1, "scope_missing");
    let listed = String::from_utf8(api.get("/v1/tokens", &operator).await.body).expect("text");
    let secret = token.rsplit('_').next().expect("a secret");
    assert!(listed.contains(id) && !listed.contains(secret));
    let path = format!("/v1/tokens/{id}");
    assert!(api.ask("DELETE", &path, &operator, "", "").await.json()["revoked_at"].is_string());
    assert_eq!(api.get("/v1/workers", token).await.code().1, "unauthenticated");
    for limit in ["connections", "event_streams"] {
        let mut asked = json!({ "name": "none", "scopes": ["read"], "workspaces": ["acme"] });
        asked[limit] = json!(0);
        let answer = api.ask("POST", "/v1/tokens", &operator, asked.to_string(), "application/json").await;
        assert_eq!(answer.code(), (400, "invalid_request".to_owned()));
        let expected = format!("invalid limit `{limit}`: expected a whole number from 1 to 4294967295");
        assert_eq!(answer.json()["detail"], json!(expected));
    }
    assert_eq!(api.ask("DELETE", "/v1/tokens/x", &operator, "", "").await.code(), (400, "invalid_request".to_owned()));
    let unknown = api.ask("DELETE", "/v1/tokens/00000000000000ff", &operator, "", "").await;
    assert_eq!(unknown.code(), (404, "token_not_found".to_owned()));
}

#[tokio::test]
async fn operator_collects_only_unused_content() {
    let world = World::default();
    let api = Api::new(&world).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let loose = format!("/v1/blobs/{}", Digest::of("loose"));
    assert_eq!(api.ask("PUT", &loose, &token, "loose", "").await.status, StatusCode::CREATED);
    // A blob of a process that ended before it could acknowledge the put.
    let stray = Digest::of("stray");
    world.blobs.put(stray, worker_runtime::blob_store::source_from("stray"), 5).await.expect("put");
    let young = api.ask("DELETE", "/v1/garbage", &token, "", "").await.json();
    assert_eq!((&young["workspaces"]["acme"]["young"], &young["strays"]), (&json!(1), &json!(1)));
    world.clock.advance(std::time::Duration::from_secs(25 * 60 * 60));
    let taken = api.ask("DELETE", "/v1/garbage", &token, "", "").await.json();
    assert_eq!((&taken["workspaces"]["acme"]["blobs"], &taken["strays"]), (&json!(1), &json!(0)));
    assert_eq!(api.get(&loose, &token).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.blobs.size(stray).await, Ok(None));
    for (digest, blob) in bundle.blobs() {
        assert_eq!(api.get(&format!("/v1/blobs/{digest}"), &token).await.body, **blob);
    }
}

#[tokio::test]
async fn change_with_stale_precondition_is_refused() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "plain", "bundle": bundle.digest() }).to_string();
    let new = ("if-none-match", "*");
    let made = with(&api, "PUT", "/v1/workers/w", &token, new, &request).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let again = with(&api, "PUT", "/v1/workers/w", &token, new, &request).await;
    assert_eq!(again.code(), (412, "precondition_failed".to_owned()));
    let tag = made.headers[header::ETAG].to_str().expect("text").to_owned();
    let known = with(&api, "GET", "/v1/workers/w", &token, ("if-none-match", &tag), "").await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let other = with(&api, "DELETE", "/v1/workers/w", &token, ("if-match", "\"x\""), "").await;
    assert_eq!(other.code(), (412, "precondition_failed".to_owned()));
    assert_eq!(api.get("/v1/workers/w", &token).await.json()["state"], "running");
    let stopped = with(&api, "DELETE", "/v1/workers/w", &token, ("if-match", &tag), "").await;
    assert_eq!(stopped.json()["state"], "stopped");
    let stopped = stopped.headers[header::ETAG].to_str().expect("text").to_owned();
    assert_ne!(stopped, tag);
    // The caller refers to the running worker.
    let running = with(&api, "POST", "/v1/workers/w/remove", &token, ("if-match", &tag), "").await;
    assert_eq!(running.code(), (412, "precondition_failed".to_owned()));
    assert_eq!(api.get("/v1/workers/w", &token).await.status, StatusCode::OK);
    let removed = with(&api, "POST", "/v1/workers/w/remove", &token, ("if-match", &stopped), "").await;
    assert_eq!((removed.status, removed.body.len()), (StatusCode::NO_CONTENT, 0));
    for tag in [("if-match", stopped.as_str()), ("if-none-match", "*")] {
        let again = with(&api, "POST", "/v1/workers/w/remove", &token, tag, "").await;
        assert_eq!(again.code(), (404, "worker_not_found".to_owned()));
    }
    let path = format!("/v1/config-bundles/{}", bundle.digest());
    let other = with(&api, "DELETE", &path, &token, ("if-match", "\"x\""), "").await;
    assert_eq!(other.code(), (412, "precondition_failed".to_owned()));
    let right = format!("\"{}\"", bundle.digest());
    assert_eq!(with(&api, "DELETE", &path, &token, ("if-match", &right), "").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn bundles_are_pinned_and_revoked() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let path = format!("/v1/config-bundles/{}", bundle.digest());
    let pin = format!("{path}/pins/release");
    assert_eq!(api.ask("PUT", &pin, &token, "", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.get(&format!("{path}/users"), &token).await.json()["users"], json!(["pin:release"]));
    assert_eq!(api.ask("DELETE", &path, &token, "", "").await.code(), (409, "in_use".to_owned()));
    assert_eq!(api.ask("DELETE", &pin, &token, "", "").await.status, StatusCode::NO_CONTENT);
    let revoked = api.ask("POST", &format!("{path}/revoke"), &token, "", "").await.json();
    assert!(revoked["revoked_at"].is_string());
    let request = json!({ "profile": "plain", "bundle": bundle.digest() });
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.code(), (409, "bundle_revoked".to_owned()));
}

#[tokio::test]
async fn metrics_and_readiness_are_served() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    api.bring(&token, &bundle(1)).await;
    assert_eq!(api.get("/v1/nothing", &token).await.status, StatusCode::NOT_FOUND);
    let text = String::from_utf8(api.get("/metrics", &token).await.body).expect("text");
    for line in [
        r#"yoi_workspace_bundles{workspace="acme"} 1"#,
        r#"yoi_http_requests_total{method="PUT",route="/v1/config-bundles/{digest}",status="201",code="ok"} 1"#,
        r#"yoi_http_requests_total{method="GET",route="other",status="404",code="not_found"} 1"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    let (_, reader) = api.token(&[Scope::Read], &["acme"]).await;
    assert_eq!(api.get("/metrics", &reader).await.code(), (403, "scope_missing".to_owned()));
    assert_eq!(api.get("/readyz", "").await.body, b"ok\n");
    api.service.config_read(Some(Code::InvalidConfig));
    let verbose = api.get("/readyz?verbose", "").await.json();
    let check = |name: &str| {
        let checks = verbose["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["name"] == name).map(|check| check["outcome"].clone())
    };
    assert_eq!((&verbose["ready"], check("config")), (&json!(true), Some(json!("invalid_config"))));
    assert_eq!((check("metadata"), check("blobs")), (Some(json!("ok")), Some(json!("ok"))));
}

#[tokio::test]
async fn service_with_full_store_is_not_ready_and_still_reads() {
    use crate::support::faulty::Fault;
    for (blobs, metadata) in [(Some(Fault::Full), None), (None, Some(Fault::Full)), (None, None)] {
        let (scene, digest) = Scene::with_bundle().await;
        scene.blobs.fails(blobs);
        scene.metadata.fails(metadata);
        let ready = scene.api.get("/readyz", "").await;
        match (blobs, metadata) {
            (None, None) => assert_eq!(ready.body, b"ok\n"),
            _ => assert_eq!(ready.code(), (503, "store_full".to_owned())),
        }
        assert_eq!(scene.ask("GET", &format!("/v1/config-bundles/{digest}")).await.status, StatusCode::OK);
        assert_eq!(scene.ask("GET", "/livez").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn event_streams_are_counted_per_token_and_end_when_it_is_revoked() {
    use http_body_util::BodyExt;
    let limits = ServerLimits { event_streams: 2, ..ServerLimits::default() };
    let api = Api::within(&World::default(), limits).await;
    let (summary, token) = api.token(&Scope::ALL, &["acme"]).await;
    let open = || async {
        let request = Request::get("/v1/events")
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::empty()).expect("a request");
        tower::ServiceExt::oneshot(api.router.clone(), request).await.expect("an answer")
    };
    let (first, mut second) = (open().await, open().await);
    let third = open().await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value =
        serde_json::from_slice(&third.into_body().collect().await.expect("whole").to_bytes()).expect("JSON");
    assert_eq!((&problem["code"], &problem["details"]["limit"]), (&json!("busy"), &json!("event_streams")));
    drop(first);
    assert_eq!(open().await.status(), StatusCode::OK);
    api.runtime.management().revoke_token(&summary.id).await.expect("revoked");
    tokio::time::pause();
    // No more frames follow, and the stream has ended.
    while let Some(frame) = second.body_mut().frame().await {
        let data = frame.expect("a frame").into_data().expect("data");
        assert!(data.is_empty() || data.starts_with(b":"));
    }
}

#[tokio::test]
async fn published_api_description_is_current() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let now = runtime_service::openapi_json();
    if std::env::var_os("YOI_UPDATE").is_some() {
        std::fs::write(published, &now).expect("written");
    }
    let published = std::fs::read_to_string(published).expect("`YOI_UPDATE=1` writes it");
    assert!(published == now, "docs/openapi.json is not current; run this test with `YOI_UPDATE=1`");
    let api = Api::new(&World::default()).await;
    let served = api.get("/openapi.json", "").await;
    assert_eq!(served.body, now.as_bytes());
    let tag = served.headers[header::ETAG].to_str().expect("text").to_owned();
    assert_eq!(
        with(&api, "GET", "/openapi.json", "", ("if-none-match", &tag), "").await.status,
        StatusCode::NOT_MODIFIED
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_created_during_revocation_of_its_resolver_does_not_run() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    for round in 0..24 {
        let (digest, component) = variant(round);
        api.runtime.management().admit_resolver(digest, component.into()).await.expect("admitted");
        let (path, request) = (
            format!("/v1/workers/w{round}"),
            json!({ "profile": "plain", "bundle": bundle.digest(), "resolver": digest }),
        );
        let (made, revoked) = tokio::join!(api.put_json(&path, &token, &request), async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            api.runtime.management().revoke_resolver(digest).await
        });
        revoked.expect("revoked");
        if made.status == StatusCode::CREATED {
            assert_eq!(api.get(&path, &token).await.json()["reason"], "resolver_revoked", "{round}");
        } else {
            assert_eq!(made.code().1, "resolver_revoked");
        }
    }
}

#[tokio::test]
async fn unread_responses_are_bounded_by_inflight_bytes() {
    use http_body_util::BodyExt;
    let limits = worker_runtime::RuntimeLimits { inflight_bytes: 1 << 20, ..Default::default() };
    let api = Api::new(&World { limits, ..World::default() }).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let blob = "x".repeat(700 << 10);
    let path = format!("/v1/blobs/{}", Digest::of(&blob));
    let ask = |method: &'static str| {
        let request = Request::builder().method(method).uri(&path).header(header::HOST, "runtime.test:7070");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        tower::ServiceExt::oneshot(api.router.clone(), request.body(Body::empty()).expect("a request"))
    };
    let put = Request::put(&path)
        .header(header::HOST, "runtime.test:7070")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_LENGTH, blob.len());
    assert_eq!(api.send(put.body(Body::from(blob.clone())).expect("a request")).await.status, StatusCode::CREATED);
    let held = ask("GET").await.expect("an answer");
    assert_eq!(held.status(), StatusCode::OK);
    assert_eq!(api.get(&path, &token).await.code(), (503, "busy".to_owned()));
    // The size is still available through HEAD.
    let head = ask("HEAD").await.expect("an answer");
    assert_eq!(
        (head.status(), &head.headers()[header::CONTENT_LENGTH]),
        (StatusCode::OK, &blob.len().to_string().parse().expect("a value"))
    );
    assert!(head.into_body().collect().await.expect("whole").to_bytes().is_empty());
    assert_eq!(held.into_body().collect().await.expect("whole").to_bytes(), blob.as_bytes());
    assert_eq!(api.get(&path, &token).await.body, blob.as_bytes());
}

#[tokio::test]
async fn call_with_too_many_values_is_refused_before_parsing() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "plain", "bundle": bundle.digest() });
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.status, StatusCode::CREATED);
    let path = "/v1/workers/w/tools/echo";
    let many = format!("{{\"input\":{{\"x\":[{}0]}}}}", "{\"\":0},".repeat(40_000));
    assert_eq!(api.ask("POST", path, &token, many, "application/json").await.code(), (413, "too_large".to_owned()));
    // Punctuation in strings does not count as values.
    let text = json!({ "input": { "text": ",:[{\\\"".repeat(50_000) } }).to_string();
    assert_eq!(api.ask("POST", path, &token, text, "application/json").await.status, StatusCode::OK);
    assert_eq!(
        api.ask("POST", path, &token, "{", "application/json").await.code(),
        (400, "invalid_request".to_owned())
    );
}

#[tokio::test]
async fn endless_upload_does_not_block_other_requests() {
    use futures_util::StreamExt;
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme", "other"]).await;
    let acme = "acme".parse().expect("an id");
    let content = api.runtime.content(&acme);
    let blob = "the same part of all digests";
    let digest = Digest::of(blob);
    let endless = futures_util::stream::once(async { Ok("the".into()) }).chain(futures_util::stream::pending()).boxed();
    let mut upload = Box::pin(content.put_blob(digest, endless, Some(100)));
    assert!(futures_util::poll!(&mut upload).is_pending());
    api.runtime.management().collect_garbage().await.expect("collected");
    let path = format!("/v1/blobs/{digest}?workspace=other");
    assert_eq!(api.ask("PUT", &path, &token, blob, "").await.status, StatusCode::CREATED);
    let path = format!("/v1/blobs/{digest}?workspace=acme");
    // The response does not reveal that the other workspace has the blob.
    assert_eq!(api.ask("PUT", &path, &token, blob, "").await.status, StatusCode::CREATED);
    assert_eq!(api.ask("PUT", &path, &token, blob, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn unauthenticated_requests_share_one_limit_and_do_not_block_tokens() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    assert_eq!(api.get("/v1/workers", &token).await.status, StatusCode::OK);
    let mut limited = 0;
    for number in 0..200 {
        let wrong = format!("yoi_{number:016x}_{:064x}", 7);
        let answer = api.get("/v1/workers", &wrong).await;
        limited += usize::from(answer.code() == (429, "rate_limited".to_owned()));
    }
    assert!(limited > 50, "{limited}");
    assert_eq!(api.get("/v1/workers", &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn resolver_limit_does_not_count_revoked_resolvers() {
    let limits = worker_runtime::RuntimeLimits { resolvers: 1, ..Default::default() };
    let api = Api::new(&World { limits, ..World::default() }).await;
    let (_, token) = api.token(&[Scope::Operator], &[]).await;
    let put = |number: u8| {
        let (digest, component) = variant(number);
        let (api, token) = (&api, &token);
        async move { api.ask("PUT", &format!("/v1/resolvers/{digest}"), token, component, COMPONENT).await }
    };
    assert_eq!(put(1).await.status, StatusCode::CREATED);
    assert_eq!(put(1).await.status, StatusCode::OK);
    assert_eq!(put(2).await.code(), (507, "store_full".to_owned()));
    api.runtime.management().revoke_resolver(variant(1).0).await.expect("revoked");
    assert_eq!(put(2).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn cursor_beyond_newest_event_gives_a_gap() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    api.bring(&token, &bundle(1)).await;
    let mut subscription =
        api.runtime.observation(&"acme".parse().expect("an id")).subscribe(1000).await.expect("subscribed");
    let gap = subscription.next().await.expect("seen");
    assert_eq!(gap, worker_runtime::SubscriptionItem::Gap { after: 1000, first_kept: 1 });
    assert!(
        matches!(subscription.next().await, Ok(worker_runtime::SubscriptionItem::Event(event)) if event.number == 1)
    );
}

#[tokio::test]
async fn workspace_missing_in_config_stores_nothing() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["nowhere"]).await;
    let path = format!("/v1/blobs/{}", Digest::of("x"));
    assert_eq!(api.ask("PUT", &path, &token, "x", "").await.code(), (403, "no_signature_posture".to_owned()));
}
