//! Calls of tools: validation, policy, execution and history, in this order.

use std::sync::Arc;
use std::time::Duration;

use bundles::{Authority, Digest, ToolName};
use host_policy::RuntimeConfig;
use runtime_api::call::{CallResult, ToolCall};
use serde_json::{Value, json};
use worker_runtime::history::{EntryKind, Payload};
use worker_runtime::tool::{HostTool, ToolContext, ToolError, ToolFixture};
use worker_runtime::{CallError, Runtime, RuntimeLimits, SubscriptionItem};

use crate::support::{
    CONFIG, World, acme, bundle, bundle_of, doubling_schema, id, name, plain, put, store_faulty_schema, trusted,
};

async fn worker(world: &World) -> (Runtime, Digest) {
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    (runtime, bundle)
}

async fn call(runtime: &Runtime, tool: &str, input: Value) -> Result<CallResult, CallError> {
    confirmed(runtime, tool, input, true).await
}

async fn confirmed(runtime: &Runtime, tool: &str, input: Value, confirmed: bool) -> Result<CallResult, CallError> {
    runtime.interaction(&acme()).call(&id("w"), &name(tool), ToolCall { input, confirmed }).await
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    result.expect_err("refused").recorded_code().to_owned()
}

async fn history(runtime: &Runtime) -> Vec<EntryKind> {
    let entries = runtime.observation(&acme()).history(&id("w"), 0, 1000).await.expect("a history");
    assert!(entries.iter().zip(1..).all(|(entry, number)| entry.number == number), "{entries:?}");
    entries.into_iter().map(|entry| entry.kind).collect()
}

#[tokio::test]
async fn call_returns_output_and_is_recorded() {
    let (runtime, _) = worker(&World::default()).await;
    let called = call(&runtime, "echo", json!({ "text": "hello" })).await.expect("an answer");
    assert_eq!((called.entry, called.output), (2, json!({ "said": "hello" })));
    let [EntryKind::CallBegan { tool, input }, EntryKind::CallEnded { began, output }] = &history(&runtime).await[..]
    else {
        panic!("two entries");
    };
    assert_eq!((tool.as_str(), *began), ("echo", 1));
    assert_eq!(input, &Payload::Json(json!({ "text": "hello" })));
    assert_eq!(output, &Payload::Json(json!({ "said": "hello" })));
}

#[tokio::test]
async fn input_and_output_that_do_not_match_their_schema_are_refused() {
    let (runtime, _) = worker(&World::default()).await;
    let error = call(&runtime, "echo", json!({ "text": 7 })).await.expect_err("refused");
    assert!(matches!(&error, CallError::InvalidInput { pointer, .. } if pointer == "/text"), "{error}");
    assert_eq!(code(call(&runtime, "echo", json!({ "more": 7 })).await), "invalid_input");
    assert_eq!(code(call(&runtime, "other", json!({})).await), "tool_not_found");
    assert!(history(&runtime).await.is_empty(), "what never began leaves nothing");
    assert_eq!(code(call(&runtime, "echo", json!({ "do": "lie" })).await), "invalid_output");
    assert_eq!(code(call(&runtime, "echo", json!({ "do": "refuse" })).await), "echo_refused");
    assert_eq!(history(&runtime).await.len(), 4);
}

/// Creates a worker `w` whose tool `echo` has these schemas.
async fn worker_with(world: &World, files: &[(&str, &str)]) -> Runtime {
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle_of("acme", 1, files)).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    runtime
}

