//! Plugins of workers: packages, grants, tool calls and hostile components, through the whole Runtime.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;

use bundles::plugin::{Package, pack};
use bundles::{Acceptances, Bundle, BundleLimits};
use component_host::PluginLimits;
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::history::EntryKind;
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{CallError, DataFolder, RuntimeLimits};

use crate::dropped::{Rng, give_up};
use crate::support::api::Api;
use crate::support::plugin_scene::{MANIFEST, Packed, history, run, service};
use crate::support::plugins::{self, Expect, Plugin, acts};
use crate::support::{World, acme, id, name, sandbox_within};

fn echo() -> Packed {
    Packed::new(&Plugin::tool().bytes())
}

/// Returns the codes of the refusals that narrow the worker `w`.
async fn narrowed(runtime: &worker_runtime::Runtime) -> Vec<&'static str> {
    let spec = runtime.catalogue(&acme()).spec(&id("w")).await.expect("a spec");
    spec.narrowed().iter().map(|refusal| refusal.rule.code().as_str()).collect()
}

#[tokio::test]
async fn tool_of_a_granted_plugin_answers_and_the_call_is_recorded() {
    let runtime = echo().worker(&World::default()).await;
    assert_eq!(narrowed(&runtime).await, [""; 0]);
    for number in 0..3 {
        let called = run(&runtime, json!({ "number": number })).await.expect("an answer");
        assert_eq!(called.output, json!({ "number": number }));
    }
    let entries = history(&runtime).await;
    assert_eq!(entries.len(), 6);
    assert!(matches!(&entries[0], EntryKind::CallBegan { tool, .. } if tool.as_ref() == "p.run"), "{entries:?}");
    assert!(matches!(&entries[1], EntryKind::CallEnded { .. }), "{entries:?}");
    let refused = run(&runtime, json!(7)).await.expect_err("no object");
    assert_eq!(refused.code(), Code::InvalidInput);
}

#[tokio::test]
async fn package_may_arrive_after_the_worker() {
    let packed = echo();
    let world = World { config: packed.config(), ..World::default() };
    let runtime = world.open().await;
    packed.create(&runtime).await;
    assert_eq!(narrowed(&runtime).await, ["package_missing", "tool_without_plugin"]);
    let refused = run(&runtime, json!({})).await.expect_err("no package");
    assert_eq!(refused.code(), Code::NotGranted);
    assert!(refused.help().contains("plugin `p`"), "{}", refused.help());

    packed.put_package(&runtime).await;
    assert_eq!(run(&runtime, json!({ "a": 1 })).await.expect("an answer").output, json!({ "a": 1 }));
}

#[tokio::test]
async fn damaged_package_is_refused_until_it_is_put_again() {
    let above = tempfile::tempdir().expect("a folder");
    let folder = above.path().join("data");
    let packed = echo();
    let blobs = Arc::new(DataFolder::open(&folder).await.expect("a folder").blobs());
    let world = World { blobs, config: packed.config(), ..World::default() };
    let runtime = world.open().await;
    packed.put_package(&runtime).await;
    let hex = packed.digest().to_string().replace("sha256:", "");
    let path = folder.join("blobs/sha256").join(&hex[..2]).join(&hex);
    let mut bytes = std::fs::read(&path).expect("the stored package");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&path, bytes).expect("damaged");
    packed.create(&runtime).await;
    // The first read moves the package out of the store, and the fault remains the same.
    for _ in 0..2 {
        assert_eq!(narrowed(&runtime).await, ["package_damaged", "tool_without_plugin"]);
    }
    let refused = run(&runtime, json!({})).await.expect_err("damaged");
    assert_eq!(refused.code(), Code::NotGranted);
    assert!(refused.help().contains("put the package of plugin `p` again"), "{}", refused.help());

    packed.put_package(&runtime).await;
    run(&runtime, json!({})).await.expect("an answer");
    assert_eq!(narrowed(&runtime).await, [""; 0]);
}

