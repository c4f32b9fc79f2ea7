//! Suspended workers: list, summary, events and calls agree on cause and remedy, and the suspension ends without an
//! operation on the worker.

use bundles::Digest;
use host_policy::RuntimeConfig;
use runtime_api::call::ToolCall;
use serde_json::json;
use worker_runtime::event::EventKind;
use worker_runtime::token::Scope;
use worker_runtime::worker::{Suspension, SuspensionReason, WorkerState};
use worker_runtime::{DataFolder, Runtime, SubscriptionItem, WorkerError};

use crate::support::api::Api;
use crate::support::{CONFIG, World, acme, bundle, bundle_of, id, name, plain, put, trusted};

fn config(text: &str) -> RuntimeConfig {
    RuntimeConfig::from_toml(text).expect("a config")
}

fn narrower() -> String {
    CONFIG.replace("secrets = [\"token\"]", "")
}

/// Returns the suspension of a worker, and checks that list, summary and call agree on it.
async fn suspension(runtime: &Runtime, worker: &str) -> Option<Suspension> {
    let catalogue = runtime.catalogue(&acme());
    let shown = catalogue.get(&id(worker)).await.expect("there").state;
    let listed = catalogue.list(None, 100).await.expect("a list");
    let listed = listed.into_iter().find(|one| one.id == id(worker)).expect("listed").state;
    assert_eq!(shown, listed);
    let call = ToolCall { input: json!({ "text": "x" }), confirmed: true };
    let called = runtime.interaction(&acme()).call(&id(worker), &name("echo"), call).await;
    match (shown, called, catalogue.spec(&id(worker)).await) {
        (WorkerState::Running, Ok(_), Ok(_)) => None,
        (WorkerState::Suspended(suspension), Err(called), Err(spec)) => {
            assert_eq!((called.code().as_str(), spec.code().as_str()), ("worker_suspended", "worker_suspended"));
            assert!(called.to_string().ends_with(&suspension.detail), "{called}");
            assert_eq!(called.help(), suspension.remedy);
            Some(suspension)
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the events of suspended and resumed workers.
async fn told(runtime: &Runtime) -> Vec<(String, Option<SuspensionReason>)> {
    let observation = runtime.observation(&acme());
    let newest = observation.newest_event().await.expect("known");
    let mut events = observation.subscribe(0).await.expect("subscribed");
    let mut told = Vec::new();
    for _ in 0..newest {
        let SubscriptionItem::Event(event) = events.next().await.expect("an event") else { panic!("a gap") };
        match event.kind {
            EventKind::WorkerSuspended { worker, reason, detail, remedy } => {
                assert!(!detail.is_empty() && !remedy.is_empty());
                told.push((worker.to_string(), Some(reason)));
            }
            EventKind::WorkerResumed { worker } => told.push((worker.to_string(), None)),
            _ => {}
        }
    }
    told
}

#[tokio::test]
async fn withdrawn_grant_is_named_and_restored_grant_ends_suspension() {
    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    catalogue.create(id("plain"), plain(bundle)).await.expect("a worker");
    catalogue.create(id("trusted"), trusted(bundle)).await.expect("a worker");
    assert_eq!(suspension(&runtime, "trusted").await, None);
    for _ in 0..2 {
        runtime.management().reload(config(&narrower())).await.expect("reloaded");
        let suspended = suspension(&runtime, "trusted").await.expect("suspended");
        assert_eq!(suspended.reason, SuspensionReason::PolicyDenied);
        assert!(suspended.detail.contains("`secret:token` is not granted"), "{}", suspended.detail);
        assert!(suspended.remedy.contains("secrets = [\"token\"]"), "{}", suspended.remedy);
        assert!(suspended.remedy.contains("[workspaces.acme]"), "{}", suspended.remedy);
        assert_eq!(suspension(&runtime, "plain").await, None);
        // A repeated request returns the worker with its suspension.
        let again = catalogue.create(id("trusted"), trusted(bundle)).await.expect("there");
        assert_eq!(again.worker.state, WorkerState::Suspended(suspended));
        runtime.management().reload(config(CONFIG)).await.expect("reloaded");
        assert_eq!(suspension(&runtime, "trusted").await, None);
    }
    let once = [("trusted".to_owned(), Some(SuspensionReason::PolicyDenied)), ("trusted".to_owned(), None)];
    assert_eq!(told(&runtime).await, [once.clone(), once].concat());
    // Suspensions are not stored: a restarted process derives them from its config.
    drop(runtime);
    let again = World { config: narrower(), ..world.clone() }.open().await;
    assert!(suspension(&again, "trusted").await.is_some());
    drop(again);
    assert_eq!(suspension(&world.open().await, "trusted").await, None);
    let stopped = world.open().await.catalogue(&acme()).stop(&id("trusted")).await.expect("stopped");
    assert!(matches!(stopped.state, WorkerState::Stopped { .. }));
}

#[tokio::test]
async fn signatures_required_later_suspend_a_worker_and_are_named() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    let key = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let posture = format!("[workspaces.acme]\nsignatures = {{ posture = 'required', keys = ['{key}'] }}");
    let demanding = CONFIG.replace("[workspaces.acme]\nsignatures = { posture = \"none\" }", &posture);
    runtime.management().reload(config(&demanding)).await.expect("reloaded");
    let suspended = suspension(&runtime, "w").await.expect("suspended");
    assert_eq!(suspended.reason, SuspensionReason::SignatureRefused);
    assert!(suspended.detail.contains("not signed"), "{}", suspended.detail);
    assert!(suspended.remedy.contains("`signatures` under [workspaces.acme]"), "{}", suspended.remedy);
    runtime.management().reload(config(CONFIG)).await.expect("reloaded");
    assert_eq!(suspension(&runtime, "w").await, None);
    // The config no longer names the workspace.
    runtime.management().reload(config("")).await.expect("reloaded");
    assert_eq!(suspension(&runtime, "w").await.map(|one| one.reason), Some(SuspensionReason::SignatureRefused));
    runtime.management().reload(config(CONFIG)).await.expect("reloaded");
    let signature = ("w".to_owned(), Some(SuspensionReason::SignatureRefused));
    let resumed = ("w".to_owned(), None);
    assert_eq!(told(&runtime).await, [signature.clone(), resumed.clone(), signature, resumed]);
}

#[tokio::test]
async fn model_or_host_tool_that_is_no_longer_offered_is_named() {
    let offered = CONFIG.replace("[host]", "[host]\nmodels = [\"large\"]");
    let runtime = World { config: offered.clone(), ..World::default() }.open().await;
    let manifest = r#"
        schema = "yoi.config-bundle/1"
        revision = 1
        created_at = "2026-06-25T15:49:30Z"
        language = "en"
        [workspace]
        id = "acme"
        [models.large]
        provider = "local"
        model = "large-1"
        [tools.echo]
        source = "host"
        effect = "none"
        "#;
    let profile = "instructions = [\"hello\"]\nmodels = [\"large\"]\ntools_allow = [\"echo\"]";
    let trusted = "extends = [\"plain\"]";
    let files = [("bundle.toml", manifest), ("profiles/plain.toml", profile), ("profiles/trusted.toml", trusted)];
    let bundle = put(&runtime.content(&acme()), &bundle_of("acme", 1, &files)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    for (taken, subject, remedy) in [
        ("\"tool:echo\", ", "`tool:echo`", "add `\"tool:echo\"` to `capabilities` under [host]"),
        ("models = [\"large\"]", "`model:large`", "write `models = [\"large\"]` under [host]"),
    ] {
        runtime.management().reload(config(&offered.replace(taken, ""))).await.expect("reloaded");
        let suspended = suspension(&runtime, "w").await.expect("suspended");
        assert_eq!(suspended.reason, SuspensionReason::PolicyDenied);
        assert!(suspended.detail.contains(subject), "{}", suspended.detail);
        assert!(suspended.remedy.contains(remedy), "{}", suspended.remedy);
        runtime.management().reload(config(&offered)).await.expect("reloaded");
        assert_eq!(suspension(&runtime, "w").await, None);
    }
}

/// Requests another worker of the bundle of a suspended one. Returns the error code if it differs from the suspension
/// reason. A damaged record of the suspended worker does not prevent other workers.
async fn refused_like(runtime: &Runtime, bundle: Digest, suspended: &Suspension, is_record: bool) -> Option<String> {
    let resolved = runtime.catalogue(&acme()).resolve(&plain(bundle)).await;
    let code = resolved.err().map(|error| error.code().to_string());
    let expected = (!is_record).then(|| json!(suspended.reason).as_str().expect("a word").to_owned());
    if code == expected { None } else { Some(format!("{code:?}")) }
}

#[tokio::test]
async fn missing_and_damaged_content_have_different_reasons_and_can_be_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = DataFolder::open(folder.path()).await.expect("a data folder");
    let world = World { blobs: std::sync::Arc::new(data.blobs()), ..World::default() };
    let runtime = world.open().await;
    let made = bundle(1);
    let bundle = put(&runtime.content(&acme()), &made).await;
    let worker = runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker").worker;
    drop(runtime);
    let file = |digest: Digest| {
        let hex = digest.to_string().trim_start_matches("sha256:").to_owned();
        folder.path().join("blobs/sha256").join(&hex[..2]).join(&hex)
    };
    let prompt = *made.blobs().next().expect("a blob").0;
    for (digest, missing, damaged) in [
        (bundle, SuspensionReason::BundleMissing, SuspensionReason::BundleDamaged),
        (prompt, SuspensionReason::BundleMissing, SuspensionReason::BundleDamaged),
        (worker.record, SuspensionReason::RecordMissing, SuspensionReason::RecordDamaged),
    ] {
        let right = std::fs::read(file(digest)).expect("there");
        std::fs::remove_file(file(digest)).expect("removed");
        let runtime = world.open().await;
        let suspended = suspension(&runtime, "w").await.expect("suspended");
        assert_eq!(suspended.reason, missing, "{suspended:?}");
        assert_eq!(refused_like(&runtime, bundle, &suspended, worker.record == digest).await, None);
        let restore = |bytes: &[u8]| {
            use std::os::unix::fs::PermissionsExt;
            if let Ok(there) = std::fs::metadata(file(digest)) {
                let mut permissions = there.permissions();
                permissions.set_mode(0o600);
                std::fs::set_permissions(file(digest), permissions).expect("writable");
            }
            std::fs::write(file(digest), bytes).expect("written");
        };
        let mut wrong = right.clone();
        wrong[0] ^= 1;
        restore(&wrong);
        let runtime = world.open().await;
        // Also after the damaged blob was moved out of the store.
        for _ in 0..2 {
            let suspended = suspension(&runtime, "w").await.expect("suspended");
            assert_eq!(suspended.reason, damaged, "{suspended:?}");
            assert_eq!(refused_like(&runtime, bundle, &suspended, worker.record == digest).await, None);
        }
        restore(&right);
        assert_eq!(suspension(&runtime, "w").await, None);
    }
}

#[tokio::test]
async fn api_reports_the_same_suspension() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let bundle = bundle(1);
    api.bring(&token, &bundle).await;
    let request = json!({ "profile": "trusted", "bundle": bundle.digest() });
    assert_eq!(api.put_json("/v1/workers/w", &token, &request).await.status.as_u16(), 201);
    api.runtime.management().reload(config(&narrower())).await.expect("reloaded");
    let shown = api.get("/v1/workers/w", &token).await.json();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("suspended"), &json!("policy_denied")));
    let (detail, remedy) = (shown["detail"].as_str().expect("text"), shown["remedy"].as_str().expect("text"));
    assert_eq!(api.get("/v1/workers", &token).await.json()["workers"][0], shown);
    let call = api.ask("POST", "/v1/workers/w/tools/echo", &token, r#"{"input":{}}"#, "application/json").await;
    assert_eq!(call.code(), (409, "worker_suspended".to_owned()));
    let problem = call.json();
    assert!(problem["detail"].as_str().is_some_and(|said| said.ends_with(detail)), "{problem}");
    assert_eq!((problem["help"].as_str(), &problem["details"]["reason"]), (Some(remedy), &json!("policy_denied")));
    let spec = api.get("/v1/workers/w/spec", &token).await;
    assert_eq!(spec.code(), (409, "worker_suspended".to_owned()));
}

#[tokio::test]
async fn config_changes_during_a_pass_share_the_next_pass() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    let management = runtime.management();
    management.replace_config(config(&narrower())).expect("in force");
    management.replace_config(config(CONFIG)).expect("in force");
    let report = management.record_config_changes().await.expect("a report");
    assert_eq!((report.workspaces.len(), report.workers.len()), (0, 0));
    management.replace_config(config(&narrower())).expect("in force");
    // The config is in force before the events are recorded.
    assert!(matches!(runtime.catalogue(&acme()).spec(&id("w")).await, Err(WorkerError::Suspended { .. })));
    let (first, second) = tokio::join!(management.record_config_changes(), management.record_config_changes());
    let changed = [first, second].map(|report| report.expect("a report").workers.len());
    assert_eq!(changed.iter().sum::<usize>(), 1);
    assert_eq!(told(&runtime).await.len(), 1);
}
