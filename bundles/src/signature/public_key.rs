//! Public keys and their ids. A [`PublicKey`] is a point of prime order in its canonical encoding. Weak keys, which
//! could verify forged signatures, are refused when they are parsed.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};
use error_code::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::base64;
use crate::digest::{Digest, InvalidDigest};

/// Prefix of a public key.
const PREFIX: &str = "ed25519:";

/// An Ed25519 public key. Displays and parses as `ed25519:` and the base64 of its 32 bytes.
#[derive(Clone, Copy)]
pub struct PublicKey(VerifyingKey);

/// Id of a public key: the SHA-256 of its 32 bytes. Displays and parses as a [`Digest`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Digest);

/// Error returned when text or bytes are not a public key. Messages do not repeat the text, because it may be a signing
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// The text does not have the form of a public key.
    #[error("invalid public key: expected `ed25519:` followed by the base64 of 32 bytes")]
    Spelling,
    /// The text is a signing key, which must stay secret.
    #[error("expected a public key, found a signing key")]
    SigningKey,
    /// The 32 bytes are a weak key.
    #[error("invalid public key: weak, or not a curve point in canonical encoding")]
    Weak,
}

impl InvalidPublicKey {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        Code::InvalidPublicKey
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Spelling => "write the public key of a signing key",
            Self::SigningKey => {
                "write the public key of that signing key, and replace the signing key if others can read it"
            }
            Self::Weak => "ask the owner for the key again, or generate a new key",
        }
    }
}

impl PublicKey {
    /// Creates a key from 32 bytes. Refuses points of small order, points with a component of small order, and
    /// non-canonical encodings.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidPublicKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey::Weak)?;
        let point = key.to_edwards();
        if key.is_weak() || !point.is_torsion_free() || point.compress().as_bytes() != bytes {
            return Err(InvalidPublicKey::Weak);
        }
        Ok(Self(key))
    }

    /// Returns the 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the id of the key.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.as_bytes()))
    }

    pub(super) fn of(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key())
    }

    /// `true` if the signature is valid under the strictest interpretation of Ed25519.
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
