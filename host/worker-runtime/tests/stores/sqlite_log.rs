//! Damages SQLite's write-ahead log in every way while no process has it open. A store that lost a commit is refused
//! and not changed. An intact store is always opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use worker_runtime::metadata::{Batch, Key, LogDamage, MetadataError, MetadataStore, SqliteMetadata, VersionedValue};

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

fn table() -> Key {
    Key::new("t")
}

async fn commit(store: &SqliteMetadata, number: usize, bytes: usize) {
    let batch = Batch::default().put(&table().part(format!("{number:04}")), vec![number as u8; bytes]);
    store.commit(batch).await.unwrap();
}

async fn all(store: &SqliteMetadata) -> Vec<(Key, VersionedValue)> {
    store.scan(&table(), None, 10_000).await.unwrap()
}

/// Files of a store as a killed process leaves them.
#[derive(Clone)]
struct KilledStore {
    files: BTreeMap<&'static str, Vec<u8>>,
    records: Vec<(Key, VersionedValue)>,
}

impl KilledStore {
    async fn of(store: &SqliteMetadata, path: &Path) -> Self {
        // Waits for the thread that writes, which may be folding its log in.
        store.check().await.unwrap();
        let records = all(store).await;
        let read = |ending| fs::read(format!("{}{ending}", path.display())).map(|bytes| (ending, bytes));
        Self { files: ["", "-wal", "-mark"].into_iter().filter_map(|ending| read(ending).ok()).collect(), records }
    }

    /// Returns the files after this number of commits of a few frames each.
    async fn after(commits: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.sqlite");
        let store = SqliteMetadata::open(&path).await.unwrap();
        for number in 0..commits {
            commit(&store, number, 1 + number % 3 * 3000).await;
        }
        Self::of(&store, &path).await
    }

    fn log(&mut self) -> &mut Vec<u8> {
        self.files.get_mut("-wal").unwrap()
    }

    fn without(&self, ending: &str) -> Self {
        let mut other = self.clone();
        assert!(other.files.remove(ending).is_some());
        other
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut other = self.clone();
        change(other.log());
        other
    }

    /// Opens the store and returns its records, or the error. After an error, checks that no file was changed.
    async fn open(&self) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        let (_folder, path) = self.written();
        match SqliteMetadata::open(&path).await {
            Ok(store) => {
                assert_eq!(store.check().await, Ok(()));
                let records = all(&store).await;
                // The store is still usable.
                commit(&store, 9999, 10).await;
                Ok(records)
            }
            Err(error) => {
                assert_eq!(self.files, found(&path), "a refused store is changed");
                Err(error)
            }
        }
    }

    fn written(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.sqlite");
        for (ending, bytes) in &self.files {
            fs::write(format!("{}{ending}", path.display()), bytes).unwrap();
        }
        (folder, path)
    }

    async fn refusal(&self, context: &str) -> LogDamage {
        match self.open().await {
            Err(error @ MetadataError::LogDamaged(damage)) => {
                assert_eq!(error.code(), "metadata_damaged");
                damage
            }
            other => panic!("{context}: {:?}", other.map(|records| records.len())),
        }
    }

    async fn assert_complete(&self, context: &str) {
        let found = self.open().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(found == self.records, "{context}: {} of {}", found.len(), self.records.len());
    }
}

fn found(path: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let folder = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ending =
        |name: &str| ["", "-wal", "-mark"].into_iter().find(|ending| name == format!("metadata.sqlite{ending}"));
    names.map(|name| (ending(&name).expect("one of ours"), fs::read(path.with_file_name(&name)).unwrap())).collect()
}

fn sample(bytes: usize, of: usize) -> impl Iterator<Item = usize> {
    let step = if std::env::var_os("YOI_EVERY_BYTE").is_some() { 1 } else { bytes * 8 / of };
    (0..bytes * 8).step_by(step.max(1) | 1)
}

#[tokio::test]
async fn flipped_bit_of_the_log_is_refused_where_it_would_lose_a_commit() {
    let killed = KilledStore::after(30).await;
    killed.assert_complete("as it was").await;
    let bytes = killed.files["-wal"].len();
    let mut refused = 0;
    for bit in (0..HEADER * 8).step_by(5).chain(sample(bytes, 300)) {
        match killed.change(|log| log[bit / 8] ^= 1 << (bit % 8)).open().await {
            Ok(records) => assert!(records == killed.records, "bit {bit}"),
            Err(error) => assert_eq!(error.code(), "metadata_damaged", "bit {bit}"),
        }
        refused += 1;
    }
    assert!(refused > 300, "{refused}");
    let middle = killed.change(|log| *log.get_mut(bytes / 2).unwrap() ^= 1).refusal("in the middle").await;
    let LogDamage::Broken { intact, length, unreachable } = middle else { panic!("{middle:?}") };
    assert!((10..25).contains(&intact) && (10..25).contains(&unreachable), "{middle:?}");
    assert!((bytes / 2 - 8 * FRAME..bytes / 2).contains(&(length as usize)), "{middle:?}");
    let last = killed.change(|log| *log.last_mut().unwrap() ^= 1).refusal("in the last transaction").await;
    assert!(matches!(last, LogDamage::Short { intact: 30, .. }), "{last:?}");
}

/// Without a mark: it was lost, or the previous release, which wrote none, used the folder.
#[tokio::test]
async fn flipped_bit_without_a_mark_loses_the_last_transaction_at_most() {
    let killed = KilledStore::after(30).await.without("-mark");
    killed.assert_complete("as it was").await;
    let (bytes, mut refused) = (killed.files["-wal"].len(), 0);
    for bit in (0..HEADER * 8).step_by(5).chain(sample(bytes, 300)) {
        match killed.change(|log| log[bit / 8] ^= 1 << (bit % 8)).open().await {
            Ok(records) => {
                let last = records.len() + 1 == killed.records.len() && killed.records.starts_with(&records);
                assert!(records == killed.records || last, "bit {bit}: {}", records.len());
            }
            Err(error) => {
                assert_eq!(error.code(), "metadata_damaged", "bit {bit}");
                refused += 1;
            }
        }
    }
    assert!(refused > 250, "{refused}");
}

