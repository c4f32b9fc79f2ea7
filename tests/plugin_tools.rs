//! Tool plugins, hostile and honest. Each call ends in the expected typed error, and the next one works.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use component_host::compile::cache::CompileCache;
use component_host::host_api::{HostApi, LogLevel};
use component_host::{
    Allocation, Invocation, Limits, LoadError, LogCounts, PluginError, PluginLimits, PluginRun, Sandbox, SandboxConfig,
    ToolAnswer, ToolPlugin, World,
};
use serde_json::json;
use yoi_tests::plugins::{self, Expect, HostilePlugin, Plugin, acts, network};
use yoi_tests::{plugin_host, sandboxes};

/// Returns limits that a hostile plugin reaches quickly and an honest one does not reach.
fn limits() -> PluginLimits {
    PluginLimits { fuel: 50_000_000.try_into().expect("not zero"), host_calls: 500, ..PluginLimits::default() }
}

fn invocation() -> Invocation {
    Invocation {
        id: "1".to_owned(),
        tool: "tool".parse().expect("a name"),
        input: json!({ "a": 1 }),
        remaining: Duration::from_secs(10),
    }
}

async fn load(plugin: &Plugin) -> ToolPlugin {
    sandboxes::shared().load_tool(&plugin.bytes()).await.expect("a tool")
}

async fn call(tool: &ToolPlugin, host: HostApi) -> PluginRun<ToolAnswer> {
    tool.call(&invocation(), host, &limits()).await
}

/// Loads and calls a plugin, and compares the outcome with the expected one.
async fn check(sandbox: &Sandbox, plugin: &HostilePlugin, host: HostApi) -> Result<(), String> {
    let is_right = match sandbox.load_tool(&plugin.bytes).await {
        Err(error) => {
            assert!(error.to_string().len() < 400, "{error}");
            match (&error, plugin.expect) {
                (LoadError::Exceeds { limit, .. }, Expect::Limit(expected)) => *limit == expected,
                (error, Expect::RefusedLoad(code)) => error.code() == code,
                _ => false,
            }
            .then_some(())
            .ok_or(format!("{error:?}"))
        }
        Ok(tool) => {
            let result = call(&tool, host).await.result;
            match (&result, plugin.expect) {
                (Ok(Ok(output)), Expect::Answers(text)) => serde_json::to_string(output).expect("JSON") == text,
                (Ok(Err(failure)), Expect::Fails(code)) => failure.code.as_str().starts_with(code),
                (Err(PluginError::Limit { limit, allowed }), Expect::Limit(expected)) => {
                    *limit == expected && *allowed > 0
                }
                (Err(PluginError::Trap { .. } | PluginError::Malformed), Expect::Trap)
                | (Err(PluginError::InvalidOutput), Expect::Invalid("output"))
                | (Err(PluginError::InvalidFailureCode), Expect::Invalid("failure")) => true,
                _ => false,
            }
            .then_some(())
            .ok_or(format!("{result:?}"))
        }
    };
    is_right.map_err(|outcome| format!("{}: expected {:?}, ended {outcome}", plugin.name, plugin.expect))
}

