//! Cache of recently written records, and of keys that were found to have no record, so that most reads do not wait for
//! a thread. Records that were only read are not cached: a scan over many records would evict those that change all the
//! time.
//!
//! Only the writer thread changes the cache. It inserts keys that it did not find, and the records of a batch after the
//! batch is durable and before its caller gets the result. A read of the cache therefore returns what a read of the
//! file would return. After a failure the cache is cleared.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::metadata::{Batch, Key, VersionedValue};

/// Maximum number of cached records.
const MAX_RECORDS: usize = 8192;

/// Maximum size of a cached value in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// Cached records. `None` as the value of a key means that there is no record.
#[derive(Debug, Default)]
pub(super) struct RecordCache(RwLock<Generations>);

/// Two generations of cached records. When `recent` holds half of the maximum, it becomes `older`, and the former
/// `older` is dropped.
#[derive(Debug, Default)]
struct Generations {
    recent: HashMap<Key, Option<VersionedValue>>,
    older: HashMap<Key, Option<VersionedValue>>,
}

impl Generations {
    fn insert(&mut self, key: &Key, record: Option<VersionedValue>) {
        if record.as_ref().is_some_and(|record| record.value.len() > MAX_VALUE_BYTES) {
            self.recent.remove(key);
            self.older.remove(key);
            return;
        }
        if self.recent.len() >= MAX_RECORDS / 2 && !self.recent.contains_key(key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key.clone(), record);
    }
}

impl RecordCache {
    /// Returns the cached record of a key, or `None` if the key is not cached.
    pub(super) fn get(&self, key: &Key) -> Option<Option<VersionedValue>> {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cache.recent.get(key).or_else(|| cache.older.get(key)).cloned()
    }

    /// Records that a key has no record.
    pub(super) fn insert_absent(&self, key: &Key) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, None);
    }

    /// Records the changes of a batch, with the version of the batch.
    pub(super) fn insert_batch(&self, batch: &Batch, version: u64) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in &batch.changes {
            cache.insert(key, change.clone().map(|value| VersionedValue { value, version }));
        }
    }

    /// Removes everything, after a failure.
    pub(super) fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::new("k").part(number)
    }

    #[test]
    fn last_writes_and_deletions_are_cached() {
        let cache = RecordCache::default();
        assert_eq!(cache.get(&key(1)), None);
        cache.insert_batch(&Batch::default().put(&key(1), vec![1]).put(&key(2), vec![2]), 7);
        assert_eq!(cache.get(&key(1)), Some(Some(VersionedValue { value: vec![1], version: 7 })));
        cache.insert_batch(&Batch::default().delete(&key(1)), 8);
        assert_eq!(cache.get(&key(1)), Some(None));
        cache.insert_absent(&key(3));
        assert_eq!(cache.get(&key(3)), Some(None));
        cache.insert_batch(&Batch::default().put(&key(3), vec![3]), 9);
        assert_eq!(cache.get(&key(3)), Some(Some(VersionedValue { value: vec![3], version: 9 })));
        cache.clear();
        assert_eq!(cache.get(&key(2)), None);
    }

    #[test]
    fn number_of_records_is_limited_and_long_values_are_not_cached() {
        let cache = RecordCache::default();
        for number in 0..3 * MAX_RECORDS {
            cache.insert_batch(&Batch::default().put(&key(number), vec![0]), number as u64);
        }
        let kept = (0..3 * MAX_RECORDS).filter(|number| cache.get(&key(*number)).is_some()).count();
        assert!((MAX_RECORDS / 2..=MAX_RECORDS).contains(&kept), "{kept}");
        let last = 3 * MAX_RECORDS - 1;
        cache.insert_batch(&Batch::default().put(&key(last), vec![0; MAX_VALUE_BYTES + 1]), 1);
        assert_eq!(cache.get(&key(last)), None);
    }
}
