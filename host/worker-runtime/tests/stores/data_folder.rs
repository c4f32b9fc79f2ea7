//! Tests of a data folder: only one process can hold it, and it is private.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use worker_runtime::{DataFolder, DataFolderError};

use super::CANARY;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn refused(path: &Path) -> DataFolderError {
    let error = DataFolder::open(path).await.unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.help()).contains(CANARY), "{error:?}");
    error
}

#[tokio::test]
async fn second_holder_is_refused_until_the_first_is_gone() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join(CANARY);
    let first = DataFolder::open(&path).await.unwrap();
    assert!(!format!("{first:?}").contains(CANARY));
    let error = refused(&path).await;
    assert_eq!((&error, error.code().as_str()), (&DataFolderError::InUse, "store_in_use"));
    drop(first);
    DataFolder::open(&path).await.unwrap();
}

#[tokio::test]
async fn blob_store_holds_the_lock_after_the_folder_is_dropped() {
    let above = tempfile::tempdir().unwrap();
    let blobs = DataFolder::open(above.path().join("data")).await.unwrap().blobs();
    assert_eq!(refused(&above.path().join("data")).await, DataFolderError::InUse);
    drop(blobs);
    DataFolder::open(above.path().join("data")).await.unwrap();
}

#[tokio::test]
async fn two_folders_can_be_open_at_the_same_time() {
    let above = tempfile::tempdir().unwrap();
    let _one = DataFolder::open(above.path().join("one")).await.unwrap();
    let _other = DataFolder::open(above.path().join("other")).await.unwrap();
}

#[tokio::test]
async fn folder_and_missing_parents_are_created_private() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("a/b/data");
    let folder = DataFolder::open(&path).await.unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(folder.metadata_file().parent(), Some(path.canonicalize().unwrap().as_path()));
}

#[tokio::test]
async fn folder_that_others_can_access_is_refused_unless_it_is_empty() {
    let above = tempfile::tempdir().unwrap();
    let (full, empty, private) = (above.path().join(CANARY), above.path().join("empty"), above.path().join("private"));
    for folder in [&full, &empty, &private] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(full.join("somebody's"), "work").unwrap();
    fs::write(private.join("somebody's"), "work").unwrap();
    set_mode(&full, 0o755);
    set_mode(&empty, 0o755);
    set_mode(&private, 0o700);
    let error = refused(&full).await;
    assert_eq!((&error, error.code().as_str()), (&DataFolderError::NotPrivate, "data_folder_not_private"));
    assert_eq!(mode(&full), 0o755);
    DataFolder::open(&empty).await.unwrap();
    assert_eq!(mode(&empty), 0o700);
    DataFolder::open(&private).await.unwrap();
}

#[tokio::test]
async fn path_that_is_not_a_folder_is_refused() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join(CANARY);
    fs::write(&path, "a file").unwrap();
    for path in [path.clone(), path.join("below it")] {
        let error = refused(&path).await;
        assert_eq!((&error, error.code().as_str()), (&DataFolderError::NotAFolder, "data_folder_not_a_folder"));
    }
    fs::remove_file(&path).unwrap();
    DataFolder::open(&path).await.unwrap();
}

#[tokio::test]
async fn folder_of_blobs_that_is_a_link_is_refused() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join(CANARY);
    fs::create_dir(above.path().join("elsewhere")).unwrap();
    drop(DataFolder::open(&path).await.unwrap());
    for folder in ["staging", "quarantine", "blobs"] {
        let moved = above.path().join(folder);
        fs::rename(path.join(folder), &moved).unwrap();
        std::os::unix::fs::symlink(&moved, path.join(folder)).unwrap();
        let error = refused(&path).await;
        assert_eq!(error.code(), "store_unavailable", "{folder}");
        fs::remove_file(path.join(folder)).unwrap();
        fs::rename(&moved, path.join(folder)).unwrap();
        drop(DataFolder::open(&path).await.unwrap());
    }
}
