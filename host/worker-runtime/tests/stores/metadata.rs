//! Test suite for all metadata stores.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use worker_runtime::metadata::{Batch, CommitError, Key, MetadataStore, VersionedValue};

pub(super) async fn put(store: &dyn MetadataStore, key: &Key, value: &str) -> VersionedValue {
    store.commit(Batch::default().put(key, value.into())).await.unwrap();
    let record = store.get(key).await.unwrap().unwrap();
    assert_eq!(record.value, value.as_bytes());
    record
}

async fn keys(store: &dyn MetadataStore, prefix: &Key, after: Option<&Key>, most: usize) -> Vec<String> {
    let found = store.scan(prefix, after, most).await.unwrap();
    for (key, record) in &found {
        assert_eq!(store.get(key).await.unwrap().as_ref(), Some(record));
    }
    found.iter().map(|(key, _)| key.last().to_owned()).collect()
}

pub(super) async fn record_is_read_as_it_was_written_until_it_is_deleted(store: Arc<dyn MetadataStore>) {
    let key = Key::new("bundle").part("one");
    assert_eq!(store.get(&key).await, Ok(None));
    for value in [Vec::new(), b"text".to_vec(), (0..=255).collect(), vec![7; 1 << 20]] {
        store.commit(Batch::default().put(&key, value.clone())).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().value, value);
    }
    store.commit(Batch::default().delete(&key)).await.unwrap();
    assert_eq!(store.get(&key).await, Ok(None));
    store.commit(Batch::default().delete(&key)).await.unwrap();
    assert_eq!(store.check().await, Ok(()));
}

pub(super) async fn records_of_several_keys_are_read_in_the_order_of_the_keys(store: Arc<dyn MetadataStore>) {
    let store = &*store;
    let key = |name: &str| Key::new("table").part(name);
    let (one, two) = (put(store, &key("b"), "1").await, put(store, &key("a"), "2").await);
    let found = store.get_all(&[key("b"), key("c"), key("a"), key("b")]).await.expect("read");
    assert_eq!(found, [Some(one.clone()), None, Some(two), Some(one)]);
    assert_eq!(store.get_all(&[]).await, Ok(Vec::new()));
}

pub(super) async fn records_are_listed_in_the_order_of_their_keys(store: Arc<dyn MetadataStore>) {
    let table = Key::new("worker");
    for name in ["b", "a", "ä", "B", "a~", "aa", "a-b", "~", "!"] {
        put(&*store, &table.part(name), name).await;
    }
    assert_eq!(keys(&*store, &table, None, 100).await, ["!", "B", "a", "a-b", "aa", "a~", "b", "~", "ä"]);
}

pub(super) async fn list_holds_what_is_below_its_prefix_and_nothing_else(store: Arc<dyn MetadataStore>) {
    let table = Key::new("t");
    let inside = [table.part("a"), table.part("a").part("b"), table.part("a").part("c"), table.part("ab")];
    for key in inside.iter().chain([&table, &Key::new("s").part("a"), &Key::new("tt").part("a")]) {
        put(&*store, key, "x").await;
    }
    assert_eq!(keys(&*store, &table, None, 100).await, ["a", "b", "c", "ab"]);
    assert_eq!(keys(&*store, &table.part("a"), None, 100).await, ["b", "c"]);
    assert_eq!(keys(&*store, &table.part("ab"), None, 100).await, [""; 0]);
    assert_eq!(keys(&*store, &Key::new("nothing"), None, 100).await, [""; 0]);
}

