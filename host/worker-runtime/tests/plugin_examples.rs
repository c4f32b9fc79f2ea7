//! The example plugins as plugins of workers: package, bundle, grant, call and history.

use std::sync::OnceLock;

use component_host::{Allocation, Sandbox, SandboxConfig};
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::Runtime;
use worker_runtime::history::{EntryKind, Payload};

use crate::errors::compiling_child;
use crate::services::{end_of, until_running};
use crate::support::plugin_scene::{Packed, history};
use crate::support::{World, acme, compile_cache, id, name};

/// Shared with the tests in the sandbox.
#[path = "../../../tests/support/examples.rs"]
mod examples;

/// Returns the package of an example, or `None` if its component is not built.
pub(crate) fn packed(plugin: &str) -> Option<Packed> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = examples::example(&root, plugin)?;
    Some(Packed::with_manifest(&example.component, std::str::from_utf8(&example.manifest).expect("UTF-8")))
}

/// Returns a world whose sandbox compiles in a child process. Without one, the limits refuse the component in Python.
pub(crate) fn world() -> World {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let new = || {
        let (compiler, cache) = (compiling_child(), Some(compile_cache()));
        let config = SandboxConfig { compiler, cache, allocation: Allocation::Pooled, ..SandboxConfig::default() };
        Sandbox::new(config).expect("a sandbox")
    };
    World { sandbox: SANDBOX.get_or_init(new).clone(), ..World::default() }
}

async fn call(runtime: &Runtime, tool: &str, input: &Value) -> Result<Value, String> {
    let call = ToolCall { input: input.clone(), confirmed: false };
    let called = runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await;
    called.map(|called| called.output).map_err(|error| error.recorded_code().to_owned())
}

/// Calls a tool of a plugin twice, compares the output, and checks that the calls are in the history.
async fn check(plugin: &str, tool: &str, input: Value, output: Value) {
    let Some(packed) = packed(plugin) else { return };
    let runtime = packed.worker(&world()).await;
    for _ in 0..2 {
        assert_eq!(call(&runtime, tool, &input).await, Ok(output.clone()));
    }
    assert_eq!(call(&runtime, tool, &json!({ "other": 1 })).await, Err("invalid_input".to_owned()));
    let [EntryKind::CallBegan { input: began, .. }, EntryKind::CallEnded { output: ended, .. }, _, _] =
        &history(&runtime).await[..]
    else {
        panic!("two calls")
    };
    assert_eq!((began, ended), (&Payload::Json(input), &Payload::Json(output)));
}

#[tokio::test]
async fn worker_calls_a_plugin_in_javascript() {
    let output = json!([{ "at": "/a/0", "value": 1 }, { "at": "/a/1", "value": 2 }]);
    check("json-query", "json.query", json!({ "document": { "a": [1, 2] }, "path": "/a/*" }), output).await;
}

#[tokio::test]
async fn worker_calls_a_plugin_in_python() {
    let output = json!({ "rows": 1, "columns": [{ "name": "a", "filled": 1, "min": 2.0, "max": 2.0, "mean": 2.0 }] });
    check("csv-summary", "csv.summary", json!({ "csv": "a\n2\n" }), output).await;
}

#[tokio::test]
async fn worker_calls_a_plugin_in_rust() {
    let output = json!({ "text": "| a   |\n| --- |\n", "tables": 1 });
    check("markdown-table", "markdown.format-tables", json!({ "text": "|a|\n|-|\n" }), output).await;
}

#[tokio::test]
async fn worker_calls_a_service_in_rust_that_also_receives_events() {
    let packed = packed("counter").expect("committed");
    let config = packed.config() + "config = { start = 40 }\n";
    let runtime = World { config, ..world() }.open().await;
    packed.put_package(&runtime).await;
    packed.create(&runtime).await;
    until_running(&runtime).await;
    assert_eq!(call(&runtime, "counter.add", &json!({})).await, Ok(json!({ "count": 41 })));
    let (ingress, event) = (name("increment"), name("e1"));
    let accepted = runtime.interaction(&acme()).accept_event(&id("w"), &ingress, &event, b"{}").await;
    let end = end_of(&runtime, accepted.expect("accepted")).await;
    assert!(matches!(end, EntryKind::EventHandled { .. }), "{end:?}");
    assert_eq!(call(&runtime, "counter.add", &json!({ "by": -2 })).await, Ok(json!({ "count": 40 })));
}
