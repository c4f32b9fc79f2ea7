//! Test suite for all blob stores.

use std::sync::Arc;

use bundles::{Blob, Digest};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::oneshot;
use worker_runtime::blob_store::{
    BlobCondition, BlobError, BlobSource, BlobStore, PutOutcome, SourceError, source_from,
};

/// Size that every store uploads in several parts, and not a multiple of the part size.
pub(super) const LARGE: usize = (17 << 20) + 5;
/// Limit above the size of all content in these tests.
pub(super) const MOST: u64 = 64 << 20;

/// Returns pseudo-random bytes.
pub(super) fn content(bytes: usize) -> Bytes {
    let mut word = 0x9e37_79b9_u32;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        word.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Returns a source with pieces of this size.
pub(super) fn pieces(content: &Bytes, bytes: usize) -> BlobSource<'static> {
    let pieces: Vec<_> = content.chunks(bytes).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// Returns a source that fails after this number of bytes.
fn broken_off(content: &Bytes, after: usize) -> BlobSource<'static> {
    pieces(&content.slice(..after), 64 << 10).chain(stream::iter([Err(SourceError)])).boxed()
}

/// Returns the path of a blob below the data folder.
pub(super) fn place_of(digest: Digest) -> String {
    let hex = digest.hex();
    format!("blobs/sha256/{}/{hex}", hex.get(..2).unwrap())
}

pub(super) async fn put(store: &dyn BlobStore, content: &Bytes) -> (Digest, PutOutcome) {
    let digest = Digest::of(content);
    (digest, store.put(digest, source_from(content.clone()), MOST).await.unwrap())
}

pub(super) async fn listed(store: &dyn BlobStore) -> Vec<(Digest, u64)> {
    let mut listed: Vec<_> = store.list().try_collect().await.unwrap();
    listed.sort();
    listed
}

pub(super) async fn assert_nothing_is_there(store: &dyn BlobStore, digest: Digest) {
    assert_eq!(store.get(digest, MOST).await, Err(BlobError::NotFound(digest)));
    assert_eq!(store.size(digest).await, Ok(None));
    assert_eq!(store.check(digest).await, Ok(BlobCondition::Missing));
    assert_eq!(listed(store).await, []);
}

pub(super) async fn blob_of_any_size_is_read_as_it_was_put(store: Arc<dyn BlobStore>) {
    for bytes in [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 8 << 20, LARGE] {
        let content = content(bytes);
        let (digest, put) = put(&*store, &content).await;
        assert_eq!(put, PutOutcome { bytes: bytes as u64, existed: false });
        assert!(store.get(digest, MOST).await.unwrap() == content, "{bytes} bytes");
        assert_eq!(store.size(digest).await, Ok(Some(bytes as u64)));
        assert_eq!(store.check(digest).await, Ok(BlobCondition::Sound(bytes as u64)));
    }
}

pub(super) async fn pieces_of_any_size_make_the_same_blob(store: Arc<dyn BlobStore>) {
    for (bytes, piece) in [(5000, 1), (3 << 20, 1000), (LARGE, 3 << 20)] {
        let content = content(bytes);
        let digest = Digest::of(&content);
        store.put(digest, pieces(&content, piece), MOST).await.unwrap();
        assert!(store.get(digest, MOST).await.unwrap() == content, "{bytes} bytes");
    }
}

pub(super) async fn put_is_idempotent(store: Arc<dyn BlobStore>) {
    for bytes in [10, LARGE] {
        let content = content(bytes);
        let (digest, _) = put(&*store, &content).await;
        let (_, again) = put(&*store, &content).await;
        assert_eq!(again, PutOutcome { bytes: bytes as u64, existed: true });
        assert!(store.get(digest, MOST).await.unwrap() == content);
    }
    assert_eq!(listed(&*store).await.len(), 2);
}

pub(super) async fn hashed_content_is_stored_like_a_stream(store: Arc<dyn BlobStore>) {
    for bytes in [0, 10, 1 << 20, LARGE] {
        let blob = Blob::new(&*content(bytes));
        for existed in [false, true] {
            assert_eq!(store.put_hashed(blob.clone()).await, Ok(PutOutcome { bytes: bytes as u64, existed }));
        }
        let (digest, again) = put(&*store, &content(bytes)).await;
        assert_eq!(again, PutOutcome { bytes: bytes as u64, existed: true });
        assert!(store.get(digest, MOST).await.unwrap() == content(bytes), "{bytes} bytes");
    }
}

