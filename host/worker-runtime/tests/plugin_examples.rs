//! The example plugins as tools of workers: packages, bundle, grant, call and history.

use bundles::{BuildOptions, BuildOutput, BundleLimits, Folder, build};
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::history::{EntryKind, Payload};
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Runtime, blob_store};

use crate::support::{CONFIG, World, acme, id, name, put};

/// Shared with the tests in the sandbox.
#[path = "../../../tests/support/examples.rs"]
mod examples;

/// Builds a bundle whose profile `main` selects the plugin and its tool.
fn bundle(plugin: &str, tool: &str) -> Option<BuildOutput> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = examples::example(&root, plugin)?;
    let manifest = format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
         [workspace]\nid = \"acme\"\n[tools.\"{tool}\"]\nsource = \"plugin:{plugin}\"\n"
    );
    let files = [
        ("bundle.toml".to_owned(), manifest.into_bytes()),
        ("profiles/main.toml".to_owned(), format!("plugins = [\"{plugin}\"]\ntools_allow = [\"{tool}\"]\n").into()),
        (format!("plugins/{plugin}.toml"), format!("package = \"{plugin}\"\n").into()),
        (format!("plugins/{plugin}/plugin.toml"), example.manifest),
        (format!("plugins/{plugin}/component.wasm"), example.component),
    ];
    let built = build(&Folder::from_files(files), &BuildOptions::default(), &BundleLimits::default());
    Some(built.unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list)))
}

/// Creates a worker `w` with the plugin, which the config grants by its digest.
async fn worker(plugin: &str, tool: &str) -> Option<Runtime> {
    let built = bundle(plugin, tool)?;
    let [package] = &built.packages[..] else { panic!("one package") };
    let grant = format!(
        "[workspaces.acme.plugins.\"{}\"]\nname = \"{plugin}\"\nsurfaces = [\"tools\"]\ntools = [\"{tool}\"]\n",
        package.digest()
    );
    let runtime = World { config: format!("{CONFIG}{grant}"), ..World::default() }.open().await;
    let content = runtime.content(&acme());
    let bytes = package.blob().bytes().to_vec();
    content.put_blob(package.digest(), blob_store::source_from(bytes), None).await.expect("stored");
    let bundle = put(&content, &built.bundle).await;
    let request = CreateWorkerRequest::of_bundle(name("main"), bundle);
    runtime.catalogue(&acme()).create(id("w"), request).await.expect("a worker");
    Some(runtime)
}

/// Calls a tool twice, compares the output, and checks that both calls are in the history.
async fn check(plugin: &str, tool: &str, input: Value, output: Value) {
    let Some(runtime) = worker(plugin, tool).await else { return };
    for _ in 0..2 {
        let call = ToolCall { input: input.clone(), confirmed: false };
        let called = runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await.expect("an answer");
        assert_eq!(called.output, output);
    }
    let invalid = ToolCall { input: json!({ "other": 1 }), confirmed: false };
    let refused = runtime.interaction(&acme()).call(&id("w"), &name(tool), invalid).await.expect_err("refused");
    assert_eq!(refused.code(), "invalid_input");
    let entries = runtime.observation(&acme()).history(&id("w"), 0, 10).await.expect("a history");
    let kinds: Vec<_> = entries.into_iter().map(|entry| entry.kind).collect();
    let [EntryKind::CallBegan { input: began, .. }, EntryKind::CallEnded { output: ended, .. }, _, _] = &kinds[..]
    else {
        panic!("{kinds:?}")
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
