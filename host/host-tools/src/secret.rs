//! Secret values, which the host fetches by reference at the moment of use. They are wrapped so that
//! nothing prints them, zeroised when they are dropped, and never kept, recorded or handed to a guest.

#[cfg(feature = "files")]
mod directory;

use std::fmt;

use async_trait::async_trait;
use bundles::SecretRef;
use secrecy::SecretString;

#[cfg(feature = "files")]
pub use directory::{SecretDirectory, SecretDirectoryError};

/// Most bytes of one secret.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

/// Where a host keeps secrets.
#[async_trait]
pub trait SecretSource: fmt::Debug + Send + Sync + 'static {
    /// The value of a secret, as it is now.
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError>;
}

/// A host that has no secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, name: &SecretRef) -> Result<SecretString, SecretError> {
        Err(SecretError::Missing(name.clone()))
    }
}

/// Why there is no value. Neither the value nor the place where it lies is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The host has no secret of that name.
    #[error("this host has no secret `{0}`")]
    Missing(SecretRef),
    /// Others than its owner may read it.
    #[error("secret `{0}` is open to others than its owner")]
    NotPrivate(SecretRef),
    /// It is no text, empty, or larger than [`MAX_SECRET_BYTES`].
    #[error("secret `{0}` is not usable: a secret is UTF-8 text of 1 to 65536 bytes")]
    Unusable(SecretRef),
    /// The place does not answer.
    #[error("secret `{0}` cannot be read")]
    Unavailable(SecretRef),
}

impl SecretError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "secret_not_found",
            Self::NotPrivate(_) => "secret_not_private",
            Self::Unusable(_) => "secret_unusable",
            Self::Unavailable(_) => "secret_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing(_) => "set the secret on this host",
            Self::NotPrivate(_) => "take away the access of group and others (`chmod 600`)",
            Self::Unusable(_) => "set the secret again",
            Self::Unavailable(_) => "see to it that the Runtime's user may read it",
        }
    }
}
