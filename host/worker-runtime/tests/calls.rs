//! Calls of tools: schema, policy, tool, schema, history, in this order and no other way.

use std::time::Duration;

use bundles::Digest;
use host_policy::RuntimeConfig;
use serde_json::{Value, json};
use worker_runtime::history::{Content, EntryKind};
use worker_runtime::{CallError, Called, Runtime, RuntimeLimits, Seen, ToolCall};

use crate::support::{CONFIG, World, acme, bundle, id, name, put, trusted};

async fn worker(world: &World) -> (Runtime, Digest) {
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    (runtime, bundle)
}

async fn call(runtime: &Runtime, tool: &str, input: Value) -> Result<Called, CallError> {
    confirmed(runtime, tool, input, true).await
}

async fn confirmed(runtime: &Runtime, tool: &str, input: Value, confirmed: bool) -> Result<Called, CallError> {
    runtime.interaction(&acme()).call(&id("w"), &name(tool), ToolCall { input, confirmed }).await
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> &'static str {
    result.expect_err("refused").code()
}

async fn history(runtime: &Runtime) -> Vec<EntryKind> {
    let entries = runtime.observation(&acme()).history(&id("w"), 0, 1000).await.expect("a history");
    assert!(entries.iter().zip(1..).all(|(entry, number)| entry.number == number), "{entries:?}");
    entries.into_iter().map(|entry| entry.kind).collect()
}

