//! Tests of the metadata store in SQLite: the suite, and tests of its file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use tempfile::TempDir;
use worker_runtime::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore, SqliteMetadata};

use super::CANARY;
use super::metadata::put;

struct Fresh {
    path: PathBuf,
    _above: TempDir,
}

impl Fresh {
    fn new() -> Self {
        let above = tempfile::tempdir().unwrap();
        Self { path: above.path().join(CANARY), _above: above }
    }

    async fn open(&self) -> SqliteMetadata {
        SqliteMetadata::open(&self.path).await.unwrap()
    }

    async fn refused(&self) -> MetadataError {
        let error = SqliteMetadata::open(&self.path).await.unwrap_err();
        let told = format!("{error} {error:?} {} {}", error.help(), CommitError::from(error.clone()));
        assert!(!told.contains(CANARY), "{told}");
        error
    }

    /// Changes the closed file.
    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = fs::read(&self.path).unwrap();
        change(&mut content);
        fs::write(&self.path, content).unwrap();
    }
}

async fn fresh() -> (Arc<dyn MetadataStore>, Fresh) {
    let fresh = Fresh::new();
    (Arc::new(fresh.open().await), fresh)
}

super::metadata::suite!(fresh());

#[tokio::test]
async fn everything_is_present_after_reopening() {
    let fresh = Fresh::new();
    let table = Key::new("t");
    let store = fresh.open().await;
    for number in 0..300 {
        put(&store, &table.part(format!("{number:03}")), "x").await;
    }
    let before = store.scan(&table, None, 1000).await.unwrap();
    drop(store);
    let store = fresh.open().await;
    assert_eq!(store.scan(&table, None, 1000).await.unwrap(), before);
    assert_eq!(store.check().await, Ok(()));
}

#[tokio::test]
async fn versions_are_not_reused_after_reopening() {
    let fresh = Fresh::new();
    let key = Key::new("k");
    let store = fresh.open().await;
    let old = put(&store, &key, "x").await;
    store.commit(Batch::default().delete(&key)).await.unwrap();
    drop(store);
    let store = fresh.open().await;
    assert!(put(&store, &key, "x").await.version > old.version + 1);
    assert_eq!(store.commit(Batch::default().expect(&key, Some(&old))).await, Err(CommitError::Conflict));
}

#[tokio::test]
async fn committed_record_is_in_the_log_of_a_killed_process() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    let record = put(&store, &Key::new("k"), "x").await;
    // Copies the files as a killed process would leave them.
    let other = Fresh::new();
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    fs::copy(&fresh.path, &other.path).unwrap();
    fs::copy(log(&fresh.path), log(&other.path)).unwrap();
    assert_eq!(other.open().await.get(&Key::new("k")).await, Ok(Some(record)));
}

#[tokio::test]
async fn log_without_its_file_is_damage_and_not_a_new_store() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    put(&store, &Key::new("k"), "x").await;
    let other = Fresh::new();
    fs::copy(format!("{}-wal", fresh.path.display()), format!("{}-wal", other.path.display())).unwrap();
    assert_eq!(other.refused().await, MetadataError::Damaged);
}

#[tokio::test]
async fn second_opener_is_refused_until_the_first_is_gone() {
    let fresh = Fresh::new();
    let first = fresh.open().await;
    assert!(!format!("{first:?}").contains(CANARY));
    let error = fresh.refused().await;
    assert_eq!((&error, error.code().as_str()), (&MetadataError::InUse, "store_in_use"));
    put(&first, &Key::new("k"), "x").await;
    assert_eq!(fresh.refused().await, MetadataError::InUse);
    drop(first);
    fresh.open().await;
}

