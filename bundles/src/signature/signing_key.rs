//! Signing keys, and the one text form that they are kept in. A [`SigningKey`] is wiped from memory
//! when it is dropped, and no output but [`SigningKey::to_file`] has it in it.

use std::fmt;

use ed25519_dalek::Signer;
use zeroize::Zeroizing;

use super::base64;
use super::public_key::PublicKey;
use crate::encoding::{is_wide, key_line};

/// What the file of a signing key begins with; the leak scan knows it.
const PREFIX: &str = "yoi-signing-key-ed25519:";

/// Most bytes of the file of a signing key: more than the form has, so that what is too long is told
/// as that and not as a spelling.
pub const MAX_SIGNING_KEY_BYTES: usize = 1024;

/// An Ed25519 key that signs bundles. Its file is one line: `yoi-signing-key-ed25519:` and the base64
/// of the 32 bytes that RFC 8032 calls the private key.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Why bytes are no signing key. They are not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// Longer than any.
    #[error("a signing key is one short line, and this has more than {MAX_SIGNING_KEY_BYTES} bytes")]
    TooLarge,
    /// A public key, with which nothing can be signed.
    #[error("this is a public key, and a signing key is expected")]
    PublicKey,
    /// Not in UTF-8.
    #[error("the file is UTF-16, and a key's file is UTF-8")]
    Encoding,
    /// Not in the one spelling.
    #[error("a signing key is one line, `{PREFIX}` followed by the base64 of 32 bytes")]
    Spelling,
}

impl InvalidSigningKey {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        "invalid_signing_key"
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::PublicKey => "name the file of a signing key",
            Self::Encoding => "save the file as UTF-8",
            Self::TooLarge | Self::Spelling => "name the file of a signing key, or make a new key",
        }
    }
}

impl SigningKey {
    /// A key of 32 random bytes. `fill` is where randomness comes from, such as `getrandom::fill`.
    pub fn generate<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(seed.as_mut_slice())?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads the content of a key's file. A byte order mark before it and one line end behind it, `\n` or
    /// `\r\n`, are passed over.
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

    /// The content of the key's file, wiped when it is dropped. It is the secret.
    pub fn to_file(&self) -> Zeroizing<String> {
        // Room for all of it: a text that grew would leave its beginning behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 45));
        let encoded = Zeroizing::new(base64::encode(self.0.as_bytes()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        text.push('\n');
        text
    }

    /// The key that others verify with.
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

/// Whether a text looks like the file of a signing key, well written or not.
pub(super) fn is_like(text: &str) -> bool {
    text.trim_start().starts_with(PREFIX)
}
