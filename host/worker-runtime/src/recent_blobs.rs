//! Blobs that came in a short while ago, in memory: the bundle that names them comes next, and is verified without
//! reading, digesting and scanning them again. A blob is remembered for who brought it, and helps nobody else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bundles::{Blob, Digest, WorkspaceId};

type Key = (WorkspaceId, Digest);

/// Blobs of so many bytes at the most; the oldest make room.
#[derive(Debug)]
pub(crate) struct RecentBlobs {
    kept: Mutex<Kept>,
    most_bytes: u64,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<Key, Blob>,
    oldest_first: VecDeque<Key>,
    bytes: u64,
}

impl RecentBlobs {
    pub(crate) fn new(most_bytes: u64) -> Self {
        Self { kept: Mutex::default(), most_bytes }
    }

    pub(crate) fn remember(&self, workspace: &WorkspaceId, blob: Blob) {
        let bytes = blob.bytes().len() as u64;
        if bytes > self.most_bytes {
            return;
        }
        let key = (workspace.clone(), blob.digest());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_key.insert(key.clone(), blob).is_some() {
            return;
        }
        kept.oldest_first.push_back(key);
        kept.bytes += bytes;
        while kept.bytes > self.most_bytes
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            if let Some(blob) = kept.by_key.remove(&oldest) {
                kept.bytes -= blob.bytes().len() as u64;
            }
        }
    }

    pub(crate) fn get(&self, workspace: &WorkspaceId, digest: Digest) -> Option<Blob> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_key.get(&(workspace.clone(), digest)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_within_the_bound_and_for_who_brought_them() {
        let recent = RecentBlobs::new(8);
        let (acme, other) = ("acme".parse().expect("a name"), "other".parse().expect("a name"));
        let [first, second, third, large] = [&b"aaaa"[..], b"bbbb", b"cccc", b"ddddddddd"].map(Blob::new);
        for blob in [&first, &second, &second, &third, &large] {
            recent.remember(&acme, blob.clone());
        }
        assert!(recent.get(&acme, first.digest()).is_none(), "it made room");
        assert!(recent.get(&acme, second.digest()).is_some());
        assert!(recent.get(&acme, third.digest()).is_some());
        assert!(recent.get(&acme, large.digest()).is_none(), "there is no room for it");
        assert!(recent.get(&other, third.digest()).is_none());
    }
}
