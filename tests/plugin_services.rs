//! Service plugins: turns of one living instance, how it ends, and how it is started again.

use std::time::Duration;

use component_host::host_api::HostApi;
use component_host::{
    HandleFailure, Invocation, Limits, NextTurn, PluginError, PluginLimits, PluginRun, Sandbox, Service, ServiceEvent,
    ServicePlugin, WakeReason,
};
use serde_json::{Value, json};
use yoi_tests::plugins::{Plugin, network};
use yoi_tests::{plugin_host, sandboxes};

const FUEL: u64 = 50_000_000;

fn limits() -> PluginLimits {
    PluginLimits { fuel: FUEL.try_into().expect("not zero"), host_calls: 500, ..PluginLimits::default() }
}

async fn load(sandbox: &Sandbox, plugin: &Plugin) -> ServicePlugin {
    sandbox.load_service(&plugin.bytes()).await.expect("a service plugin")
}

async fn start_in(plugin: &ServicePlugin, host: HostApi) -> PluginRun<(Service, NextTurn)> {
    plugin.start(&json!({ "greeting": "hello" }), host, &limits()).await
}

/// Loads and starts a service.
async fn started(plugin: &Plugin) -> Service {
    let plugin = load(sandboxes::shared(), plugin).await;
    start_in(&plugin, plugin_host::offline().0).await.result.expect("a service").0
}

/// Returns the number of turns of a service, which its tool reports.
async fn count(service: &mut Service) -> Result<Value, PluginError> {
    let tool = "count".parse().expect("a name");
    let (id, remaining) = ("1".to_owned(), Duration::from_secs(10));
    let invocation = Invocation { id, tool, input: json!(null), remaining };
    service.call(&invocation).await.result.map(|answer| answer.expect("an output"))
}

fn event() -> ServiceEvent {
    ServiceEvent { id: "e1".to_owned(), ingress: "hook".to_owned(), payload: json!({}), attempt: 1 }
}

/// Asserts that a service has ended.
async fn assert_ended(service: &mut Service) {
    assert!(!service.is_running());
    assert_eq!(count(service).await, Err(PluginError::Ended));
    assert_eq!(service.wake(WakeReason::Timer).await.result, Err(PluginError::Ended));
    assert_eq!(service.handle(&event()).await.result, Err(PluginError::Ended));
    assert_eq!(service.status().await.result, Err(PluginError::Ended));
}

#[test]
fn service_keeps_its_state_between_turns_and_a_new_one_begins_afresh() {
    sandboxes::wait(async {
        let plugin = load(sandboxes::shared(), &Plugin::service()).await;
        for _ in 0..2 {
            let run = start_in(&plugin, plugin_host::offline().0).await;
            assert!(run.cost.fuel > 0);
            let (mut service, next) = run.result.expect("a service");
            assert_eq!(next, NextTurn { after: Some(Duration::from_millis(5)), when_readable: true });
            assert_eq!(count(&mut service).await, Ok(json!(1)));
            assert_eq!(service.handle(&event()).await.result, Ok(Ok(())));
            assert_eq!(service.wake(WakeReason::Readable).await.result, Ok(next));
            assert_eq!(count(&mut service).await, Ok(json!(3)));
            let state = service.status().await.result.expect("a state");
            assert_eq!((state.is_ready, state.detail.len()), (true, 256));
            service.stop().await.result.expect("stopped");
        }
    });
}

#[test]
fn service_that_traps_in_a_turn_has_ended_and_can_be_started_again() {
    let hostile = [
        ("wake", "unreachable", "plugin_trapped"),
        ("wake", "(loop $forever (br $forever)) unreachable", "limit_exceeded"),
        ("wake", "(i32.const -4)", "plugin_malformed"),
        ("wake", "(call $report (i32.const 65536) (i32.const 9))", "service_failed"),
        ("handle", "unreachable", "plugin_trapped"),
    ];
    sandboxes::wait(async {
        for (place, code, expected) in hostile {
            let plugin = load(sandboxes::shared(), &Plugin::service().with(place, code)).await;
            for _ in 0..2 {
                let (mut service, _) = start_in(&plugin, plugin_host::offline().0).await.result.expect("a service");
                assert_eq!(count(&mut service).await, Ok(json!(1)), "{code}");
                let error = match place {
                    "wake" => service.wake(WakeReason::Timer).await.result.map(drop),
                    _ => service.handle(&event()).await.result.map(drop),
                };
                assert_eq!(error.expect_err(code).code(), expected, "{place} {code}");
                assert_ended(&mut service).await;
            }
        }
    });
}

