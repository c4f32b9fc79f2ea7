//! The bytes of a blob, and what they tell of themselves: their digest, and what the leak scanner finds in them when
//! they are read as a prompt. Having a [`Blob`] is the proof of its digest; what it holds never changes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::digest::{Digest, Digester};
use crate::leaks::{self, Leak, Place};

/// Bytes that were digested. Cheap to clone.
#[derive(Clone)]
pub struct Blob(Arc<Inner>);

struct Inner {
    digest: Digest,
    bytes: Arc<[u8]>,
    /// Scanning costs a hundred times what a look at the result does, and the same blob stands in many bundles.
    leaks: OnceLock<Vec<Leak>>,
}

impl Blob {
    /// Digests some bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self::of(Digest::of(&bytes), bytes)
    }

    fn of(digest: Digest, bytes: Arc<[u8]>) -> Self {
        Self(Arc::new(Inner { digest, bytes, leaks: OnceLock::new() }))
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0.bytes
    }

    /// What the leak scanner finds in it as prose for a model. The first call scans, in time that grows with the bytes;
    /// later calls, also of clones, look it up.
    pub fn leaks(&self) -> &[Leak] {
        self.scan_in_turns(&mut || {})
    }

    /// The same; a first call calls `pause` after some 16 KiB each, so that who shares a processor can have a turn.
    pub fn scan_in_turns(&self, pause: &mut dyn FnMut()) -> &[Leak] {
        let scan = || leaks::scan_in_turns(Place::Prompt, &String::from_utf8_lossy(&self.0.bytes), pause);
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

/// A blob that comes in piece by piece, digested on the way.
#[derive(Debug, Default)]
pub struct BlobReader {
    digester: Digester,
    /// Room for what was announced, of which `filled` bytes came in.
    announced: Arc<[u8]>,
    filled: usize,
    /// What came in behind that.
    more: Vec<u8>,
}

impl BlobReader {
    /// With room for so many bytes, which is taken at once. Where exactly as many come, none of them is copied again.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { announced: std::iter::repeat_n(0, bytes).collect(), ..Self::default() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.digester.update(piece);
        let room = self.announced.len() - self.filled;
        let (first, more) = piece.split_at(room.min(piece.len()));
        // Nobody else has it yet.
        let place = Arc::get_mut(&mut self.announced).and_then(|bytes| bytes.get_mut(self.filled..));
        if let Some(place) = place.and_then(|place| place.get_mut(..first.len())) {
            place.copy_from_slice(first);
            self.filled += first.len();
        }
        self.more.extend_from_slice(more);
    }

    /// How many bytes came in so far.
    pub fn len(&self) -> usize {
        self.filled + self.more.len()
    }

    /// Whether nothing came in so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that came in.
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
    fn a_blob_in_pieces_is_the_blob_as_a_whole() {
        // Less, as much and more than was announced.
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
    fn a_blob_tells_what_is_found_in_it_and_shows_nothing_of_it() {
        let blob = Blob::new(*b"See /etc/passwd first.");
        assert_eq!(blob.leaks(), leaks::scan(Place::Prompt, "See /etc/passwd first."));
        assert_eq!(blob.clone().leaks().len(), 1);
        assert!(!format!("{blob:?}").contains("passwd"));
    }
}
