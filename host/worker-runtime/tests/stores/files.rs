//! Blobs as files: the suites, and what only files have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::Digest;
use tempfile::TempDir;
use worker_runtime::DataFolder;
use worker_runtime::blob_store::{BlobError, BlobStore, Condition, ObjectBlobs, whole};

use super::CANARY;
use super::blobs::{LARGE, MOST, content, listed, place_of, put, put_and_drop};
use super::damage::{Tampered, assert_never_served_and_healed, set_aside};

/// A data folder below one that the test made.
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

impl Tampered for Files {
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
async fn what_an_upload_of_an_earlier_process_left_is_cleared_away() {
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
async fn upload_that_came_to_nothing_leaves_no_file() {
    let files = Files::fresh().await;
    let large = content(LARGE);
    put_and_drop(&files.blobs, &large).await;
    let wrong = Digest::of("something else");
    files.blobs.put(wrong, whole(large.clone()), MOST).await.unwrap_err();
    put(&files.blobs, &large).await;
    put(&files.blobs, &large).await;
    // The removing is another thread's; it has begun.
    while files.staged() > 0 {
        tokio::task::yield_now().await;
    }
}

/// Makes an entry at the first path; at the second there is the right content.
type Make = fn(&Path, &Path);

/// Everything that is no file but stands where one should.
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
async fn what_is_no_file_is_damaged_and_not_followed() {
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
        assert_never_served_and_healed(&files.blobs, digest, &right, what).await;
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), right, "what a link leads to is not touched");
}

#[tokio::test]
async fn what_is_no_file_is_healed_by_putting_it_and_goes_by_removing_it() {
    let files = Files::fresh().await;
    let right = content(100);
    let elsewhere = files.above.path().join("right");
    fs::write(&elsewhere, &right).unwrap();
    let (digest, _) = put(&files.blobs, &right).await;
    for (what, make) in odd_entries() {
        fs::remove_file(files.file(digest)).unwrap();
        make(&files.file(digest), &elsewhere);
        files.blobs.remove(digest).await.unwrap();
        assert_eq!(files.blobs.check(digest).await, Ok(Condition::Missing), "{what}");
        make(&files.file(digest), &elsewhere);
        assert!(!put(&files.blobs, &right).await.1.known, "{what}");
        assert_eq!(files.blobs.get(digest, MOST).await, Ok(right.clone()), "{what}");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), right);
}

#[tokio::test]
async fn evidence_of_the_same_blob_is_kept_beside_the_earlier_one() {
    let files = Files::fresh().await;
    let right = content(100);
    let (digest, _) = put(&files.blobs, &right).await;
    for wrong in ["first", "second", "third"] {
        files.write_past_it(digest, wrong.as_bytes());
        assert_never_served_and_healed(&files.blobs, digest, &right, wrong).await;
    }
    assert_eq!(set_aside(&files.blobs).await, [digest; 3]);
    let aside = files.root().join("quarantine").join(digest.hex());
    assert_eq!(fs::read(&aside).unwrap(), b"first");
    assert_eq!(fs::read(aside.with_extension("2")).unwrap(), b"third");
}

/// Reading a tebibyte, even one of zeros that no disk holds, would take longer than any test may.
#[tokio::test]
async fn huge_file_in_a_blobs_place_is_set_aside_and_healed_without_being_read() {
    const TEBIBYTE: u64 = 1 << 40;
    let files = Files::fresh().await;
    for bytes in [100, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(&files.blobs, &right).await;
        let grow = || fs::OpenOptions::new().write(true).open(files.file(digest)).unwrap().set_len(TEBIBYTE).unwrap();
        grow();
        let recorded = bytes as u64;
        assert_eq!(files.blobs.get_sized(digest, recorded).await, Err(BlobError::Damaged(digest)));
        assert_eq!(files.blobs.get_sized(digest, recorded).await, Err(BlobError::Missing(digest)));
        put(&files.blobs, &right).await;
        grow();
        let (_, healed) = put(&files.blobs, &right).await;
        assert!(!healed.known);
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
async fn folder_that_was_taken_away_is_made_again() {
    let files = Files::fresh().await;
    let right = content(100);
    let digest = Digest::of(&right);
    fs::remove_dir(files.file(digest).parent().unwrap()).unwrap();
    assert_eq!(listed(&files.blobs).await, []);
    assert!(!put(&files.blobs, &right).await.1.known);
    assert_eq!(files.blobs.get(digest, MOST).await, Ok(right));
}

/// Who cleans folders of what is old takes empty ones with it.
#[tokio::test]
async fn staging_folder_that_was_taken_away_is_made_again() {
    let files = Files::fresh().await;
    for size in [100, LARGE] {
        fs::remove_dir(files.root().join("staging")).unwrap();
        let right = content(size);
        assert!(!put(&files.blobs, &right).await.1.known);
        assert_eq!(files.blobs.get(Digest::of(&right), MOST).await, Ok(right));
        assert_eq!(files.staged(), 0);
    }
}

/// What is not of this process is neither written over nor taken away.
#[tokio::test]
async fn what_lies_in_the_staging_folder_is_in_nobodys_way() {
    let files = Files::fresh().await;
    let staging = files.root().join("staging");
    (0..8).for_each(|number| fs::write(staging.join(number.to_string()), "another's").unwrap());
    let right = content(100);
    assert!(!put(&files.blobs, &right).await.1.known);
    assert_eq!(files.blobs.get(Digest::of(&right), MOST).await, Ok(right));
    assert_eq!(fs::read(staging.join("0")).unwrap(), b"another's");
}

#[tokio::test]
async fn no_failure_tells_a_path() {
    let files = Files::fresh().await;
    let digest = Digest::of("anything");
    fs::remove_dir_all(files.root()).unwrap();
    fs::write(files.root(), "a file where the folder was").unwrap();
    let failures = [
        files.blobs.put(digest, whole("anything"), MOST).await.unwrap_err(),
        files.blobs.get(digest, MOST).await.unwrap_err(),
        files.blobs.check(digest).await.unwrap_err(),
        files.blobs.remove(digest).await.unwrap_err(),
        files.blobs.size(digest).await.unwrap_err(),
        futures_util::TryStreamExt::try_collect::<Vec<_>>(files.blobs.list()).await.unwrap_err(),
        futures_util::TryStreamExt::try_collect::<Vec<_>>(files.blobs.set_aside()).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, BlobError::Unavailable { .. }), "{failure:?}");
        assert_eq!(failure.code(), "store_unavailable");
        assert!(!failure.help().is_empty());
        assert!(!format!("{failure} {failure:?}").contains(CANARY), "{failure:?}");
    }
    assert!(!format!("{:?}", files.blobs).contains(CANARY));
}
