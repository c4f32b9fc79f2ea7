//! The resolver registry: one resolver is active, another one takes its place atomically, and the state survives a
//! restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::StatusCode;
use bundles::Digest;
use host_policy::RuntimeConfig;
use runtime_api::comparison::ActivateRequest;
use runtime_api::resolver::ResolverState;
use serde_json::json;
use worker_runtime::event::EventKind;
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Management, Runtime, RuntimeLimits, WorkerError, shipped};

use crate::support::api::Api;
use crate::support::{CONFIG, World, acme, bundle, id, plain, put, variant};

fn shipped_digest() -> Digest {
    Digest::of(shipped::RESOLVER)
}

async fn admit(management: &Management, number: u8) -> Digest {
    let (digest, component) = variant(number);
    management.admit_resolver(digest, component.into()).await.expect("admitted");
    digest
}

async fn states(management: &Management) -> BTreeMap<Digest, ResolverState> {
    let listed = management.resolvers().await.expect("a list");
    assert_eq!(listed.iter().filter(|resolver| resolver.active).count(), 1, "{listed:?}");
    listed.into_iter().map(|resolver| (resolver.digest, resolver.state)).collect()
}

/// Creates a worker and returns the resolver that resolved it.
async fn created(runtime: &Runtime, worker: &str, request: CreateWorkerRequest) -> Result<Digest, WorkerError> {
    let created = runtime.catalogue(&acme()).create(id(worker), request).await?;
    Ok(created.worker.resolver)
}

