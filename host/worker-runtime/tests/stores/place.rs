//! Tests of a data folder whose disk is full, or that is moved while it is in use.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bundles::Digest;
use futures_util::TryStreamExt;
use worker_runtime::DataFolder;
use worker_runtime::blob_store::{BlobError, BlobStore, ObjectBlobs, source_from};
use worker_runtime::metadata::{Batch, Key, MetadataError, MetadataStore, SqliteMetadata};
use worker_runtime::token::Scope;

use crate::support::api::Api;
use crate::support::{World, acme, bundle, put};

const MOST: u64 = 1 << 30;

async fn opened(path: &Path) -> (ObjectBlobs, SqliteMetadata) {
    let folder = DataFolder::open(path).await.expect("opened");
    let metadata = SqliteMetadata::open(folder.metadata_file()).await.expect("opened");
    (folder.blobs(), metadata)
}

/// Returns all entries below a folder with their modes, except those that the file system creates itself.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        found.push((entry.path(), entry.metadata().expect("there").permissions().mode() & 0o777));
        if entry.file_type().expect("there").is_dir() {
            found.extend(modes(&entry.path()));
        }
    }
    found
}

/// Content that is sent in one piece, and content that is sent in several.
fn contents() -> [Vec<u8>; 2] {
    [b"small".to_vec(), vec![7; 3 << 20]]
}

async fn is_refused(blobs: &ObjectBlobs, metadata: &SqliteMetadata) {
    for content in contents() {
        let error = blobs.put(Digest::of(&content), source_from(content), MOST).await.expect_err("refused");
        assert_eq!((&error, error.code().as_str()), (&BlobError::Moved, "data_folder_moved"));
    }
    let kept = Digest::of("kept");
    assert_eq!(blobs.remove(kept).await, Err(BlobError::Moved));
    assert_eq!(blobs.check_writable().await, Err(BlobError::Moved));
    let error = metadata.commit(Batch::default().put(&Key::new("t").part("new"), Vec::new())).await;
    assert_eq!(error, Err(MetadataError::Moved.into()));
    assert_eq!(MetadataError::Moved.code(), "data_folder_moved");
    // A read returns the stored content or an error, and never reports a blob as missing.
    assert!(metadata.get(&Key::new("t").part("old")).await.expect("read").is_some());
    assert_eq!(blobs.get(kept, MOST).await, Err(BlobError::Moved));
    assert_eq!(blobs.size(kept).await, Err(BlobError::Moved));
    assert_eq!(blobs.list().try_collect::<Vec<_>>().await, Err(BlobError::Moved));
}

#[tokio::test]
async fn moved_data_folder_is_neither_written_nor_created_again() {
    let above = tempfile::tempdir().expect("a folder");
    let (path, moved) = (above.path().join("data"), above.path().join("moved"));
    let (blobs, metadata) = opened(&path).await;
    blobs.put(Digest::of("kept"), source_from("kept"), MOST).await.expect("kept");
    metadata.commit(Batch::default().put(&Key::new("t").part("old"), Vec::new())).await.expect("done");
    fs::rename(&path, &moved).expect("moved");
    let before = modes(&moved);
    is_refused(&blobs, &metadata).await;
    assert!(!path.exists());
    // Another folder in its place is not changed, even if it looks the same.
    drop(opened(&path).await);
    let other = modes(&path);
    is_refused(&blobs, &metadata).await;
    assert_eq!((modes(&path), modes(&moved)), (other, before));
    assert!(modes(&path).iter().all(|(_, mode)| mode & 0o077 == 0));
    // After the folder is moved back, the store works again.
    fs::remove_dir_all(&path).expect("removed");
    fs::rename(&moved, &path).expect("moved");
    for content in contents() {
        blobs.put(Digest::of(&content), source_from(content), MOST).await.expect("kept");
    }
    assert_eq!(blobs.get(Digest::of("kept"), MOST).await.expect("read"), "kept");
    assert_eq!(blobs.check_writable().await, Ok(()));
    metadata.commit(Batch::default().put(&Key::new("t").part("new"), Vec::new())).await.expect("done");
}