pub(super) async fn list_continues_after_an_existing_or_missing_key(store: Arc<dyn MetadataStore>) {
    let table = Key::new("t");
    let numbers: Vec<_> = (0..25).map(|number| format!("{number:02}")).collect();
    for number in &numbers {
        put(&*store, &table.part(number), number).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(&table, after.as_ref(), 4).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.iter().map(|(key, _)| key.last().to_owned()));
    }
    assert_eq!(seen, numbers);
    assert_eq!(keys(&*store, &table, Some(&table.part("07+")), 2).await, ["08", "09"]);
    assert_eq!(keys(&*store, &table, Some(&Key::new("a")), 1).await, ["00"]);
    assert_eq!(keys(&*store, &table, Some(&table), 1).await, ["00"]);
    assert_eq!(keys(&*store, &table, Some(&Key::new("z")), 1).await, [""; 0]);
    assert_eq!(keys(&*store, &table, None, 0).await, [""; 0]);
    assert_eq!(keys(&*store, &table, None, usize::MAX).await.len(), 25);
}

pub(super) async fn batch_is_applied_only_if_the_expected_versions_match(store: Arc<dyn MetadataStore>) {
    let (one, other) = (Key::new("one"), Key::new("other"));
    let absent = |key: &Key| Batch::default().expect(key, None);
    store.commit(absent(&one).put(&one, b"1".to_vec())).await.unwrap();
    assert_eq!(store.commit(absent(&one).put(&other, b"x".to_vec())).await, Err(CommitError::Conflict));
    assert_eq!(store.get(&other).await, Ok(None));

    let old = store.get(&one).await.unwrap().unwrap();
    let change = |found: &VersionedValue| Batch::default().expect(&one, Some(found));
    store.commit(change(&old).put(&one, b"2".to_vec())).await.unwrap();
    assert_eq!(store.commit(change(&old).delete(&one)).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(change(&old)).await, Err(CommitError::Conflict));
    let new = store.get(&one).await.unwrap().unwrap();
    assert_eq!(new.value, b"2");
    store.commit(change(&new).delete(&one)).await.unwrap();
    assert_eq!(store.commit(change(&new)).await, Err(CommitError::Conflict));
    store.commit(absent(&one)).await.unwrap();
}

pub(super) async fn batch_with_one_wrong_expectation_changes_nothing(store: Arc<dyn MetadataStore>) {
    let table = Key::new("t");
    let kept = put(&*store, &table.part("kept"), "kept").await;
    let batch = || {
        let batch = Batch::default().put(&table.part("new"), b"x".to_vec()).delete(&table.part("kept"));
        batch.expect(&table.part("kept"), Some(&kept))
    };
    let refused = store.commit(batch().expect(&table.part("absent"), Some(&kept))).await;
    assert_eq!(refused, Err(CommitError::Conflict));
    assert_eq!(keys(&*store, &table, None, 10).await, ["kept"]);
    store.commit(batch().expect(&table.part("absent"), None)).await.unwrap();
    assert_eq!(keys(&*store, &table, None, 10).await, ["new"]);
}

pub(super) async fn last_change_of_a_key_in_a_batch_counts(store: Arc<dyn MetadataStore>) {
    let (one, other) = (Key::new("one"), Key::new("other"));
    let batch = Batch::default().put(&one, b"1".to_vec()).put(&one, b"2".to_vec()).put(&other, b"1".to_vec());
    store.commit(batch.delete(&other).expect(&other, None)).await.unwrap();
    assert_eq!(store.get(&one).await.unwrap().unwrap().value, b"2");
    assert_eq!(store.get(&other).await, Ok(None));
}

pub(super) async fn records_of_a_batch_have_its_version_and_versions_are_not_reused(store: Arc<dyn MetadataStore>) {
    let (one, other) = (Key::new("one"), Key::new("other"));
    store.commit(Batch::default().put(&one, b"1".to_vec()).put(&other, b"1".to_vec())).await.unwrap();
    let first = store.get(&one).await.unwrap().unwrap();
    assert!(first.version >= 1);
    assert_eq!(store.get(&other).await.unwrap().unwrap().version, first.version);
    let mut newest = first.version;
    for _ in 0..5 {
        store.commit(Batch::default().delete(&one)).await.unwrap();
        let again = put(&*store, &one, "1").await;
        assert!(again.version > newest);
        newest = again.version;
        assert_eq!(store.commit(Batch::default().expect(&one, Some(&first))).await, Err(CommitError::Conflict));
    }
}