#[tokio::test]
async fn file_is_read_by_its_owner_alone() {
    let fresh = Fresh::new();
    let store = fresh.open().await;
    put(&store, &Key::new("k"), "x").await;
    for file in fs::read_dir(fresh.path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn file_of_another_application_is_refused_and_not_changed() {
    let newer = |content: &mut Vec<u8>| content[63] = 9;
    let foreign = |content: &mut Vec<u8>| content[70] ^= 1;
    let no_version = |content: &mut Vec<u8>| content[63] = 0;
    let header = |content: &mut Vec<u8>| content[3] ^= 1;
    let empty = |content: &mut Vec<u8>| content.clear();
    let text = |content: &mut Vec<u8>| *content = b"not a store, but a text of some length\n".repeat(500);
    let half = |content: &mut Vec<u8>| content.truncate(content.len() / 2);
    type Change = fn(&mut Vec<u8>);
    let cases: [(Change, MetadataError, &str); 7] = [
        (newer, MetadataError::NewerVersion { found: 9, known: 1 }, "store_newer"),
        (foreign, MetadataError::Foreign, "metadata_foreign"),
        (no_version, MetadataError::Damaged, "metadata_damaged"),
        (header, MetadataError::Damaged, "metadata_damaged"),
        (empty, MetadataError::Damaged, "metadata_damaged"),
        (text, MetadataError::Damaged, "metadata_damaged"),
        (half, MetadataError::Damaged, "metadata_damaged"),
    ];
    let fresh = Fresh::new();
    put(&fresh.open().await, &Key::new("k"), "x").await;
    let right = fs::read(&fresh.path).unwrap();
    for (number, (change, expected, code)) in cases.into_iter().enumerate() {
        fresh.change(change);
        let changed = fs::read(&fresh.path).unwrap();
        let error = fresh.refused().await;
        assert_eq!((&error, error.code().as_str()), (&expected, code), "{number}");
        assert!(fs::read(&fresh.path).unwrap() == changed, "{number}");
        fs::write(&fresh.path, &right).unwrap();
    }
    assert!(fresh.open().await.get(&Key::new("k")).await.unwrap().is_some());
}

#[tokio::test]
async fn entry_that_is_not_a_file_is_damaged_and_not_followed() {
    let fresh = Fresh::new();
    let elsewhere = fresh.path.with_file_name("elsewhere");
    drop(SqliteMetadata::open(&elsewhere).await.unwrap());
    symlink(&elsewhere, &fresh.path).unwrap();
    assert_eq!(fresh.refused().await, MetadataError::Damaged);
    fs::remove_file(&fresh.path).unwrap();
    fs::create_dir(&fresh.path).unwrap();
    assert_eq!(fresh.refused().await, MetadataError::Damaged);
    fs::remove_dir(&fresh.path).unwrap();
    fresh.open().await;
}

#[tokio::test]
async fn interrupted_creation_is_repeated() {
    let fresh = Fresh::new();
    fs::write(format!("{}.new", fresh.path.display()), "half a file").unwrap();
    put(&fresh.open().await, &Key::new("k"), "x").await;
}

#[tokio::test]
async fn error_of_a_missing_folder_does_not_contain_its_path() {
    let mut fresh = Fresh::new();
    fresh.path = fresh.path.join(CANARY).join("metadata");
    let error = fresh.refused().await;
    assert_eq!(error.code(), "store_unavailable");
}

/// A changed byte never makes a wrong record readable. If it hides a record, `check` reports damage.
#[tokio::test]
async fn flipped_byte_never_yields_a_wrong_record() {
    const STEP: usize = 11;
    let fresh = Fresh::new();
    let table = Key::new("t");
    let store = fresh.open().await;
    for number in 0..8 {
        put(&store, &table.part(number), &format!("value {number}")).await;
    }
    let right = store.scan(&table, None, 100).await.unwrap();
    drop(store);
    let content = fs::read(&fresh.path).unwrap();
    let rows = content.windows(5).position(|window| window == b"value").unwrap();
    let last = content.len() - content.iter().rev().position(|byte| *byte != 0).unwrap();
    // All bytes of the rows, and a sample of the others.
    let around = (rows.saturating_sub(600)..last.min(rows + 200)).chain((0..content.len()).step_by(STEP));
    let mut found = 0;
    for index in around {
        fresh.change(|content| content[index] ^= 0x10);
        if let Ok(store) = SqliteMetadata::open(&fresh.path).await {
            let check = store.check().await;
            for (key, record) in &right {
                match store.get(key).await {
                    Ok(Some(read)) => assert_eq!(read, *record, "byte {index}"),
                    Ok(None) => assert_eq!(check, Err(MetadataError::Damaged), "byte {index}"),
                    Err(error) => assert_eq!(error, MetadataError::Damaged, "byte {index}"),
                }
            }
            found += u32::from(check.is_err());
        } else {
            found += 1;
        }
        for ending in ["-wal", "-journal", "-shm"] {
            let _ = fs::remove_file(format!("{}{ending}", fresh.path.display()));
        }
        fs::write(&fresh.path, &content).unwrap();
    }
    assert!(found > 100, "{found}");
    assert_eq!(fresh.open().await.check().await, Ok(()));
}

#[tokio::test]
async fn full_store_returns_an_error_and_stays_usable() {
    let fresh = Fresh::new();
    let store = SqliteMetadata::open_within(&fresh.path, 64 << 10).await.unwrap();
    let large = Key::new("large");
    let kept = put(&store, &Key::new("kept"), "kept").await;
    let refused = store.commit(Batch::default().put(&large, vec![0; 60 << 10]).delete(&Key::new("kept"))).await;
    let error = CommitError::Store(MetadataError::Full);
    assert_eq!(refused, Err(error));
    assert_eq!(MetadataError::Full.code(), "store_full");
    assert_eq!(store.get(&Key::new("kept")).await, Ok(Some(kept)));
    store.commit(Batch::default().put(&large, vec![0; 40 << 10])).await.unwrap();
    assert_eq!(
        store.commit(Batch::default().put(&Key::new("more"), vec![0; 20 << 10])).await,
        Err(CommitError::Store(MetadataError::Full))
    );
    store.commit(Batch::default().delete(&large)).await.unwrap();
    store.commit(Batch::default().put(&Key::new("more"), vec![0; 20 << 10])).await.unwrap();
    assert_eq!(store.check().await, Ok(()));
}

#[tokio::test]
async fn batch_that_does_not_fit_fails_alone() {
    let fresh = Fresh::new();
    let store = SqliteMetadata::open_within(&fresh.path, 64 << 10).await.unwrap();
    let commits = (0..20).map(|number| {
        let bytes = if number == 7 { 100 << 10 } else { 10 };
        store.commit(Batch::default().put(&Key::new("t").part(number), vec![0; bytes]))
    });
    for (number, verdict) in join_all(commits).await.into_iter().enumerate() {
        assert_eq!(verdict.is_ok(), number != 7, "{number}");
    }
    assert_eq!(store.scan(&Key::new("t"), None, 100).await.unwrap().len(), 19);
}