#[tokio::test]
async fn an_activated_resolver_is_used_until_a_rollback_and_every_change_is_an_event() {
    let world = World::default();
    let runtime = world.open().await;
    let management = runtime.management();
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let (one, two) = (admit(&management, 1).await, admit(&management, 2).await);
    assert_eq!(created(&runtime, "a", plain(bundle)).await.expect("created"), shipped_digest());

    assert_eq!(
        management.activate_resolver(one, ActivateRequest::UNCHECKED).await.expect("activated").state,
        ResolverState::Active
    );
    assert_eq!(created(&runtime, "b", plain(bundle)).await.expect("created"), one);
    management.activate_resolver(two, ActivateRequest::UNCHECKED).await.expect("activated");
    // Activating the active one changes nothing.
    management.activate_resolver(two, ActivateRequest::UNCHECKED).await.expect("activated");
    assert_eq!(created(&runtime, "c", plain(bundle)).await.expect("created"), two);
    let named = CreateWorkerRequest { resolver: Some(one), ..plain(bundle) };
    assert_eq!(created(&runtime, "d", named).await.expect("created"), one, "a retired resolver can be named");
    let expected =
        [(shipped_digest(), ResolverState::Retired), (one, ResolverState::Retired), (two, ResolverState::Active)];
    assert_eq!(states(&management).await, BTreeMap::from(expected));

    // Another process goes on with the active resolver.
    drop(runtime);
    let runtime = world.open().await;
    let management = runtime.management();
    assert_eq!(created(&runtime, "e", plain(bundle)).await.expect("created"), two);
    assert_eq!(management.summary().await.expect("a summary").active_resolver, two);

    assert_eq!(management.rollback_resolver().await.expect("rolled back").digest, one);
    assert_eq!(management.rollback_resolver().await.expect("rolled back").digest, shipped_digest());
    assert_eq!(management.rollback_resolver().await.expect_err("nothing earlier").code(), "resolver_not_found");
    assert_eq!(created(&runtime, "f", plain(bundle)).await.expect("created"), shipped_digest());

    management.revoke_resolver(one).await.expect("revoked");
    management.revoke_resolver(one).await.expect("revoked again, which changes nothing");
    management.remove_resolver(two).await.expect_err("`c` and `e` use it");
    for worker in ["c", "e"] {
        runtime.catalogue(&acme()).stop(&id(worker)).await.expect("stopped");
    }
    management.remove_resolver(two).await.expect("removed");
    let expected = [(shipped_digest(), ResolverState::Active), (one, ResolverState::Revoked)];
    assert_eq!(states(&management).await, BTreeMap::from(expected));

    let (shipped, page) = (shipped_digest(), management.events_page(0, 100).await.expect("events"));
    let kinds: Vec<EventKind> = page.items.into_iter().map(|event| event.kind).collect();
    let expected = [
        EventKind::ResolverAdmitted { resolver: one },
        EventKind::ResolverAdmitted { resolver: two },
        EventKind::ResolverActivated { resolver: one, previous: shipped, change_set: None },
        EventKind::ResolverActivated { resolver: two, previous: one, change_set: None },
        EventKind::ResolverRolledBack { resolver: one, previous: two },
        EventKind::ResolverRolledBack { resolver: shipped, previous: one },
        EventKind::ResolverRevoked { resolver: one },
        EventKind::ResolverRemoved { resolver: two },
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn concurrent_admissions_and_swaps_all_succeed() {
    let runtime = World::default().open().await;
    let management = runtime.management();
    let first = admit(&management, 1).await;
    let (_, two, three, four) = tokio::join!(
        async { management.activate_resolver(first, ActivateRequest::UNCHECKED).await.expect("activated") },
        admit(&management, 2),
        admit(&management, 3),
        admit(&management, 4),
    );
    let states = states(&management).await;
    assert_eq!([two, three, four].map(|digest| states[&digest]), [ResolverState::Admitted; 3]);
    assert_eq!(states[&first], ResolverState::Active);
}

#[tokio::test]
async fn concurrent_admissions_stay_within_the_limit() {
    let world = World { limits: RuntimeLimits { resolvers: 1, ..RuntimeLimits::default() }, ..World::default() };
    let runtime = world.open().await;
    let management = runtime.management();
    let put = async |number| {
        let (digest, component) = variant(number);
        management.admit_resolver(digest, component.into()).await
    };
    let done = [tokio::join!(put(1), put(2))].into_iter().flat_map(|(one, two)| [one, two]);
    let codes: Vec<_> = done.map(|done| done.map_err(|error| error.code().as_str())).collect();
    assert_eq!(codes.iter().filter(|done| **done == Ok(true)).count(), 1, "{codes:?}");
    assert!(codes.contains(&Err("store_full")), "{codes:?}");
}

#[tokio::test]
async fn a_rollback_skips_resolvers_that_were_revoked_or_removed() {
    let runtime = World::default().open().await;
    let management = runtime.management();
    for number in 1..=3 {
        let resolver = admit(&management, number).await;
        management.activate_resolver(resolver, ActivateRequest::UNCHECKED).await.expect("activated");
    }
    management.revoke_resolver(variant(2).0).await.expect("revoked");
    management.remove_resolver(variant(1).0).await.expect("removed");
    assert_eq!(management.rollback_resolver().await.expect("rolled back").digest, shipped_digest());
}

#[tokio::test]
async fn the_active_resolver_is_neither_revoked_nor_removed_and_revocation_is_final() {
    let runtime = World::default().open().await;
    let management = runtime.management();
    for refused in
        [management.revoke_resolver(shipped_digest()).await, management.remove_resolver(shipped_digest()).await]
    {
        assert_eq!(refused.expect_err("active").code(), "resolver_active");
    }
    let one = admit(&management, 1).await;
    management.activate_resolver(one, ActivateRequest::UNCHECKED).await.expect("activated");
    assert_eq!(management.revoke_resolver(one).await.expect_err("active").code(), "resolver_active");
    // The shipped one can be revoked while another one is active, and is not used any more then.
    management.revoke_resolver(shipped_digest()).await.expect("revoked");
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    assert_eq!(created(&runtime, "a", plain(bundle)).await.expect("created"), one);
    let shipped = CreateWorkerRequest { resolver: Some(shipped_digest()), ..plain(bundle) };
    assert_eq!(created(&runtime, "b", shipped).await.expect_err("revoked").code(), "resolver_revoked");
    for refused in [
        management.activate_resolver(shipped_digest(), ActivateRequest::UNCHECKED).await.map(drop),
        management.remove_resolver(shipped_digest()).await,
        management.admit_resolver(shipped_digest(), shipped::RESOLVER.into()).await.map(drop),
    ] {
        assert_eq!(refused.expect_err("revoked").code(), "resolver_revoked");
    }
    assert_eq!(management.rollback_resolver().await.expect_err("revoked").code(), "resolver_not_found");
    let unknown = management.activate_resolver(Digest::of("unknown"), ActivateRequest::UNCHECKED).await;
    assert_eq!(unknown.expect_err("unknown").code(), "resolver_not_found");
}

#[tokio::test]
async fn resolver_of_the_request_precedes_workspace_pin_host_pin_and_active_resolver() {
    let world = World::default();
    let runtime = world.open().await;
    let management = runtime.management();
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let [active, of_host, of_workspace, named] = [1, 2, 3, 4].map(|number| variant(number).0);
    for number in 1..=4 {
        admit(&management, number).await;
    }
    management.activate_resolver(active, ActivateRequest::UNCHECKED).await.expect("activated");
    assert_eq!(created(&runtime, "a", plain(bundle)).await.expect("created"), active);

    let config = CONFIG.replace("[host]", &format!("[host]\nresolver = \"{of_host}\""));
    let reload = async |text: &str| {
        let config = RuntimeConfig::from_toml(text).expect("a config");
        management.reload(config).await.expect("reloaded");
    };
    reload(&config).await;
    assert_eq!(created(&runtime, "b", plain(bundle)).await.expect("created"), of_host);
    for refused in
        [management.activate_resolver(named, ActivateRequest::UNCHECKED).await, management.rollback_resolver().await]
    {
        assert_eq!(refused.expect_err("pinned").code(), "resolver_pinned");
    }
    assert_eq!(management.remove_resolver(of_host).await.expect_err("pinned").code(), "in_use");
    assert_eq!(management.summary().await.expect("a summary").pinned_resolver, Some(of_host));

    let config = config.replace("[workspaces.acme]", &format!("[workspaces.acme]\nresolver = \"{of_workspace}\""));
    let digest = RuntimeConfig::from_toml(CONFIG).expect("a config").digest(&acme());
    assert_eq!(RuntimeConfig::from_toml(&config).expect("a config").digest(&acme()), digest, "a pin grants nothing");
    reload(&config).await;
    assert_eq!(created(&runtime, "c", plain(bundle)).await.expect("created"), of_workspace);
    let request = CreateWorkerRequest { resolver: Some(named), ..plain(bundle) };
    assert_eq!(created(&runtime, "d", request).await.expect("created"), named);

    // The pinned resolver can become the active one, so the earlier one can be revoked without giving up the pin.
    management.activate_resolver(of_host, ActivateRequest::UNCHECKED).await.expect("activated");
    assert_eq!(states(&management).await[&active], ResolverState::Retired);

    reload(CONFIG).await;
    assert_eq!(created(&runtime, "e", plain(bundle)).await.expect("created"), of_host);
    management.activate_resolver(named, ActivateRequest::UNCHECKED).await.expect("no pin any more");
}

#[tokio::test]
async fn resolvers_above_a_lowered_limit_stay_usable_and_retired_ones_do_not_count() {
    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    for number in 1..=12 {
        admit(&runtime.management(), number).await;
    }
    drop(runtime);
    let world = World { limits: RuntimeLimits { resolvers: 1, ..RuntimeLimits::default() }, ..world };
    let runtime = world.open().await;
    for number in 1..=12 {
        let request = CreateWorkerRequest { resolver: Some(variant(number).0), ..plain(bundle) };
        let resolver = created(&runtime, &format!("w{number}"), request).await.expect("created");
        assert_eq!(resolver, variant(number).0);
    }

    let world = World { limits: RuntimeLimits { resolvers: 1, ..RuntimeLimits::default() }, ..World::default() };
    let management = world.open().await.management();
    for number in 1..=3 {
        let resolver = admit(&management, number).await;
        management.activate_resolver(resolver, ActivateRequest::UNCHECKED).await.expect("activated");
    }
    admit(&management, 4).await;
    let (digest, component) = variant(5);
    let full = management.admit_resolver(digest, component.into()).await.expect_err("one is admitted already");
    assert_eq!((full.code().as_str(), full.to_string().as_str()), ("store_full", "limit `resolvers` reached (1)"));
}

#[tokio::test]
async fn missing_component_is_named_in_the_error_and_restored_by_adding_it_again() {
    let world = World::default();
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let resolver = admit(&runtime.management(), 1).await;
    runtime.management().activate_resolver(resolver, ActivateRequest::UNCHECKED).await.expect("activated");
    drop(runtime);
    world.blobs.remove(resolver).await.expect("removed");
    let runtime = world.open().await;
    let refused = created(&runtime, "a", plain(bundle)).await.expect_err("the component is lost");
    assert_eq!(refused.code(), "resolver_unavailable");
    assert!(refused.to_string().ends_with("(blob_not_found)"), "{refused}");
    // It is not replaced in silence, and another one can be activated.
    assert_eq!(states(&runtime.management()).await[&resolver], ResolverState::Active);
    admit(&runtime.management(), 1).await;
    assert_eq!(created(&runtime, "a", plain(bundle)).await.expect("created"), resolver);
}

#[tokio::test]
async fn the_registry_is_operated_over_http() {
    let api = Api::new(&World::default()).await;
    let (_, operator) = api.token(&[Scope::Operator], &[]).await;
    let (_, reader) = api.token(&[Scope::Read], &["acme"]).await;
    let resolver = admit(&api.runtime.management(), 1).await;
    let path = |ending: &str| format!("/v1/resolvers/{resolver}{ending}");
    let post = async |path: &str, token: &str| api.ask("POST", path, token, "", "").await;
    for path in [path("/activate"), "/v1/resolvers/rollback".to_owned()] {
        assert_eq!(post(&path, &reader).await.code(), (403, "scope_missing".to_owned()));
    }
    let unchecked = json!({ "unchecked": true }).to_string();
    let activate = async || api.ask("POST", &path("/activate"), &operator, unchecked.clone(), "application/json").await;
    let compared = post(&path("/comparison"), &operator).await;
    assert_eq!(compared.code(), (409, "nothing_to_compare".to_owned()));
    let missing = api.ask("GET", &path("/comparison"), &operator, "", "").await;
    assert_eq!(missing.code(), (404, "comparison_not_found".to_owned()));
    let checked = api.ask("POST", &path("/activate"), &operator, "{}", "application/json").await;
    assert_eq!(checked.code(), (409, "nothing_to_compare".to_owned()));
    let both = json!({ "unchecked": true, "accept": resolver }).to_string();
    let refused = api.ask("POST", &path("/activate"), &operator, both, "application/json").await;
    assert_eq!(refused.code(), (400, "invalid_request".to_owned()));
    let activated = activate().await;
    assert_eq!((activated.status, &activated.json()["state"]), (StatusCode::OK, &json!("active")));
    let refused = api.ask("DELETE", &path(""), &operator, "", "").await;
    assert_eq!(refused.code(), (409, "resolver_active".to_owned()));
    let back = post("/v1/resolvers/rollback", &operator).await.json();
    assert_eq!((&back["digest"], &back["active"]), (&json!(shipped_digest()), &json!(true)));
    assert_eq!(post("/v1/resolvers/rollback", &operator).await.code(), (404, "resolver_not_found".to_owned()));
    assert_eq!(api.ask("DELETE", &path(""), &operator, "", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(activate().await.code(), (404, "resolver_not_found".to_owned()));

    assert_eq!(api.get("/v1/runtime/events", &reader).await.code(), (403, "scope_missing".to_owned()));
    let page = api.get("/v1/runtime/events?limit=3", &operator).await.json();
    let events: Vec<_> = page["events"].as_array().expect("events").iter().map(|event| &event["event"]).collect();
    assert_eq!(events, ["resolver_admitted", "resolver_activated", "resolver_rolled_back"]);
    assert_eq!(page["next"], json!(3));
    let page = api.get("/v1/runtime/events?after=3", &operator).await.json();
    assert_eq!(page["events"][0]["event"], "resolver_removed");
    assert!(page["next"].is_null());
}

const SWAPS: usize = 100;

/// Swaps two resolvers while eight clients create workers. Returns the number of workers.
async fn swap_under_load(runtime: &Runtime, bundle: Digest, resolvers: [Digest; 2], round: usize) -> usize {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (runtime, stop, count) = (runtime.clone(), stop.clone(), count.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let worker = format!("r{round}-c{client}-{number}");
                    let resolver = created(&runtime, &worker, plain(bundle)).await.expect("created");
                    assert!(resolvers.contains(&resolver), "{resolver}");
                    // The record names the same resolver, and the worker can be called without it.
                    runtime.catalogue(&acme()).spec(&id(&worker)).await.expect("a spec");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let management = runtime.management();
    for swap in 0..SWAPS {
        let resolver = resolvers[swap % 2];
        let before = count.load(Ordering::Relaxed);
        management.activate_resolver(resolver, ActivateRequest::UNCHECKED).await.expect("activated");
        // A worker whose creation begins after the swap has the new resolver.
        let worker = format!("r{round}-s{swap}");
        assert_eq!(created(runtime, &worker, plain(bundle)).await.expect("created"), resolver);
        // Each swap happens among requests of others.
        while count.load(Ordering::Relaxed) == before {
            assert!(!clients.iter().any(|client| client.is_finished()), "a client failed");
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    count.load(Ordering::Relaxed)
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("the process");
    let pages: u64 = status.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * 4096
}

/// Run as a child process by the test below, so that its memory can be measured. It is not a test itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run by another test"]
async fn child_process_that_swaps_resolvers() {
    let limits = RuntimeLimits { queued_calls: 64, ..RuntimeLimits::default() };
    let runtime = World { limits, ..World::default() }.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let management = runtime.management();
    let resolvers = [admit(&management, 1).await, admit(&management, 2).await];
    management.activate_resolver(resolvers[1], ActivateRequest::UNCHECKED).await.expect("activated");
    let (mut created, mut grown) = (0, Vec::new());
    for round in 0..3 {
        let before = resident();
        created += swap_under_load(&runtime, bundle, resolvers, round).await;
        grown.push(resident().saturating_sub(before) >> 20);
    }
    let events = management.events_page(0, 10_000).await.expect("events").items;
    let activations = events.iter().filter(|event| matches!(event.kind, EventKind::ResolverActivated { .. })).count();
    assert_eq!(activations, 1 + 3 * SWAPS);
    println!("{created} workers, grown by {grown:?} MiB");
    // The first round fills caches. A loaded resolver takes some MiB: leaking one at each swap would take hundreds.
    assert!(grown[2] < 48, "{grown:?} MiB");
}

#[test]
fn hundred_swaps_under_load_fail_no_request_and_leak_no_memory() {
    let me = std::env::current_exe().expect("this program");
    let arguments = [
        "--exact",
        "resolver_registry::child_process_that_swaps_resolvers",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    let output = std::process::Command::new(me).args(arguments).output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
}