pub(super) async fn eight_writers_that_compare_and_set_lose_nothing(store: Arc<dyn MetadataStore>) {
    const TIMES: u32 = 25;
    let key = Key::new("count");
    let writers = (0..8_u32).map(|writer| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            for time in 0..TIMES {
                loop {
                    let found = store.get(&key).await.unwrap();
                    let count =
                        found.as_ref().map_or(0, |found| u32::from_le_bytes(found.value[..].try_into().unwrap()));
                    let batch =
                        Batch::default().expect(&key, found.as_ref()).put(&key, (count + 1).to_le_bytes().into());
                    let batch = batch.put(&Key::new("log").part(format!("{writer}-{time}")), Vec::new());
                    match store.commit(batch).await {
                        Ok(()) => break,
                        Err(error) => assert_eq!(error, CommitError::Conflict),
                    }
                }
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, (8 * TIMES).to_le_bytes());
    assert_eq!(store.scan(&Key::new("log"), None, 1000).await.unwrap().len(), 8 * TIMES as usize);
}

pub(super) async fn concurrent_batches_each_have_their_own_result(store: Arc<dyn MetadataStore>) {
    let table = Key::new("t");
    let kept = put(&*store, &table.part("kept"), "kept").await;
    let commits = (0..40).map(|number| {
        let batch = Batch::default().put(&table.part(number), vec![0; 100]);
        let gone = (number % 3 == 0).then_some(&kept);
        store.commit(batch.expect(&table.part("absent"), gone))
    });
    for (number, verdict) in join_all(commits).await.into_iter().enumerate() {
        let expected = if number % 3 == 0 { Err(CommitError::Conflict) } else { Ok(()) };
        assert_eq!(verdict, expected, "{number}");
        assert_eq!(store.get(&table.part(number)).await.unwrap().is_some(), number % 3 != 0, "{number}");
    }
}

pub(super) async fn dropped_commit_is_applied_completely_or_not_at_all(store: Arc<dyn MetadataStore>) {
    let table = Key::new("t");
    for number in 0..50 {
        let (one, other) = (table.part(number).part("one"), table.part(number).part("other"));
        let batch = Batch::default().put(&one, vec![1; 5000]).put(&other, vec![2; 5000]);
        // Polled once and then dropped.
        let _ = store.commit(batch).now_or_never();
    }
    // Runs after all of them.
    put(&*store, &Key::new("after"), "x").await;
    for number in 0..50 {
        let there = keys(&*store, &table.part(number), None, 10).await.len();
        assert!(there == 0 || there == 2, "{number}: {there}");
    }
}

/// Expands to the suite. `$fresh` creates the store and a value that keeps its resources alive.
macro_rules! suite {
    ($fresh:expr) => {
        $crate::stores::metadata::suite!($fresh;
            record_is_read_as_it_was_written_until_it_is_deleted,
            records_of_several_keys_are_read_in_the_order_of_the_keys,
            records_are_listed_in_the_order_of_their_keys,
            list_holds_what_is_below_its_prefix_and_nothing_else,
            list_continues_after_an_existing_or_missing_key,
            batch_is_applied_only_if_the_expected_versions_match,
            batch_with_one_wrong_expectation_changes_nothing,
            last_change_of_a_key_in_a_batch_counts,
            records_of_a_batch_have_its_version_and_versions_are_not_reused,
            eight_writers_that_compare_and_set_lose_nothing,
            concurrent_batches_each_have_their_own_result,
            dropped_commit_is_applied_completely_or_not_at_all,
        );
    };
    ($fresh:expr; $($name:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _alive) = $fresh.await;
                $crate::stores::metadata::$name(store).await;
            }
        )+
    };
}
pub(crate) use suite;

mod memory {
    use super::*;
    use worker_runtime::metadata::MemoryMetadata;

    super::suite!(async { (Arc::new(MemoryMetadata::default()) as Arc<dyn MetadataStore>, ()) });
}
