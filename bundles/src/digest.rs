//! SHA-256 digests of exact bytes, written `sha256:<64 lowercase hex>`.
//!
//! A [`Digest`] identifies bytes. It is computed from bytes or parsed from its text form. Nothing here serializes a
//! value in order to hash it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// A SHA-256 digest. Displays and parses as `sha256:` and 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Returns the 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hex digits without the algorithm, as used in file names.
    pub fn hex(&self) -> String {
        self.with_text(|text| text.strip_prefix(PREFIX).unwrap_or_default().to_owned())
    }

    /// Passes the text form to `take` without allocating, because digests are in every key and record.
    fn with_text<R>(&self, take: impl FnOnce(&str) -> R) -> R {
        let mut text = [0; PREFIX.len() + 64];
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit);
        for (place, byte) in text.iter_mut().zip(PREFIX.bytes().chain(digits)) {
            *place = byte;
        }
        // ASCII letters and digits.
        take(std::str::from_utf8(&text).unwrap_or_default())
    }

    /// Returns `sha256:` and the first 12 hex digits, for people. Too short to identify a digest.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        format!("{PREFIX}{hex}")
    }
}

/// Incremental hash for content that arrives in pieces.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Returns the digest of all added bytes.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Error returned when a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest: expected `sha256:` followed by 64 lowercase hex digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix(PREFIX).ok_or(InvalidDigest)?.as_bytes();
        let (pairs, rest) = hex.as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let high = nibble(*high).ok_or(InvalidDigest)?;
            let low = nibble(*low).ok_or(InvalidDigest)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_empty_input_matches_the_published_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of("").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of("")));
    }

    #[test]
    fn digest_of_pieces_equals_that_of_the_whole() {
        let mut pieces = Digester::default();
        pieces.update("some ");
        pieces.update("");
        pieces.update("bytes");
        assert_eq!(pieces.finish(), Digest::of("some bytes"));
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = Digest::of("x").to_string();
        let mut shorter = good.clone();
        shorter.pop();
        for bad in [
            good.to_uppercase(),
            good.replace("sha256:", ""),
            good.replace("sha256:", "sha512:"),
            format!("{good}0"),
            shorter.clone(),
            format!(" {good}"),
            format!("{shorter}g"),
            String::new(),
        ] {
            assert_eq!(bad.parse::<Digest>(), Err(InvalidDigest), "{bad}");
        }
    }
}
