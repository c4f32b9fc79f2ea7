//! A bounded cache that owners can share. When the cache is full, the oldest entry of the owner with the most entries
//! is evicted. An owner that inserts many entries therefore evicts its own.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded cache of values by key.
#[derive(Debug)]
pub(crate) struct Memo<K, V, O = ()> {
    entries: Mutex<Entries<K, V, O>>,
    capacity: usize,
    owner: fn(&K, &V) -> O,
}

#[derive(Debug)]
struct Entries<K, V, O> {
    by_key: HashMap<K, V>,
    /// Keys of each owner that has entries, with the sequence numbers of their insertions.
    oldest_first: HashMap<O, VecDeque<(u64, K)>>,
    inserted: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    /// Creates a cache without owners. A capacity of 0 disables it.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::shared(capacity, |_, _| ())
    }
}

impl<K: Clone + Eq + Hash, V: Clone, O: Eq + Hash + Clone> Memo<K, V, O> {
    /// Creates a cache that is shared by owners. `owner` must always return the same owner for a key.
    pub(crate) fn shared(capacity: usize, owner: fn(&K, &V) -> O) -> Self {
        let entries = Entries { by_key: HashMap::new(), oldest_first: HashMap::new(), inserted: 0 };
        Self { entries: Mutex::new(entries), capacity, owner }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V, O>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries().by_key.get(key).cloned()
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        if self.capacity == 0 {
            return;
        }
        let owner = (self.owner)(&key, &value);
        let mut entries = self.entries();
        // Dropped after the lock is released, because dropping a large value takes a while.
        let _evicted = match entries.by_key.insert(key.clone(), value) {
            Some(previous) => Some(previous),
            None => {
                entries.inserted += 1;
                let number = entries.inserted;
                entries.oldest_first.entry(owner).or_default().push_back((number, key));
                if entries.by_key.len() > self.capacity { entries.evict() } else { None }
            }
        };
        drop(entries);
    }

    pub(crate) fn remove(&self, key: &K) {
        let mut entries = self.entries();
        let Some(value) = entries.by_key.remove(key) else { return };
        let owner = (self.owner)(key, &value);
        if let Some(own) = entries.oldest_first.get_mut(&owner) {
            own.retain(|(_, held)| held != key);
            if own.is_empty() {
                entries.oldest_first.remove(&owner);
            }
        }
        drop(entries);
    }
}

impl<K: Clone + Eq + Hash, V, O: Eq + Hash + Clone> Entries<K, V, O> {
    /// Removes the oldest entry of the owner with the most entries. Among equal owners, removes the oldest entry of
    /// all.
    fn evict(&mut self) -> Option<V> {
        let rank = |(_, own): &(&O, &VecDeque<(u64, K)>)| (own.len(), Reverse(own.front().map(|(number, _)| *number)));
        let owner = self.oldest_first.iter().max_by_key(rank).map(|(owner, _)| owner.clone())?;
        let own = self.oldest_first.get_mut(&owner)?;
        let (_, oldest) = own.pop_front()?;
        if own.is_empty() {
            self.oldest_first.remove(&owner);
        }
        self.by_key.remove(&oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_entry_is_evicted() {
        let memo = Memo::new(2);
        for number in [1, 2, 1, 3] {
            memo.insert(number, number * 10);
        }
        assert_eq!([1, 2, 3].map(|number| memo.get(&number)), [None, Some(20), Some(30)]);
        memo.remove(&2);
        memo.insert(4, 40);
        assert_eq!([2, 3, 4].map(|number| memo.get(&number)), [None, Some(30), Some(40)]);
    }

    #[test]
    fn owner_with_most_entries_evicts_its_own() {
        let memo = Memo::shared(4, |(owner, _): &(char, u32), ()| *owner);
        memo.insert(('a', 0), ());
        memo.insert(('b', 0), ());
        for number in 0..100 {
            memo.insert(('x', number), ());
        }
        let held = |key| memo.get(&key).is_some();
        assert!(held(('a', 0)) && held(('b', 0)) && held(('x', 99)) && held(('x', 98)) && !held(('x', 97)));
        // A new owner gets an entry as well.
        memo.insert(('c', 0), ());
        assert!(held(('a', 0)) && held(('b', 0)) && held(('c', 0)) && held(('x', 99)) && !held(('x', 98)));
        // Among equal owners, the oldest entry is evicted.
        memo.insert(('d', 0), ());
        assert!(!held(('a', 0)) && held(('b', 0)) && held(('c', 0)) && held(('d', 0)) && held(('x', 99)));
    }

    #[test]
    fn cache_of_capacity_zero_stays_empty() {
        let memo = Memo::new(0);
        memo.insert(1, 1);
        assert_eq!(memo.get(&1), None);
    }
}
