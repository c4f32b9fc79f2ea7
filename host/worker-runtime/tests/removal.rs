//! Removal of workers: only stopped ones, with all their rows, in bounded batches that are completed after an
//! interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bundles::{Authority, ToolName};
use host_policy::RuntimeConfig;
use runtime_api::call::{CallResult, ToolCall};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use worker_runtime::event::EventKind;
use worker_runtime::metadata::{Batch, CommitError, Key, MemoryMetadata, MetadataError, MetadataStore, VersionedValue};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::{CallError, Runtime, RuntimeLimits, SubscriptionItem, WorkerError};

use crate::support::{CONFIG, World, acme, bundle, bundle_of, id, name, plain, put, trusted};

fn code<T: std::fmt::Debug>(result: Result<T, WorkerError>) -> &'static str {
    result.expect_err("refused").code().as_str()
}

async fn call(runtime: &Runtime, worker: &str, tool: &str, input: Value) -> Result<CallResult, CallError> {
    let call = ToolCall { input, confirmed: true };
    runtime.interaction(&acme()).call(&id(worker), &name(tool), call).await
}

/// Returns the keys of all tables that contain this worker as a part.
async fn naming(metadata: &dyn MetadataStore, worker: &str) -> Vec<Key> {
    let (as_id, as_user) = (worker.to_owned(), format!("worker:{worker}"));
    let mut keys = Vec::new();
    for table in ["worker", "history", "use", "resolved-by", "removal"] {
        let rows = metadata.scan(&Key::new(table), None, usize::MAX).await.expect("rows");
        keys.extend(rows.into_iter().map(|(key, _)| key));
    }
    keys.retain(|key| key.parts().any(|part| part == as_id || part == as_user));
    keys
}

#[tokio::test]
async fn a_stopped_worker_is_removed_with_its_history_and_only_its_own_blobs_are_collected() {
    // Without a sample of resolutions, which outlives its workers.
    let limits = RuntimeLimits { resolution_records: 0, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    let (shared, own) = ("s".repeat(10_000), "x".repeat(10_000));
    // Its id has the id of the other worker as a prefix.
    catalogue.create(id("w2"), plain(bundle)).await.expect("a worker");
    call(&runtime, "w2", "echo", json!({ "text": shared })).await.expect("an answer");
    let before = runtime.management().usage(&acme()).await.expect("known");
    catalogue.create(id("w"), trusted(bundle)).await.expect("a worker");
    for input in [json!({ "text": "small, 1.5e-7" }), json!({ "text": shared }), json!({ "text": own })] {
        call(&runtime, "w", "echo", input).await.expect("an answer");
    }
    assert_eq!(
        call(&runtime, "w", "echo", json!({ "do": "refuse" })).await.expect_err("refused").recorded_code(),
        "echo_refused"
    );
    assert!(naming(&*world.metadata, "w").await.len() > 10);

    assert_eq!(code(catalogue.remove(&id("w")).await), "worker_not_stopped");
    assert_eq!(runtime.observation(&acme()).history(&id("w"), 0, 100).await.expect("a history").len(), 8);
    catalogue.stop(&id("w")).await.expect("stopped");
    catalogue.remove(&id("w")).await.expect("removed");
    assert_eq!(naming(&*world.metadata, "w").await, []);
    assert_eq!(code(catalogue.get(&id("w")).await), "worker_not_found");
    assert_eq!(code(catalogue.stop(&id("w")).await), "worker_not_found");
    assert_eq!(code(catalogue.spec(&id("w")).await), "worker_not_found");
    assert_eq!(code(runtime.observation(&acme()).history(&id("w"), 0, 1).await), "worker_not_found");
    assert_eq!(call(&runtime, "w", "echo", json!({})).await.expect_err("refused").code(), "worker_not_found");
    assert_eq!(code(catalogue.remove(&id("w")).await), "worker_not_found");
    assert_eq!(code(runtime.catalogue(&name("other")).remove(&id("w2")).await), "worker_not_found");
    let left: Vec<_> = catalogue.list(None, 10).await.expect("a list").into_iter().map(|worker| worker.id).collect();
    assert_eq!(left, [id("w2")]);
    assert_eq!(runtime.management().usage(&acme()).await.expect("known").workers, before.workers);

    // The record, and the input and output that only this worker had.
    world.clock.advance(Duration::from_secs(world.limits.unused_blob_seconds));
    let collected = runtime.content(&acme()).collect_garbage().await.expect("collected");
    assert_eq!(collected.blobs, 3, "{collected:?}");
    assert_eq!(runtime.management().usage(&acme()).await.expect("known"), before);
    call(&runtime, "w2", "echo", json!({ "text": shared })).await.expect("the neighbour goes on");

    let again = catalogue.create(id("w"), plain(bundle)).await.expect("another worker of the same id");
    assert!(again.new);
    assert_eq!(runtime.observation(&acme()).history(&id("w"), 0, 100).await.expect("a history"), []);
    assert_eq!(call(&runtime, "w", "echo", json!({})).await.expect("an answer").entry, 2);
}

#[tokio::test]
async fn removal_adds_an_event() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    catalogue.create(id("w"), plain(bundle)).await.expect("a worker");
    catalogue.stop(&id("w")).await.expect("stopped");
    catalogue.remove(&id("w")).await.expect("removed");
    let observation = runtime.observation(&acme());
    let newest = observation.newest_event().await.expect("known");
    let mut events = observation.subscribe(0).await.expect("subscribed");
    let mut last = None;
    for _ in 0..newest {
        last = Some(events.next().await.expect("an event"));
    }
    let Some(SubscriptionItem::Event(event)) = last else { panic!("{last:?}") };
    assert_eq!(event.kind, EventKind::WorkerRemoved { worker: id("w") });
    assert_eq!(serde_json::to_value(&event).expect("JSON")["event"], json!("worker_removed"));
}

