//! The routes of a Backend: the status of a Runtime, the facts about its host, and the desired bundle.

use std::sync::Arc;

use axum::http::StatusCode;
use bundles::Digest;
use host_policy::{Facts, RuntimeConfig};
use runtime_api::desired::{DesiredBundle, Generation};
use runtime_api::referrer::Referrer;
use serde_json::{Value, json};
use worker_runtime::content::ContentError;
use worker_runtime::event::EventKind;
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{DataFolder, SubscriptionItem, WorkerError};

use crate::client::client;
use crate::signatures;
use crate::support::api::Api;
use crate::support::scene::Scene;
use crate::support::{CONFIG, World, acme, bundle, id, plain, put};

fn desired(generation: u64, bundle: Digest) -> DesiredBundle {
    DesiredBundle { generation: generation.try_into().expect("a generation"), bundle, allow_older: false }
}

#[tokio::test]
async fn id_of_a_runtime_is_random_and_permanent() {
    let world = World::default();
    let first = world.open().await.management().id().clone();
    assert_eq!(world.open().await.management().id(), &first);
    assert_ne!(World::default().open().await.management().id(), &first);
    let folder = tempfile::tempdir().expect("a folder");
    let open = || async {
        let data = DataFolder::open(folder.path().join("data")).await.expect("opened");
        let metadata = worker_runtime::metadata::SqliteMetadata::open(data.metadata_file()).await.expect("opened");
        World { metadata: Arc::new(metadata), ..World::default() }.open().await.management().id().clone()
    };
    assert_eq!(open().await, open().await);
}

#[tokio::test]
async fn status_shows_only_the_workspaces_of_the_token_and_needs_its_own_scope() {
    let api = Api::new(&World::default()).await;
    let (_, reader) = api.token(&[Scope::Status], &["acme", "unknown"]).await;
    let status = api.get("/v1/status", &reader).await.json();
    let management = api.runtime.management();
    assert_eq!(status["id"], management.id().as_str());
    assert_eq!(status["workspaces"].as_object().expect("workspaces").keys().collect::<Vec<_>>(), ["acme"]);
    assert_eq!(status["workspaces"]["acme"]["facts"], json!(management.facts(&acme()).digest()));
    let facts = api.get("/v1/facts?workspace=acme", &reader).await;
    assert_eq!(Facts::from_json(&facts.body).expect("facts"), management.facts(&acme()));

    // The scope allows nothing else, and no other scope allows this.
    let denied = (403, "scope_missing".to_owned());
    for path in ["/v1/workers?workspace=acme", "/v1/runtime", "/v1/config-bundles?workspace=acme", "/v1/resolvers"] {
        assert_eq!(api.get(path, &reader).await.code(), denied, "{path}");
    }
    let body = json!(desired(1, bundle(1).digest()));
    assert_eq!(api.put_json("/v1/desired?workspace=acme", &reader, &body).await.code(), denied);
    let others: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Status).collect();
    let (_, other) = api.token(&others, &["acme"]).await;
    assert_eq!(api.get("/v1/status", &other).await.code(), denied);
    assert_eq!(api.get("/v1/facts", &other).await.code(), denied);
    assert_eq!(api.get("/v1/facts?workspace=other", &reader).await.code(), (403, "workspace_denied".to_owned()));
}

