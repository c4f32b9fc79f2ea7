//! Cache of recently received blobs. The bundle that names them usually follows, and is verified without reading,
//! hashing and scanning them again. A blob is only returned to the workspace that sent it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bundles::{Blob, Digest, WorkspaceId};

/// A cache of blobs with a limited number of bytes. When it is full, the oldest blob of the workspace with the most
/// bytes is evicted, so no workspace evicts blobs of a smaller one.
#[derive(Debug)]
pub(crate) struct RecentBlobs {
    entries: Mutex<Entries>,
    max_bytes: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_workspace: HashMap<WorkspaceId, WorkspaceBlobs>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct WorkspaceBlobs {
    by_digest: HashMap<Digest, Blob>,
    oldest_first: VecDeque<Digest>,
    bytes: u64,
}

impl Entries {
    /// Removes one blob, if there is any.
    fn evict(&mut self) {
        let Some(workspace) =
            self.by_workspace.iter().max_by_key(|(_, blobs)| blobs.bytes).map(|(name, _)| name.clone())
        else {
            return;
        };
        let Some(blobs) = self.by_workspace.get_mut(&workspace) else { return };
        let oldest = blobs.oldest_first.pop_front().and_then(|digest| blobs.by_digest.remove(&digest));
        let bytes = oldest.map_or(0, |blob| blob.bytes().len() as u64);
        blobs.bytes -= bytes;
        self.bytes -= bytes;
        if blobs.by_digest.is_empty() {
            self.by_workspace.remove(&workspace);
        }
    }
}

impl RecentBlobs {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { entries: Mutex::default(), max_bytes }
    }

    pub(crate) fn insert(&self, workspace: &WorkspaceId, blob: Blob) {
        let (digest, bytes) = (blob.digest(), blob.bytes().len() as u64);
        if bytes > self.max_bytes {
            return;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs = entries.by_workspace.entry(workspace.clone()).or_default();
        if blobs.by_digest.insert(digest, blob).is_some() {
            return;
        }
        blobs.oldest_first.push_back(digest);
        blobs.bytes += bytes;
        entries.bytes += bytes;
        while entries.bytes > self.max_bytes {
            entries.evict();
        }
    }

    pub(crate) fn get(&self, workspace: &WorkspaceId, digest: Digest) -> Option<Blob> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.by_workspace.get(workspace)?.by_digest.get(&digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_blobs_are_kept_within_the_limit_for_their_sender() {
        let recent = RecentBlobs::new(8);
        let (acme, other) = ("acme".parse().expect("a name"), "other".parse().expect("a name"));
        let [first, second, third, large] = [&b"aaaa"[..], b"bbbb", b"cccc", b"ddddddddd"].map(Blob::new);
        for blob in [&first, &second, &second, &third, &large] {
            recent.insert(&acme, blob.clone());
        }
        assert!(recent.get(&acme, first.digest()).is_none(), "it was evicted");
        assert!(recent.get(&acme, second.digest()).is_some());
        assert!(recent.get(&acme, third.digest()).is_some());
        assert!(recent.get(&acme, large.digest()).is_none(), "it exceeds the capacity");
        assert!(recent.get(&other, third.digest()).is_none());
        let own = Blob::new(*b"o");
        recent.insert(&other, own.clone());
        recent.insert(&acme, first.clone());
        assert!(recent.get(&other, own.digest()).is_some(), "the workspace with the most bytes evicts its own");
        assert!(recent.get(&acme, second.digest()).is_none() && recent.get(&acme, first.digest()).is_some());
    }
}
