//! The example plugins run in the sandbox within the default limits.

use std::time::Duration;

use bundles::ToolName;
use component_host::{Invocation, PluginLimits, ServiceEvent, ToolFailureKind, ToolPlugin};
use serde_json::{Value, json};
use yoi_tests::examples::{Example, component, example};
use yoi_tests::{plugin_host, root, sandboxes};

fn invocation(tool: &str, input: Value) -> Invocation {
    let tool: ToolName = tool.parse().expect("a name");
    Invocation { id: "1".to_owned(), tool, input, remaining: Duration::from_secs(10) }
}

/// Loads a tool, or returns `None` if its component is not built.
fn load(name: &str) -> Option<ToolPlugin> {
    let Example { component, .. } = example(&root(), name)?;
    Some(sandboxes::wait(sandboxes::shared().load_tool(&component)).expect("a tool"))
}

/// Calls a tool and returns its output, or the kind and the code of its failure.
fn call(plugin: &ToolPlugin, tool: &str, input: Value) -> Result<Value, (ToolFailureKind, String)> {
    let (host, _) = plugin_host::offline();
    let run = sandboxes::wait(plugin.call(&invocation(tool, input), host, &PluginLimits::default()));
    run.result.expect("an answer").map_err(|failure| (failure.kind, failure.code.as_str().to_owned()))
}

fn invalid(code: &str) -> Result<Value, (ToolFailureKind, String)> {
    Err((ToolFailureKind::InvalidInput, code.to_owned()))
}

#[test]
fn json_query_in_javascript_finds_values_on_both_engines() {
    for engine in ["json-query", "json-query-starlingmonkey"] {
        let Some(component) = component(&root(), engine) else { continue };
        let plugin = sandboxes::wait(sandboxes::shared().load_tool(&component)).expect("a tool");
        json_query_finds_values(&plugin);
    }
}

fn json_query_finds_values(plugin: &ToolPlugin) {
    let query = |document: Value, path: &str| call(plugin, "json.query", json!({ "document": document, "path": path }));
    let orders = json!({ "orders": [{ "total": 3 }, { "total": null }, { "a/b": { "": true } }] });
    let found = |values: &[(&str, Value)]| {
        Ok(values.iter().map(|(at, value)| json!({ "at": at, "value": value })).collect::<Value>())
    };
    let totals = found(&[("/orders/0/total", json!(3)), ("/orders/1/total", json!(null))]);
    assert_eq!(query(orders.clone(), "/orders/*/total"), totals);
    assert_eq!(query(orders.clone(), "/orders/2/*/"), found(&[("/orders/2/a~1b/", json!(true))]));
    assert_eq!(query(json!("whole"), ""), found(&[("", json!("whole"))]));
    for path in ["/none", "/orders/length", "/toString", "/orders/00", "/__proto__"] {
        assert_eq!(query(orders.clone(), path), found(&[]), "{path}");
    }
    assert_eq!(query(orders, "orders"), invalid("invalid_path"));
    assert_eq!(query(json!(vec![0; 10_001]), "/*"), invalid("too_many_matches"));
    // A mistake in the plugin is a failure as well, and not a trap.
    let unexpected = Err((ToolFailureKind::Failed, "unexpected".to_owned()));
    assert_eq!(call(plugin, "json.other", json!({})), unexpected);
}

#[test]
fn csv_summary_in_python_describes_columns() {
    let Some(plugin) = load("csv-summary") else { return };
    let summary = |input: Value| call(&plugin, "csv.summary", input);
    let csv = "name,price,\"a,b\"\nApple,1.5,\nPear,2.5,x\n\n\"two\nlines\",,nan\n";
    let expected = json!({ "rows": 3, "columns": [
        { "name": "name", "filled": 3 },
        { "name": "price", "filled": 2, "min": 1.5, "max": 2.5, "mean": 2.0 },
        { "name": "a,b", "filled": 2 },
    ] });
    assert_eq!(summary(json!({ "csv": csv })), Ok(expected));
    let one = json!({ "name": "a,b", "filled": 1, "min": 1.0, "max": 1.0, "mean": 1.0 });
    let expected = json!({ "rows": 1, "columns": [one, { "name": "c", "filled": 0 }] });
    assert_eq!(summary(json!({ "csv": "a,b;c\r\n1;", "delimiter": ";" })), Ok(expected));
    assert_eq!(summary(json!({ "csv": "" })), invalid("no_header"));
    assert_eq!(summary(json!({ "csv": "\"a" })), invalid("invalid_csv"));
    assert_eq!(summary(json!({ "csv": "a", "delimiter": "\"" })), invalid("invalid_csv"));
    assert_eq!(call(&plugin, "csv.other", json!({})), Err((ToolFailureKind::Failed, "unexpected".to_owned())));
}

#[test]
fn markdown_table_in_rust_aligns_columns() {
    let plugin = load("markdown-table").expect("committed");
    let formatted = call(&plugin, "markdown.format-tables", json!({ "text": "|n|price|\n|-|-:|\n|Apple|1|\n" }));
    let text = "| n     | price |\n| ----- | ----: |\n| Apple |     1 |\n";
    assert_eq!(formatted, Ok(json!({ "text": text, "tables": 1 })));
    assert_eq!(call(&plugin, "markdown.format-tables", json!({})), invalid("no_text"));
    assert_eq!(call(&plugin, "other", json!({})), Err((ToolFailureKind::Failed, "unknown_tool".to_owned())));
}

#[test]
fn counter_in_rust_counts_calls_and_events_until_it_is_stopped() {
    let Example { component, .. } = example(&root(), "counter").expect("committed");
    sandboxes::wait(async {
        let plugin = sandboxes::shared().load_service(&component).await.expect("a service");
        let (host, log) = plugin_host::offline();
        let started = plugin.start(&json!({ "start": 40 }), host, &PluginLimits::default()).await;
        let (mut service, _) = started.result.expect("started");
        let add = |by: Value| invocation("counter.add", by);
        assert_eq!(service.call(&add(json!({}))).await.result, Ok(Ok(json!({ "count": 41 }))));
        let event =
            ServiceEvent { id: "1".to_owned(), ingress: "increment".to_owned(), payload: json!(null), attempt: 1 };
        assert_eq!(service.handle(&event).await.result, Ok(Ok(())));
        assert_eq!(service.call(&add(json!({ "by": -2 }))).await.result, Ok(Ok(json!({ "count": 40 }))));
        let overflow = service.call(&add(json!({ "by": i64::MAX }))).await.result.expect("an answer");
        assert_eq!(overflow.expect_err("too large").code.as_str(), "overflow");
        let state = service.status().await.result.expect("a state");
        assert_eq!((state.is_ready, state.detail.as_str()), (true, "count 40"));
        service.stop().await.result.expect("stopped");
        let lines: Vec<_> = log.lock().expect("lines").iter().map(|line| line.text.clone()).collect();
        assert_eq!(lines, ["counting from 40", "stopped at 40"]);
        // Another instance has a count of its own.
        let (host, _) = plugin_host::offline();
        let (mut other, _) = plugin.start(&json!({}), host, &PluginLimits::default()).await.result.expect("started");
        assert_eq!(other.call(&add(json!({}))).await.result, Ok(Ok(json!({ "count": 1 }))));
    });
}
