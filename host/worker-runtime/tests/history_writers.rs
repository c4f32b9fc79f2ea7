//! Every way into a worker's history: each operation of the HTTP API, and each interface that a plugin has.
//!
//! Only a call of a tool and an event from outside write entries. A new route fails the first test until it has a case.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use bundles::Digest;
use serde_json::{Value, json};
use tower::ServiceExt;
use worker_runtime::history::EntryKind;
use worker_runtime::shipped;
use worker_runtime::token::Scope;

use crate::services::{end_of, until_running};
use crate::support::api::{Api, MANIFEST};
use crate::support::plugin_scene::{Packed, history, run, with_hook};
use crate::support::plugins::Plugin;
use crate::support::{World, acme, id, name, variant};

/// A request to one operation, which must succeed.
struct Operation {
    method: &'static str,
    /// Path, as the API description has it.
    route: &'static str,
    /// Values of the path's parameters, in their order.
    values: Vec<String>,
    kind: &'static str,
    body: Vec<u8>,
}

impl Operation {
    fn path(&self) -> String {
        let mut values = self.values.iter();
        let parts = self.route.split('/').map(|part| match part.starts_with('{') {
            true => values.next().expect("a value").as_str(),
            false => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// Returns a component that differs from the shipped resolver only in a custom section.
fn other_resolver() -> Vec<u8> {
    let mut bytes = shipped::RESOLVER.to_vec();
    bytes.extend([0, 3, 2, b'h', b'i']);
    bytes
}

/// Returns all operations. Those that end the worker or its bundle come last.
fn operations(packed: &Packed, token: &str) -> Vec<Operation> {
    let bundle = packed.bundle();
    let (blob, content) = variant(7);
    let resolver = Digest::of(other_resolver());
    let worker = json!({ "profile": "main", "bundle": bundle.digest() });
    let issued = json!({ "name": "other", "scopes": ["read"], "workspaces": ["acme"] });
    let desired = json!({ "generation": 1, "bundle": bundle.digest() });
    let call = json!({ "input": {}, "confirmed": true });
    let json_kind = "application/json";
    let of = |values: &[&dyn std::fmt::Display]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    let (bundle_id, resolver_id, worker_id) = (of(&[&bundle.digest()]), of(&[&resolver]), of(&[&"w"]));
    let pin = of(&[&bundle.digest(), &"kept"]);
    let get = |route, values: &[String]| ("GET", route, values.to_vec(), "", Vec::new());
    let all = [
        get("/livez", &[]),
        get("/readyz", &[]),
        get("/metrics", &[]),
        ("PUT", "/v1/blobs/{digest}", of(&[&blob]), "application/octet-stream", content),
        get("/v1/blobs/{digest}", &of(&[&blob])),
        get("/v1/config-bundles", &[]),
        ("PUT", "/v1/config-bundles/{digest}", bundle_id.clone(), MANIFEST, bundle.manifest_bytes().to_vec()),
        get("/v1/config-bundles/{digest}", &bundle_id),
        get("/v1/config-bundles/{digest}/findings", &bundle_id),
        get("/v1/config-bundles/{digest}/users", &bundle_id),
        ("PUT", "/v1/config-bundles/{digest}/pins/{pin}", pin.clone(), "", Vec::new()),
        ("DELETE", "/v1/config-bundles/{digest}/pins/{pin}", pin, "", Vec::new()),
        get("/v1/events", &[]),
        get("/v1/failed-resolutions", &[]),
        ("POST", "/v1/resolve", Vec::new(), json_kind, worker.to_string().into()),
        get("/v1/resolvers", &[]),
        ("PUT", "/v1/resolvers/{digest}", resolver_id.clone(), "application/wasm", other_resolver()),
        get("/v1/resolvers/{digest}", &resolver_id),
        ("POST", "/v1/resolvers/{digest}/comparison", resolver_id.clone(), "", Vec::new()),
        get("/v1/resolvers/{digest}/comparison", &resolver_id),
        ("DELETE", "/v1/resolvers/{digest}/comparison", resolver_id.clone(), "", Vec::new()),
        ("POST", "/v1/resolvers/{digest}/activate", resolver_id.clone(), json_kind, br#"{"unchecked":true}"#.to_vec()),
        ("POST", "/v1/resolvers/rollback", Vec::new(), "", Vec::new()),
        ("DELETE", "/v1/resolvers/{digest}", resolver_id.clone(), "", Vec::new()),
        ("PUT", "/v1/resolvers/{digest}", resolver_id.clone(), "application/wasm", other_resolver()),
        ("POST", "/v1/resolvers/{digest}/revoke", resolver_id, "", Vec::new()),
        get("/v1/runtime", &[]),
        get("/v1/runtime/events", &[]),
        get("/v1/status", &[]),
        get("/v1/facts", &[]),
        ("PUT", "/v1/desired", Vec::new(), json_kind, desired.to_string().into()),
        get("/v1/tokens", &[]),
        ("POST", "/v1/tokens", Vec::new(), json_kind, issued.to_string().into()),
        ("DELETE", "/v1/tokens/{id}", of(&[&token]), "", Vec::new()),
        get("/v1/workers", &[]),
        ("PUT", "/v1/workers/{id}", of(&[&"v"]), json_kind, worker.to_string().into()),
        // The worker exists, so the request changes nothing.
        ("PUT", "/v1/workers/{id}", worker_id.clone(), json_kind, worker.to_string().into()),
        get("/v1/workers/{id}", &worker_id),
        get("/v1/workers/{id}/history", &worker_id),
        get("/v1/workers/{id}/logs", &worker_id),
        get("/v1/workers/{id}/services", &worker_id),
        get("/v1/workers/{id}/spec", &worker_id),
        ("POST", "/v1/workers/{id}/tools/{tool}", of(&[&"w", &"p.run"]), json_kind, call.to_string().into()),
        ("POST", "/v1/workers/{id}/ingress/{name}", of(&[&"w", &"hook"]), json_kind, b"{}".to_vec()),
        ("DELETE", "/v1/garbage", Vec::new(), "", Vec::new()),
        ("POST", "/v1/config-bundles/{digest}/revoke", bundle_id.clone(), "", Vec::new()),
        // Stops the worker; its history stays.
        ("DELETE", "/v1/workers/{id}", worker_id.clone(), "", Vec::new()),
        ("DELETE", "/v1/workers/{id}", of(&[&"v"]), "", Vec::new()),
        ("POST", "/v1/workers/{id}/remove", of(&[&"v"]), "", Vec::new()),
    ];
    all.map(|(method, route, values, kind, body)| Operation { method, route, values, kind, body }).into()
}

/// Returns method and path of each operation in the API description.
fn described() -> BTreeSet<(String, String)> {
    let text = std::fs::read(crate::root().join("docs/openapi.json")).expect("the API description");
    let document: Value = serde_json::from_slice(&text).expect("JSON");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    document["paths"].as_object().expect("paths").iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn of_all_operations_of_the_api_only_calls_and_events_write_entries() {
    let packed = with_hook(&Plugin::service());
    let api = Api::new(&World { config: packed.config(), ..World::default() }).await;
    packed.put_package(&api.runtime).await;
    packed.create(&api.runtime).await;
    until_running(&api.runtime).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let (spare, _) = api.token(&[Scope::Read], &["acme"]).await;
    let operations = operations(&packed, &spare.id.to_string());
    let mut left = described();
    // Removing a bundle needs a bundle without workers.
    assert!(left.remove(&("DELETE".to_owned(), "/v1/config-bundles/{digest}".to_owned())));
    let mut entries = 0;
    for operation in operations {
        let (method, path) = (operation.method, operation.path());
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, operation.kind)
            .header("idempotency-key", "e1");
        let request = request.body(Body::from(operation.body)).expect("a request");
        let response = api.router.clone().oneshot(request).await.expect("a response");
        let status = response.status();
        let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        if !is_stream {
            let body = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
            assert!(status.is_success(), "{method} {path}: {}", String::from_utf8_lossy(&body));
        }
        if operation.route == "/v1/workers/{id}/ingress/{name}" {
            let event = runtime_api::ingress::AcceptedEvent { entry: entries + 1 };
            end_of(&api.runtime, event).await;
        }
        if matches!(operation.route, "/v1/workers/{id}/tools/{tool}" | "/v1/workers/{id}/ingress/{name}") {
            entries += 2;
        }
        assert_eq!(history(&api.runtime).await.len() as u64, entries, "after {method} {path}");
        left.remove(&(method.to_owned(), operation.route.to_owned()));
    }
    assert_eq!(entries, 4);
    assert!(left.is_empty(), "operations without a case: {left:?}");
}

/// Calls of every function that a plugin imports, apart from those of a connection, which needs an open one.
const IMPORTS: &str = r#"
(import "yoi:host/log@1.0.0" "write" (func $log (param i32 i32 i32)))
(import "yoi:host/monotonic-clock@1.0.0" "now" (func $monotonic (result i64)))
(import "yoi:host/wall-clock@1.0.0" "now" (func $wall (result i64)))
(import "yoi:host/random@1.0.0" "get-bytes" (func $random (param i32 i32)))
"#;
const USE_ALL: &str =
    "(call $log (i32.const 2) (i32.const 16) (i32.const 9)) (drop (call $monotonic)) (drop (call $wall))
    (call $random (i32.const 8) (i32.const 2048))";

#[tokio::test]
async fn a_plugin_that_uses_all_of_its_interfaces_writes_no_entry() {
    let network = crate::support::plugins::network::connected_service();
    // A service uses the interfaces in each of its turns.
    let turn = format!("{USE_ALL} (call $turn)");
    let service = Plugin::service()
        .with("imports", IMPORTS)
        .with("start", turn.clone())
        .with("wake", turn)
        .with("call", format!("{USE_ALL} (call $digit)"));
    for plugin in [service, network] {
        let runtime = with_hook(&plugin).worker(&World::default()).await;
        until_running(&runtime).await;
        assert_eq!(history(&runtime).await, []);
        let called = run(&runtime, json!({})).await;
        let event = runtime.interaction(&acme()).accept_event(&id("w"), &name("hook"), &name("e"), b"{}").await;
        end_of(&runtime, event.expect("accepted")).await;
        let entries = history(&runtime).await;
        let [EntryKind::CallBegan { .. }, ended, EntryKind::EventReceived { .. }, EntryKind::EventHandled { .. }] =
            &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!(matches!(ended, EntryKind::CallEnded { .. }), called.is_ok(), "{called:?}");
        runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
        assert_eq!(history(&runtime).await, entries);
    }
}