#[tokio::test]
async fn a_call_is_answered_and_remembered() {
    let (runtime, _) = worker(&World::default()).await;
    let called = call(&runtime, "echo", json!({ "text": "hello" })).await.expect("an answer");
    assert_eq!((called.entry, called.output), (2, json!({ "said": "hello" })));
    let [EntryKind::CallBegan { tool, input }, EntryKind::CallEnded { began, output }] = &history(&runtime).await[..]
    else {
        panic!("two entries");
    };
    assert_eq!((tool.as_str(), *began), ("echo", 1));
    assert_eq!(input, &Content::Json(json!({ "text": "hello" })));
    assert_eq!(output, &Content::Json(json!({ "said": "hello" })));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_and_after() {
    let (runtime, _) = worker(&World::default()).await;
    let error = call(&runtime, "echo", json!({ "text": 7 })).await.expect_err("refused");
    assert!(matches!(&error, CallError::InvalidInput { pointer } if pointer == "/text"), "{error}");
    assert_eq!(code(call(&runtime, "echo", json!({ "more": 7 })).await), "invalid_input");
    assert_eq!(code(call(&runtime, "other", json!({})).await), "tool_not_found");
    assert!(history(&runtime).await.is_empty(), "what never began leaves nothing");
    assert_eq!(code(call(&runtime, "echo", json!({ "do": "lie" })).await), "invalid_output");
    assert_eq!(code(call(&runtime, "echo", json!({ "do": "refuse" })).await), "echo_refused");
    assert_eq!(history(&runtime).await.len(), 4);
}

#[tokio::test]
async fn a_person_is_asked_and_calls_are_counted_where_the_bundle_says_so() {
    let (runtime, _) = worker(&World::default()).await;
    let unasked = || confirmed(&runtime, "secretive", json!({}), false);
    assert_eq!(code(unasked().await), "confirmation_required");
    call(&runtime, "secretive", json!({})).await.expect("confirmed");
    unasked().await.expect("confirmed once");
    assert_eq!(code(call(&runtime, "secretive", json!({})).await), "calls_used_up");
    call(&runtime, "echo", json!({})).await.expect("another tool");
}

#[tokio::test]
async fn a_grant_that_is_narrowed_is_narrow_for_the_next_call() {
    let (runtime, _) = worker(&World::default()).await;
    call(&runtime, "secretive", json!({})).await.expect("granted");
    let narrower = RuntimeConfig::from_toml(&CONFIG.replace("secrets = [\"token\"]", "")).expect("a config");
    runtime.management().reload(narrower).await.expect("reloaded");
    assert_eq!(code(call(&runtime, "secretive", json!({})).await), "worker_stopped");
    runtime.management().reload(RuntimeConfig::from_toml(CONFIG).expect("a config")).await.expect("reloaded");
    call(&runtime, "secretive", json!({})).await.expect("granted again");
}

#[tokio::test]
async fn a_full_history_refuses_calls_and_loses_nothing() {
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
async fn large_content_stands_in_the_history_by_its_digest() {
    let limits = RuntimeLimits { call_bytes: 20_000, ..RuntimeLimits::default() };
    let (runtime, _) = worker(&World { limits, ..World::default() }).await;
    let text = "x".repeat(10_000);
    call(&runtime, "echo", json!({ "text": text })).await.expect("an answer");
    let entries = history(&runtime).await;
    let [EntryKind::CallBegan { input: Content::Blob { digest, bytes }, .. }, _] = &entries[..] else {
        panic!("{entries:?}");
    };
    let content = runtime.content(&acme()).blob(*digest).await.expect("a blob");
    assert_eq!(content.len() as u64, *bytes);
    assert_eq!(serde_json::from_slice::<Value>(&content).expect("JSON"), json!({ "text": text }));
    let large = call(&runtime, "echo", json!({ "text": "x".repeat(20_000) })).await;
    assert_eq!(code(large), "too_large");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_ended_and_remembered() {
    let (runtime, _) = worker(&World::default()).await;
    assert_eq!(code(call(&runtime, "echo", json!({ "do": "hang" })).await), "deadline_exceeded");
    assert!(matches!(&history(&runtime).await[1], EntryKind::CallFailed { code, .. } if code == "deadline_exceeded"));
    call(&runtime, "echo", json!({})).await.expect("the next one");
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_place_and_leaves_its_beginning() {
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
async fn who_has_too_much_going_is_told_to_come_again() {
    let limits = RuntimeLimits { queued_calls: 1, ..RuntimeLimits::default() };
    let (runtime, bundle) = worker(&World { limits, ..World::default() }).await;
    let hang = || call(&runtime, "echo", json!({ "do": "hang" }));
    let (mut first, mut second) = (Box::pin(hang()), Box::pin(hang()));
    for waiting in [&mut first, &mut second] {
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
    }
    assert_eq!(code(call(&runtime, "echo", json!({})).await), "busy");
    // Others do not notice.
    let other = name("other");
    let builtin = worker_runtime::worker::CreateWorkerRequest::builtin(name("companion"));
    runtime.catalogue(&other).create(id("w"), builtin).await.expect("a worker of another workspace");
    drop((first, second));
    call(&runtime, "echo", json!({})).await.expect("there is room again");
    assert!(runtime.content(&acme()).bundle(bundle).await.is_ok());
}

#[tokio::test]
async fn events_tell_everything_in_order_and_who_was_away_misses_nothing() {
    let world = World { limits: RuntimeLimits { kept_events: 4, ..RuntimeLimits::default() }, ..World::default() };
    let (runtime, _) = worker(&world).await;
    let observation = runtime.observation(&acme());
    let mut subscription = observation.subscribe(0).await.expect("a subscription");
    let mut names = Vec::new();
    for _ in 0..2 {
        let Seen::Event(event) = subscription.next().await.expect("an event") else { panic!("a gap") };
        names.push(serde_json::to_value(&event).expect("JSON")["event"].clone());
    }
    assert_eq!(names, ["bundle_stored", "worker_created"]);
    // One that comes while it is waited for.
    let (seen, called) = tokio::join!(subscription.next(), call(&runtime, "echo", json!({})));
    called.expect("an answer");
    assert!(matches!(seen.expect("an event"), Seen::Event(event) if event.number == 3));
    for _ in 0..6 {
        call(&runtime, "echo", json!({})).await.expect("an answer");
    }
    // Nine happened and four are kept, also for the next process.
    for runtime in [runtime, world.open().await] {
        let mut late = runtime.observation(&acme()).subscribe(3).await.expect("a subscription");
        assert_eq!(late.next().await.expect("told"), Seen::Gap { after: 3, first_kept: 6 });
        assert!(matches!(late.next().await.expect("an event"), Seen::Event(event) if event.number == 6));
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
