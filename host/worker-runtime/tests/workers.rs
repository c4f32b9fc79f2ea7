//! Workers: created once, recorded, restored without running a resolver, and limited to the current grants.

use component_host::BundleView;
use host_policy::RuntimeConfig;
use runtime_api::referrer::Referrer;
use runtime_api::runtime::WorkspaceUsage;
use worker_runtime::worker::{CreateWorkerRequest, StopReason, SuspensionReason, WorkerState};
use worker_runtime::{Record, RuntimeLimits, WorkerError};

use crate::support::{CONFIG, World, acme, bundle, bundle_of, id, name, plain, put, trusted, variant};

fn code<T: std::fmt::Debug>(result: Result<T, WorkerError>) -> &'static str {
    result.expect_err("refused").code().as_str()
}

#[tokio::test]
async fn repeated_request_returns_same_worker_and_different_request_is_refused() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let first = catalogue.create(id("w"), plain(bundle)).await.expect("a worker");
    let second = catalogue.create(id("w"), plain(bundle)).await.expect("the same");
    assert!(first.new && !second.new);
    assert_eq!(first.worker, second.worker);
    assert_eq!(code(catalogue.create(id("w"), trusted(bundle)).await), "worker_exists");
    assert_eq!(catalogue.list(None, 10).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn concurrent_equal_requests_create_one_worker() {
    let world = World { limits: RuntimeLimits { queued_calls: 100, ..RuntimeLimits::default() }, ..World::default() };
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let asked = (0..32).map(|_| catalogue.create(id("w"), plain(bundle)));
    let made = futures_util::future::join_all(asked).await;
    assert_eq!(made.iter().filter(|created| created.as_ref().is_ok_and(|created| created.new)).count(), 1);
    assert!(made.iter().all(Result::is_ok));
    assert_eq!(runtime.management().usage(&acme()).await.expect("known").workers, 1);
}

#[tokio::test]
async fn invalid_requests_are_refused_with_their_codes() {
    let runtime = World::default().open().await;
    let content = runtime.content(&acme());
    let bundle = put(&content, &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let create = |request| catalogue.create(id("w"), request);
    let unnamed = CreateWorkerRequest { bundle: None, ..plain(bundle) };
    assert_eq!(code(create(unnamed).await), "bundle_unnamed");
    let unwanted = CreateWorkerRequest { profile: name("builtin:coder"), ..plain(bundle) };
    assert_eq!(code(create(unwanted).await), "bundle_unwanted");
    assert_eq!(code(create(plain(bundles::Digest::of("none"))).await), "bundle_not_found");
    let unknown = CreateWorkerRequest { profile: name("plane"), ..plain(bundle) };
    assert_eq!(code(create(unknown).await), "unknown_profile");
    let unmet = CreateWorkerRequest { required_capabilities: vec![name("browser")], ..plain(bundle) };
    assert_eq!(code(create(unmet).await), "unmet_capability");
    let many: Vec<_> = (0..300).map(|index| name(&format!("c{index}"))).collect();
    let many = CreateWorkerRequest { required_capabilities: many, ..plain(bundle) };
    assert_eq!(code(create(many).await), "too_many_capabilities");
    let resolver = CreateWorkerRequest { resolver: Some(bundles::Digest::of("none")), ..plain(bundle) };
    assert_eq!(code(create(resolver).await), "resolver_not_found");
    assert_eq!(code(catalogue.get(&id("w")).await), "worker_not_found");
    create(plain(bundle)).await.expect("the neighbour is a worker");
}

#[tokio::test]
async fn missing_grant_refuses_worker_and_stores_only_its_resolution() {
    let config = CONFIG.replace("secrets = [\"token\"]", "");
    let runtime = World { config, ..World::default() }.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let before = runtime.management().usage(&acme()).await.expect("known");
    let error = runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect_err("refused");
    let WorkerError::Denied(refusals) = &error else { panic!("{error}") };
    assert!(refusals.iter().any(|refusal| refusal.rule.code() == "secret_not_granted"), "{refusals:?}");
    let recorded = runtime.catalogue(&acme()).failed_resolutions().await.expect("a list");
    let [record] = recorded.as_slice() else { panic!("{recorded:?}") };
    let bytes = runtime.content(&acme()).blob_size(record.record).await.expect("a record");
    // The same refusal again stores nothing.
    runtime.catalogue(&acme()).create(id("v"), trusted(bundle)).await.expect_err("refused");
    let expected = WorkspaceUsage { bytes: before.bytes + bytes, ..before };
    assert_eq!(runtime.management().usage(&acme()).await.expect("known"), expected);
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("the neighbour is a worker");
}

#[tokio::test]
async fn tool_without_its_authorities_refuses_the_worker() {
    let profile = ("profiles/trusted.toml", "extends = [\"plain\"]\ntools_allow = [\"secretive\"]");
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &crate::support::bundle_of("acme", 1, &[profile])).await;
    let error = runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect_err("refused");
    let WorkerError::Denied(refusals) = &error else { panic!("{error}") };
    assert_eq!(refusals[0].rule.code(), "tool_without_authority");
    let wish =
        ("profiles/trusted.toml", "extends = [\"plain\"]\ntools_allow = [\"secretive\"]\nwants = [\"secret:token\"]");
    let bundle = put(&runtime.content(&acme()), &crate::support::bundle_of("acme", 2, &[wish])).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
}

#[tokio::test]
async fn older_revision_requires_allow_older() {
    let runtime = World::default().open().await;
    let content = runtime.content(&acme());
    let (old, new) = (put(&content, &bundle(1)).await, put(&content, &bundle(2)).await);
    let catalogue = runtime.catalogue(&acme());
    assert_eq!(code(catalogue.create(id("w"), plain(old)).await), "revision_older");
    catalogue.create(id("new"), plain(new)).await.expect("a worker");
    let allowed = CreateWorkerRequest { allow_older: true, ..plain(old) };
    let made = catalogue.create(id("w"), allowed.clone()).await.expect("a worker");
    assert!(made.worker.request.allow_older);
    // The newest stored revision counts even after it was removed.
    catalogue.stop(&id("new")).await.expect("stopped");
    content.remove_bundle(new).await.expect("removed");
    assert_eq!(code(catalogue.create(id("x"), plain(old)).await), "revision_older");
}

#[tokio::test]
async fn builtin_profile_excludes_bundle_and_bundle_profile_requires_one() {
    let builtin = CreateWorkerRequest::builtin(name("companion"));
    let free = World::default().open().await;
    let made = free.catalogue(&acme()).create(id("w"), builtin.clone()).await.expect("a worker");
    assert_eq!(made.worker.bundle, free.management().summary().await.expect("known").builtin_bundle);

    let config = CONFIG.replace("[workspaces.acme]", "[workspaces.acme]\nrequire_bundle = true");
    let bound = World { config, ..World::default() }.open().await;
    let error = bound.catalogue(&acme()).create(id("w"), builtin.clone()).await.expect_err("refused");
    let WorkerError::Denied(refusals) = &error else { panic!("{error}") };
    assert!(refusals.iter().any(|refusal| refusal.rule.code() == "bundle_required"), "{refusals:?}");
    let bundle = put(&bound.content(&acme()), &bundle(1)).await;
    bound.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a bundle is there");
    // The other workspace is not restricted.
    bound.catalogue(&name("other")).create(id("w"), builtin).await.expect("a worker");
}

#[tokio::test]
async fn failed_resolutions_are_recorded_once_and_can_be_repeated() {
    let world =
        World { limits: RuntimeLimits { failed_resolutions: 2, ..RuntimeLimits::default() }, ..World::default() };
    let runtime = world.open().await;
    let (content, catalogue) = (runtime.content(&acme()), runtime.catalogue(&acme()));
    let view = BundleView::new(bundle(1));
    let bundle = put(&content, &bundle(1)).await;
    let of = |profile: &str| CreateWorkerRequest::of_bundle(name(profile), bundle);
    for worker in ["w", "v"] {
        let refused = catalogue.create(id(worker), of("nobody")).await.expect_err("an unknown profile");
        assert_eq!(refused.code(), "unknown_profile");
    }
    // The resolution itself succeeds, and the policy refuses its result, which is recorded too. A report records nothing.
    let other = put(&runtime.content(&name("other")), &bundle_of("other", 1, &[])).await;
    runtime.catalogue(&name("other")).create(id("w"), trusted(other)).await.expect_err("a secret is not granted");
    let denied = runtime.catalogue(&name("other")).failed_resolutions().await.expect("a list");
    assert_eq!(denied.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["denied"]);
    let record = runtime.content(&name("other")).blob(denied[0].record).await.expect("a record");
    assert_eq!(Record::from_json(&record).expect("a record").failure(), None);
    catalogue.resolve(&of("somebody")).await.expect_err("an unknown profile");

    let failures = catalogue.failed_resolutions().await.expect("a list");
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((failure.profile.as_ref(), failure.code.as_str()), ("nobody", "unknown_profile"));
    assert_eq!(content.referrers(failure.record).await.expect("referrers"), [Referrer::Failure]);
    let bytes = content.blob(failure.record).await.expect("a record");
    let record = Record::from_json(&bytes).expect("a record");
    assert_eq!(record.failure().map(|failure| failure.code.as_str()), Some("unknown_profile"));
    assert_eq!(record.to_json(), *bytes);
    let resolver = world.sandbox.load(worker_runtime::shipped::RESOLVER).await.expect("loaded");
    assert_eq!(record.replay(&resolver, &view).await.expect("a record"), record);

    // The oldest record makes room, and a restart keeps the others.
    for profile in ["nobody", "second", "third"] {
        catalogue.create(id("w"), of(profile)).await.expect_err("an unknown profile");
    }
    assert_eq!(content.blob(failure.record).await.expect_err("it is removed").code(), "blob_not_found");
    drop(runtime);
    let failures = world.open().await.catalogue(&acme()).failed_resolutions().await.expect("a list");
    let profiles: Vec<&str> = failures.iter().map(|failure| failure.profile.as_ref()).collect();
    assert_eq!(profiles, ["second", "third"]);
}

#[tokio::test]
async fn a_restart_restores_workers_from_their_records() {
    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let made = runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker").worker;
    let spec = runtime.catalogue(&acme()).spec(&id("w")).await.expect("a spec");
    drop(runtime);
    let again = world.open().await;
    assert_eq!(again.catalogue(&acme()).get(&id("w")).await.expect("there"), made);
    assert_eq!(again.catalogue(&acme()).spec(&id("w")).await.expect("a spec"), spec);
}

#[tokio::test]
async fn worker_of_revoked_resolver_or_bundle_refuses_calls_with_reason() {
    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let (resolver, component) = variant(1);
    runtime.management().admit_resolver(resolver, component.into()).await.expect("admitted");
    let request = CreateWorkerRequest { resolver: Some(resolver), ..plain(bundle) };
    catalogue.create(id("w"), request.clone()).await.expect("a worker");
    runtime.management().revoke_resolver(resolver).await.expect("revoked");
    let state = catalogue.get(&id("w")).await.expect("there").state;
    assert!(matches!(state, WorkerState::Stopped { reason: StopReason::ResolverRevoked, .. }), "{state:?}");
    assert_eq!(code(catalogue.create(id("x"), request).await), "resolver_revoked");

    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &crate::support::bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    runtime.catalogue(&acme()).revoke_bundle(bundle).await.expect("revoked");
    for runtime in [runtime, world.open().await] {
        let state = runtime.catalogue(&acme()).get(&id("w")).await.expect("there").state;
        assert!(matches!(state, WorkerState::Stopped { reason: StopReason::BundleRevoked, .. }), "{state:?}");
        assert_eq!(code(runtime.catalogue(&acme()).create(id("x"), plain(bundle)).await), "bundle_revoked");
    }
}

#[tokio::test]
async fn reload_is_atomic_and_reports_effects_on_workers() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    catalogue.create(id("plain"), plain(bundle)).await.expect("a worker");
    catalogue.create(id("trusted"), trusted(bundle)).await.expect("a worker");
    let narrower = CONFIG.replace("secrets = [\"token\"]", "");
    let report = runtime.management().reload(RuntimeConfig::from_toml(&narrower).expect("a config")).await;
    let report = report.expect("a report");
    assert_eq!(report.workspaces, [acme()]);
    assert_eq!(report.workers.len(), 1);
    assert_eq!(report.workers[0].worker, id("trusted"));
    assert_eq!(report.workers[0].lost, ["secret:token"]);
    let refused = report.workers[0].refused.as_ref().map(|suspension| suspension.reason);
    assert_eq!(refused, Some(SuspensionReason::PolicyDenied));
    // After the grant is restored, the worker runs again. A config does not stop workers.
    let wider =
        runtime.management().reload(RuntimeConfig::from_toml(CONFIG).expect("a config")).await.expect("a report");
    assert_eq!(wider.workers[0].gained, ["secret:token"]);
    catalogue.spec(&id("trusted")).await.expect("a spec");
}

#[tokio::test]
async fn facts_follow_the_config() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let browsing = CONFIG.replace("capabilities = [", "capabilities = [\"browser\", ");
    for (number, (config, has)) in [(CONFIG, false), (&*browsing, true), (CONFIG, false)].into_iter().enumerate() {
        let config = RuntimeConfig::from_toml(config).expect("a config");
        runtime.management().reload(config).await.expect("reloaded");
        let request = CreateWorkerRequest { required_capabilities: vec![name("browser")], ..plain(bundle) };
        let made = catalogue.create(id(&format!("w{number}")), request).await;
        assert_eq!(made.is_ok(), has, "{made:?}");
    }
}

#[tokio::test]
async fn worker_of_another_workspace_is_not_found() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    let other = runtime.catalogue(&name("other"));
    assert_eq!(code(other.get(&id("w")).await), "worker_not_found");
    assert_eq!(code(other.stop(&id("w")).await), "worker_not_found");
    assert_eq!(code(other.create(id("w"), plain(bundle)).await), "bundle_not_found");
    assert!(other.list(None, 10).await.expect("a list").is_empty());
}
