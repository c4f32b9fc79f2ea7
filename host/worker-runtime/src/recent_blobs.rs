//! Blobs that came in a short while ago, in memory: the bundle that names them comes next, and is verified without
//! reading, digesting and scanning them again. A blob is remembered for who brought it, and helps nobody else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bundles::{Blob, Digest, WorkspaceId};

/// Blobs of so many bytes at the most. Whose blobs are most of that makes room, its oldest first: so nobody makes
/// others forget theirs.
#[derive(Debug)]
pub(crate) struct RecentBlobs {
    kept: Mutex<Kept>,
    most_bytes: u64,
}

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<WorkspaceId, Blobs>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Blobs {
    by_digest: HashMap<Digest, Blob>,
    oldest_first: VecDeque<Digest>,
    bytes: u64,
}

impl Kept {
    /// Forgets one blob, if there is any.
    fn make_room(&mut self) {
        let Some(workspace) = self.of.iter().max_by_key(|(_, blobs)| blobs.bytes).map(|(name, _)| name.clone()) else {
            return;
        };
        let Some(blobs) = self.of.get_mut(&workspace) else { return };
        let oldest = blobs.oldest_first.pop_front().and_then(|digest| blobs.by_digest.remove(&digest));
        let bytes = oldest.map_or(0, |blob| blob.bytes().len() as u64);
        blobs.bytes -= bytes;
        self.bytes -= bytes;
        if blobs.by_digest.is_empty() {
            self.of.remove(&workspace);
        }
    }
}

impl RecentBlobs {
    pub(crate) fn new(most_bytes: u64) -> Self {
        Self { kept: Mutex::default(), most_bytes }
    }

    pub(crate) fn remember(&self, workspace: &WorkspaceId, blob: Blob) {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        if bytes > self.most_bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs = kept.of.entry(workspace.clone()).or_default();
        if blobs.by_digest.insert(digest, blob).is_some() {
            return;
        }
        blobs.oldest_first.push_back(digest);
        blobs.bytes += bytes;
        kept.bytes += bytes;
        while kept.bytes > self.most_bytes {
            kept.make_room();
        }
    }

    pub(crate) fn get(&self, workspace: &WorkspaceId, digest: Digest) -> Option<Blob> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of.get(workspace)?.by_digest.get(&digest).cloned()
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
        let own = Blob::new(*b"o");
        recent.remember(&other, own.clone());
        recent.remember(&acme, first.clone());
        assert!(recent.get(&other, own.digest()).is_some(), "who has most makes room");
        assert!(recent.get(&acme, second.digest()).is_none() && recent.get(&acme, first.digest()).is_some());
    }
}