/// Returns a bundle of which one value of the descriptor of `p` is replaced.
fn altered(packed: &Packed, field: &str, value: Value) -> Bundle {
    let bundle = packed.bundle();
    let mut manifest: Value = serde_json::from_slice(bundle.manifest_bytes()).expect("JSON");
    manifest["plugins"]["p"][field] = value;
    let bytes = bundles::canonical::to_canonical(&manifest).expect("JSON");
    let blobs: Vec<Arc<[u8]>> = bundle.blobs().map(|(_, blob)| blob.clone()).collect();
    Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Honour).expect("a bundle")
}

/// Returns the codes of the refusals of a worker with a bundle, if the package of `packed` is stored and granted.
async fn refusals(packed: &Packed, bundle: &Bundle) -> Vec<&'static str> {
    let runtime = World { config: packed.config(), ..World::default() }.open().await;
    packed.put_package(&runtime).await;
    let bundle = crate::support::put(&runtime.content(&acme()), bundle).await;
    let request = CreateWorkerRequest::of_bundle(name("main"), bundle);
    runtime.catalogue(&acme()).create(id("w"), request).await.expect("a worker");
    let codes = narrowed(&runtime).await;
    assert_eq!(run(&runtime, json!({})).await.is_ok(), codes.is_empty(), "{codes:?}");
    codes
}

#[tokio::test]
async fn descriptor_that_differs_from_the_manifest_of_the_package_is_refused() {
    let packed = echo();
    assert_eq!(refusals(&packed, &packed.bundle()).await, [""; 0]);
    let altered = altered(&packed, "version", json!("1.0.1"));
    assert_eq!(refusals(&packed, &altered).await, ["descriptor_mismatch", "tool_without_plugin"]);
}

#[tokio::test]
async fn invalid_package_is_refused_with_the_code_of_its_fault() {
    let good = echo();
    let component = Plugin::tool().bytes();
    for (from, to, code) in [
        ("yoi:runtime/tool@1.0.0", "yoi:runtime/tool@9.0.0", "unsupported_world"),
        ("input.type = \"object\"", "input.type = \"thing\"", "invalid_schema"),
        ("input.type = \"object\"", "input.\"$ref\" = \"https://example.com/schema\"", "invalid_schema"),
        ("input.type = \"object\"", "input.\"$ref\" = \"schema.json\"", "invalid_schema"),
        ("effect = \"none\"", "effect = \"small\"", "package_invalid"),
    ] {
        let manifest = good.manifest.replace(from, to);
        assert_ne!(manifest, good.manifest);
        let bad = Packed { package: pack(manifest.as_bytes(), &component), ..good.clone() };
        let reference = json!({ "digest": bad.digest(), "size": bad.package.len() });
        assert_eq!(refusals(&bad, &altered(&good, "package", reference)).await, [code, "tool_without_plugin"], "{to}");
    }
}

#[tokio::test]
async fn output_that_violates_its_schema_is_refused_and_recorded() {
    let allowing = |output: &str| {
        let manifest = MANIFEST.replace("[\"object\", \"integer\"]", output);
        assert_ne!(manifest, MANIFEST);
        Packed::with_manifest(&Plugin::tool().bytes(), &manifest)
    };
    let runtime = allowing("\"integer\"").worker(&World::default()).await;
    let refused = run(&runtime, json!({})).await.expect_err("an object");
    assert_eq!(refused.code(), Code::InvalidOutput);
    let entries = history(&runtime).await;
    let [EntryKind::CallBegan { .. }, EntryKind::CallFailed { code, .. }] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(code, "invalid_output");

    let runtime = allowing("\"object\"").worker(&World::default()).await;
    run(&runtime, json!({})).await.expect("an object");
}

