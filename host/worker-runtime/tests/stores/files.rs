//! Tests of blobs in files: the suites, and tests that apply only to files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::Digest;
use tempfile::TempDir;
use worker_runtime::DataFolder;
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobStore, ObjectBlobs, source_from};

use super::CANARY;
use super::blobs::{LARGE, MOST, content, listed, place_of, put, put_and_drop};
use super::damage::{TamperableStore, assert_refused_and_repaired, set_aside};

/// A data folder below a temporary folder.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) blobs: ObjectBlobs,
    above: TempDir,
}

impl Files {
    pub(super) async fn fresh() -> Self {
        let above = tempfile::tempdir().unwrap();
        let blobs = DataFolder::open(above.path().join(CANARY)).await.unwrap().blobs();
        Self { blobs, above }
    }

    async fn reopened(self) -> Self {
        let Self { blobs, above } = self;
        drop(blobs);
        let blobs = DataFolder::open(above.path().join(CANARY)).await.unwrap().blobs();
        Self { blobs, above }
    }

    fn root(&self) -> PathBuf {
        self.above.path().join(CANARY)
    }

    fn file(&self, digest: Digest) -> PathBuf {
        self.root().join(place_of(digest))
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.root().join("staging")).unwrap().count()
    }
}

impl TamperableStore for Files {
    fn store(&self) -> &dyn BlobStore {
        &self.blobs
    }

    fn write_past_it(&self, digest: Digest, content: &[u8]) {
        fs::write(self.file(digest), content).unwrap();
    }
}

async fn fresh() -> Option<(Arc<dyn BlobStore>, TempDir)> {
    let Files { blobs, above } = Files::fresh().await;
    Some((Arc::new(blobs), above))
}

super::blobs::suite!(fresh());
super::damage::damage!(async { Some(Files::fresh().await) });

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_read_by_their_owner_alone() {
    let files = Files::fresh().await;
    for bytes in [10, LARGE] {
        let (digest, _) = put(&files.blobs, &content(bytes)).await;
        assert_eq!(mode(&files.file(digest)), 0o600);
        assert_eq!(mode(files.file(digest).parent().unwrap()), 0o700);
    }
    for folder in ["", "blobs", "blobs/sha256", "staging", "quarantine"] {
        assert_eq!(mode(&files.root().join(folder)), 0o700, "{folder}");
    }
}

#[tokio::test]
async fn blobs_are_there_after_opening_again() {
    let files = Files::fresh().await;
    let right = content(1000);
    let (digest, _) = put(&files.blobs, &right).await;
    let files = files.reopened().await;
    assert_eq!(files.blobs.get(digest, MOST).await, Ok(right));
}

#[tokio::test]
async fn remains_of_uploads_of_an_earlier_process_are_removed() {
    let files = Files::fresh().await;
    let (digest, _) = put(&files.blobs, &content(10)).await;
    for left in ["0", "0#1", "77#2"] {
        fs::write(files.root().join("staging").join(left), "half of something").unwrap();
    }
    let files = files.reopened().await;
    assert_eq!(files.staged(), 0);
    assert_eq!(listed(&files.blobs).await, [(digest, 10)]);
}

