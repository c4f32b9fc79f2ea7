//! Compares the SQLite store with the one in memory: the same operations return the same results.

use proptest::prelude::*;
use worker_runtime::metadata::{Batch, Key, MemoryMetadata, MetadataStore, SqliteMetadata};

#[derive(Debug, Clone)]
enum Step {
    Commit { changes: Vec<(u8, Option<Vec<u8>>)>, expected: Vec<(u8, ExpectedVersion)> },
    Scan { prefix: u8, after: Option<u8>, most: usize },
    OpenAgain,
}

#[derive(Debug, Clone, Copy)]
enum ExpectedVersion {
    AsItIs,
    Absent,
}

/// A small set of keys, some below others, so that steps affect the same records.
fn key(number: u8) -> Key {
    let table = Key::new(["t", "tt", "u"][usize::from(number % 3)]);
    match number / 3 {
        0 => table,
        deep => (1..deep).fold(table.part("a"), |key, part| key.part(part)),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || 0_u8..15;
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..40));
    let expected = prop_oneof![3 => Just(ExpectedVersion::AsItIs), 1 => Just(ExpectedVersion::Absent)];
    let commit =
        (proptest::collection::vec((keys(), value), 0..5), proptest::collection::vec((keys(), expected), 0..3));
    prop_oneof![
        8 => commit.prop_map(|(changes, expected)| Step::Commit { changes, expected }),
        4 => (keys(), proptest::option::of(keys()), 0_usize..6)
            .prop_map(|(prefix, after, most)| Step::Scan { prefix, after, most }),
        1 => Just(Step::OpenAgain),
    ]
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata");
    let memory = MemoryMetadata::default();
    let mut sqlite = SqliteMetadata::open(&path).await.unwrap();
    for step in steps {
        match step {
            Step::Commit { changes, expected } => {
                let mut batch = Batch::default();
                for (number, expected) in expected {
                    let found = match expected {
                        ExpectedVersion::AsItIs => memory.get(&key(number)).await.unwrap(),
                        ExpectedVersion::Absent => None,
                    };
                    batch = batch.expect(&key(number), found.as_ref());
                }
                for (number, change) in changes {
                    batch = match change {
                        Some(value) => batch.put(&key(number), value),
                        None => batch.delete(&key(number)),
                    };
                }
                assert_eq!(sqlite.commit(batch.clone()).await, memory.commit(batch).await);
            }
            Step::Scan { prefix, after, most } => {
                let after = after.map(key);
                let (prefix, after) = (key(prefix), after.as_ref());
                let expected = memory.scan(&prefix, after, most).await;
                assert_eq!(sqlite.scan(&prefix, after, most).await, expected);
            }
            Step::OpenAgain => {
                drop(sqlite);
                sqlite = SqliteMetadata::open(&path).await.unwrap();
            }
        }
        for number in 0..15 {
            assert_eq!(sqlite.get(&key(number)).await, memory.get(&key(number)).await);
        }
    }
    assert_eq!(sqlite.check().await, Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_memory_stores_return_the_same_results(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