#[test]
fn service_that_does_not_start_is_a_typed_error_and_keeps_no_place() {
    let mut limits = Limits::default();
    limits.pools.services = 1;
    let sandbox = sandboxes::with_limits(limits);
    let hostile = [
        ("start", "unreachable", "plugin_trapped"),
        ("start", "(loop $forever (br $forever)) unreachable", "limit_exceeded"),
        ("start", "(call $report (i32.const 65536) (i32.const 9))", "service_failed"),
        ("realloc", "unreachable", "plugin_trapped"),
    ];
    sandboxes::wait(async {
        for (place, code, expected) in hostile {
            let plugin = load(&sandbox, &Plugin::service().with(place, code)).await;
            let error = start_in(&plugin, plugin_host::offline().0).await.result.expect_err(code);
            assert_eq!(error.code(), expected, "{place} {code}");
        }
        let plugin = load(&sandbox, &Plugin::service()).await;
        let (service, _) = start_in(&plugin, plugin_host::offline().0).await.result.expect("a service");
        let error = start_in(&plugin, plugin_host::offline().0).await.result.expect_err("no place");
        assert_eq!(error, PluginError::Limit { limit: "services", allowed: 1 });
        drop(service);
        start_in(&plugin, plugin_host::offline().0).await.result.expect("a service");
    });
}

#[test]
fn error_that_a_service_reports_is_cut_and_is_not_in_the_message() {
    let plugin = Plugin::service()
        .with("data", format!("(data (i32.const 65536) \"{}\")", "secret ".repeat(1000)))
        .with("start", "(call $report (i32.const 65536) (i32.const 7000))");
    sandboxes::wait(async {
        let plugin = load(sandboxes::shared(), &plugin).await;
        let error = start_in(&plugin, plugin_host::offline().0).await.result.expect_err("an error");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(matches!(error, PluginError::Reported { message } if message.len() == 4096));
    });
}

#[test]
fn each_turn_has_all_of_its_fuel() {
    // About three quarters of the fuel: a loop of five instructions.
    let rounds = FUEL * 3 / 4 / 5;
    let busy = format!(
        "(local $left i32) (local.set $left (i32.const {rounds}))
         (loop $more (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))) (call $turn)"
    );
    sandboxes::wait(async {
        let mut service = started(&Plugin::service().with("wake", busy)).await;
        for _ in 0..3 {
            let run = service.wake(WakeReason::Timer).await;
            run.result.expect("a turn");
            assert!((FUEL / 2..FUEL).contains(&run.cost.fuel), "{}", run.cost.fuel);
        }
    });
}

#[test]
fn turn_that_is_dropped_ends_the_service() {
    sandboxes::wait(async {
        let forever = "(loop $forever (br $forever)) unreachable";
        let mut service = started(&Plugin::service().with("wake", forever)).await;
        {
            let mut turn = std::pin::pin!(service.wake(WakeReason::Timer));
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(turn.as_mut().poll(context).is_pending());
        }
        assert_ended(&mut service).await;
    });
}

#[test]
fn service_that_does_not_stop_is_ended_by_its_fuel() {
    sandboxes::wait(async {
        let service = started(&Plugin::service().with("stop", "(loop $forever (br $forever))")).await;
        let result = service.stop().await.result;
        assert_eq!(result, Err(PluginError::Limit { limit: "fuel", allowed: FUEL }));
    });
}

#[test]
fn failure_to_handle_an_event_leaves_the_service_running() {
    let failing = |case: u32| {
        format!(
            "(i32.store8 (i32.const 1152) (i32.const 1)) (i32.store8 (i32.const 1156) (i32.const {case}))
             (i32.store (i32.const 1160) (i32.const 4096)) (i32.store (i32.const 1164) (i32.const 2))
             (i32.const 1152)"
        )
    };
    let data = "(data (i32.const 4096) \"no\")";
    sandboxes::wait(async {
        let mut temporary = started(&Plugin::service().with("handle", failing(0)).with("data", data)).await;
        let failure = temporary.handle(&event()).await.result;
        assert_eq!(failure, Ok(Err(HandleFailure::Temporary("no".to_owned()))));
        let mut permanent = started(&Plugin::service().with("handle", failing(1)).with("data", data)).await;
        let failure = permanent.handle(&event()).await.result;
        assert_eq!(failure, Ok(Err(HandleFailure::Permanent("no".to_owned()))));
        assert_eq!(count(&mut permanent).await, Ok(json!(1)));
    });
}

#[test]
fn connection_of_a_service_stays_open_between_turns_and_is_closed_when_it_ends() {
    sandboxes::wait(async {
        let (host, network) = plugin_host::online();
        let plugin = load(sandboxes::shared(), &network::connected_service()).await;
        let (mut service, _) = start_in(&plugin, host.clone()).await.result.expect("a service");
        assert_eq!(network.open(), 1);
        service.wake(WakeReason::Timer).await.result.expect("a turn");
        assert_eq!(network.open(), 1);
        {
            let mut readable = std::pin::pin!(service.readable());
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(readable.as_mut().poll(context).is_pending());
            network.make_readable();
            assert!(readable.as_mut().poll(context).is_ready());
        }
        service.stop().await.result.expect("stopped");
        assert_eq!(network.open(), 0);
        // An instance that traps closes its connections as well.
        let trapping = network::connected_service().with("wake", "unreachable");
        let plugin = load(sandboxes::shared(), &trapping).await;
        let (mut service, _) = start_in(&plugin, host).await.result.expect("a service");
        assert_eq!(network.open(), 1);
        service.wake(WakeReason::Readable).await.result.expect_err("a trap");
        assert_eq!(network.open(), 0);
    });
}
