//! Public keys and their names. A [`PublicKey`] is a point of prime order in its one encoding: what
//! could verify signatures that nobody made is refused where it is read.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base64;
use crate::digest::{Digest, InvalidDigest};

/// What a public key begins with.
const PREFIX: &str = "ed25519:";

/// An Ed25519 public key. Displays and parses as `ed25519:` and the base64 of its 32 bytes.
#[derive(Clone, Copy)]
pub struct PublicKey(VerifyingKey);

/// The name of a public key: the SHA-256 of its 32 bytes. Displays and parses as a [`Digest`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Digest);

/// Why a text or bytes are no public key. The text is not repeated: it may be the secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Not in the one spelling.
    #[error("a public key is `ed25519:` followed by the base64 of 32 bytes")]
    Spelling,
    /// A secret key, which does not belong there.
    #[error("this is a signing key, and a public key is expected")]
    SigningKey,
    /// 32 bytes that no honestly made key has.
    #[error("the 32 bytes are a weak key, or no point of the curve in its one encoding")]
    Weak,
}

impl InvalidPublicKey {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        "invalid_public_key"
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Spelling => "write the public key of a signing key",
            Self::SigningKey => "write the public key that belongs to it; if others can read this one, make another",
            Self::Weak => "ask its owner for the key again, or make a new key",
        }
    }
}

impl PublicKey {
    /// Reads the 32 bytes of a key. Points of small order, with a part of small order, or in another
    /// encoding than their own are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidPublicKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey::Weak)?;
        let point = key.to_edwards();
        if key.is_weak() || !point.is_torsion_free() || point.compress().as_bytes() != bytes {
            return Err(InvalidPublicKey::Weak);
        }
        Ok(Self(key))
    }

    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.as_bytes()))
    }

    pub(super) fn of(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key())
    }

    /// Whether a signature is by this key, as the strictest reading of Ed25519 has it.
    pub(super) fn is_good(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if super::signing_key::is_like(text) {
            return Err(InvalidPublicKey::SigningKey);
        }
        let bytes = text.strip_prefix(PREFIX).and_then(base64::decode_key).ok_or(InvalidPublicKey::Spelling)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", base64::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}

impl FromStr for KeyId {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