#[tokio::test]
async fn only_newer_decisions_are_acknowledged() {
    let scene = Scene::new().await;
    let content = scene.content();
    let (first, second) = (put(&content, &bundle(1)).await, put(&content, &bundle(2)).await);
    let send = |body: Value| async move { body };
    let acknowledged = scene.json("PUT", "/v1/desired", &send(json!(desired(5, second))).await).await;
    assert_eq!((acknowledged.status, &acknowledged.json()["generation"]), (StatusCode::OK, &json!(5)));
    // The same decision can be repeated.
    assert_eq!(scene.json("PUT", "/v1/desired", &json!(desired(5, second))).await.body, acknowledged.body);
    for late in [desired(4, second), desired(5, first)] {
        let refused = scene.json("PUT", "/v1/desired", &json!(late)).await;
        assert_eq!(refused.code(), (409, "generation_older".to_owned()));
        assert_eq!(refused.json()["details"]["acknowledged"], 5);
    }
    let refused = scene.json("PUT", "/v1/desired", &json!(desired(6, first))).await;
    assert_eq!(refused.code(), (409, "revision_older".to_owned()));
    for bad in [json!({ "generation": 0, "bundle": first }), json!({ "generation": 7, "bundle": first, "x": 1 })] {
        assert_eq!(scene.json("PUT", "/v1/desired", &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let status = scene.ask("GET", "/v1/status").await.json();
    assert_eq!(status["workspaces"]["acme"]["acknowledged"]["bundle"], json!(second));
    assert_eq!(status["workspaces"]["acme"]["newest_revision"], "2");

    let back = DesiredBundle { allow_older: true, ..desired(7, first) };
    content.set_desired(back).await.expect("acknowledged");
    assert_eq!(content.desired().await.expect("read").map(|state| state.bundle), Some(first));
}

#[tokio::test]
async fn desired_bundle_is_kept_and_used_even_if_it_is_older() {
    let scene = Scene::new().await;
    let content = scene.content();
    let (first, second) = (put(&content, &bundle(1)).await, put(&content, &bundle(2)).await);
    let create = |worker: &'static str, bundle| {
        let request: CreateWorkerRequest = plain(bundle);
        let catalogue = scene.catalogue();
        async move { catalogue.create(id(worker), request).await }
    };
    let refused = create("a", first).await.expect_err("it is older");
    assert!(matches!(refused, WorkerError::Content(ContentError::RevisionOlder { .. })), "{refused}");
    content.set_desired(DesiredBundle { allow_older: true, ..desired(1, first) }).await.expect("acknowledged");
    create("a", first).await.expect("a worker of the desired bundle");
    scene.catalogue().stop(&id("a")).await.expect("stopped");
    scene.catalogue().remove(&id("a")).await.expect("removed");

    assert_eq!(content.referrers(first).await.expect("users"), [Referrer::Desired]);
    let kept = content.remove_bundle(first).await.expect_err("it is desired");
    assert_eq!(kept.code().as_str(), "in_use");
    content.set_desired(desired(2, second)).await.expect("acknowledged");
    content.remove_bundle(first).await.expect("it is no longer desired");
    let observation = scene.api.runtime.observation(&acme());
    let newest = observation.newest_event().await.expect("read");
    let mut subscription = observation.subscribe(0).await.expect("subscribed");
    let mut changes = Vec::new();
    for _ in 0..newest {
        let item = subscription.next().await.expect("an event");
        if let SubscriptionItem::Event(event) = item
            && let EventKind::DesiredChanged { bundle, generation } = event.kind
        {
            changes.push((bundle, generation.get()));
        }
    }
    assert_eq!(changes, [(first, 1), (second, 2)]);
}

#[tokio::test]
async fn fault_of_the_desired_bundle_is_in_the_status() {
    let scene = Scene::new().await;
    let digest = put(&scene.content(), &bundle(1)).await;
    scene.content().set_desired(desired(1, digest)).await.expect("acknowledged");
    let fault = || async {
        let status = scene.management().status([&acme()]).await.expect("the status");
        status.workspaces[&acme()].fault.clone()
    };
    assert_eq!(fault().await, None);
    let reload = |text: &str| scene.management().replace_config(RuntimeConfig::from_toml(text).expect("a config"));
    reload(&signatures::config(&[&signatures::key(1)])).expect("in force");
    assert_eq!(fault().await.as_deref(), Some("bundle_unsigned"));
    reload(CONFIG).expect("in force");
    assert_eq!(fault().await, None);
    scene.catalogue().revoke_bundle(digest).await.expect("revoked");
    assert_eq!(fault().await.as_deref(), Some("bundle_revoked"));
    // A repeated decision stays acknowledged, and a new one for a revoked bundle is refused.
    scene.content().set_desired(desired(1, digest)).await.expect("acknowledged before");
    let refused = scene.content().set_desired(desired(2, digest)).await.expect_err("revoked");
    assert_eq!(refused.code().as_str(), "bundle_revoked");
}

#[tokio::test]
async fn of_concurrent_decisions_the_newest_stays() {
    let scene = Scene::new().await;
    let content = scene.content();
    let digest = put(&content, &bundle(1)).await;
    let decisions = (1..=24).map(|generation| {
        let content = content.clone();
        tokio::spawn(async move { content.set_desired(desired(generation, digest)).await })
    });
    let mut acknowledged = 0;
    for decision in decisions.collect::<Vec<_>>() {
        match decision.await.expect("no panic") {
            Ok(state) => acknowledged = acknowledged.max(state.generation.get()),
            Err(error) => assert!(["generation_older", "contended"].contains(&error.code().as_str()), "{error}"),
        }
    }
    let state = content.desired().await.expect("read").expect("a decision");
    assert_eq!(state.generation.get(), acknowledged);
}

#[tokio::test]
async fn client_reads_status_and_facts_and_sets_the_desired_bundle() {
    let (runtime, client) = client(&World::default()).await;
    let digest = put(&runtime.content(&acme()), &bundle(1)).await;
    let state = client.set_desired(&desired(3, digest)).await.expect("acknowledged");
    assert_eq!(state.generation, Generation::try_from(3).expect("a generation"));
    let status = client.status().await.expect("the status");
    assert_eq!(status.workspaces[&acme()].acknowledged, Some(state));
    let facts = client.facts(status.workspaces[&acme()].facts).await.expect("the facts");
    assert_eq!(facts, runtime.management().facts(&acme()));
    let other = client.facts(digest).await.expect_err("other facts");
    assert_eq!(other.code(), "digest_mismatch");
}
