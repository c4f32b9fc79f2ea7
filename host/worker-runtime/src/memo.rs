//! A bounded memory by key. What is oldest makes room.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// At most so many values by their keys.
#[derive(Debug)]
pub(crate) struct Memo<K, V> {
    entries: Mutex<Entries<K, V>>,
    most: usize,
}

#[derive(Debug)]
struct Entries<K, V> {
    by_key: HashMap<K, V>,
    oldest_first: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: Mutex::new(Entries { by_key: HashMap::new(), oldest_first: VecDeque::new() }), most }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).by_key.get(key).cloned()
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        if self.most == 0 {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.by_key.insert(key.clone(), value).is_some() {
            return;
        }
        entries.oldest_first.push_back(key);
        if entries.oldest_first.len() > self.most
            && let Some(oldest) = entries.oldest_first.pop_front()
        {
            entries.by_key.remove(&oldest);
        }
    }

    pub(crate) fn remove(&self, key: &K) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.by_key.remove(key).is_some() {
            entries.oldest_first.retain(|held| held != key);
        }
    }
}