#[tokio::test]
async fn suspended_worker_cannot_be_removed() {
    let runtime = World::default().open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    let catalogue = runtime.catalogue(&acme());
    catalogue.create(id("w"), trusted(bundle)).await.expect("a worker");
    let narrower = RuntimeConfig::from_toml(&CONFIG.replace("secrets = [\"token\"]", "")).expect("a config");
    runtime.management().reload(narrower).await.expect("reloaded");
    let error = catalogue.remove(&id("w")).await.expect_err("refused");
    assert_eq!((error.code().as_str(), error.help().as_str()), ("worker_not_stopped", "stop the worker first"));
    catalogue.stop(&id("w")).await.expect("stopped");
    catalogue.remove(&id("w")).await.expect("removed");
}

/// A metadata store that commits a number of batches and is then full.
#[derive(Debug, Default)]
struct CommitLimitedStore {
    store: MemoryMetadata,
    left: AtomicUsize,
}

impl CommitLimitedStore {
    fn allow(&self, commits: usize) {
        self.left.store(commits, Ordering::SeqCst);
    }
}

#[async_trait]
impl MetadataStore for CommitLimitedStore {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        self.store.get(key).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        self.store.scan(prefix, after, most).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| CommitError::Store(MetadataError::Full))?;
        self.store.commit(batch).await
    }

    async fn check(&self) -> Result<(), MetadataError> {
        self.store.check().await
    }
}

/// Commits of the removal of a worker with 80 entries: one for the worker, and one for each 64 entries.
const COMMITS: usize = 3;

/// Creates a stopped worker `w` with 80 entries.
async fn stopped_worker(metadata: &Arc<CommitLimitedStore>) -> (World, Runtime) {
    metadata.allow(usize::MAX);
    let world = World { metadata: metadata.clone(), ..World::default() };
    let runtime = world.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    for number in 0..40 {
        call(&runtime, "w", "echo", json!({ "text": number.to_string() })).await.expect("an answer");
    }
    runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
    (world, runtime)
}

#[tokio::test]
async fn a_long_history_is_removed_in_several_batches() {
    let metadata = Arc::new(CommitLimitedStore::default());
    let (_, runtime) = stopped_worker(&metadata).await;
    metadata.allow(COMMITS);
    runtime.catalogue(&acme()).remove(&id("w")).await.expect("removed");
    assert_eq!(metadata.left.load(Ordering::SeqCst), 0);
    assert_eq!(naming(&*metadata, "w").await, []);
}