#[test]
fn each_hostile_plugin_ends_in_its_typed_error_and_the_next_call_works() {
    let all = plugins::all();
    assert!(all.len() > 50, "only {} of them", all.len());
    let sandbox = sandboxes::with_limits(Limits::default());
    let mut wrong = Vec::new();
    sandboxes::wait(async {
        let honest = sandbox.load_tool(&Plugin::tool().bytes()).await.expect("a tool");
        for plugin in &all {
            wrong.extend(check(&sandbox, plugin, plugin_host::offline().0).await.err());
            let next = call(&honest, plugin_host::offline().0).await.result;
            assert_eq!(next, Ok(Ok(json!({ "a": 1 }))), "after {}", plugin.name);
        }
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn connections_are_closed_however_a_call_ends() {
    let mut wrong = Vec::new();
    sandboxes::wait(async {
        for plugin in network::connections() {
            let (host, network) = plugin_host::online();
            wrong.extend(check(sandboxes::shared(), &plugin, host).await.err());
            assert_eq!(network.open(), 0, "{}", plugin.name);
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refusal_names_the_foreign_import_and_the_world() {
    sandboxes::wait(async {
        let resolver = worker_runtime::shipped::RESOLVER;
        let sandbox = sandboxes::with_limits(Limits::default());
        // The same bytes are refused for one world and loaded for the other, in any order.
        for _ in 0..2 {
            let error = sandbox.load_tool(resolver).await.expect_err("another world");
            assert!(matches!(&error, LoadError::ForeignImport { world: World::Tool, imports } if imports.len() == 2));
            assert!(error.to_string().contains("not allowed for a tool plugin: `yoi:resolver/types@1.0.0`"), "{error}");
            sandbox.load(resolver).await.expect("a resolver");
        }
        let tool = Plugin::tool().bytes();
        assert_eq!(sandbox.load(&tool).await.expect_err("no resolver").code(), "foreign_import");
        let error = sandbox.load_service(&tool).await.expect_err("no service");
        assert!(matches!(error, LoadError::MissingExport { export: "yoi:plugin/lifecycle@1.0.0", .. }), "{error}");
        sandbox.load_tool(&tool).await.expect("a tool");
    });
}

#[test]
fn machine_code_is_shared_between_worlds_and_each_load_checks_the_world() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sandbox = || {
        let cache = CompileCache::open(&path).expect("a cache");
        let config = SandboxConfig {
            limits: Limits::default(),
            allocation: Allocation::Pooled,
            compiler: sandboxes::child(),
            cache: Some(cache),
        };
        Sandbox::new(config).expect("a sandbox")
    };
    let entries = || {
        let names = std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".cwasm")).count()
    };
    sandboxes::wait(async {
        let service = Plugin::service().bytes();
        sandbox().load_service(&service).await.expect("a service");
        sandbox().load_tool(&service).await.expect("a tool");
        assert_eq!(entries(), 1);
        // A component that fits no world is not cached.
        sandbox().load_tool(&plugins::component::of_another_type()).await.expect_err("another type");
        assert_eq!(entries(), 1);
        let tool = Plugin::tool().bytes();
        sandbox().load_tool(&tool).await.expect("a tool");
        sandbox().load_service(&tool).await.expect_err("no service");
        assert_eq!(entries(), 2);
    });
}

#[test]
fn log_lines_are_cut_at_a_character_and_further_ones_are_dropped_and_counted() {
    sandboxes::wait(async {
        let (host, log) = plugin_host::offline();
        let run = call(&load(&acts::logging(300, 21)).await, host).await;
        assert_eq!(run.result, Ok(Ok(json!({ "a": 1 }))));
        assert_eq!(run.logs, LogCounts { written: 256, dropped: 44 });
        assert_eq!(log.lock().expect("not poisoned").len(), 256);

        let (host, log) = plugin_host::offline();
        let run = call(&load(&acts::logging(100, 4001)).await, host).await;
        // 64 KiB are enough for 64 lines of 1023 bytes: the last character of 1024 bytes would be half of one.
        assert_eq!(run.logs, LogCounts { written: 64, dropped: 36 });
        let log = log.lock().expect("not poisoned");
        assert!(log.iter().all(|line| line.text.len() == 1023 && line.is_truncated && line.level == LogLevel::Warn));
    });
}

#[test]
fn message_of_a_failure_is_cut_at_a_character() {
    sandboxes::wait(async {
        for (bytes, expected) in [(101, 101), (4095, 4095), (4097, 4095), (30_001, 4095)] {
            let run = call(&load(&acts::failing_at_length(bytes)).await, plugin_host::offline().0).await;
            let failure = run.result.expect("an answer").expect_err("a failure");
            assert_eq!((failure.code.as_str(), failure.message.len()), ("a", expected));
        }
    });
}

#[test]
fn input_above_the_limit_is_refused_without_running_the_plugin() {
    sandboxes::wait(async {
        let tool = load(&Plugin::tool()).await;
        let limits = PluginLimits { input_bytes: 9, ..limits() };
        let mut invocation = invocation();
        for (text, fits) in [("1234567", true), ("12345678", false)] {
            invocation.input = json!(text);
            let run = tool.call(&invocation, plugin_host::offline().0, &limits).await;
            match fits {
                true => assert_eq!(run.result, Ok(Ok(json!(text)))),
                false => {
                    assert_eq!(run.result, Err(PluginError::Limit { limit: "input_bytes", allowed: 9 }));
                    assert_eq!(run.cost.fuel, 0);
                }
            }
        }
    });
}

#[test]
fn missing_random_bytes_end_the_call_as_a_fault_of_the_host() {
    let random = Plugin::tool()
        .with("imports", r#"(import "yoi:host/random@1.0.0" "get-bytes" (func $random (param i32 i32)))"#)
        .with("call", "(call $random (i32.const 8) (i32.const 2048)) unreachable");
    sandboxes::wait(async {
        let host = HostApi { random: Arc::new(plugin_host::NoRandom), ..plugin_host::offline().0 };
        assert_eq!(call(&load(&random).await, host).await.result, Err(PluginError::RandomUnavailable));
    });
}

#[test]
fn loop_with_unlimited_fuel_is_ended_by_the_deadline() {
    let limits = PluginLimits { fuel: u64::MAX.try_into().expect("not zero"), deadline_ms: 50, ..limits() };
    let looping = plugins::all().into_iter().filter(|plugin| plugin.expect == Expect::Limit("fuel"));
    sandboxes::wait(async {
        for HostilePlugin { name, bytes, .. } in looping {
            let tool = sandboxes::shared().load_tool(&bytes).await.expect("a tool");
            let run = tool.call(&invocation(), plugin_host::offline().0, &limits).await;
            assert_eq!(run.result, Err(PluginError::Limit { limit: "deadline_ms", allowed: 50 }), "{name}");
        }
    });
}

/// Returns a sandbox with one place of each kind.
fn narrow() -> Sandbox {
    let mut limits = Limits::default();
    (limits.pools.tool_calls, limits.pools.services, limits.pools.resolutions) = (1, 1, 1);
    sandboxes::with_limits(limits)
}

#[test]
fn call_that_waits_for_the_network_is_pending_and_the_next_call_waits_for_its_place() {
    let sandbox = narrow();
    let (requesting, honest) = sandboxes::wait(async {
        let requesting = sandbox.load_tool(&network::requesting().bytes()).await.expect("a tool");
        (requesting, sandbox.load_tool(&Plugin::tool().bytes()).await.expect("a tool"))
    });
    let silent = HostApi { requests: Arc::new(plugin_host::Silent), ..plugin_host::offline().0 };
    let context = &mut Context::from_waker(Waker::noop());
    // The guest may be interrupted before it sends its request, and is then pending too.
    let mut waiting = Box::pin(call(&requesting, silent));
    let mut next = pin!(call(&honest, plugin_host::offline().0));
    for _ in 0..100 {
        assert!(waiting.as_mut().poll(context).is_pending());
        assert!(next.as_mut().poll(context).is_pending());
    }
    drop(waiting);
    let run = sandboxes::wait(next);
    assert_eq!(run.result, Ok(Ok(json!({ "a": 1 }))));
}

#[test]
fn kinds_of_guests_do_not_take_the_places_of_each_other() {
    let sandbox = narrow();
    sandboxes::wait(async {
        let resolver = sandbox.load(worker_runtime::shipped::RESOLVER).await.expect("a resolver");
        let requesting = sandbox.load_tool(&network::requesting().bytes()).await.expect("a tool");
        let service = sandbox.load_service(&Plugin::service().bytes()).await.expect("a service");
        let silent = HostApi { requests: Arc::new(plugin_host::Silent), ..plugin_host::offline().0 };
        let mut waiting = pin!(call(&requesting, silent));
        assert!(matches!(poll(waiting.as_mut()), Poll::Pending));
        let started = service.start(&json!(null), plugin_host::offline().0, &limits()).await;
        let (mut running, _) = started.result.expect("a service");
        let (view, facts) = (yoi_tests::fixtures::simple_view(), yoi_tests::fixtures::simple_facts());
        let request = yoi_tests::fixtures::request("main");
        resolver.resolve(&view, &facts, &request).await.answer.expect("an answer").expect("a proposal");
        running.wake(component_host::WakeReason::Timer).await.result.expect("a turn");
        assert!(matches!(poll(waiting.as_mut()), Poll::Pending));
    });
}

/// Polls a future once.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn calls_and_turns_can_run_on_any_thread() {
    async fn runs_elsewhere<F: Future<Output = ()> + Send + 'static>(future: F) {
        tokio::spawn(future).await.expect("no panic");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        runs_elsewhere(async {
            assert!(call(&load(&Plugin::tool()).await, plugin_host::offline().0).await.result.is_ok());
        })
        .await;
        runs_elsewhere(async {
            let plugin = sandboxes::shared().load_service(&Plugin::service().bytes()).await.expect("a service");
            let started = plugin.start(&json!(null), plugin_host::offline().0, &limits()).await;
            let (mut service, _) = started.result.expect("a service");
            service.wake(component_host::WakeReason::Timer).await.result.expect("a turn");
            service.call(&invocation()).await.result.expect("an answer").expect("an output");
            service.stop().await.result.expect("stopped");
        })
        .await;
    });
}

#[test]
fn calls_dropped_at_any_moment_leave_no_instance_and_no_connection() {
    let sandbox = narrow();
    sandboxes::wait(async {
        let looping = Plugin::tool().with("call", "(loop $forever (br $forever)) unreachable");
        let looping = sandbox.load_tool(&looping.bytes()).await.expect("a tool");
        let honest = sandbox.load_tool(&Plugin::tool().bytes()).await.expect("a tool");
        let unlimited = PluginLimits { fuel: u64::MAX.try_into().expect("not zero"), ..limits() };
        let (host, network) = plugin_host::online();
        for polls in 0..50 {
            let invocation = invocation();
            let mut dropped = Box::pin(looping.call(&invocation, host.clone(), &unlimited));
            for _ in 0..polls % 5 {
                assert!(poll(dropped.as_mut()).is_pending());
            }
            drop(dropped);
            assert!(call(&honest, host.clone()).await.result.is_ok());
        }
        assert_eq!(network.open(), 0);
    });
}
