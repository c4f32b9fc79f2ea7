//! Bearer tokens of a Runtime, of which only hashes are stored.
//!
//! A token is `yoi_<id>_<secret>`. The id selects the stored row. The secret is 256 random bits, so a single SHA-256 of
//! it is as safe as a slow hash, and hashes are compared in constant time. A token names the workspaces that it serves.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use content_store::metadata::MetadataError;
use runtime_api::Code;
use runtime_api::token::InvalidTokenId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::ledger::{Change, ChangeError, Decision, token_key, tokens_key};
use crate::runtime::Management;

pub use runtime_api::token::{InvalidScope, Scope, TokenGrant, TokenId, TokenSummary};

/// Length of the secret in characters.
const SECRET_CHARS: usize = 64;

/// Length of the id in bytes.
const ID_BYTES: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRow {
    /// SHA-256 of the secret, in hex.
    hash: String,
    grant: TokenGrant,
    created_at: jiff::Timestamp,
    revoked_at: Option<jiff::Timestamp>,
}

/// Hashes of the secrets of all valid tokens. A request with an unknown token costs a lookup in the store, and such
/// lookups are limited. A request with a known token is not subject to that limit.
#[derive(Debug, Default)]
pub(crate) struct KnownTokens(Mutex<HashSet<String>>);

impl KnownTokens {
    fn hashes(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Source of random bytes.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills a buffer with cryptographically secure random bytes.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError>;
}

/// The random source of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        getrandom::fill(bytes).map_err(|_| TokenError::NoEntropy)
    }
}

/// Error returned by operations on tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is missing, unknown or revoked. The error does not tell these cases apart.
    #[error("the token is missing, unknown or revoked")]
    Unknown,
    /// No token has this id.
    #[error("token `{0}` not found")]
    NotFound(TokenId),
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// A limit of the token is zero.
    #[error("invalid limit `{0}`: expected a whole number from 1 to {max}", max = u32::MAX)]
    InvalidLimit(&'static str),
    /// The system's random source failed.
    #[error("the system's random source failed")]
    NoEntropy,
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Every attempt conflicted with a concurrent change.
    #[error("the operation conflicted with concurrent changes")]
    Contended,
}

impl TokenError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::Unauthenticated,
            Self::NotFound(_) => Code::TokenNotFound,
            Self::Expired => Code::TokenExpired,
            Self::InvalidLimit(_) => Code::InvalidRequest,
            Self::NoEntropy => Code::NoEntropy,
            Self::Metadata(error) => error.code(),
            Self::Contended => Code::Contended,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unknown => "send `Authorization: Bearer TOKEN` with a token of this Runtime",
            Self::NotFound(_) => "list the tokens to find the id",
            Self::Expired => "issue a new token",
            Self::InvalidLimit(_) => "omit it to use the limit of the service",
            Self::NoEntropy => "check the system's random source",
            Self::Metadata(error) => error.help(),
            Self::Contended => "retry the operation",
        }
    }
}

impl From<ChangeError> for TokenError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => Self::Metadata(error),
            ChangeError::Conflict | ChangeError::Full { .. } => Self::Contended,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

impl Management {
    /// Issues a token. The secret is only returned here; the store holds its hash.
    pub async fn issue_token(
        &self,
        grant: TokenGrant,
        entropy: &dyn Entropy,
    ) -> Result<(TokenSummary, SecretString), TokenError> {
        // The type allows a zero because a row of an earlier version may contain one.
        if grant.event_streams == Some(0) {
            return Err(TokenError::InvalidLimit("event_streams"));
        }
        let (mut id, mut secret) = ([0; ID_BYTES], zeroize::Zeroizing::new([0; SECRET_CHARS / 2]));
        entropy.fill(&mut id)?;
        entropy.fill(secret.as_mut_slice())?;
        let (id, secret) = (TokenId::from(id), zeroize::Zeroizing::new(hex(secret.as_slice())));
        let row = TokenRow { hash: hash(&secret), grant, created_at: self.shared.ledger.now(), revoked_at: None };
        let key = token_key(&id);
        let change = Change::default().expect::<TokenRow>(&key, None).put(&key, &row);
        self.shared.ledger.commit_globally(change).await?;
        self.shared.known_tokens.hashes().insert(row.hash.clone());
        let token = SecretString::from(format!("yoi_{id}_{}", secret.as_str()));
        Ok((summary(id, row), token))
    }

