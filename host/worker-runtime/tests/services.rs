//! Services of workers and events from outside, through the whole Runtime.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use component_host::{Limits, Sandbox};
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::ingress::AcceptedEvent;
use runtime_api::service::{ServiceState, ServiceSummary};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use worker_runtime::event::EventKind;
use worker_runtime::history::{EntryKind, Payload};
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{DataFolder, IngressError, Runtime, RuntimeLimits, SubscriptionItem};

use crate::dropped::{Rng, SEED, give_up};
use crate::support::api::Api;
use crate::support::plugin_scene::{Packed, history, run, service, with_hook};
use crate::support::plugins::Plugin;
use crate::support::{START_MS, World, acme, id, name, sandbox_within};

/// Time within which every condition must come true. Conditions come true much earlier on a machine without load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clears the next turn in the answer to `start`: neither a timer nor a readable connection.
const NO_NEXT_TURN: &str = "(i32.store8 (i32.const 1104) (i32.const 0)) (i32.store8 (i32.const 1112) (i32.const 0))";

/// Returns a service that counts its calls and its start, and traps on an input other than `{}`.
fn counter() -> Plugin {
    let call = "(if (i32.gt_u (local.get $input_length) (i32.const 2)) (then unreachable))
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (call $digit)";
    Plugin::service().with("start", format!("(call $turn) {NO_NEXT_TURN}")).with("call", call)
}

/// Returns a service whose `handle` fails with the text at 4096: with the case 0 temporarily, with 1 permanently. Below
/// the given number of deliveries it fails, then it succeeds.
fn failing(case: u32, below: u32) -> Plugin {
    let handle = format!(
        "(i32.store8 (i32.const 1152) (i32.lt_u (local.get $attempt) (i32.const {below})))
         (i32.store8 (i32.const 1156) (i32.const {case}))
         (i32.store (i32.const 1160) (i32.const 4096)) (i32.store (i32.const 1164) (i32.const 8))
         (i32.const 1152)"
    );
    counter().with("handle", handle).with("data", "(data (i32.const 4096) \"no-room!\")")
}

fn packed(plugin: &Plugin) -> Packed {
    Packed::with_manifest(&plugin.bytes(), &service(""))
}

/// Limits with which a failure is followed by a restart at once.
fn hurried() -> RuntimeLimits {
    RuntimeLimits { service_backoff_ms: 1, ..RuntimeLimits::default() }
}

fn world() -> World {
    World { limits: hurried(), ..World::default() }
}

async fn services(runtime: &Runtime, worker: &str) -> Vec<ServiceSummary> {
    runtime.observation(&acme()).services(&id(worker)).await.expect("services")
}