#[tokio::test]
async fn moved_part_of_the_data_folder_is_detected_or_created_again_with_a_private_mode() {
    let above = tempfile::tempdir().expect("a folder");
    let (path, aside) = (above.path().join("data"), above.path().join("aside"));
    let (blobs, metadata) = opened(&path).await;
    let commit = |key: &str| metadata.commit(Batch::default().put(&Key::new("t").part(key), Vec::new()));
    commit("old").await.expect("done");
    let log = path.join("metadata.sqlite-wal");
    fs::rename(&log, &aside).expect("moved");
    assert_eq!(commit("lost").await, Err(MetadataError::Moved.into()), "SQLite would go on with the file that it has");
    fs::rename(&aside, &log).expect("moved");
    commit("new").await.expect("done");

    fs::rename(path.join("blobs"), &aside).expect("moved");
    assert_eq!(blobs.check_writable().await, Err(BlobError::Moved));
    assert_eq!(blobs.put(Digest::of("x"), source_from("x"), MOST).await, Err(BlobError::Moved));
    fs::rename(&aside, path.join("blobs")).expect("moved");

    for content in contents() {
        fs::remove_dir(path.join("staging")).expect("removed");
        blobs.put(Digest::of(&content), source_from(content), MOST).await.expect("kept");
        assert!(modes(&path).iter().all(|(_, mode)| mode & 0o077 == 0), "{:?}", modes(&path));
    }
}

#[tokio::test]
async fn replaced_metadata_file_is_not_written() {
    let above = tempfile::tempdir().expect("a folder");
    let path = above.path().join("data");
    let (_blobs, metadata) = opened(&path).await;
    let file = path.join("metadata.sqlite");
    fs::copy(&file, path.join("copy")).expect("copied");
    fs::rename(path.join("copy"), &file).expect("replaced");
    assert_eq!(metadata.commit(Batch::default()).await, Err(MetadataError::Moved.into()));
}

#[tokio::test]
async fn a_service_whose_data_folder_was_moved_is_not_ready() {
    let above = tempfile::tempdir().expect("a folder");
    let (path, moved) = (above.path().join("data"), above.path().join("moved"));
    let (blobs, metadata) = opened(&path).await;
    let api = Api::new(&World { blobs: Arc::new(blobs), metadata: Arc::new(metadata), ..World::default() }).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    fs::rename(&path, &moved).expect("moved");
    assert_eq!(api.get("/readyz", "").await.code(), (503, "data_folder_moved".to_owned()));
    assert_eq!(api.get("/v1/workers", &token).await.status, StatusCode::OK);
    let digest = Digest::of("x");
    let refused = api.ask("PUT", &format!("/v1/blobs/{digest}"), &token, "x", "").await;
    assert_eq!(refused.code(), (503, "data_folder_moved".to_owned()));
    assert!(!path.exists());
}

/// A small file system in memory, if this process is allowed to mount one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let place = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(place.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(place))
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut file = File::create(self.0.path().join("filler")).expect("made");
        for bytes in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.path().join("filler")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn service_on_a_full_disk_is_not_ready_and_still_reads() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: this process may not mount a disk of its own");
        return;
    };
    let (blobs, metadata) = opened(&disk.0.path().join("data")).await;
    let api = Api::new(&World { blobs: Arc::new(blobs), metadata: Arc::new(metadata), ..World::default() }).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    let digest = put(&api.runtime.content(&acme()), &bundle(1)).await;
    // The result of the readiness check is cached for a while.
    let later = || async {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
    };
    assert_eq!(api.get("/readyz", "").await.body, b"ok\n");
    disk.fill();
    later().await;
    assert_eq!(api.get("/readyz", "").await.code(), (503, "store_full".to_owned()));
    let verbose = api.get("/readyz?verbose", "").await;
    assert_eq!((verbose.status, &verbose.json()["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &false.into()));
    for path in [format!("/v1/config-bundles/{digest}"), "/v1/workers".to_owned(), "/livez".to_owned()] {
        assert_eq!(api.get(&path, &token).await.status, StatusCode::OK, "{path}");
    }
    let content = "x".repeat(2 << 20);
    let path = format!("/v1/blobs/{}", Digest::of(&content));
    assert_eq!(api.ask("PUT", &path, &token, content.clone(), "").await.code(), (507, "store_full".to_owned()));
    disk.make_room();
    later().await;
    assert_eq!(api.get("/readyz", "").await.body, b"ok\n");
    assert_eq!(api.ask("PUT", &path, &token, content, "").await.status, StatusCode::CREATED);
}