#[tokio::test]
async fn narrowed_and_restored_grants_take_effect_on_the_next_call() {
    let packed = echo();
    let runtime = packed.worker(&World::default()).await;
    let reload = async |config: &str| {
        let config = RuntimeConfig::from_toml(config).expect("a config");
        runtime.management().reload(config).await.expect("reloaded");
    };
    for (from, to, code) in [
        ("tools = [\"p.run\"]", "tools = []", "tool_not_granted"),
        ("surfaces = [\"tools\"]", "surfaces = []", "surface_not_granted"),
        ("name = \"p\"", "name = \"q\"", "plugin_not_granted"),
    ] {
        reload(&packed.config().replace(from, to)).await;
        assert_eq!(narrowed(&runtime).await, [code, "tool_without_plugin"]);
        assert_eq!(run(&runtime, json!({})).await.expect_err("not granted").code(), Code::NotGranted);
        reload(&packed.config()).await;
        run(&runtime, json!({})).await.expect("granted again");
    }
}

#[tokio::test]
async fn component_that_does_not_fit_its_manifest_is_refused_with_its_own_code() {
    let foreign = plugins::all().into_iter().find(|plugin| plugin.name == "import_environment").expect("a plugin");
    for (packed, code) in [
        (Packed::new(&foreign.bytes), "import_not_allowed"),
        (Packed::with_manifest(&Plugin::tool().bytes(), &service("")), "component_refused"),
        (
            Packed::with_manifest(&Plugin::service().bytes(), &service("[config]\nrequired = [\"key\"]\n")),
            "plugin_config_invalid",
        ),
        (Packed::with_manifest(&Plugin::tool().bytes(), &MANIFEST.replace("p.run", "echo")), "duplicate_tool"),
    ] {
        let runtime = packed.worker(&World::default()).await;
        assert_eq!(narrowed(&runtime).await, [code, "tool_without_plugin"]);
    }
}

#[tokio::test]
async fn granted_config_must_be_valid_against_the_schema_of_the_manifest() {
    let manifest = service("[config]\ntype = \"object\"\nproperties.depth.type = \"integer\"\n");
    let packed = Packed::with_manifest(&Plugin::service().bytes(), &manifest);
    let runtime = packed.worker(&World::default()).await;
    for (config, codes) in [
        ("config = { depth = 3 }\n", vec![]),
        ("config = { depth = \"deep\" }\n", vec!["plugin_config_invalid", "tool_without_plugin"]),
    ] {
        let config = RuntimeConfig::from_toml(&(packed.config() + config)).expect("a config");
        runtime.management().reload(config).await.expect("reloaded");
        assert_eq!(narrowed(&runtime).await, codes);
    }
}

#[tokio::test]
async fn hostile_plugins_end_as_errors_and_the_next_call_works() {
    let sandbox = sandbox_within(|limits| limits.plugin.fuel = 20_000_000.try_into().expect("not zero"));
    for hostile in plugins::all() {
        let packed = Packed::new(&hostile.bytes);
        if Package::open(packed.package.clone(), &BundleLimits::default()).is_err() {
            // Its bytes are not a component, so they cannot be packed.
            assert!(matches!(hostile.expect, Expect::RefusedLoad(_)), "{}", hostile.name);
            continue;
        }
        let world = World { sandbox: sandbox.clone(), ..World::default() };
        let runtime = packed.worker(&world).await;
        let result = run(&runtime, json!({ "a": 1 })).await;
        let context = format!("{}: {result:?}", hostile.name);
        match hostile.expect {
            Expect::Answers(text) => {
                assert_eq!(result.expect(hostile.name).output.to_string(), text);
                continue;
            }
            Expect::RefusedLoad(_) => assert_eq!(result.expect_err(hostile.name).code(), Code::NotGranted, "{context}"),
            Expect::Limit(limit) => match result.expect_err(hostile.name) {
                error if error.code() == Code::LimitExceeded => {
                    assert!(error.to_string().contains(limit), "{context}");
                }
                // The limit was exceeded while the component was loaded.
                error => assert_eq!(error.code(), Code::NotGranted, "{context}"),
            },
            Expect::Fails(code) => {
                let error = result.expect_err(hostile.name);
                assert_eq!(error.code(), Code::ToolRefused, "{context}");
                assert!(error.recorded_code().starts_with(code), "{context}");
            }
            Expect::Trap => {
                let code = result.expect_err(hostile.name).code();
                assert!(matches!(code, Code::PluginTrapped | Code::PluginMalformed), "{context}");
            }
            Expect::Invalid(_) => {
                assert_eq!(result.expect_err(hostile.name).code(), Code::PluginMalformed, "{context}")
            }
        }
        for text in history(&runtime).await.iter().filter_map(|entry| match entry {
            EntryKind::CallFailed { message, .. } => Some(message),
            _ => None,
        }) {
            assert!(!text.contains('/') && !text.contains(char::is_control), "{}: {text}", hostile.name);
        }
        // Another worker of the same Runtime is not affected.
        let mut honest = echo();
        honest.revision = 2;
        let config = RuntimeConfig::from_toml(&honest.config()).expect("a config");
        runtime.management().reload(config).await.expect("reloaded");
        honest.put_package(&runtime).await;
        let bundle = crate::support::put(&runtime.content(&acme()), &honest.bundle()).await;
        let request = CreateWorkerRequest::of_bundle(name("main"), bundle);
        runtime.catalogue(&acme()).create(id("honest"), request).await.expect("a worker");
        let call = runtime_api::call::ToolCall { input: json!({}), confirmed: true };
        let interaction = runtime.interaction(&acme());
        interaction.call(&id("honest"), &name("p.run"), call).await.expect(hostile.name);
    }
}

