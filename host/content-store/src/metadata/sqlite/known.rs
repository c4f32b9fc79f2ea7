//! Records that were written a short while ago, and keys that had none, so that most reads wait for no thread. What is
//! only read is not among them: whoever reads through much must not make forgotten what changes all the time.
//!
//! Only the thread that owns the connection writes here: what it did not find, and what it committed once that is
//! durable and before anybody is told. So a read here sees what a read of the file would see. After a failure nothing
//! is known.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::metadata::{Batch, Key, VersionedValue};

/// Most records that are known.
const MOST_RECORDS: usize = 8192;

/// Bytes of the longest record that is known.
const LONGEST: usize = 4096;

/// What is known. That there is no record under a key can be known too.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<Generations>);

/// What was learned lately, and what before that. When the first is half of what may be known, it becomes what was
/// learned before, and the rest is forgotten.
#[derive(Debug, Default)]
struct Generations {
    lately: HashMap<Key, Option<VersionedValue>>,
    before: HashMap<Key, Option<VersionedValue>>,
}

impl Generations {
    fn learn(&mut self, key: &Key, record: Option<VersionedValue>) {
        if record.as_ref().is_some_and(|record| record.value.len() > LONGEST) {
            self.lately.remove(key);
            self.before.remove(key);
            return;
        }
        if self.lately.len() >= MOST_RECORDS / 2 && !self.lately.contains_key(key) {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(key.clone(), record);
    }
}

impl Known {
    /// The record under a key, or that there is none; nothing where that is not known.
    pub(super) fn get(&self, key: &Key) -> Option<Option<VersionedValue>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.lately.get(key).or_else(|| known.before.get(key)).cloned()
    }

    /// That there is no record under a key.
    pub(super) fn absent(&self, key: &Key) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).learn(key, None);
    }

    /// What a batch wrote, each record with that version.
    pub(super) fn wrote(&self, batch: &Batch, version: u64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in &batch.changes {
            known.learn(key, change.clone().map(|value| VersionedValue { value, version }));
        }
    }

    /// Nothing is known any more.
    pub(super) fn forget(&self) {
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
    fn what_was_written_last_is_known_and_so_is_what_is_gone() {
        let known = Known::default();
        assert_eq!(known.get(&key(1)), None);
        known.wrote(&Batch::default().put(&key(1), vec![1]).put(&key(2), vec![2]), 7);
        assert_eq!(known.get(&key(1)), Some(Some(VersionedValue { value: vec![1], version: 7 })));
        known.wrote(&Batch::default().delete(&key(1)), 8);
        assert_eq!(known.get(&key(1)), Some(None));
        known.absent(&key(3));
        assert_eq!(known.get(&key(3)), Some(None));
        known.wrote(&Batch::default().put(&key(3), vec![3]), 9);
        assert_eq!(known.get(&key(3)), Some(Some(VersionedValue { value: vec![3], version: 9 })));
        known.forget();
        assert_eq!(known.get(&key(2)), None);
    }

    #[test]
    fn a_bounded_number_is_known_and_none_that_is_long_or_stale() {
        let known = Known::default();
        for number in 0..3 * MOST_RECORDS {
            known.wrote(&Batch::default().put(&key(number), vec![0]), number as u64);
        }
        let kept = (0..3 * MOST_RECORDS).filter(|number| known.get(&key(*number)).is_some()).count();
        assert!((MOST_RECORDS / 2..=MOST_RECORDS).contains(&kept), "{kept}");
        let last = 3 * MOST_RECORDS - 1;
        known.wrote(&Batch::default().put(&key(last), vec![0; LONGEST + 1]), 1);
        assert_eq!(known.get(&key(last)), None);
    }
}