#[tokio::test]
async fn expensive_schema_ends_call_with_the_name_of_the_limit() {
    let limits = RuntimeLimits { schema_work: 100_000, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = worker_with(&world, &[("schemas/echo.input.json", &doubling_schema())]).await;
    let error = call(&runtime, "echo", json!({ "text": "x" })).await.expect_err("too much");
    assert_eq!(error.code(), "limit_exceeded");
    let message = "cannot validate the input of tool `echo`: validation exceeds limit `schema_work` (100000)";
    assert_eq!(error.to_string(), message);
    assert!(history(&runtime).await.is_empty(), "the tool did not begin");
    call(&runtime, "secretive", json!({})).await.expect("another tool");

    let world = World { limits: world.limits.clone(), ..World::default() };
    let runtime = worker_with(&world, &[("schemas/echo.output.json", &doubling_schema())]).await;
    let error = call(&runtime, "echo", json!({ "text": "x" })).await.expect_err("too much");
    assert!(matches!(error, CallError::ValidationLimit { what: "output", .. }), "{error}");
    let [EntryKind::CallBegan { .. }, EntryKind::CallFailed { code, .. }] = &history(&runtime).await[..] else {
        panic!("two entries");
    };
    assert_eq!(code, "limit_exceeded");
}

// Single-threaded: if the call validated on this thread, the deadline could not end it.
#[tokio::test]
async fn validation_ends_at_deadline_of_call_and_releases_its_slot() {
    let limits = RuntimeLimits { schema_work: u64::MAX, call_ms: 100, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = worker_with(&world, &[("schemas/echo.input.json", &doubling_schema())]).await;
    for _ in 0..2 {
        assert_eq!(code(call(&runtime, "echo", json!({})).await), "deadline_exceeded");
    }
    // A resolution needs the compute slot of the workspace.
    let bundle = put(&runtime.content(&acme()), &bundle(2)).await;
    runtime.catalogue(&acme()).create(id("w2"), trusted(bundle)).await.expect("the place is free");
}

#[tokio::test]
async fn other_calls_are_answered_during_a_validation() {
    let limits = RuntimeLimits { schema_work: u64::MAX, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = worker_with(&world, &[("schemas/echo.input.json", &doubling_schema())]).await;
    let endless = call(&runtime, "echo", json!({}));
    let other = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
            runtime.observation(&acme()).history(&id("w"), 0, 10).await.expect("a history");
        }
    };
    tokio::select! {
        biased;
        ended = endless => panic!("2^40 applications are done: {ended:?}"),
        () = other => {}
    }
}

#[tokio::test]
async fn a_stored_bundle_with_a_faulty_schema_opens_and_only_calls_of_its_tool_are_refused() {
    let world = World::default();
    let bundle = store_faulty_schema(&world).await;
    let runtime = world.open().await;
    let error = call(&runtime, "echo", json!({ "text": "x" })).await.expect_err("refused");
    assert_eq!(error.code(), "invalid_schema");
    let message = error.to_string();
    assert!(message.starts_with("invalid input schema of tool `echo` at `/anyOf/"), "{message}");
    assert!(message.contains("`pattern_bytes`"), "{message}");
    call(&runtime, "secretive", json!({})).await.expect("another tool");
    runtime.catalogue(&acme()).create(id("w2"), trusted(bundle)).await.expect("another worker");
}

#[tokio::test]
async fn missing_property_is_named() {
    let schema = r#"{"type":"object","required":["mount"],"properties":{"depth":{"type":"integer"}}}"#;
    let runtime = worker_with(&World::default(), &[("schemas/echo.input.json", schema)]).await;
    let error = call(&runtime, "echo", json!({ "path": "a" })).await.expect_err("refused");
    assert_eq!(error.to_string(), "invalid input: property `mount` is missing");
    call(&runtime, "echo", json!({ "mount": "a", "depth": 2.0 })).await.expect("2.0 is an integer");
    assert_eq!(code(call(&runtime, "echo", json!({ "mount": "a", "depth": 2.5 })).await), "invalid_input");
}

#[tokio::test]
async fn duplicate_key_in_call_is_refused() {
    let (runtime, _) = worker(&World::default()).await;
    let interaction = runtime.interaction(&acme());
    let call = async |text: &str| interaction.call_json(&id("w"), &name("echo"), text.as_bytes()).await;
    for twice in [
        r#"{"input":{"text":"a","text":"b"}}"#,
        r#"{"input":{"text":"a","te\u0078t":"b"}}"#,
        r#"{"input":{},"input":{"text":"b"}}"#,
        r#"{"input":{"text":"a"},"confirmed":false,"confirmed":true}"#,
    ] {
        assert_eq!(code(call(twice).await), "duplicate_key", "{twice}");
    }
    assert!(history(&runtime).await.is_empty());
    call(r#"{"input":{"text":"a","do":"a"}}"#).await.expect("keys that differ");
    assert_eq!(code(call(r#"{"input":{}"#).await), "invalid_request");
    assert_eq!(code(call(r#"{"inptu":{}}"#).await), "invalid_request");
}

#[tokio::test]
async fn malformed_call_is_refused_with_position_and_reason() {
    let (runtime, _) = worker(&World::default()).await;
    let interaction = runtime.interaction(&acme());
    let call = async |text: &[u8]| interaction.call_json(&id("w"), &name("echo"), text).await;
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let marked = b"\xEF\xBB\xBF{\"input\":{}}";
    let cases: [(&[u8], &str); 15] = [
        (b"{}", "line 1, column 2: missing field `input`"),
        (b"{\"confirmed\":true}", "line 1, column 18: missing field `input`"),
        (b"{\"inptu\":{}}", ": unknown field, expected `input` or `confirmed`"),
        (b"{\"input\":{},\"confirmed\":\"yes\"}", "line 1, column 29: expected a boolean"),
        (b"{\"input\":{\"x\":1e400}}", "line 1, column 19: a number is outside the range of JSON readers"),
        (b"{\"input\":{\"x\":-1e400}}", ": a number is outside the range of JSON readers"),
        (deep.as_bytes(), "line 1, column 136: arrays and objects are nested deeper than 127 levels"),
        (marked, "line 1, column 1: the text begins with a byte order mark"),
        (b"\xFF\xFE{\0}\0", ": the text is UTF-16 or UTF-32, and UTF-8 is expected"),
        (b"{\"input\":{}} x", "line 1, column 14: more text follows the value"),
        (b"{\"input\":{}}{\"input\":{}}", ": more text follows the value"),
        (b"{\"input\":{}", "line 1, column 11: the text ends too early"),
        (b"", ": the text is empty"),
        (b"{\"input\":{\"x\":CANARY}}", "line 1, column 15: expected value"),
        (b"[1]", ": expected an object"),
    ];
    for (text, expected) in cases {
        let error = call(text).await.expect_err("refused");
        let message = error.to_string();
        assert_eq!(error.code(), "invalid_request", "{message}");
        assert!(message.starts_with("invalid call at line 1, column "), "{message}");
        assert!(message.contains(expected) && !message.contains("CANARY"), "{}: {message}", text.escape_ascii());
    }
    // Valid neighbours of the malformed calls are parsed and validated.
    let level = format!("{{\"input\":{{\"x\":{}{}}}}}", "[".repeat(100), "]".repeat(100));
    for read in [level.as_str(), " {\"input\":{\"x\":1e300}}\n"] {
        assert_eq!(code(call(read.as_bytes()).await), "invalid_input", "{read}");
    }
    call(b" {\"input\":{}}\n").await.expect("space around a call");
}

#[tokio::test]
async fn confirmation_and_max_calls_of_bundle_are_enforced() {
    let (runtime, _) = worker(&World::default()).await;
    let unasked = || confirmed(&runtime, "secretive", json!({}), false);
    assert_eq!(code(unasked().await), "confirmation_required");
    call(&runtime, "secretive", json!({})).await.expect("confirmed");
    unasked().await.expect("confirmed once");
    assert_eq!(code(call(&runtime, "secretive", json!({})).await), "calls_used_up");
    call(&runtime, "echo", json!({})).await.expect("another tool");
}

#[tokio::test]
async fn narrowed_grant_applies_to_next_call() {
    let (runtime, _) = worker(&World::default()).await;
    call(&runtime, "secretive", json!({})).await.expect("granted");
    let narrower = RuntimeConfig::from_toml(&CONFIG.replace("secrets = [\"token\"]", "")).expect("a config");
    runtime.management().reload(narrower).await.expect("reloaded");
    assert_eq!(code(call(&runtime, "secretive", json!({})).await), "worker_suspended");
    runtime.management().reload(RuntimeConfig::from_toml(CONFIG).expect("a config")).await.expect("reloaded");
    call(&runtime, "secretive", json!({})).await.expect("granted again");
}

#[tokio::test]
async fn full_history_refuses_calls_and_keeps_entries() {
    let limits = RuntimeLimits { history_entries: 5, ..RuntimeLimits::default() };
    let (runtime, _) = worker(&World { limits, ..World::default() }).await;
    for _ in 0..2 {
        call(&runtime, "echo", json!({})).await.expect("an answer");
    }
    for _ in 0..3 {
        assert_eq!(code(call(&runtime, "echo", json!({})).await), "history_full");
    }
    assert_eq!(history(&runtime).await.len(), 4);
}

#[tokio::test]
async fn large_content_is_recorded_by_its_digest() {
    let limits = RuntimeLimits { call_bytes: 20_000, ..RuntimeLimits::default() };
    let (runtime, _) = worker(&World { limits, ..World::default() }).await;
    let text = "x".repeat(10_000);
    call(&runtime, "echo", json!({ "text": text })).await.expect("an answer");
    let entries = history(&runtime).await;
    let [EntryKind::CallBegan { input: Payload::Blob { digest, bytes }, .. }, _] = &entries[..] else {
        panic!("{entries:?}");
    };
    let content = runtime.content(&acme()).blob(*digest).await.expect("a blob");
    assert_eq!(content.len() as u64, *bytes);
    assert_eq!(serde_json::from_slice::<Value>(&content).expect("JSON"), json!({ "text": text }));
    let large = call(&runtime, "echo", json!({ "text": "x".repeat(20_000) })).await;
    assert_eq!(code(large), "too_large");
}

#[tokio::test]
async fn deeply_nested_content_does_not_make_the_history_unreadable() {
    let runtime = worker_with(&World::default(), &[("schemas/echo.input.json", r#"{"type":"object"}"#)]).await;
    for (depth, is_inline) in [(63, true), (64, false), (124, false), (125, false), (1000, false)] {
        let nested = (0..depth).fold(json!(0), |value, _| json!([value]));
        call(&runtime, "echo", json!({ "text": nested })).await.expect("an answer");
        let entries = history(&runtime).await;
        let [.., EntryKind::CallBegan { input, .. }, EntryKind::CallEnded { output, .. }] = &entries[..] else {
            panic!("{depth}: {entries:?}");
        };
        let inline = [input, output].map(|content| matches!(content, Payload::Json(_)));
        assert_eq!(inline, [is_inline; 2], "{depth}");
    }
}

#[tokio::test]
async fn call_that_exceeds_deadline_is_aborted_and_recorded() {
    let limits = RuntimeLimits { call_ms: 1000, ..RuntimeLimits::default() };
    let (runtime, _) = worker(&World { limits, ..World::default() }).await;
    // The test clock advances while other threads compute. Each of these calls would take a millisecond.
    while history(&runtime).await.is_empty() {
        assert_eq!(code(call(&runtime, "echo", json!({ "do": "hang" })).await), "deadline_exceeded");
    }
    assert!(matches!(&history(&runtime).await[1], EntryKind::CallFailed { code, .. } if code == "deadline_exceeded"));
}

#[tokio::test]
async fn call_after_an_aborted_one_succeeds() {
    let (runtime, _) = worker(&World::default()).await;
    let hanging = call(&runtime, "echo", json!({ "do": "hang" }));
    assert!(tokio::time::timeout(Duration::from_millis(100), hanging).await.is_err());
    call(&runtime, "echo", json!({})).await.expect("the next one");
}

#[tokio::test]
async fn a_tool_that_panics_ends_its_call_with_an_error_an_entry_and_an_event() {
    let (runtime, _) = worker(&World::default()).await;
    let newest = runtime.observation(&acme()).newest_event().await.expect("a number");
    let error = call(&runtime, "echo", json!({ "do": "panic" })).await.expect_err("it panicked");
    assert!(matches!(&error, CallError::ToolPanicked(tool) if tool.as_str() == "echo"), "{error}");
    let [EntryKind::CallBegan { .. }, EntryKind::CallFailed { began: 1, code, message }] = &history(&runtime).await[..]
    else {
        panic!("two entries");
    };
    assert_eq!((code.as_str(), message.as_str()), ("tool_panicked", "host tool `echo` panicked"));
    assert_eq!(runtime.observation(&acme()).newest_event().await.expect("a number"), newest + 1);
    // The only run permit of the workspace is free, and the next call succeeds.
    call(&runtime, "echo", json!({})).await.expect("the next one");
}

#[tokio::test]
async fn panic_in_drop_of_tool_affects_only_its_call() {
    let limits = RuntimeLimits { call_ms: 1000, ..RuntimeLimits::default() };
    let (runtime, _) = worker(&World { limits, ..World::default() }).await;
    let falls = || call(&runtime, "echo", json!({ "do": "panic when dropped" }));
    // On a busy machine the call may not have started at its deadline.
    while history(&runtime).await.is_empty() {
        assert_eq!(code(falls().await), "deadline_exceeded");
    }
    assert!(matches!(&history(&runtime).await[1], EntryKind::CallFailed { code, .. } if code == "deadline_exceeded"));
    assert!(tokio::time::timeout(Duration::from_millis(5), falls()).await.is_err(), "the caller goes away");
    call(&runtime, "echo", json!({})).await.expect("the next one");
}

/// Returns the contents of its context.
#[derive(Debug)]
struct Introspective(ToolName);

#[async_trait::async_trait]
impl HostTool for Introspective {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, _: Value) -> Result<Value, ToolError> {
        let secret = context.allow(&Authority::Secret(name("token"))).is_ok();
        Ok(json!([context.workspace(), context.worker(), context.call_id(), secret]))
    }
}

#[tokio::test]
async fn tool_context_names_caller_and_works_without_runtime() {
    let tool = Arc::new(Introspective(name("introspective")));
    let config = CONFIG.replace("[\"tool:echo\"", "[\"tool:introspective\", \"tool:echo\"");
    let world = World { config: config.clone(), tools: vec![tool.clone()], ..World::default() };
    let runtime = world.open().await;
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                    language = \"en\"\nworkspace.id = \"acme\"\n[tools.echo]\nsource = \"host\"\neffect = \"none\"\n\
                    [tools.secretive]\nsource = \"host\"\neffect = \"none\"\n\
                    [tools.introspective]\nsource = \"host\"\neffect = \"none\"\n";
    let files = [("bundle.toml", manifest), ("profiles/plain.toml", "tools_allow = [\"introspective\"]")];
    let bundle = put(&runtime.content(&acme()), &bundle_of("acme", 1, &files)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    for call_id in [1, 3] {
        let told = call(&runtime, "introspective", json!({})).await.expect("an answer");
        assert_eq!(told.output, json!(["acme", "w", call_id, false]), "the profile does not ask for the secret");
    }
    let config = RuntimeConfig::from_toml(&config).expect("a config");
    let fixture = |workspace: &str| ToolFixture::new(name(workspace), id("w"), config.clone());
    let told = |fixture: ToolFixture| {
        let tool = tool.clone();
        async move { tool.call(fixture.context(), json!({})).await.expect("an answer") }
    };
    assert_eq!(told(fixture("acme")).await, json!(["acme", "w", 1, true]), "everything that the config grants");
    assert_eq!(told(ToolFixture { call_id: 9, ..fixture("other") }).await, json!(["other", "w", 9, false]));
}

#[tokio::test]
async fn dropped_call_releases_its_permit_and_keeps_its_beginning() {
    let (runtime, _) = worker(&World::default()).await;
    for _ in 0..100 {
        let hanging = call(&runtime, "echo", json!({ "do": "hang" }));
        assert!(tokio::time::timeout(Duration::from_millis(5), hanging).await.is_err());
    }
    call(&runtime, "echo", json!({})).await.expect("the place is free");
    let entries = runtime.observation(&acme()).history(&id("w"), 0, 1000).await.expect("a history");
    assert!(entries.len() >= 2 && entries.iter().filter(|entry| entry.number % 2 == 0).count() == 1, "{entries:?}");
}

#[tokio::test]
async fn call_above_the_queue_limit_of_its_workspace_is_refused_as_busy() {
    let limits = RuntimeLimits { queued_calls: 1, ..RuntimeLimits::default() };
    let (runtime, bundle) = worker(&World { limits, ..World::default() }).await;
    let hang = || call(&runtime, "echo", json!({ "do": "hang" }));
    let (mut first, mut second) = (Box::pin(hang()), Box::pin(hang()));
    for waiting in [&mut first, &mut second] {
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    }
    assert_eq!(code(call(&runtime, "echo", json!({})).await), "busy");
    // Other workspaces are not affected.
    let other = name("other");
    let builtin = worker_runtime::worker::CreateWorkerRequest::builtin(name("companion"));
    runtime.catalogue(&other).create(id("w"), builtin).await.expect("a worker of another workspace");
    drop((first, second));
    call(&runtime, "echo", json!({})).await.expect("there is room again");
    assert!(runtime.content(&acme()).bundle(bundle).await.is_ok());
}

#[tokio::test]
async fn events_are_ordered_and_late_subscriber_misses_none() {
    let world = World { limits: RuntimeLimits { kept_events: 4, ..RuntimeLimits::default() }, ..World::default() };
    let (runtime, _) = worker(&world).await;
    let observation = runtime.observation(&acme());
    let mut subscription = observation.subscribe(0).await.expect("a subscription");
    let mut names = Vec::new();
    for _ in 0..2 {
        let SubscriptionItem::Event(event) = subscription.next().await.expect("an event") else { panic!("a gap") };
        names.push(serde_json::to_value(&event).expect("JSON")["event"].clone());
    }
    assert_eq!(names, ["bundle_stored", "worker_created"]);
    // An event that arrives while the subscriber waits.
    let (seen, called) = tokio::join!(subscription.next(), call(&runtime, "echo", json!({})));
    called.expect("an answer");
    assert!(matches!(seen.expect("an event"), SubscriptionItem::Event(event) if event.number == 3));
    for _ in 0..6 {
        call(&runtime, "echo", json!({})).await.expect("an answer");
    }
    // Nine events were recorded and four are kept, also for the next process.
    for runtime in [runtime, world.open().await] {
        let mut late = runtime.observation(&acme()).subscribe(3).await.expect("a subscription");
        assert_eq!(late.next().await.expect("told"), SubscriptionItem::Gap { after: 3, first_kept: 6 });
        assert!(matches!(late.next().await.expect("an event"), SubscriptionItem::Event(event) if event.number == 6));
    }
}

#[tokio::test]
async fn events_and_histories_of_another_workspace_are_not_seen() {
    let (runtime, _) = worker(&World::default()).await;
    let other = runtime.observation(&name("other"));
    assert_eq!(other.newest_event().await.expect("known"), 0);
    assert!(other.history(&id("w"), 0, 10).await.is_err());
    let call = ToolCall { input: json!({}), confirmed: true };
    let called = runtime.interaction(&name("other")).call(&id("w"), &name("echo"), call).await;
    assert_eq!(code(called), "worker_not_found");
}