    /// Verifies a token and returns its permissions.
    pub async fn authenticate(&self, token: &SecretString) -> Result<TokenSummary, TokenError> {
        let parts = token.expose_secret().strip_prefix("yoi_").and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.filter(|(_, secret)| is_secret(secret)).ok_or(TokenError::Unknown)?;
        let id: TokenId = id.parse().map_err(|InvalidTokenId| TokenError::Unknown)?;
        let row = self.shared.ledger.row::<TokenRow>(&token_key(&id)).await?.map(|row| row.value);
        // The secret is hashed even if no row exists, so that the response time does not reveal the ids of tokens.
        let shown_hash = hash(secret);
        let Some(row) = row else { return Err(TokenError::Unknown) };
        let matches = bool::from(shown_hash.as_bytes().ct_eq(row.hash.as_bytes()));
        if !matches || row.revoked_at.is_some() {
            return Err(TokenError::Unknown);
        }
        if row.grant.expires_at.is_some_and(|until| until <= self.shared.ledger.now()) {
            self.shared.known_tokens.hashes().remove(&shown_hash);
            return Err(TokenError::Expired);
        }
        // Another process may have issued it.
        self.shared.known_tokens.hashes().insert(shown_hash);
        Ok(summary(id, row))
    }

    /// Loads the hashes of all valid tokens.
    pub(crate) async fn load_known_tokens(&self) -> Result<(), MetadataError> {
        let now = self.shared.ledger.now();
        let mut after = None;
        loop {
            let page = self.shared.ledger.rows::<TokenRow>(&tokens_key(), after.as_ref(), 1000).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let is_valid =
                |row: &TokenRow| row.revoked_at.is_none() && row.grant.expires_at.is_none_or(|until| now < until);
            let valid = page.into_iter().filter(|(_, row)| is_valid(row)).map(|(_, row)| row.hash);
            self.shared.known_tokens.hashes().extend(valid);
        }
    }

    /// `true` if the token was valid when it was last seen. Reads nothing from the store.
    pub fn is_known_token(&self, token: &SecretString) -> bool {
        let secret = token.expose_secret().rsplit('_').next().filter(|secret| is_secret(secret));
        secret.is_some_and(|secret| self.shared.known_tokens.hashes().contains(&hash(secret)))
    }

    /// `true` if a token exists and is neither revoked nor expired.
    pub async fn is_token_valid(&self, id: &TokenId) -> Result<bool, TokenError> {
        Ok(self.valid_token(id).await?.is_some())
    }

    /// Returns a token by its id. `None` if it does not exist, is revoked or has expired.
    pub async fn valid_token(&self, id: &TokenId) -> Result<Option<TokenSummary>, TokenError> {
        let row = self.shared.ledger.row::<TokenRow>(&token_key(id)).await?.map(|row| row.value);
        let now = self.shared.ledger.now();
        let row = row.filter(|row| row.revoked_at.is_none() && row.grant.expires_at.is_none_or(|until| now < until));
        Ok(row.map(|row| summary(id.clone(), row)))
    }

    /// Returns all tokens, in the order of their ids. The ids are random.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, TokenError> {
        let rows = self.shared.ledger.rows::<TokenRow>(&tokens_key(), None, usize::MAX).await?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some(summary(key.last().parse().ok()?, row))).collect())
    }

    /// Revokes a token. The operation is idempotent.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<TokenSummary, TokenError> {
        let key = token_key(id);
        let decide = || async {
            let found = self.shared.ledger.row::<TokenRow>(&key).await?;
            let found = found.ok_or_else(|| TokenError::NotFound(id.clone()))?;
            if found.value.revoked_at.is_some() {
                return Ok(Decision::Keep(found.value));
            }
            let row = TokenRow { revoked_at: Some(self.shared.ledger.now()), ..found.value.clone() };
            Ok(Decision::Commit(Change::default().expect(&key, Some(&found)).put(&key, &row), row))
        };
        let row = self.shared.ledger.update_globally::<_, TokenError, _>(decide).await?;
        self.shared.known_tokens.hashes().remove(&row.hash);
        Ok(summary(id.clone(), row))
    }
}

fn summary(id: TokenId, row: TokenRow) -> TokenSummary {
    TokenSummary { id, grant: row.grant, created_at: row.created_at, revoked_at: row.revoked_at }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn row_without_limits_is_read_and_limits_are_kept() {
        let before = r#"{"hash":"00","grant":{"name":"ci","scopes":["read"],"workspaces":["acme"]},"created_at":"2026-06-25T15:49:30Z","revoked_at":null}"#;
        let row: TokenRow = serde_json::from_str(before).expect("a row of an earlier version");
        assert_eq!((row.grant.connections, row.grant.event_streams), (None, None));
        assert_eq!(serde_json::to_string(&row).expect("JSON"), before);
        let grant = TokenGrant { connections: NonZeroU32::new(512), event_streams: Some(0), ..row.grant };
        let row = TokenRow { grant, ..serde_json::from_str(before).expect("a row") };
        let text = serde_json::to_string(&row).expect("JSON");
        assert_eq!(serde_json::from_str::<TokenRow>(&text).expect("a row"), row);
        assert!(serde_json::from_str::<TokenRow>(&text.replace("512", "0")).is_err());
    }
}
