//! Signing keys and their file format. A [`SigningKey`] is erased from memory when it is dropped, and only
//! [`SigningKey::to_file`] outputs it.

use std::fmt;

use ed25519_dalek::Signer;
use error_code::Code;
use zeroize::Zeroizing;

use super::base64;
use super::public_key::PublicKey;
use crate::encoding::{is_wide, key_line};

/// Prefix of the file of a signing key. The leak scanner detects it.
const PREFIX: &str = "yoi-signing-key-ed25519:";

/// Maximum size of the file of a signing key in bytes. Larger than the format requires, so that a long file has an
/// error of its own.
pub const MAX_SIGNING_KEY_BYTES: usize = 1024;

/// An Ed25519 key that signs bundles. Its file is one line: `yoi-signing-key-ed25519:` and the base64 of the 32 bytes
/// that RFC 8032 calls the private key.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Error returned when bytes are not a signing key. Messages do not repeat them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// The file is too large.
    #[error("invalid signing key: file exceeds {MAX_SIGNING_KEY_BYTES} bytes")]
    TooLarge,
    /// The file contains a public key.
    #[error("expected a signing key, found a public key")]
    PublicKey,
    /// The file is not UTF-8.
    #[error("invalid signing key: file is UTF-16, expected UTF-8")]
    Encoding,
    /// The file does not have the form of a signing key.
    #[error("invalid signing key: expected one line, `{PREFIX}` followed by the base64 of 32 bytes")]
    Spelling,
}

impl InvalidSigningKey {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        Code::InvalidSigningKey
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::PublicKey => "name the file of a signing key",
            Self::Encoding => "save the file as UTF-8",
            Self::TooLarge | Self::Spelling => "name the file of a signing key, or generate a new key",
        }
    }
}

impl SigningKey {
    /// Generates a key from 32 random bytes. `fill` is the source of randomness, such as `getrandom::fill`.
    pub fn generate<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(seed.as_mut_slice())?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Parses the content of a key file. A byte order mark at the start and one line end at the end, `\n` or `\r\n`,
    /// are ignored.
    pub fn from_file(content: &[u8]) -> Result<Self, InvalidSigningKey> {
        if content.len() > MAX_SIGNING_KEY_BYTES {
            return Err(InvalidSigningKey::TooLarge);
        }
        if is_wide(content) {
            return Err(InvalidSigningKey::Encoding);
        }
        let text = std::str::from_utf8(content).map_err(|_| InvalidSigningKey::Spelling)?;
        let line = key_line(text);
        if line.parse::<PublicKey>().is_ok() {
            return Err(InvalidSigningKey::PublicKey);
        }
        let seed = line.strip_prefix(PREFIX).and_then(base64::decode_key).ok_or(InvalidSigningKey::Spelling)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Returns the content of the key file, which is erased when it is dropped. It is the secret.
    pub fn to_file(&self) -> Zeroizing<String> {
        // The full capacity is reserved, because a growing string would leave a copy of its start in memory.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 45));
        let encoded = Zeroizing::new(base64::encode(self.0.as_bytes()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        text.push('\n');
        text
    }

    /// Returns the public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(&self.0)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public_key()).finish_non_exhaustive()
    }
}

/// `true` if a text looks like the file of a signing key, valid or not.
pub(super) fn is_like(text: &str) -> bool {
    text.trim_start().starts_with(PREFIX)
}