#[tokio::test]
async fn failed_upload_leaves_no_file() {
    let files = Files::fresh().await;
    let large = content(LARGE);
    put_and_drop(&files.blobs, &large).await;
    let wrong = Digest::of("something else");
    files.blobs.put(wrong, source_from(large.clone()), MOST).await.unwrap_err();
    put(&files.blobs, &large).await;
    put(&files.blobs, &large).await;
    // The file is removed by a background task, which has begun.
    while files.staged() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Creates an entry at the first path. The second path has the right content.
type Make = fn(&Path, &Path);

/// Entries that are not regular files, in the place of a blob.
fn odd_entries() -> [(&'static str, Make); 6] {
    [
        ("a link to the right content", |file, right| symlink(right, file).unwrap()),
        ("a link to nothing", |file, _| symlink("/nonexistent", file).unwrap()),
        ("a link to itself", |file, _| symlink(file, file).unwrap()),
        ("an empty folder", |file, _| fs::create_dir(file).unwrap()),
        ("a folder with the right content", |file, right| {
            fs::create_dir(file).unwrap();
            fs::copy(right, file.join("content")).unwrap();
        }),
        ("a pipe", |file, _| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
    ]
}

#[tokio::test]
async fn entry_that_is_not_a_file_is_damaged_and_not_followed() {
    let files = Files::fresh().await;
    let right = content(100);
    let elsewhere = files.above.path().join("right");
    fs::write(&elsewhere, &right).unwrap();
    let (digest, _) = put(&files.blobs, &right).await;
    for (what, make) in odd_entries() {
        fs::remove_file(files.file(digest)).unwrap();
        make(&files.file(digest), &elsewhere);
        assert_eq!(files.blobs.size(digest).await, Ok(None), "{what}");
        assert_eq!(listed(&files.blobs).await.len(), 1, "{what}: a check has to find it");
        assert_refused_and_repaired(&files.blobs, digest, &right, what).await;
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), right, "what a link leads to is not touched");
}

#[tokio::test]
async fn entry_that_is_not_a_file_is_replaced_by_a_put_and_can_be_removed() {
    let files = Files::fresh().await;
    let right = content(100);
    let elsewhere = files.above.path().join("right");
    fs::write(&elsewhere, &right).unwrap();
    let (digest, _) = put(&files.blobs, &right).await;
    for (what, make) in odd_entries() {
        fs::remove_file(files.file(digest)).unwrap();
        make(&files.file(digest), &elsewhere);
        files.blobs.remove(digest).await.unwrap();
        assert_eq!(files.blobs.check(digest).await, Ok(BlobCondition::Missing), "{what}");
        make(&files.file(digest), &elsewhere);
        assert!(!put(&files.blobs, &right).await.1.existed, "{what}");
        assert_eq!(files.blobs.get(digest, MOST).await, Ok(right.clone()), "{what}");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), right);
}

#[tokio::test]
async fn quarantined_copies_of_one_blob_are_kept_beside_each_other() {
    let files = Files::fresh().await;
    let right = content(100);
    let (digest, _) = put(&files.blobs, &right).await;
    for wrong in ["first", "second", "third"] {
        files.write_past_it(digest, wrong.as_bytes());
        assert_refused_and_repaired(&files.blobs, digest, &right, wrong).await;
    }
    assert_eq!(set_aside(&files.blobs).await, [digest; 3]);
    let aside = files.root().join("quarantine").join(digest.hex());
    assert_eq!(fs::read(&aside).unwrap(), b"first");
    assert_eq!(fs::read(aside.with_extension("2")).unwrap(), b"third");
}

/// Reading a sparse file of 1 TiB would take longer than the timeout of any test.
#[tokio::test]
async fn huge_file_in_place_of_a_blob_is_quarantined_without_being_read() {
    const TEBIBYTE: u64 = 1 << 40;
    let files = Files::fresh().await;
    for bytes in [100, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(&files.blobs, &right).await;
        let grow = || fs::OpenOptions::new().write(true).open(files.file(digest)).unwrap().set_len(TEBIBYTE).unwrap();
        grow();
        let recorded = bytes as u64;
        assert_eq!(files.blobs.get_sized(digest, recorded).await, Err(BlobError::Damaged(digest)));
        assert_eq!(files.blobs.get_sized(digest, recorded).await, Err(BlobError::NotFound(digest)));
        put(&files.blobs, &right).await;
        grow();
        let (_, healed) = put(&files.blobs, &right).await;
        assert!(!healed.existed);
        assert!(files.blobs.get_sized(digest, recorded).await.unwrap() == right);
        assert_eq!(set_aside(&files.blobs).await.iter().filter(|aside| **aside == digest).count(), 2);
    }
}

#[tokio::test]
async fn files_that_are_no_blobs_are_not_listed() {
    let files = Files::fresh().await;
    let (digest, _) = put(&files.blobs, &content(100)).await;
    let elsewhere = if digest.hex().starts_with("00") { "01" } else { "00" };
    let folder = files.file(digest);
    fs::write(folder.with_file_name("notes.txt"), "x").unwrap();
    fs::write(folder.with_file_name(format!("{}0", digest.hex())), "x").unwrap();
    fs::copy(&folder, files.root().join("blobs/sha256").join(elsewhere).join(digest.hex())).unwrap();
    assert_eq!(listed(&files.blobs).await, [(digest, 100)]);
}

#[tokio::test]
async fn removed_folder_is_created_again() {
    let files = Files::fresh().await;
    let right = content(100);
    let digest = Digest::of(&right);
    fs::remove_dir(files.file(digest).parent().unwrap()).unwrap();
    assert_eq!(listed(&files.blobs).await, []);
    assert!(!put(&files.blobs, &right).await.1.existed);
    assert_eq!(files.blobs.get(digest, MOST).await, Ok(right));
}

/// A program that removes old files may also remove empty folders.
#[tokio::test]
async fn removed_staging_folder_is_created_again() {
    let files = Files::fresh().await;
    for size in [100, LARGE] {
        fs::remove_dir(files.root().join("staging")).unwrap();
        let right = content(size);
        assert!(!put(&files.blobs, &right).await.1.existed);
        assert_eq!(files.blobs.get(Digest::of(&right), MOST).await, Ok(right));
        assert_eq!(files.staged(), 0);
    }
}

/// Entries that this process did not create are neither overwritten nor removed.
#[tokio::test]
async fn foreign_entries_in_the_staging_folder_do_no_harm() {
    let files = Files::fresh().await;
    let staging = files.root().join("staging");
    (0..8).for_each(|number| fs::write(staging.join(number.to_string()), "another's").unwrap());
    let right = content(100);
    assert!(!put(&files.blobs, &right).await.1.existed);
    assert_eq!(files.blobs.get(Digest::of(&right), MOST).await, Ok(right));
    assert_eq!(fs::read(staging.join("0")).unwrap(), b"another's");
}

#[tokio::test]
async fn no_error_contains_a_path() {
    let files = Files::fresh().await;
    let digest = Digest::of("anything");
    fs::remove_dir_all(files.root()).unwrap();
    fs::write(files.root(), "a file where the folder was").unwrap();
    let failures = [
        files.blobs.put(digest, source_from("anything"), MOST).await.unwrap_err(),
        files.blobs.get(digest, MOST).await.unwrap_err(),
        files.blobs.check(digest).await.unwrap_err(),
        files.blobs.remove(digest).await.unwrap_err(),
        files.blobs.size(digest).await.unwrap_err(),
        futures_util::TryStreamExt::try_collect::<Vec<_>>(files.blobs.list()).await.unwrap_err(),
        futures_util::TryStreamExt::try_collect::<Vec<_>>(files.blobs.quarantined()).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, BlobError::Unavailable { .. }), "{failure:?}");
        assert_eq!(failure.code(), "store_unavailable");
        assert!(!failure.help().is_empty());
        assert!(!format!("{failure} {failure:?}").contains(CANARY), "{failure:?}");
    }
    assert!(!format!("{:?}", files.blobs).contains(CANARY));
}