#[tokio::test]
async fn removal_is_completed_after_its_future_is_dropped() {
    let metadata = Arc::new(CommitLimitedStore::default());
    let (_, runtime) = stopped_worker(&metadata).await;
    let (catalogue, worker) = (runtime.catalogue(&acme()), id("w"));
    {
        let mut removal = std::pin::pin!(catalogue.remove(&worker));
        assert!(futures_util::poll!(&mut removal).is_pending());
    }
    let completed = async {
        while !naming(&*metadata, "w").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), completed).await.expect("completed");
    assert_eq!(code(catalogue.remove(&worker).await), "worker_not_found");
}

/// Operations that complete an interrupted removal.
#[derive(Debug, Clone, Copy)]
enum Next {
    Remove,
    Create,
    Open,
}

#[tokio::test]
async fn interrupted_removal_is_invisible_and_completed_by_next_operation() {
    for next in [Next::Remove, Next::Create, Next::Open] {
        for done in 0..COMMITS {
            let metadata = Arc::new(CommitLimitedStore::default());
            let (world, runtime) = stopped_worker(&metadata).await;
            let catalogue = runtime.catalogue(&acme());
            let made = catalogue.get(&id("w")).await.expect("there");
            metadata.allow(done);
            assert_eq!(code(catalogue.remove(&id("w")).await), "store_full", "{next:?} {done}");
            if done == 0 {
                // The operation had no effect.
                assert_eq!(catalogue.get(&id("w")).await.expect("there"), made);
                assert_eq!(runtime.observation(&acme()).history(&id("w"), 0, 100).await.expect("there").len(), 80);
                continue;
            }
            assert_eq!(code(catalogue.get(&id("w")).await), "worker_not_found");
            assert_eq!(code(runtime.observation(&acme()).history(&id("w"), 0, 1).await), "worker_not_found");
            assert_eq!(call(&runtime, "w", "echo", json!({})).await.expect_err("gone").code(), "worker_not_found");
            assert!(catalogue.list(None, 10).await.expect("a list").is_empty());
            assert_eq!(runtime.management().usage(&acme()).await.expect("known").workers, 0);
            assert!(!naming(&*metadata, "w").await.is_empty());
            // While the store is full, a Runtime opens, but no other worker can be created with this id.
            let waiting = world.open().await;
            assert_eq!(code(waiting.catalogue(&acme()).create(id("w"), made.request.clone()).await), "store_full");
            metadata.allow(usize::MAX);
            match next {
                Next::Remove => catalogue.remove(&id("w")).await.expect("completed"),
                Next::Create => drop(catalogue.create(id("w"), plain(made.bundle)).await.expect("another worker")),
                Next::Open => drop(world.open().await),
            }
            if !matches!(next, Next::Create) {
                assert_eq!(naming(&*metadata, "w").await, [], "{next:?} {done}");
                assert_eq!(code(catalogue.remove(&id("w")).await), "worker_not_found");
                catalogue.create(id("w"), plain(made.bundle)).await.expect("another worker");
            }
            assert_eq!(runtime.observation(&acme()).history(&id("w"), 0, 100).await.expect("a history"), []);
            assert_eq!(call(&runtime, "w", "echo", json!({})).await.expect("an answer").entry, 2);
        }
    }
}

/// Reports that it was called, and returns its input when it is released.
#[derive(Debug)]
struct Gate {
    name: ToolName,
    entered: Semaphore,
    open: Semaphore,
}

#[async_trait]
impl HostTool for Gate {
    fn name(&self) -> &ToolName {
        &self.name
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, input: Value) -> Result<Value, ToolError> {
        self.entered.add_permits(1);
        self.open.acquire().await.expect("never closed").forget();
        Ok(input)
    }
}

