//! Events: a subscriber that missed events receives a gap, and a subscriber that missed none receives no gap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use host_policy::RuntimeConfig;
use serde_json::{Map, Value};
use tokio::sync::watch;
use worker_runtime::event::Cursor;
use worker_runtime::metadata::{
    Batch, CommitError, Key, MemoryMetadata, MetadataError, MetadataStore, SqliteMetadata, VersionedValue,
};
use worker_runtime::{Runtime, RuntimeLimits, Subscription, SubscriptionItem};

use crate::support::{CONFIG, World, acme};

/// Much longer than any step of these tests takes.
const LONG: Duration = Duration::from_secs(60);

/// Causes a number of events in the workspace `acme`.
async fn happen(runtime: &Runtime, count: u64) {
    let others = CONFIG.replace("secrets = [\"token\"]", "");
    for _ in 0..count {
        for config in [CONFIG, &others] {
            let config = RuntimeConfig::from_toml(config).expect("a config");
            if !runtime.management().reload(config).await.expect("reloaded").workspaces.is_empty() {
                break;
            }
        }
    }
}

async fn opened(folder: &Path, limits: &RuntimeLimits) -> Runtime {
    let metadata = SqliteMetadata::open(folder.join("metadata.sqlite")).await.expect("opened");
    World { metadata: Arc::new(metadata), limits: limits.clone(), ..World::default() }.open().await
}

async fn subscribed(runtime: &Runtime, after: impl Into<Cursor>) -> Subscription {
    runtime.observation(&acme()).subscribe(after).await.expect("subscribed")
}

async fn next(subscription: &mut Subscription) -> SubscriptionItem {
    tokio::time::timeout(LONG, subscription.next()).await.expect("in time").expect("seen")
}

/// Receives a number of events and returns their numbers. Panics on a gap.
async fn numbers(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        match next(subscription).await {
            SubscriptionItem::Event(event) => numbers.push(event.number),
            gap => panic!("{gap:?} after {numbers:?}"),
        }
    }
    numbers
}

/// Returns the cursor of a subscriber that received all events up to this number.
async fn cursor(runtime: &Runtime, number: u64) -> Cursor {
    let mut subscription = subscribed(runtime, 0).await;
    while subscription.cursor().number() < number {
        next(&mut subscription).await;
    }
    subscription.cursor()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[tokio::test]
async fn a_cursor_from_before_a_restore_gives_a_gap_and_every_event() {
    let limits = RuntimeLimits::default();
    for again in [false, true] {
        let (folder, backup) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let runtime = opened(folder.path(), &limits).await;
        happen(&runtime, 6).await;
        let old = cursor(&runtime, 6).await;
        drop(runtime);
        copy(folder.path(), backup.path());
        let runtime = opened(folder.path(), &limits).await;
        happen(&runtime, 4).await;
        let lost = [cursor(&runtime, 7).await, cursor(&runtime, 10).await];
        drop(runtime);
        copy(backup.path(), folder.path());
        // Before any event, and after as many events as were lost, and after more.
        let mut runtime = opened(folder.path(), &limits).await;
        for (more, happened) in [(0, 0), (4, 4), (4, 8)] {
            happen(&runtime, more).await;
            if again {
                // An additional restart makes no difference.
                drop(runtime);
                runtime = opened(folder.path(), &limits).await;
            }
            for lost in lost {
                let mut subscription = subscribed(&runtime, lost).await;
                let gap = SubscriptionItem::Gap { after: lost.number(), first_kept: 1 };
                assert_eq!(next(&mut subscription).await, gap, "{happened}");
                assert_eq!(subscription.cursor(), Cursor::START);
                let all: Vec<u64> = (1..=6 + happened).collect();
                assert_eq!(numbers(&mut subscription, all.len()).await, all);
            }
            // A cursor from before the backup has lost nothing.
            let all: Vec<u64> = (7..=6 + happened).collect();
            assert_eq!(numbers(&mut subscribed(&runtime, old).await, all.len()).await, all);
        }
    }
}

#[tokio::test]
async fn restart_causes_no_gap_unless_an_event_is_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = RuntimeLimits { kept_events: 3, ..RuntimeLimits::default() };
    let runtime = opened(folder.path(), &limits).await;
    happen(&runtime, 3).await;
    let seen = cursor(&runtime, 3).await;
    drop(runtime);
    // One start without events, and two with events.
    for events in [0, 1, 2] {
        let runtime = opened(folder.path(), &limits).await;
        happen(&runtime, events).await;
    }
    let runtime = opened(folder.path(), &limits).await;
    let mut subscription = subscribed(&runtime, seen).await;
    assert_eq!(numbers(&mut subscription, 3).await, [4, 5, 6]);
    assert!(subscription.next().now_or_never().is_none());
    // A subscription can start at every received position, in either process.
    for number in 4..=6 {
        let seen = cursor(&runtime, number).await;
        let rest: Vec<u64> = (number + 1..=6).collect();
        assert_eq!(numbers(&mut subscribed(&runtime, seen).await, rest.len()).await, rest);
        assert_eq!(seen.to_string().parse(), Ok(seen));
    }
    happen(&runtime, 1).await;
    let mut subscription = subscribed(&runtime, seen).await;
    assert_eq!(next(&mut subscription).await, SubscriptionItem::Gap { after: 3, first_kept: 5 });
    // A subscription can also start at the position after a gap.
    let after = subscription.cursor();
    for mut subscription in [subscription, subscribed(&runtime, after).await] {
        assert_eq!(numbers(&mut subscription, 3).await, [5, 6, 7]);
    }
}