pub(super) async fn content_of_another_digest_is_refused_and_leaves_nothing(store: Arc<dyn BlobStore>) {
    let declared = Digest::of("something else");
    for bytes in [0, 10, LARGE] {
        let content = content(bytes);
        let actual = Digest::of(&content);
        let refused = store.put(declared, pieces(&content, 1 << 20), MOST).await;
        assert_eq!(refused, Err(BlobError::DigestMismatch { declared, actual }));
        assert_nothing_is_there(&*store, declared).await;
        assert_nothing_is_there(&*store, actual).await;
    }
}

pub(super) async fn content_over_the_limit_is_refused_and_at_the_limit_is_stored(store: Arc<dyn BlobStore>) {
    for bytes in [10, LARGE] {
        let content = content(bytes);
        let digest = Digest::of(&content);
        let allowed = bytes as u64 - 1;
        let refused = store.put(digest, pieces(&content, 1 << 20), allowed).await;
        assert_eq!(refused, Err(BlobError::TooLarge { allowed }));
        assert_eq!(store.size(digest).await, Ok(None));
        store.put(digest, pieces(&content, 1 << 20), bytes as u64).await.unwrap();
        assert_eq!(store.get(digest, allowed).await, Err(BlobError::TooLarge { allowed }));
        assert!(store.get(digest, bytes as u64).await.unwrap() == content);
    }
}

pub(super) async fn blob_is_served_by_its_own_size_and_by_no_other(store: Arc<dyn BlobStore>) {
    for bytes in [0, 10, LARGE] {
        let content = content(bytes);
        let (digest, _) = put(&*store, &content).await;
        assert!(store.get_sized(digest, bytes as u64).await.unwrap() == content, "{bytes} bytes");
        assert_eq!(store.get_sized(digest, bytes as u64 + 1).await, Err(BlobError::Damaged(digest)));
    }
    let digest = Digest::of("never put");
    assert_eq!(store.get_sized(digest, 9).await, Err(BlobError::NotFound(digest)));
}

pub(super) async fn incomplete_content_leaves_nothing(store: Arc<dyn BlobStore>) {
    for (bytes, after) in [(10, 0), (10, 10), (LARGE, LARGE - 1), (LARGE, LARGE)] {
        let content = content(bytes);
        let digest = Digest::of(&content);
        let refused = store.put(digest, broken_off(&content, after), MOST).await;
        assert_eq!(refused, Err(BlobError::Source(SourceError)));
        assert_nothing_is_there(&*store, digest).await;
    }
}

pub(super) async fn existing_blob_cannot_be_put_without_its_content(store: Arc<dyn BlobStore>) {
    for bytes in [10, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(&*store, &right).await;
        let mut wrong = right.to_vec();
        wrong[bytes - 1] ^= 1;
        let wrong = Bytes::from(wrong);
        let refused = store.put(digest, source_from(wrong.clone()), MOST).await;
        assert_eq!(refused, Err(BlobError::DigestMismatch { declared: digest, actual: Digest::of(&wrong) }));
        let refused = store.put(digest, broken_off(&right, bytes / 2), MOST).await;
        assert_eq!(refused, Err(BlobError::Source(SourceError)));
        assert!(store.get(digest, MOST).await.unwrap() == right);
    }
}

/// Starts a put whose last byte never arrives, and drops it when it waits for that byte.
pub(super) async fn put_and_drop(store: &dyn BlobStore, content: &Bytes) {
    let (waits, waiting) = oneshot::channel();
    let never = stream::once(async move {
        waits.send(()).unwrap();
        std::future::pending().await
    });
    let source = pieces(&content.slice(..content.len() - 1), 1 << 20).chain(never).boxed();
    tokio::select! {
        _ = store.put(Digest::of(content), source, MOST) => unreachable!(),
        reached = waiting => reached.unwrap(),
    }
}