async fn with_gate() -> (World, Runtime, Arc<Gate>) {
    let gate = Arc::new(Gate { name: name("gate"), entered: Semaphore::new(0), open: Semaphore::new(0) });
    let limits = RuntimeLimits { running_calls: 2, resolution_records: 0, ..RuntimeLimits::default() };
    let config = CONFIG.replace("\"tool:echo\"", "\"tool:echo\", \"tool:gate\"");
    let world = World { limits, config, tools: vec![gate.clone()], ..World::default() };
    let runtime = world.open().await;
    let tools =
        ["echo", "secretive", "gate"].map(|tool| format!("[tools.{tool}]\nsource = \"host\"\neffect = \"none\"\n"));
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
        language = \"en\"\n[workspace]\nid = \"acme\"\n";
    let manifest = format!("{manifest}{}", tools.concat());
    let profile = "tools_allow = [\"echo\", \"gate\"]";
    let bundle = bundle_of("acme", 1, &[("bundle.toml", &manifest), ("profiles/plain.toml", profile)]);
    let bundle = put(&runtime.content(&acme()), &bundle).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    (world, runtime, gate)
}

#[tokio::test]
async fn call_of_removed_worker_writes_nothing_to_new_worker_with_same_id() {
    for is_recreated in [false, true] {
        let (world, runtime, gate) = with_gate().await;
        let catalogue = runtime.catalogue(&acme());
        let request = catalogue.get(&id("w")).await.expect("there").request;
        let fresh = runtime.management().usage(&acme()).await.expect("known");
        // The input and the output are blobs of the history.
        let large = json!({ "text": "x".repeat(10_000) });
        let running = call(&runtime, "w", "gate", large);
        let meanwhile = async {
            gate.entered.acquire().await.expect("never closed").forget();
            catalogue.stop(&id("w")).await.expect("stopped");
            catalogue.remove(&id("w")).await.expect("removed");
            world.clock.advance(Duration::from_secs(1));
            if is_recreated {
                catalogue.create(id("w"), request).await.expect("another worker");
                call(&runtime, "w", "echo", json!({ "text": "next" })).await.expect("an answer");
            }
            gate.open.add_permits(1);
        };
        let (ended, ()) = tokio::join!(running, meanwhile);
        assert_eq!(ended.expect_err("its worker is gone").code(), "worker_not_found");
        if is_recreated {
            let history = runtime.observation(&acme()).history(&id("w"), 0, 100).await.expect("a history");
            let tools: Vec<_> = history.iter().map(|entry| serde_json::to_value(entry).expect("JSON")).collect();
            assert!(tools.len() == 2 && tools[0]["tool"] == "echo" && tools[1]["began"] == 1, "{tools:?}");
            catalogue.stop(&id("w")).await.expect("stopped");
            catalogue.remove(&id("w")).await.expect("removed");
        }
        assert_eq!(naming(&*world.metadata, "w").await, []);
        world.clock.advance(Duration::from_secs(world.limits.unused_blob_seconds));
        runtime.management().collect_garbage().await.expect("collected");
        let left = runtime.management().usage(&acme()).await.expect("known");
        // Without the worker and its record.
        assert!(left.workers == 0 && left.bytes < fresh.bytes, "{left:?} {fresh:?}");
    }
}

#[tokio::test]
async fn deeply_nested_content_is_read_and_accounted_like_any_other() {
    let (world, runtime, gate) = with_gate().await;
    gate.open.add_permits(1000);
    let catalogue = runtime.catalogue(&acme());
    let request = catalogue.get(&id("w")).await.expect("there").request;
    catalogue.stop(&id("w")).await.expect("stopped");
    catalogue.remove(&id("w")).await.expect("removed");
    world.clock.advance(Duration::from_secs(world.limits.unused_blob_seconds));
    runtime.management().collect_garbage().await.expect("collected");
    let before = runtime.management().usage(&acme()).await.expect("known");
    catalogue.create(id("w"), request).await.expect("a worker");
    for depth in [1, 64, 65, 124, 125, 126, 127, 128, 1000] {
        let nested = (0..depth).fold(json!(0), |value, _| json!([value]));
        call(&runtime, "w", "gate", nested).await.expect("an answer");
        let history = runtime.observation(&acme()).history(&id("w"), 0, 1000).await;
        history.unwrap_or_else(|error| panic!("{depth}: {error}"));
    }
    catalogue.stop(&id("w")).await.expect("stopped");
    catalogue.remove(&id("w")).await.expect("removed");
    world.clock.advance(Duration::from_secs(world.limits.unused_blob_seconds));
    runtime.management().collect_garbage().await.expect("collected");
    assert_eq!(runtime.management().usage(&acme()).await.expect("known"), before);
}
