//! Test suite for stores whose content can be damaged from outside.

use std::fmt;

use bundles::Digest;
use bytes::Bytes;
use futures_util::stream::TryStreamExt;
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobStore, PutOutcome, source_from};

use super::blobs::{LARGE, MOST, content, listed, put};

/// A store, with access to its content behind its back.
pub(super) trait TamperableStore: fmt::Debug {
    fn store(&self) -> &dyn BlobStore;
    fn write_past_it(&self, digest: Digest, content: &[u8]);
}

/// Checks that the damaged blob is refused and quarantined, and that putting it again repairs it.
pub(super) async fn assert_refused_and_repaired(store: &dyn BlobStore, digest: Digest, right: &Bytes, what: &str) {
    let aside = set_aside(store).await.len();
    assert_eq!(store.get(digest, MOST).await, Err(BlobError::Damaged(digest)), "{what}");
    assert_eq!(store.get(digest, MOST).await, Err(BlobError::NotFound(digest)), "{what}");
    assert_eq!(store.size(digest).await, Ok(None), "{what}");
    assert!(set_aside(store).await.len() > aside || aside > 0, "{what}");
    let healed = store.put(digest, source_from(right.clone()), MOST).await;
    assert_eq!(healed, Ok(PutOutcome { bytes: right.len() as u64, existed: false }), "{what}");
    assert!(store.get(digest, MOST).await.unwrap() == *right, "{what}");
}

pub(super) async fn set_aside(store: &dyn BlobStore) -> Vec<Digest> {
    store.quarantined().try_collect().await.unwrap()
}

pub(super) async fn no_flipped_byte_is_ever_served(place: impl TamperableStore) {
    let right = content(48);
    let (digest, _) = put(place.store(), &right).await;
    let (neighbour, _) = put(place.store(), &content(47)).await;
    for index in 0..right.len() {
        let mut wrong = right.to_vec();
        wrong[index] ^= 0x40;
        place.write_past_it(digest, &wrong);
        assert_refused_and_repaired(place.store(), digest, &right, &format!("byte {index}")).await;
    }
    assert!(set_aside(place.store()).await.iter().all(|found| *found == digest));
    assert_eq!(place.store().check(neighbour).await, Ok(BlobCondition::Sound(47)));
}

pub(super) async fn blob_of_the_wrong_length_is_never_served(place: impl TamperableStore) {
    let right = content(4096);
    let (digest, _) = put(place.store(), &right).await;
    let longer = [&right[..], b"x"].concat();
    for (what, wrong) in
        [("truncated", &right[..4095]), ("extended", &longer), ("empty", b""), ("one byte", &right[..1])]
    {
        place.write_past_it(digest, wrong);
        assert_refused_and_repaired(place.store(), digest, &right, what).await;
    }
}

pub(super) async fn blob_of_another_size_than_recorded_is_quarantined(place: impl TamperableStore) {
    let store = place.store();
    for bytes in [100, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(store, &right).await;
        let recorded = bytes as u64;
        for wrong in [[&right[..], b"x"].concat(), [&right[..], &right[..]].concat(), right[1..].to_vec(), Vec::new()] {
            let what = format!("{} bytes of {bytes}", wrong.len());
            place.write_past_it(digest, &wrong);
            let aside = set_aside(store).await.len();
            assert_eq!(store.get_sized(digest, recorded).await, Err(BlobError::Damaged(digest)), "{what}");
            assert_eq!(store.get_sized(digest, recorded).await, Err(BlobError::NotFound(digest)), "{what}");
            assert!(set_aside(store).await.len() > aside || aside > 0, "{what}");
            put(store, &right).await;
            assert!(store.get_sized(digest, recorded).await.unwrap() == right, "{what}");
        }
    }
}

pub(super) async fn put_repairs_a_blob_of_the_right_size_and_wrong_content(place: impl TamperableStore) {
    for bytes in [100, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(place.store(), &right).await;
        let mut wrong = right.to_vec();
        wrong[bytes / 2] ^= 1;
        place.write_past_it(digest, &wrong);
        put(place.store(), &right).await;
        assert!(place.store().get_sized(digest, bytes as u64).await.unwrap() == right);
    }
}

pub(super) async fn large_blob_with_one_wrong_byte_is_never_served(place: impl TamperableStore) {
    let right = content(LARGE);
    let (digest, _) = put(place.store(), &right).await;
    let mut wrong = right.to_vec();
    wrong[LARGE - 1] ^= 1;
    place.write_past_it(digest, &wrong);
    assert_refused_and_repaired(place.store(), digest, &right, "last byte").await;
}

pub(super) async fn check_finds_damage_and_names_it_once(place: impl TamperableStore) {
    let (digest, _) = put(place.store(), &content(100)).await;
    let (neighbour, _) = put(place.store(), &content(99)).await;
    place.write_past_it(digest, b"wrong");
    assert_eq!(listed(place.store()).await.len(), 2);
    assert_eq!(place.store().check(digest).await, Ok(BlobCondition::Damaged));
    assert_eq!(place.store().check(digest).await, Ok(BlobCondition::Missing));
    assert_eq!(place.store().check(neighbour).await, Ok(BlobCondition::Sound(99)));
    assert_eq!(listed(place.store()).await, [(neighbour, 99)]);
    assert_eq!(set_aside(place.store()).await, [digest]);
}

pub(super) async fn put_repairs_a_damaged_blob_that_was_not_read(place: impl TamperableStore) {
    for bytes in [100, LARGE] {
        let right = content(bytes);
        let (digest, _) = put(place.store(), &right).await;
        place.write_past_it(digest, &right[1..]);
        let (_, healed) = put(place.store(), &right).await;
        assert!(!healed.existed);
        assert!(place.store().get(digest, MOST).await.unwrap() == right);
        assert!(set_aside(place.store()).await.contains(&digest));
    }
}

/// Expands to the tests above. `$fresh` creates the store.
macro_rules! damage {
    ($fresh:expr) => {
        $crate::stores::damage::damage!($fresh;
            no_flipped_byte_is_ever_served,
            blob_of_the_wrong_length_is_never_served,
            blob_of_another_size_than_recorded_is_quarantined,
            put_repairs_a_blob_of_the_right_size_and_wrong_content,
            large_blob_with_one_wrong_byte_is_never_served,
            check_finds_damage_and_names_it_once,
            put_repairs_a_damaged_blob_that_was_not_read,
        );
    };
    ($fresh:expr; $($name:ident,)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                if let Some(place) = $fresh.await {
                    $crate::stores::damage::$name(place).await;
                }
            }
        )+
    };
}
pub(crate) use damage;