pub(super) async fn dropped_put_leaves_nothing_visible(store: Arc<dyn BlobStore>) {
    for bytes in [10, LARGE] {
        let content = content(bytes);
        put_and_drop(&*store, &content).await;
        assert_nothing_is_there(&*store, Digest::of(&content)).await;
    }
    put(&*store, &content(LARGE)).await;
}

pub(super) async fn concurrent_puts_of_the_same_blob_all_succeed(store: Arc<dyn BlobStore>) {
    for bytes in [1000, (9 << 20) + 1] {
        let content = content(bytes);
        let digest = Digest::of(&content);
        let puts = (0..8).map(|_| {
            let (store, source) = (store.clone(), pieces(&content, 256 << 10));
            tokio::spawn(async move { store.put(digest, source, MOST).await.unwrap() })
        });
        let done = join_all(puts).await;
        assert!(done.iter().any(|put| !put.as_ref().unwrap().existed));
        assert!(store.get(digest, MOST).await.unwrap() == content);
        assert_eq!(store.check(digest).await, Ok(BlobCondition::Sound(bytes as u64)));
    }
    assert_eq!(listed(&*store).await.len(), 2);
}

pub(super) async fn absent_blob_is_missing_and_can_be_removed(store: Arc<dyn BlobStore>) {
    let digest = Digest::of("never put");
    assert_nothing_is_there(&*store, digest).await;
    assert_eq!(store.remove(digest).await, Ok(()));
}

pub(super) async fn list_names_every_blob_with_its_bytes_until_it_is_removed(store: Arc<dyn BlobStore>) {
    assert_eq!(listed(&*store).await, []);
    let mut expected = Vec::new();
    for bytes in 0..20 {
        expected.push((put(&*store, &content(bytes)).await.0, bytes as u64));
    }
    expected.sort();
    assert_eq!(listed(&*store).await, expected);
    let (gone, bytes) = expected.remove(7);
    store.remove(gone).await.unwrap();
    assert_eq!(listed(&*store).await, expected);
    assert_eq!(store.get(gone, MOST).await, Err(BlobError::NotFound(gone)));
    let (_, again) = put(&*store, &content(usize::try_from(bytes).unwrap())).await;
    assert!(!again.existed);
    assert_eq!(listed(&*store).await.len(), 20);
    let set_aside: Vec<_> = store.quarantined().try_collect().await.unwrap();
    assert_eq!(set_aside, []);
}

/// Expands to the suite. `$fresh` creates a new store and a value that keeps its resources alive.
macro_rules! suite {
    ($fresh:expr) => {
        $crate::stores::blobs::suite!($fresh;
            blob_of_any_size_is_read_as_it_was_put,
            pieces_of_any_size_make_the_same_blob,
            put_is_idempotent,
            hashed_content_is_stored_like_a_stream,
            content_of_another_digest_is_refused_and_leaves_nothing,
            content_over_the_limit_is_refused_and_at_the_limit_is_stored,
            blob_is_served_by_its_own_size_and_by_no_other,
            incomplete_content_leaves_nothing,
            existing_blob_cannot_be_put_without_its_content,
            dropped_put_leaves_nothing_visible,
            concurrent_puts_of_the_same_blob_all_succeed,
            absent_blob_is_missing_and_can_be_removed,
            list_names_every_blob_with_its_bytes_until_it_is_removed,
        );
    };
    ($fresh:expr; $($name:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some((store, _alive)) = $fresh.await {
                    $crate::stores::blobs::$name(store).await;
                }
            }
        )+
    };
}
pub(crate) use suite;

mod memory {
    use super::*;
    use worker_runtime::blob_store::MemoryBlobs;

    async fn fresh() -> Option<(Arc<dyn BlobStore>, ())> {
        Some((Arc::new(MemoryBlobs::new(MOST)), ()))
    }

    super::suite!(fresh());

    #[tokio::test]
    async fn blob_that_does_not_fit_is_refused_and_the_store_stays_usable() {
        let store = MemoryBlobs::new(100);
        put(&store, &content(60)).await;
        let large = content(41);
        assert_eq!(store.put(Digest::of(&large), source_from(large), MOST).await, Err(BlobError::Full));
        put(&store, &content(40)).await;
    }
}
