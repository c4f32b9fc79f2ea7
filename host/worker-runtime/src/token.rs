//! Bearer tokens of a Runtime, of which only hashes are stored.
//!
//! A token is `yoi_<id>_<secret>`. The id selects the stored row. The secret is 256 random bits, so a single SHA-256 of it is
//! as safe as a slow hash, and hashes are compared in constant time. A token names the workspaces that it serves.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use content_store::metadata::MetadataError;
use runtime_api::token::InvalidTokenId;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::ledger::{ATTEMPTS, Change, ChangeError, token_key, tokens_key};
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

/// Hashes of the secrets of all valid tokens. A request whose token is not among them may be refused for costing a
/// look-up; a request whose token is among them is never refused for the look-ups of others.
#[derive(Debug, Default)]
pub(crate) struct KnownTokens(Mutex<HashSet<String>>);

impl KnownTokens {
    fn hashes(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where randomness comes from.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills the bytes with what nobody can foresee.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError>;
}

/// The system's own randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        getrandom::fill(bytes).map_err(|_| TokenError::NoEntropy)
    }
}

/// Why there is no token, or not this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token was shown, or none that is known. Which of the two, or why, is not told.
    #[error("the token is not known")]
    Unknown,
    /// There is no token of that id.
    #[error("there is no token {0}")]
    NotFound(TokenId),
    /// It was good until some time ago.
    #[error("the token has expired")]
    Expired,
    /// A limit of the token is zero.
    #[error("invalid limit `{0}`: expected a whole number from 1 to {max}", max = u32::MAX)]
    InvalidLimit(&'static str),
    /// There is no randomness.
    #[error("the system gives no randomness")]
    NoEntropy,
    /// The metadata store says no.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Others changed the same again and again.
    #[error("others changed the same at the same time")]
    Contended,
}

impl TokenError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "unauthenticated",
            Self::NotFound(_) => "token_not_found",
            Self::Expired => "token_expired",
            Self::InvalidLimit(_) => "invalid_request",
            Self::NoEntropy => "no_entropy",
            Self::Metadata(error) => error.code(),
            Self::Contended => "contended",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unknown => "send `Authorization: Bearer TOKEN` with a token of this Runtime",
            Self::NotFound(_) => "the list of tokens has those that are there",
            Self::Expired => "have a new token made",
            Self::InvalidLimit(_) => "leave it out for the service's own limit",
            Self::NoEntropy => "see to it that the system's random source works",
            Self::Metadata(error) => error.help(),
            Self::Contended => "try again",
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
    /// Makes a token. This is the only time that anybody sees it.
    pub async fn issue_token(
        &self,
        grant: TokenGrant,
        entropy: &dyn Entropy,
    ) -> Result<(TokenSummary, SecretString), TokenError> {
        // A row of an earlier version may have a zero.
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

    /// What the holder of a token may do.
    pub async fn authenticate(&self, token: &SecretString) -> Result<TokenSummary, TokenError> {
        let parts = token.expose_secret().strip_prefix("yoi_").and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.filter(|(_, secret)| is_secret(secret)).ok_or(TokenError::Unknown)?;
        let id: TokenId = id.parse().map_err(|InvalidTokenId| TokenError::Unknown)?;
        let row = self.shared.ledger.row::<TokenRow>(&token_key(&id)).await?.map(|row| row.value);
        // Hashed also where there is no such token, so that both take the same time.
        let shown = hash(secret);
        let Some(row) = row else { return Err(TokenError::Unknown) };
        let right = bool::from(shown.as_bytes().ct_eq(row.hash.as_bytes()));
        if !right || row.revoked_at.is_some() {
            return Err(TokenError::Unknown);
        }
        if row.grant.expires_at.is_some_and(|until| until <= self.shared.ledger.now()) {
            self.shared.known_tokens.hashes().remove(&shown);
            return Err(TokenError::Expired);
        }
        // Another process may have issued it.
        self.shared.known_tokens.hashes().insert(shown);
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
    pub fn is_known(&self, token: &SecretString) -> bool {
        let secret = token.expose_secret().rsplit('_').next().filter(|secret| is_secret(secret));
        secret.is_some_and(|secret| self.shared.known_tokens.hashes().contains(&hash(secret)))
    }

    /// Whether a token that was good is so still.
    pub async fn is_good(&self, id: &TokenId) -> Result<bool, TokenError> {
        let row = self.shared.ledger.row::<TokenRow>(&token_key(id)).await?.map(|row| row.value);
        let now = self.shared.ledger.now();
        Ok(row.is_some_and(|row| row.revoked_at.is_none() && row.grant.expires_at.is_none_or(|until| now < until)))
    }

    /// All tokens, in no order that says anything.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, TokenError> {
        let rows = self.shared.ledger.rows::<TokenRow>(&tokens_key(), None, usize::MAX).await?;
        Ok(rows.into_iter().filter_map(|(key, row)| Some(summary(key.last().parse().ok()?, row))).collect())
    }

    /// Refuses a token from here on. Doing so twice is doing so once.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<TokenSummary, TokenError> {
        let key = token_key(id);
        for _ in 0..ATTEMPTS {
            let found =
                self.shared.ledger.row::<TokenRow>(&key).await?.ok_or_else(|| TokenError::NotFound(id.clone()))?;
            if found.value.revoked_at.is_some() {
                return Ok(summary(id.clone(), found.value));
            }
            let row = TokenRow { revoked_at: Some(self.shared.ledger.now()), ..found.value.clone() };
            match self.shared.ledger.commit_globally(Change::default().expect(&key, Some(&found)).put(&key, &row)).await
            {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    self.shared.known_tokens.hashes().remove(&row.hash);
                    return Ok(summary(id.clone(), row));
                }
            }
        }
        Err(TokenError::Contended)
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
    fn a_row_without_shares_is_read_and_shares_are_kept() {
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