#[tokio::test]
async fn lower_kept_events_causes_a_gap_not_silent_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = opened(folder.path(), &RuntimeLimits::default()).await;
    happen(&runtime, 8).await;
    let seen = cursor(&runtime, 2).await;
    drop(runtime);
    let limits = RuntimeLimits { kept_events: 2, ..RuntimeLimits::default() };
    let runtime = opened(folder.path(), &limits).await;
    happen(&runtime, 1).await;
    let mut subscription = subscribed(&runtime, seen).await;
    assert_eq!(next(&mut subscription).await, SubscriptionItem::Gap { after: 2, first_kept: 8 });
    assert_eq!(numbers(&mut subscription, 2).await, [8, 9]);
}

#[tokio::test]
async fn events_of_earlier_version_are_resumed_by_number() {
    let metadata: Arc<dyn MetadataStore> = Arc::new(MemoryMetadata::default());
    let world = World { metadata: metadata.clone(), ..World::default() };
    happen(&world.open().await, 3).await;
    let events = Key::new("event").part("acme");
    for (key, record) in metadata.scan(&events, None, 100).await.expect("a list") {
        let mut row: Map<String, Value> = serde_json::from_slice(&record.value).expect("a row");
        assert!(row.remove("epoch").is_some());
        metadata.commit(Batch::default().put(&key, serde_json::to_vec(&row).expect("JSON"))).await.expect("done");
    }
    let runtime = world.open().await;
    happen(&runtime, 2).await;
    assert_eq!(numbers(&mut subscribed(&runtime, 0).await, 5).await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&mut subscribed(&runtime, 2).await, 3).await, [3, 4, 5]);
    assert_eq!(numbers(&mut subscribed(&runtime, 3).await, 2).await, [4, 5]);
    // The number alone does not identify the event 4 that was received.
    let mut subscription = subscribed(&runtime, 4).await;
    assert_eq!(next(&mut subscription).await, SubscriptionItem::Gap { after: 4, first_kept: 1 });
    assert_eq!(numbers(&mut subscription, 5).await, [1, 2, 3, 4, 5]);
}

/// A metadata store that can delay its response after a commit.
#[derive(Debug)]
struct DelayedStore {
    store: MemoryMetadata,
    commits: watch::Sender<bool>,
    reads: watch::Sender<bool>,
}

impl DelayedStore {
    fn new() -> Arc<Self> {
        let (commits, reads) = (watch::Sender::new(false), watch::Sender::new(false));
        Arc::new(Self { store: MemoryMetadata::default(), commits, reads })
    }

    async fn while_held(held: &watch::Sender<bool>) {
        held.subscribe().wait_for(|held| !held).await.expect("a sender");
    }
}

#[async_trait]
impl MetadataStore for DelayedStore {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        let found = self.store.get(key).await;
        Self::while_held(&self.reads).await;
        found
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
        let done = self.store.commit(batch).await;
        Self::while_held(&self.commits).await;
        done
    }

    async fn check(&self) -> Result<(), MetadataError> {
        self.store.check().await
    }
}

#[tokio::test]
async fn event_read_before_its_notification_causes_no_gap() {
    let late = DelayedStore::new();
    let runtime = World { metadata: late.clone(), ..World::default() }.open().await;
    let mut subscription = subscribed(&runtime, 0).await;
    let mut other = subscribed(&runtime, 0).await;
    happen(&runtime, 1).await;
    assert_eq!(numbers(&mut other, 1).await, [1]);
    late.commits.send_replace(true);
    let mut second = Box::pin(happen(&runtime, 1));
    assert!(second.as_mut().now_or_never().is_none(), "stored, and not told");
    assert_eq!(numbers(&mut subscription, 2).await, [1, 2]);
    assert!(subscription.next().now_or_never().is_none());
    let mut third = subscribed(&runtime, subscription.cursor()).await;
    assert!(third.next().now_or_never().is_none());
    late.commits.send_replace(false);
    second.await;
    happen(&runtime, 1).await;
    assert_eq!(numbers(&mut subscription, 1).await, [3]);
    assert_eq!(numbers(&mut third, 1).await, [3]);
    assert_eq!(numbers(&mut other, 2).await, [2, 3]);
}

#[tokio::test]
async fn event_during_subscribe_is_not_lost() {
    let late = DelayedStore::new();
    let runtime = World { metadata: late.clone(), ..World::default() }.open().await;
    late.reads.send_replace(true);
    let mut subscribing = Box::pin(subscribed(&runtime, 0));
    assert!(subscribing.as_mut().now_or_never().is_none(), "read, and not answered");
    // The event's own reads are answered, and the read of the subscriber is still delayed.
    late.reads.send_replace(false);
    happen(&runtime, 1).await;
    assert_eq!(numbers(&mut subscribing.await, 1).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn frequent_events_cause_no_false_gap() {
    const EVENTS: u64 = 300;
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = opened(folder.path(), &RuntimeLimits::default()).await;
    let watching: Vec<_> = (0..4)
        .map(|_| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                // Each event through its own subscription, and then through a permanent one.
                let mut subscription = subscribed(&runtime, 0).await;
                for number in 1..=EVENTS {
                    assert_eq!(numbers(&mut subscription, 1).await, [number]);
                    if number < EVENTS / 2 {
                        subscription = subscribed(&runtime, subscription.cursor()).await;
                    }
                }
            })
        })
        .collect();
    happen(&runtime, EVENTS).await;
    for watching in watching {
        watching.await.expect("everything was seen");
    }
}