/// Waits until a condition comes true.
pub(crate) async fn until<T>(what: &str, condition: impl AsyncFn() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(now) => assert!(started.elapsed() < PATIENCE, "{what}: {now}"),
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the only service of a worker has a state.
async fn until_state(runtime: &Runtime, worker: &str, is_it: impl Fn(&ServiceSummary) -> bool) -> ServiceSummary {
    let condition = async || match services(runtime, worker).await.as_slice() {
        [service] if is_it(service) => Ok(service.clone()),
        other => Err(format!("{other:?}")),
    };
    until("a state of the service", condition).await
}

fn is_running(service: &ServiceSummary) -> bool {
    matches!(service.state, ServiceState::Running { .. })
}

pub(crate) async fn until_running(runtime: &Runtime) -> ServiceSummary {
    until_state(runtime, "w", is_running).await
}

/// Waits until the worker `w` has no service.
async fn until_none(runtime: &Runtime) {
    let condition = async || match services(runtime, "w").await {
        services if services.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("no service", condition).await;
}

async fn count(runtime: &Runtime) -> Value {
    run(runtime, json!({})).await.expect("an answer").output
}

async fn reload(runtime: &Runtime, config: &str) {
    let config = RuntimeConfig::from_toml(config).expect("a config");
    runtime.management().reload(config).await.expect("reloaded");
}

async fn send(runtime: &Runtime, event: &str, payload: &Value) -> Result<AcceptedEvent, IngressError> {
    let (event, payload) = (name(event), payload.to_string());
    runtime.interaction(&acme()).accept_event(&id("w"), &name("hook"), &event, payload.as_bytes()).await
}

/// Waits until the history has an end for an event, and returns it.
pub(crate) async fn end_of(runtime: &Runtime, event: AcceptedEvent) -> EntryKind {
    let condition = async || {
        let entries = history(runtime).await;
        let end = entries.iter().find(|entry| match entry {
            EntryKind::EventHandled { received, .. } | EntryKind::EventFailed { received, .. } => {
                *received == event.entry
            }
            _ => false,
        });
        end.cloned().ok_or_else(|| format!("{entries:?}"))
    };
    until("the end of the event", condition).await
}

/// Returns the events of the workspace about services.
async fn service_events(runtime: &Runtime) -> Vec<EventKind> {
    let observation = runtime.observation(&acme());
    let newest = observation.newest_event().await.expect("a number");
    let mut subscription = observation.subscribe(0).await.expect("subscribed");
    let mut events = Vec::new();
    while subscription.cursor().number() < newest {
        if let SubscriptionItem::Event(event) = subscription.next().await.expect("an event")
            && matches!(event.kind, EventKind::ServiceRestarting { .. } | EventKind::ServiceStopped { .. })
        {
            events.push(event.kind);
        }
    }
    events
}

#[tokio::test]
async fn service_keeps_its_state_between_calls_and_each_worker_has_its_own() {
    let packed = packed(&counter());
    let runtime = packed.worker(&world()).await;
    // A call waits for the start.
    assert_eq!(count(&runtime).await, 2);
    assert_eq!(count(&runtime).await, 3);
    let asked = |service: &ServiceSummary| matches!(service.state, ServiceState::Running { ready: Some(true), .. });
    let running = until_state(&runtime, "w", asked).await;
    assert_eq!((running.plugin.as_ref(), running.restarts), ("p", 0));
    assert_eq!(history(&runtime).await.len(), 4);

    let request = CreateWorkerRequest::of_bundle(name("main"), packed.bundle().digest());
    runtime.catalogue(&acme()).create(id("v"), request).await.expect("a worker");
    let call = runtime_api::call::ToolCall { input: json!({}), confirmed: true };
    let other = runtime.interaction(&acme()).call(&id("v"), &name("p.run"), call).await.expect("an answer");
    assert_eq!(other.output, 2);
    assert_eq!(count(&runtime).await, 4);
}

#[tokio::test]
async fn instance_that_traps_is_replaced_by_a_fresh_one() {
    let runtime = packed(&counter()).worker(&world()).await;
    assert_eq!((count(&runtime).await, count(&runtime).await), (json!(2), json!(3)));
    let trapped = run(&runtime, json!({ "trap": true })).await.expect_err("a trap");
    assert_eq!(trapped.code(), Code::PluginTrapped);
    let restarted = until_state(&runtime, "w", |service| service.restarts == 1 && is_running(service)).await;
    assert_eq!(restarted.restarts, 1);
    assert_eq!(count(&runtime).await, 2);
    let restarting = EventKind::ServiceRestarting { worker: id("w"), plugin: name("p"), code: "plugin_trapped".into() };
    assert_eq!(service_events(&runtime).await, [restarting]);
}

#[tokio::test]
async fn service_that_never_starts_is_stopped_after_its_restarts_with_the_reason() {
    let world = World { limits: RuntimeLimits { service_restarts: 2, ..hurried() }, ..World::default() };
    let report = counter()
        .with("data", "(data (i32.const 4096) \"no-room!\")")
        .with("start", "(call $report (i32.const 4096) (i32.const 8))");
    let runtime = packed(&report).worker(&world).await;
    let stopped = until_state(&runtime, "w", |service| matches!(service.state, ServiceState::Stopped { .. })).await;
    let ServiceState::Stopped { code, reason } = &stopped.state else { unreachable!() };
    assert_eq!((code.as_str(), stopped.restarts), ("service_failed", 2));
    assert_eq!(reason, "the service reported an error");
    let refused = run(&runtime, json!({})).await.expect_err("it does not run");
    assert_eq!(refused.code(), Code::ServiceEnded);
    assert!(refused.to_string().contains("service_failed"), "{refused}");
    let codes = service_events(&runtime).await;
    assert_eq!(codes.len(), 3, "{codes:?}");
    assert!(matches!(codes[2], EventKind::ServiceStopped { .. }), "{codes:?}");
    // The text of the plugin is for the operator.
    let lines = runtime.observation(&acme()).plugin_logs(&id("w"), 0).await.expect("lines");
    assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["no-room!"; 3]);
}

#[tokio::test]
async fn restart_waits_for_the_backoff() {
    let limits = RuntimeLimits { service_backoff_ms: 3_600_000, ..RuntimeLimits::default() };
    let runtime = packed(&counter().with("start", "unreachable")).worker(&World { limits, ..World::default() }).await;
    let waiting = until_state(&runtime, "w", |service| matches!(service.state, ServiceState::Restarting { .. })).await;
    let ServiceState::Restarting { code, at, .. } = &waiting.state else { unreachable!() };
    assert_eq!((code.as_str(), waiting.restarts), ("plugin_trapped", 1));
    assert_eq!(at.as_millisecond(), START_MS + 3_600_000);
    assert_eq!(run(&runtime, json!({})).await.expect_err("it does not run").code(), Code::ServiceEnded);
}

#[tokio::test]
async fn service_whose_status_traps_is_stopped_after_its_restarts() {
    let world = World { limits: RuntimeLimits { service_restarts: 2, ..hurried() }, ..World::default() };
    let runtime = packed(&counter().with("status", "unreachable")).worker(&world).await;
    let stopped = until_state(&runtime, "w", |service| matches!(service.state, ServiceState::Stopped { .. })).await;
    let ServiceState::Stopped { code, .. } = &stopped.state else { unreachable!() };
    assert_eq!((code.as_str(), stopped.restarts), ("plugin_trapped", 2));
}

/// Returns a sandbox in which a loop of a guest does not end by itself.
fn endless(change: impl FnOnce(&mut Limits)) -> Sandbox {
    sandbox_within(|limits| {
        change(limits);
        limits.plugin.fuel = std::num::NonZeroU64::MAX;
        limits.plugin.deadline_ms = u64::MAX / 2;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_that_never_ends_does_not_delay_the_creation_of_workers() {
    // A creation that waited for the start would take an hour.
    let limits = RuntimeLimits { call_ms: 3_600_000, service_stop_ms: 50, ..hurried() };
    let forever = packed(&counter().with("start", "(loop $forever (br $forever)) unreachable"));
    let honest = Packed { workspace: "other".to_owned(), ..packed(&counter()) };
    let config = format!("{}\n{}", forever.config(), honest.grant());
    let runtime = World { config, limits, sandbox: endless(|_| ()), ..World::default() }.open().await;
    let created = async {
        for packed in [&forever, &honest] {
            packed.put_package(&runtime).await;
            packed.create(&runtime).await;
        }
        // The loop occupies the computing time of its own workspace, and not that of another one.
        let call = runtime_api::call::ToolCall { input: json!({}), confirmed: true };
        let called = runtime.interaction(&name("other")).call(&id("w"), &name("p.run"), call).await;
        assert_eq!(called.expect("an answer").output, 2);
    };
    tokio::time::timeout(PATIENCE, created).await.expect("both workers");
    let summaries = services(&runtime, "w").await;
    assert!(matches!(summaries[..], [ServiceSummary { state: ServiceState::Starting, .. }]), "{summaries:?}");
    tokio::time::timeout(PATIENCE, runtime.management().stop_services()).await.expect("an end");
}

#[tokio::test]
async fn service_that_runs_for_long_enough_begins_again_at_no_restarts() {
    // Every instance runs for long enough, so no restart is counted twice.
    let limits = RuntimeLimits { service_restarts: 1, service_healthy_ms: 1, ..hurried() };
    let runtime = packed(&counter()).worker(&World { limits, ..World::default() }).await;
    for _ in 0..5 {
        until("an answer", async || run(&runtime, json!({})).await.map_err(|error| error.to_string())).await;
        sleep(Duration::from_millis(2)).await;
        run(&runtime, json!({ "trap": true })).await.expect_err("a trap");
    }
    until_running(&runtime).await;
}

#[tokio::test]
async fn service_gets_turns_when_its_timer_ends() {
    let wake = "(drop (call $turn))
        (if (i32.gt_u (global.get $count) (i32.const 5)) (then (global.set $count (i32.const 5))))
        (i32.const 1100)";
    let plugin = Plugin::service().with("wake", wake).with("call", "(call $digit)");
    let runtime = packed(&plugin).worker(&world()).await;
    let five = async || match count(&runtime).await {
        count if count == 5 => Ok(()),
        other => Err(other.to_string()),
    };
    until("five turns", five).await;
}

#[tokio::test]
async fn service_ends_with_its_grant_and_starts_again_with_a_changed_config() {
    // Counts the bytes of its config.
    let start = format!("(call $turn) {NO_NEXT_TURN} (global.set $count (local.get $length))");
    let plugin = counter().with("start", start).with("call", "(call $digit)");
    let manifest = service("[config]\ntype = \"object\"\n");
    let packed = Packed::with_manifest(&plugin.bytes(), &manifest);
    let runtime = packed.worker(&world()).await;
    assert_eq!(count(&runtime).await, 2);

    reload(&runtime, &(packed.config() + "config = { a = 1 }\n")).await;
    assert_eq!(count(&runtime).await, 7, "the new instance has the config `{{\"a\":1}}`");
    assert_eq!(until_running(&runtime).await.restarts, 0);

    for narrowed in ["[\"tools\"]", "[\"service\"]", "[]"] {
        reload(&runtime, &packed.config().replace("[\"service\", \"tools\"]", narrowed)).await;
        until_none(&runtime).await;
        assert_eq!(run(&runtime, json!({})).await.expect_err("not granted").code(), Code::NotGranted);
        reload(&runtime, &packed.config()).await;
        assert_eq!(count(&runtime).await, 2);
    }
}

#[tokio::test]
async fn service_that_is_allowed_later_starts_without_a_call() {
    let packed = packed(&counter());
    let runtime = packed.worker(&world()).await;
    reload(&runtime, crate::support::CONFIG).await;
    until_none(&runtime).await;
    reload(&runtime, &packed.config()).await;
    until_running(&runtime).await;
}

#[tokio::test]
async fn stopped_worker_has_no_instance_and_gives_its_place_to_another_one() {
    let sandbox = sandbox_within(|limits| limits.pools.services = 1);
    let packed = packed(&counter());
    let runtime = packed.worker(&World { sandbox, ..world() }).await;
    until_running(&runtime).await;
    let request = CreateWorkerRequest::of_bundle(name("main"), packed.bundle().digest());
    let catalogue = runtime.catalogue(&acme());
    for (next, earlier) in [("v", "w"), ("u", "v")] {
        catalogue.create(id(next), request.clone()).await.expect("a worker");
        let waiting =
            until_state(&runtime, next, |service| matches!(service.state, ServiceState::Restarting { .. })).await;
        // The lack of a place is no fault of the plugin.
        assert_eq!(waiting.restarts, 0);
        let ServiceState::Restarting { code, reason, .. } = &waiting.state else { unreachable!() };
        assert_eq!(code, "limit_exceeded");
        assert!(reason.contains("services"), "{reason}");
        catalogue.stop(&id(earlier)).await.expect("stopped");
        catalogue.remove(&id(earlier)).await.expect("removed");
        until_state(&runtime, next, is_running).await;
    }
    catalogue.revoke_bundle(packed.bundle().digest()).await.expect("revoked");
    assert_eq!(services(&runtime, "u").await, []);
    // The place is free again, so another Runtime of the sandbox could start a service.
    catalogue.get(&id("u")).await.expect("stopped");
}

#[tokio::test]
async fn all_services_end_in_time_with_the_runtime() {
    let forever = "(loop $forever (br $forever))";
    let limits = RuntimeLimits { service_stop_ms: 50, ..hurried() };
    let sandbox = endless(|limits| limits.pools.services = 1);
    let world = World { limits, sandbox, ..World::default() };
    let packed = packed(&counter().with("stop", forever));
    let runtime = packed.worker(&world).await;
    until_running(&runtime).await;
    tokio::time::timeout(PATIENCE, runtime.management().stop_services()).await.expect("an end");
    assert_eq!(services(&runtime, "w").await, []);
    assert_eq!(run(&runtime, json!({})).await.expect_err("no service").code(), Code::ServiceEnded);
    drop(runtime);
    // A Runtime that is dropped ends its services as well.
    for _ in 0..3 {
        let runtime = World { config: packed.config(), ..world.clone() }.open().await;
        until_running(&runtime).await;
    }
}

#[tokio::test]
async fn event_is_handled_once_and_is_part_of_the_history() {
    let runtime = with_hook(&counter()).worker(&world()).await;
    let first = send(&runtime, "e1", &json!({ "n": 1 })).await.expect("accepted");
    assert_eq!(end_of(&runtime, first).await, EntryKind::EventHandled { received: 1, attempts: 1 });
    for _ in 0..3 {
        assert_eq!(send(&runtime, "e1", &json!({ "n": 2 })).await.expect("known"), first);
    }
    let second = send(&runtime, "e2", &json!({ "n": 2 })).await.expect("accepted");
    end_of(&runtime, second).await;
    let entries = history(&runtime).await;
    assert_eq!(entries.len(), 4, "{entries:?}");
    let EntryKind::EventReceived { ingress, plugin, id: event, payload } = &entries[0] else {
        panic!("{entries:?}");
    };
    assert_eq!((ingress.as_ref(), plugin.as_ref(), event.as_str()), ("hook", "p", "e1"));
    assert_eq!(*payload, Payload::Json(json!({ "n": 1 })));

    // A worker of the same id starts with an empty history, so the id is new.
    let catalogue = runtime.catalogue(&acme());
    catalogue.stop(&id("w")).await.expect("stopped");
    assert_eq!(send(&runtime, "e1", &json!({})).await.expect("known"), first);
    assert_eq!(send(&runtime, "e3", &json!({})).await.expect_err("stopped").code(), Code::WorkerStopped);
    catalogue.remove(&id("w")).await.expect("removed");
    assert_eq!(send(&runtime, "e1", &json!({})).await.expect_err("removed").code(), Code::WorkerNotFound);
}

#[tokio::test]
async fn large_event_is_delivered_and_its_removal_gives_the_bytes_back() {
    // Handles an event whose payload has at least 100,000 bytes, and fails otherwise.
    let handle = "(i32.store8 (i32.const 1152) (i32.lt_u (local.get $payload_length) (i32.const 100000)))
        (i32.store8 (i32.const 1156) (i32.const 1)) (i32.store (i32.const 1164) (i32.const 0)) (i32.const 1152)";
    let packed = with_hook(&counter().with("handle", handle));
    let runtime = packed.worker(&world()).await;
    let before = runtime.management().usage(&acme()).await.expect("a usage");
    let large = send(&runtime, "large", &json!("x".repeat(100_000))).await.expect("accepted");
    assert_eq!(end_of(&runtime, large).await, EntryKind::EventHandled { received: 1, attempts: 1 });
    let small = send(&runtime, "small", &json!("x")).await.expect("accepted");
    assert!(matches!(end_of(&runtime, small).await, EntryKind::EventFailed { .. }));
    assert!(runtime.management().usage(&acme()).await.expect("a usage").bytes >= before.bytes + 100_000);
    runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
    runtime.catalogue(&acme()).remove(&id("w")).await.expect("removed");
    packed.create(&runtime).await;
    runtime.management().collect_garbage().await.expect("collected");
    // The id is new again.
    let again = send(&runtime, "small", &json!("x")).await.expect("accepted");
    assert_eq!(again.entry, 1);
    assert!(matches!(end_of(&runtime, again).await, EntryKind::EventFailed { .. }));
}

#[tokio::test]
async fn permanent_failure_is_not_retried() {
    let runtime = with_hook(&failing(1, u32::MAX)).worker(&world()).await;
    let event = send(&runtime, "e", &json!({})).await.expect("accepted");
    let EntryKind::EventFailed { attempts, code, message, .. } = end_of(&runtime, event).await else { unreachable!() };
    assert_eq!((attempts, code.as_str()), (1, "event_refused"));
    assert!(!message.contains("no-room"), "{message}");
    let lines = runtime.observation(&acme()).plugin_logs(&id("w"), 0).await.expect("lines");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].text.contains("`e`") && lines[0].text.contains("no-room!"), "{lines:?}");
    assert_eq!(until_running(&runtime).await.restarts, 0);
}

#[tokio::test]
async fn temporary_failure_is_retried_with_the_number_of_the_delivery() {
    let runtime = with_hook(&failing(0, 3)).worker(&world()).await;
    let event = send(&runtime, "e", &json!({})).await.expect("accepted");
    assert_eq!(end_of(&runtime, event).await, EntryKind::EventHandled { received: 1, attempts: 3 });

    let limits = RuntimeLimits { ingress_attempts: 4, ..hurried() };
    let runtime = with_hook(&failing(0, u32::MAX)).worker(&World { limits, ..World::default() }).await;
    let event = send(&runtime, "e", &json!({})).await.expect("accepted");
    let EntryKind::EventFailed { attempts, code, .. } = end_of(&runtime, event).await else { unreachable!() };
    assert_eq!((attempts, code.as_str()), (4, "event_deferred"));
    assert_eq!(until_running(&runtime).await.restarts, 0);
}

#[tokio::test]
async fn event_on_which_the_service_traps_is_given_up_and_the_next_one_is_delivered() {
    let limits = RuntimeLimits { ingress_attempts: 2, ..hurried() };
    let handle = "(if (i32.gt_u (local.get $payload_length) (i32.const 2)) (then unreachable))
        (i32.store8 (i32.const 1152) (i32.const 0)) (i32.const 1152)";
    let packed = with_hook(&counter().with("handle", handle));
    let runtime = packed.worker(&World { limits, ..World::default() }).await;
    let bad = send(&runtime, "bad", &json!({ "trap": true })).await.expect("accepted");
    let good = send(&runtime, "good", &json!({})).await.expect("accepted");
    let EntryKind::EventFailed { attempts, code, .. } = end_of(&runtime, bad).await else { unreachable!() };
    assert_eq!((attempts, code.as_str()), (2, "plugin_trapped"));
    assert_eq!(end_of(&runtime, good).await, EntryKind::EventHandled { received: 3, attempts: 1 });
}

#[tokio::test]
async fn event_in_whose_delivery_the_service_loops_is_given_up_and_the_next_one_is_delivered() {
    let limits = RuntimeLimits { ingress_attempts: 2, ..hurried() };
    let sandbox = sandbox_within(|limits| limits.plugin.fuel = 20_000_000.try_into().expect("not zero"));
    let handle = "(if (i32.gt_u (local.get $payload_length) (i32.const 2)) (then (loop $forever (br $forever))))
        (i32.store8 (i32.const 1152) (i32.const 0)) (i32.const 1152)";
    let packed = with_hook(&counter().with("handle", handle));
    let runtime = packed.worker(&World { limits, sandbox, ..World::default() }).await;
    let bad = send(&runtime, "bad", &json!({ "loop": true })).await.expect("accepted");
    let good = send(&runtime, "good", &json!({})).await.expect("accepted");
    let EntryKind::EventFailed { attempts, code, message, .. } = end_of(&runtime, bad).await else { unreachable!() };
    assert_eq!((attempts, code.as_str()), (2, "limit_exceeded"));
    assert!(message.contains("fuel"), "{message}");
    let EntryKind::EventHandled { attempts, .. } = end_of(&runtime, good).await else { panic!("not handled") };
    assert_eq!(attempts, 1);
}

/// Opens the stores of a data folder, as soon as an earlier holder has released them.
async fn stored(folder: &std::path::Path, world: World) -> World {
    let (blobs, metadata) = until("the data folder", async || {
        let data = DataFolder::open(folder).await.map_err(|error| error.to_string())?;
        let metadata = SqliteMetadata::open(data.metadata_file()).await.map_err(|error| error.to_string())?;
        Ok((data.blobs(), metadata))
    })
    .await;
    World { blobs: Arc::new(blobs), metadata: Arc::new(metadata), ..world }
}

#[tokio::test]
async fn event_that_was_accepted_survives_the_end_of_the_process() {
    let (above, packed) = (tempfile::tempdir().expect("a folder"), with_hook(&counter()));
    let folder = above.path().join("data");
    let settings = World { config: packed.config(), ..world() };
    let entry = {
        let world = stored(&folder, settings.clone()).await;
        let api = Api::new(&world).await;
        packed.put_package(&api.runtime).await;
        packed.create(&api.runtime).await;
        // The event waits, because nothing runs that could receive it.
        api.runtime.management().stop_services().await;
        let (_, token) = api.token(&[Scope::Ingress], &["acme"]).await;
        let request = Request::post("/v1/workers/w/ingress/hook")
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("idempotency-key", "e1")
            .body(Body::from("{\"n\":1}"));
        let accepted = api.send(request.expect("a request")).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED);
        assert_eq!(history(&api.runtime).await.len(), 1);
        accepted.json()["entry"].as_u64().expect("a number")
    };

    let runtime = stored(&folder, settings).await.open().await;
    let end = end_of(&runtime, AcceptedEvent { entry }).await;
    assert_eq!(end, EntryKind::EventHandled { received: entry, attempts: 1 });
    let entries = history(&runtime).await;
    let [EntryKind::EventReceived { id: event, payload, .. }, _] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((event.as_str(), payload), ("e1", &Payload::Json(json!({ "n": 1 }))));
    // The id is known to the new process.
    assert_eq!(send(&runtime, "e1", &json!({})).await.expect("known"), AcceptedEvent { entry });
}

#[tokio::test]
async fn full_queue_refuses_events_and_pending_ones_are_delivered_after_a_restart() {
    let limits = RuntimeLimits { ingress_queue: 2, ..hurried() };
    let packed = with_hook(&counter());
    let world = World { limits, config: packed.config(), ..World::default() };
    let runtime = packed.worker(&world).await;
    runtime.management().stop_services().await;
    let first = send(&runtime, "e1", &json!({})).await.expect("accepted");
    let second = send(&runtime, "e2", &json!({})).await.expect("accepted");
    let refused = send(&runtime, "e3", &json!({})).await.expect_err("full");
    assert!(matches!(refused, IngressError::QueueFull { allowed: 2 }), "{refused:?}");
    assert_eq!(refused.code(), Code::IngressQueueFull);
    assert_eq!(send(&runtime, "e2", &json!({})).await.expect("known"), second);
    assert_eq!(history(&runtime).await.len(), 2);
    drop(runtime);

    let runtime = world.open().await;
    // Nothing asks for the services: they are started from the records.
    assert_eq!(end_of(&runtime, first).await, EntryKind::EventHandled { received: 1, attempts: 1 });
    assert_eq!(end_of(&runtime, second).await, EntryKind::EventHandled { received: 3, attempts: 1 });
    send(&runtime, "e3", &json!({})).await.expect("accepted");
    until_running(&runtime).await;
}

#[tokio::test]
async fn worker_without_a_granted_ingress_accepts_no_event() {
    let runtime = packed(&counter()).worker(&world()).await;
    assert_eq!(send(&runtime, "e", &json!({})).await.expect_err("no ingress").code(), Code::IngressNotFound);

    let packed = with_hook(&counter());
    let runtime = packed.worker(&world()).await;
    reload(&runtime, &packed.config().replace("\"ingress\", ", "")).await;
    let refused = send(&runtime, "e", &json!({})).await.expect_err("not granted");
    assert_eq!(refused.code(), Code::NotGranted);
    assert!(refused.help().contains("surfaces"), "{}", refused.help());
    reload(&runtime, &packed.config()).await;
    let limits = runtime.management().limits().clone();
    let interaction = runtime.interaction(&acme());
    for (payload, code) in [
        ("{", Code::InvalidRequest),
        ("{\"a\":1,\"a\":2}", Code::DuplicateKey),
        (&"[".repeat(200), Code::InvalidRequest),
        (&format!("\"{}\"", "x".repeat(1 << 20)), Code::TooLarge),
        (&format!("[0{}]", ",0".repeat(usize::try_from(limits.call_values).expect("small"))), Code::TooLarge),
    ] {
        let refused = interaction.accept_event(&id("w"), &name("hook"), &name("e"), payload.as_bytes()).await;
        assert_eq!(refused.expect_err("refused").code(), code);
    }
    assert_eq!(history(&runtime).await.len(), 0);
    send(&runtime, "e", &json!({})).await.expect("accepted");
}

#[tokio::test]
async fn history_that_is_full_refuses_events() {
    let limits = RuntimeLimits { history_entries: 3, ..hurried() };
    let runtime = with_hook(&counter()).worker(&World { limits, ..World::default() }).await;
    let event = send(&runtime, "e1", &json!({})).await.expect("accepted");
    end_of(&runtime, event).await;
    assert_eq!(send(&runtime, "e2", &json!({})).await.expect_err("full").code(), Code::HistoryFull);
}

#[tokio::test]
async fn thousand_dropped_calls_leave_no_task_and_do_not_end_the_service() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("{SEED}={seed}");
    // Some calls take a while, so that many are dropped in their turn.
    let call = "(local.set $left (i32.const 200000))
        (loop $more (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $digit)";
    let plugin = counter().with("locals", "(local $left i32)").with("call", call);
    let limits = RuntimeLimits { history_entries: 10_000, ..hurried() };
    let sandbox = sandbox_within(|limits| limits.pools.services = 1);
    let packed = packed(&plugin);
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let world = World { limits, sandbox, config: packed.config(), ..World::default() };
    let runtime = packed.worker(&world).await;
    until_running(&runtime).await;
    let mut rng = Rng(seed | 1);
    for _ in 0..1000 {
        give_up(run(&runtime, json!({})), rng.moment()).await;
    }
    // The instance is the first one.
    assert_eq!(count(&runtime).await, 1);
    assert_eq!(until_running(&runtime).await.restarts, 0);
    runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
    let ended = async || if alive() == before { Ok(()) } else { Err(format!("{} tasks, {before} before", alive())) };
    until("the end of all tasks", ended).await;
    // The only place is free.
    let request = CreateWorkerRequest::of_bundle(name("main"), packed.bundle().digest());
    runtime.catalogue(&acme()).create(id("v"), request).await.expect("a worker");
    until_state(&runtime, "v", is_running).await;
}

#[tokio::test]
async fn events_and_states_are_offered_over_rest() {
    let packed = with_hook(&counter());
    let world = World { config: packed.config(), ..world() };
    let api = Api::new(&world).await;
    packed.put_package(&api.runtime).await;
    packed.create(&api.runtime).await;
    let (_, sender) = api.token(&[Scope::Ingress], &["acme"]).await;
    let (_, reader) = api.token(&[Scope::Read], &["acme"]).await;
    let (_, foreign) = api.token(&[Scope::Ingress], &["other"]).await;
    let path = "/v1/workers/w/ingress/hook";
    let post = async |token: &str, path: &str, keys: &[&str], body: &str| {
        let mut request = Request::builder()
            .method("POST")
            .uri(path)
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        for key in keys {
            request = request.header("idempotency-key", *key);
        }
        api.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    };
    for keys in [&[][..], &["a", "b"], &["a b"], &["ä"], &[""]] {
        assert_eq!(post(&sender, path, keys, "{}").await.code(), (400, "invalid_request".to_owned()), "{keys:?}");
    }
    assert_eq!(post(&reader, path, &["a"], "{}").await.code(), (403, "scope_missing".to_owned()));
    assert_eq!(post(&foreign, path, &["a"], "{}").await.code(), (404, "worker_not_found".to_owned()));
    let other = post(&sender, "/v1/workers/w/ingress/other", &["a"], "{}").await;
    assert_eq!(other.code(), (404, "ingress_not_found".to_owned()));
    for body in ["{\"n\":1}", "{\"n\":2}"] {
        let accepted = post(&sender, path, &["a"], body).await;
        assert_eq!((accepted.status, accepted.json()), (StatusCode::ACCEPTED, json!({ "entry": 1 })));
    }
    end_of(&api.runtime, AcceptedEvent { entry: 1 }).await;

    assert_eq!(api.get("/v1/workers/w/services", &sender).await.code(), (403, "scope_missing".to_owned()));
    assert_eq!(api.get("/v1/workers/v/services", &reader).await.code(), (404, "worker_not_found".to_owned()));
    let services = api.get("/v1/workers/w/services", &reader).await.json();
    assert_eq!(services["services"][0]["plugin"], "p");
    assert_eq!(services["services"][0]["state"], "running", "{services}");
    let history = api.get("/v1/workers/w/history", &reader).await.json();
    assert_eq!(history["entries"][0]["entry"], "event_received");
    assert_eq!(history["entries"][1]["entry"], "event_handled");
}
