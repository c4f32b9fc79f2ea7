//! What was resolved before, by the digests of all inputs. A resolution is a pure function of them,
//! so nothing here ever goes stale; what is oldest makes room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bundles::Digest;

use crate::resolutions::Resolved;

/// The inputs of a resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) resolver: Digest,
    pub(crate) bundle: Digest,
    pub(crate) facts: Digest,
    pub(crate) request: Digest,
}

/// A bounded memory of resolutions.
#[derive(Debug)]
pub(crate) struct Memo {
    entries: Mutex<Entries>,
    most: usize,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Arc<Resolved>>,
    oldest_first: VecDeque<Key>,
}

impl Memo {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Resolved>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(key).cloned()
    }

    pub(crate) fn put(&self, key: Key, resolved: Arc<Resolved>) {
        if self.most == 0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.by_key.insert(key, resolved).is_some() {
            return;
        }
        entries.oldest_first.push_back(key);
        if entries.oldest_first.len() > self.most
            && let Some(oldest) = entries.oldest_first.pop_front()
        {
            entries.by_key.remove(&oldest);
        }
    }
}
