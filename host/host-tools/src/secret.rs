//! Secret values, which the host fetches by reference when they are used. The values are wrapped so that they are not
//! printed, and are zeroed when they are dropped. They are never cached, recorded or passed to a guest.

#[cfg(feature = "files")]
mod directory;

use std::fmt;

use async_trait::async_trait;
use bundles::SecretRef;
use runtime_api::Code;
use secrecy::SecretString;

#[cfg(feature = "files")]
pub use directory::{SecretDirectory, SecretDirectoryError};

/// Maximum size of a secret in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

/// A source of secrets of a host.
#[async_trait]
pub trait SecretSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the current value of a secret.
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError>;
}

/// A source without secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        Err(SecretError::NotFound(name.clone()))
    }
}

/// Error of reading a secret. It contains neither the value nor the path of the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The host has no secret of this name.
    #[error("secret `{0}` not found on this host")]
    NotFound(SecretRef),
    /// Other users can access the file of the secret.
    #[error("secret `{0}` can be accessed by users other than its owner")]
    NotPrivate(SecretRef),
    /// The value is empty, is not UTF-8 or is larger than [`MAX_SECRET_BYTES`].
    #[error("invalid secret `{0}`: expected UTF-8 text of 1 to 65536 bytes")]
    Unusable(SecretRef),
    /// Reading the secret failed.
    #[error("secret `{0}` cannot be read")]
    Unavailable(SecretRef),
}

impl SecretError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::SecretNotFound,
            Self::NotPrivate(_) => Code::SecretNotPrivate,
            Self::Unusable(_) => Code::SecretUnusable,
            Self::Unavailable(_) => Code::SecretUnavailable,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "set the secret on this host",
            Self::NotPrivate(_) => "remove the access of group and others (`chmod 600`)",
            Self::Unusable(_) => "set the secret again",
            Self::Unavailable(_) => "make sure that the Runtime's user can read it",
        }
    }
}
