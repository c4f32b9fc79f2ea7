//! A bounded memory by key, which several may share. Room is made by whoever has most in it: what is oldest
//! of that. So nobody loses what it has because another brings much.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most so many values by their keys.
#[derive(Debug)]
pub(crate) struct Memo<K, V, O = ()> {
    entries: Mutex<Entries<K, V, O>>,
    most: usize,
    owner: fn(&K, &V) -> O,
}

#[derive(Debug)]
struct Entries<K, V, O> {
    by_key: HashMap<K, V>,
    /// The keys of each owner that has any, with the numbers of their insertions.
    oldest_first: HashMap<O, VecDeque<(u64, K)>>,
    inserted: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    /// A memory that belongs to nobody in particular.
    pub(crate) fn new(most: usize) -> Self {
        Self::shared(most, |_, _| ())
    }
}

impl<K: Clone + Eq + Hash, V: Clone, O: Eq + Hash + Clone> Memo<K, V, O> {
    /// A memory that is shared by the owners of what is in it. A key has always the same owner.
    pub(crate) fn shared(most: usize, owner: fn(&K, &V) -> O) -> Self {
        let entries = Entries { by_key: HashMap::new(), oldest_first: HashMap::new(), inserted: 0 };
        Self { entries: Mutex::new(entries), most, owner }
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V, O>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries().by_key.get(key).cloned()
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        if self.most == 0 {
            return;
        }
        let owner = (self.owner)(&key, &value);
        let mut entries = self.entries();
        // What makes room is dropped without the lock: it may be large.
        let _replaced = match entries.by_key.insert(key.clone(), value) {
            Some(before) => Some(before),
            None => {
                entries.inserted += 1;
                let number = entries.inserted;
                entries.oldest_first.entry(owner).or_default().push_back((number, key));
                if entries.by_key.len() > self.most { entries.make_room() } else { None }
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
    /// Takes out what is oldest of whoever has most; where several have as much, what is oldest of theirs.
    fn make_room(&mut self) -> Option<V> {
        let most = |(_, own): &(&O, &VecDeque<(u64, K)>)| (own.len(), Reverse(own.front().map(|(number, _)| *number)));
        let owner = self.oldest_first.iter().max_by_key(most).map(|(owner, _)| owner.clone())?;
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
    fn what_is_oldest_makes_room() {
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
    fn who_brings_much_makes_room_of_its_own() {
        let memo = Memo::shared(4, |(owner, _): &(char, u32), ()| *owner);
        memo.insert(('a', 0), ());
        memo.insert(('b', 0), ());
        for number in 0..100 {
            memo.insert(('x', number), ());
        }
        let held = |key| memo.get(&key).is_some();
        assert!(held(('a', 0)) && held(('b', 0)) && held(('x', 99)) && held(('x', 98)) && !held(('x', 97)));
        // A newcomer has room as well.
        memo.insert(('c', 0), ());
        assert!(held(('a', 0)) && held(('b', 0)) && held(('c', 0)) && held(('x', 99)) && !held(('x', 98)));
        // Where all have as much, the oldest goes.
        memo.insert(('d', 0), ());
        assert!(!held(('a', 0)) && held(('b', 0)) && held(('c', 0)) && held(('d', 0)) && held(('x', 99)));
    }

    #[test]
    fn a_memory_for_nothing_holds_nothing() {
        let memo = Memo::new(0);
        memo.insert(1, 1);
        assert_eq!(memo.get(&1), None);
    }
}