#[tokio::test]
async fn log_that_is_missing_or_too_short_is_refused() {
    let killed = KilledStore::after(12).await;
    let bytes = killed.files["-wal"].len();
    let lost = LogDamage::Lost { missing: 12 };
    assert_eq!(killed.without("-wal").refusal("missing").await, lost);
    for length in [0, 1, HEADER - 1] {
        assert_eq!(killed.change(|log| log.truncate(length)).refusal(&format!("{length} bytes")).await, lost);
    }
    for length in (HEADER..bytes).step_by(FRAME / 2 + 7).chain([bytes - FRAME, bytes - 1]) {
        let damage = killed.change(|log| log.truncate(length)).refusal(&format!("{length} bytes")).await;
        assert!(matches!(damage, LogDamage::Short { length: intact, .. } if intact as usize <= length), "{damage:?}");
    }
    for (what, range) in [("all", 0..bytes), ("header", 0..HEADER), ("block", 0..4096)] {
        assert_eq!(killed.change(|log| log[range].fill(0)).refusal(what).await, lost, "{what}");
    }
    for begin in (HEADER..bytes).step_by(2 * FRAME) {
        killed.change(|log| log[begin..].fill(0)).refusal(&format!("zeros from {begin}")).await;
    }
    assert_eq!(killed.without("").open().await, Err(MetadataError::Damaged));
    assert_eq!(killed.without("").without("-wal").open().await, Err(MetadataError::Damaged));
}

#[tokio::test]
async fn intact_store_is_opened() {
    let killed = KilledStore::after(12).await;
    let torn = |bytes: &[u8]| killed.change(|log| log.extend_from_slice(bytes));
    torn(&[0; 3 * FRAME]).assert_complete("zeros behind the last commit").await;
    torn(&[0x5a; FRAME / 2]).assert_complete("half a frame behind the last commit").await;
    let again = killed.files["-wal"][HEADER..HEADER + 5 * FRAME].to_vec();
    // SQLite never writes an acknowledged frame twice, so this state is constructed. The copied frames look like
    // transactions after a bad frame.
    let damage = torn(&again).refusal("transactions behind a bad frame").await;
    assert!(matches!(damage, LogDamage::Broken { .. }), "{damage:?}");
    killed.without("-mark").assert_complete("no mark").await;
    for index in [0, 20, 39, 4096, 4120] {
        let mut other = killed.clone();
        other.files.get_mut("-mark").unwrap()[index] ^= 1;
        other.assert_complete(&format!("byte {index} of the mark")).await;
    }
    let mut other = killed.clone();
    other.files.get_mut("-mark").unwrap().truncate(10);
    other.assert_complete("half a mark").await;
    // A regular close checkpoints and removes the log.
    let (folder, path) = killed.written();
    drop(SqliteMetadata::open(&path).await.unwrap());
    let files = found(&path);
    assert!(!files.contains_key("-wal") && files.contains_key("-mark"));
    KilledStore { files, records: killed.records.clone() }.assert_complete("closed").await;
    drop(folder);
}

#[tokio::test]
async fn every_generation_of_the_log_has_its_mark() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.sqlite");
    let store = SqliteMetadata::open(&path).await.unwrap();
    let mut generations = std::collections::BTreeSet::new();
    let mut before: Option<KilledStore> = None;
    let mut folded = 0;
    for number in 0..60 {
        commit(&store, number, 400_000).await;
        let killed = KilledStore::of(&store, &path).await;
        generations.insert(killed.files["-wal"][16..24].to_vec());
        if number % 6 == 5 {
            killed.assert_complete(&format!("after {number}")).await;
        }
        if let Some(before) = before {
            let stale = |ending| {
                let mut stale = killed.clone();
                stale.files.insert(ending, before.files[ending].clone());
                stale
            };
            // A power cut may leave an older mark.
            if number % 6 == 4 {
                stale("-mark").assert_complete(&format!("an earlier mark after {number}")).await;
            }
            if before.files["-wal"][16..24] != killed.files["-wal"][16..24] {
                let damage = stale("-wal").refusal(&format!("an earlier log after {number}")).await;
                assert_eq!(damage, LogDamage::Lost { missing: 1 });
                assert_eq!(killed.without("-wal").refusal("missing").await, LogDamage::Lost { missing: 1 });
                // The earlier log was checkpointed completely, so nothing is lost.
                before.without("-wal").assert_complete("a folded log is missing").await;
                before.change(|log| log[20] ^= 4).assert_complete("the header of a folded log").await;
                assert_eq!(before.change(|log| log[9000] ^= 4).refusal("folded").await, LogDamage::Checkpointed);
                folded += 1;
            }
        }
        before = Some(killed);
    }
    assert!(generations.len() >= 4 && folded >= 3, "{} and {folded}", generations.len());
}

#[tokio::test]
async fn open_store_is_in_use_and_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.sqlite");
    let store = SqliteMetadata::open(&path).await.unwrap();
    commit(&store, 1, 10).await;
    let log = fs::OpenOptions::new().write(true).open(format!("{}-wal", path.display())).unwrap();
    log.set_len(log.metadata().unwrap().len()).unwrap();
    assert_eq!(SqliteMetadata::open(&path).await.unwrap_err(), MetadataError::InUse);
}