#[tokio::test]
async fn one_deadline_covers_a_call_and_the_guest_ends_with_it() {
    let limits = RuntimeLimits { call_ms: 300, ..RuntimeLimits::default() };
    let sandbox = sandbox_within(|limits| {
        limits.plugin = PluginLimits { fuel: NonZeroU64::MAX, deadline_ms: u64::MAX / 2, ..PluginLimits::default() };
    });
    let forever = plugins::all().into_iter().find(|plugin| plugin.name == "loop_in_call").expect("a plugin");
    let packed = Packed::new(&forever.bytes);
    let runtime = packed.worker(&World { limits, sandbox, ..World::default() }).await;
    for _ in 0..3 {
        // A guest that went on would hold the compute slot of the workspace.
        let refused = run(&runtime, json!({})).await.expect_err("no end");
        assert!(matches!(refused, CallError::DeadlineExceeded { allowed_ms: 300, .. }), "{refused:?}");
    }
}

/// Returns a tool that computes for some milliseconds before it returns its input.
fn busy() -> Plugin {
    Plugin::tool().with("locals", "(local $n i32)").with(
        "call",
        "(loop $more
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 4000000))))
         (call $output (local.get $input) (local.get $input_length))",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_dropped_calls_leave_no_instance_and_no_turn() {
    let seed = RandomState::new().hash_one(0) | 1;
    let context = format!("seed {seed}");
    // With two places for instances, a single one that is left behind shows soon.
    let sandbox = sandbox_within(|limits| limits.pools.tool_calls = 2);
    let limits = RuntimeLimits { queued_calls: 64, history_entries: 100_000, ..RuntimeLimits::default() };
    let runtime = Packed::new(&busy().bytes()).worker(&World { sandbox, limits, ..World::default() }).await;
    let clients = (0..4).map(|client| {
        let runtime = runtime.clone();
        tokio::spawn(async move {
            let (mut dice, mut ended) = (Rng(seed.wrapping_add(client * 2)), 0);
            for _ in 0..250 {
                let moment = dice.moment();
                ended += u32::from(give_up(run(&runtime, json!({})), moment).await);
            }
            ended
        })
    });
    let mut ended = 0;
    for client in clients.collect::<Vec<_>>() {
        ended += client.await.expect("a client");
    }
    assert!((1..1000).contains(&ended), "{ended} ended: {context}");
    for _ in 0..4 {
        run(&runtime, json!({ "after": true })).await.expect(&context);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_calls_of_one_workspace_do_not_fail_those_of_another() {
    let sandbox = sandbox_within(|limits| limits.plugin.fuel = NonZeroU64::MAX);
    let limits = RuntimeLimits { call_ms: 10_000, queued_calls: 64, ..RuntimeLimits::default() };
    let forever = plugins::all().into_iter().find(|plugin| plugin.name == "loop_in_call").expect("a plugin");
    let hostile = Packed { workspace: "other".to_owned(), ..Packed::new(&forever.bytes) };
    let honest = echo();
    let config = format!("{}\n{}", honest.config(), hostile.grant());
    let runtime = World { config, sandbox, limits, ..World::default() }.open().await;
    for packed in [&honest, &hostile] {
        packed.put_package(&runtime).await;
        packed.create(&runtime).await;
    }
    let attackers: Vec<_> = (0..64)
        .map(|_| {
            let interaction = runtime.interaction(&name("other"));
            tokio::spawn(async move {
                loop {
                    let call = ToolCall { input: json!({}), confirmed: true };
                    let _ = interaction.call(&id("w"), &name("p.run"), call).await;
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                for number in 0..10 {
                    run(&runtime, json!({ "number": number })).await.expect("an answer");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn log_lines_are_kept_apart_from_the_history() {
    let runtime = Packed::new(&acts::logging(3, 21).bytes()).worker(&World::default()).await;
    run(&runtime, json!({})).await.expect("an answer");
    let lines = runtime.observation(&acme()).plugin_logs(&id("w"), 0).await.expect("lines");
    assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(lines.iter().all(|line| line.plugin.as_ref() == "p" && line.text.starts_with('a')), "{lines:?}");
    assert_eq!(runtime.observation(&acme()).plugin_logs(&id("w"), 2).await.expect("lines").len(), 1);
    assert_eq!(history(&runtime).await.len(), 2);
    let missing = runtime.observation(&acme()).plugin_logs(&id("other"), 0).await.expect_err("no worker");
    assert_eq!(missing.code(), Code::WorkerNotFound);

    runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
    runtime.catalogue(&acme()).remove(&id("w")).await.expect("removed");
    assert_eq!(
        runtime.observation(&acme()).plugin_logs(&id("w"), 0).await.expect_err("removed").code(),
        Code::WorkerNotFound
    );
}

#[tokio::test]
async fn log_lines_are_offered_to_operators_of_the_workspace_over_rest() {
    let runtime = Packed::new(&acts::logging(3, 21).bytes()).worker(&World::default()).await;
    run(&runtime, json!({})).await.expect("an answer");
    let api = Api::of(runtime);
    let (_, operator) = api.token(&[Scope::Operator], &["acme"]).await;
    let (_, reader) = api.token(&[Scope::Read, Scope::Call], &["acme"]).await;
    let (_, foreign) = api.token(&[Scope::Operator], &["other"]).await;
    let logs = async |query: &str, token: &str| api.get(&format!("/v1/workers/w/logs{query}"), token).await;

    let page = logs("", &operator).await.json();
    let text = format!("a{}", "\u{e9}".repeat(10));
    let line = |number: u64| {
        json!({
            "number": number, "at": page["lines"][0]["at"], "plugin": "p", "severity": "warn", "text": text,
            "is_truncated": false,
        })
    };
    assert!(page["lines"][0]["at"].is_string(), "{page}");
    assert_eq!(page, json!({ "lines": [line(1), line(2), line(3)] }));
    assert_eq!(logs("?limit=2", &operator).await.json(), json!({ "lines": [line(1), line(2)], "next": 2 }));
    assert_eq!(logs("?limit=2&after=2", &operator).await.json(), json!({ "lines": [line(3)] }));
    assert_eq!(logs("?after=3", &operator).await.json(), json!({ "lines": [] }));

    assert_eq!(logs("", &reader).await.code(), (403, "scope_missing".to_owned()));
    assert_eq!(logs("", "").await.code(), (401, "unauthenticated".to_owned()));
    assert_eq!(logs("", &foreign).await.code(), (404, "worker_not_found".to_owned()));
    assert_eq!(logs("?workspace=acme", &foreign).await.code(), (403, "workspace_denied".to_owned()));
    assert_eq!(api.get("/v1/workers/v/logs", &operator).await.code(), (404, "worker_not_found".to_owned()));
}
