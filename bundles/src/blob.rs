//! Bytes of a blob with their digest and cached scan result. A [`Blob`] can only be created by hashing its bytes and is
//! immutable, so its digest is always correct.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::digest::{Digest, Digester};
use leak_scan::{Leak, Place};

/// Bytes and their digest. Cheap to clone.
#[derive(Clone)]
pub struct Blob(Arc<Inner>);

struct Inner {
    digest: Digest,
    bytes: Arc<[u8]>,
    /// A scan costs about a hundred times as much as reading its result, and many bundles contain the same blob.
    leaks: OnceLock<Vec<Leak>>,
}

impl Blob {
    /// Hashes the bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self::of(Digest::of(&bytes), bytes)
    }

    fn of(digest: Digest, bytes: Arc<[u8]>) -> Self {
        Self(Arc::new(Inner { digest, bytes, leaks: OnceLock::new() }))
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// Returns the findings of the leak scanner for the blob as prose for a model. The first call scans, in linear
    /// time. Later calls, also on clones, return the cached result.
    pub fn leaks(&self) -> &[Leak] {
        self.leaks_with_pauses(&mut || {})
    }

    /// Like [`Self::leaks`]. If the call scans, it calls `pause` about every 16 KiB, so that the caller can yield the
    /// processor.
    pub fn leaks_with_pauses(&self, pause: &mut dyn FnMut()) -> &[Leak] {
        let scan = || leak_scan::scan_with_pauses(Place::Prompt, &String::from_utf8_lossy(&self.0.bytes), pause);
        self.0.leaks.get_or_init(scan)
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for Blob {
    fn from(bytes: T) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("digest", &self.0.digest).field("bytes", &self.0.bytes.len()).finish()
    }
}

/// Builder of a blob that arrives in pieces. Hashes the pieces as they arrive.
#[derive(Debug, Default)]
pub struct BlobReader {
    digester: Digester,
    /// Buffer of the announced size, of which `filled` bytes are in use.
    announced: Arc<[u8]>,
    filled: usize,
    /// Bytes beyond the announced size.
    more: Vec<u8>,
}

impl BlobReader {
    /// Allocates a buffer of `bytes` bytes at once. If the blob has exactly this size, no byte is copied again.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { announced: std::iter::repeat_n(0, bytes).collect(), ..Self::default() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.digester.update(piece);
        let free = self.announced.len() - self.filled;
        let (first, more) = piece.split_at(free.min(piece.len()));
        // The `Arc` has no other owner yet.
        let place = Arc::get_mut(&mut self.announced).and_then(|bytes| bytes.get_mut(self.filled..));
        if let Some(place) = place.and_then(|place| place.get_mut(..first.len())) {
            place.copy_from_slice(first);
            self.filled += first.len();
        }
        self.more.extend_from_slice(more);
    }

    /// Returns the number of bytes added.
    pub fn len(&self) -> usize {
        self.filled + self.more.len()
    }

    /// `true` if no bytes were added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the blob of all added bytes.
    pub fn finish(self) -> Blob {
        let Self { digester, announced, filled, more } = self;
        if filled == announced.len() && more.is_empty() {
            return Blob::of(digester.finish(), announced);
        }
        let mut bytes = Vec::with_capacity(filled + more.len());
        bytes.extend_from_slice(announced.get(..filled).unwrap_or_default());
        bytes.extend_from_slice(&more);
        Blob::of(digester.finish(), bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_in_pieces_equals_the_whole_blob() {
        // Fewer bytes than announced, as many, and more.
        for announced in 0..6 {
            let mut reader = BlobReader::with_capacity(announced);
            for piece in [b"ab".as_slice(), b"", b"c"] {
                reader.update(piece);
            }
            assert_eq!(reader.len(), 3);
            let (pieces, whole) = (reader.finish(), Blob::new(*b"abc"));
            assert_eq!(pieces.digest(), whole.digest());
            assert_eq!(pieces.bytes(), whole.bytes());
        }
    }

    #[test]
    fn blob_has_findings_but_its_debug_output_has_no_content() {
        let blob = Blob::new(*b"See /etc/passwd first.");
        assert_eq!(blob.leaks(), leak_scan::scan(Place::Prompt, "See /etc/passwd first."));
        assert_eq!(blob.clone().leaks().len(), 1);
        assert!(!format!("{blob:?}").contains("passwd"));
    }
}
