//! What a workspace demands: that nothing is signed, or that so many of these keys have signed.
//! Judging is a pure function of values.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::envelope::{Envelope, MOST_SIGNATURES};
use super::public_key::{KeyId, PublicKey};
use super::{InvalidSignature, verify};

/// What is demanded of a bundle's signatures. In TOML `{ posture = "none" }`, or
/// `{ posture = "required", keys = ["ed25519:…"], threshold = 1 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posture {
    /// Nothing. Envelopes are not looked at.
    None,
    /// Signatures of these.
    Required(Signers),
}

/// Keys, and how many of them must have signed: between 1 and all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    keys: BTreeSet<PublicKey>,
    threshold: usize,
}

/// Why keys and a threshold demand nothing that could be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigners {
    /// Nobody could sign.
    #[error("`keys` is empty: name the keys of which `threshold` must have signed")]
    NoKeys,
    /// More than any envelope has signatures.
    #[error("`keys` names {0} keys, more than the {MOST_SIGNATURES} that can sign one bundle")]
    TooManyKeys(usize),
    /// One key twice, which would count once.
    #[error("`keys` names a key twice, and each counts once")]
    SameKeyTwice,
    /// No number of keys.
    #[error("`threshold` is {threshold}, and must be between 1 and the number of keys, which is {keys}")]
    Threshold {
        /// What was given.
        threshold: usize,
        /// How many keys there are.
        keys: usize,
    },
}

impl Signers {
    /// Keys, and how many of them must have signed; without a threshold all of them.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>, threshold: Option<usize>) -> Result<Self, InvalidSigners> {
        let keys: Vec<PublicKey> = keys.into_iter().collect();
        let distinct: BTreeSet<PublicKey> = keys.iter().copied().collect();
        let threshold = threshold.unwrap_or(keys.len());
        match keys.len() {
            0 => Err(InvalidSigners::NoKeys),
            many if many > MOST_SIGNATURES => Err(InvalidSigners::TooManyKeys(many)),
            many if many != distinct.len() => Err(InvalidSigners::SameKeyTwice),
            many if !(1..=many).contains(&threshold) => Err(InvalidSigners::Threshold { threshold, keys: many }),
            _ => Ok(Self { keys: distinct, threshold }),
        }
    }

    /// The keys that are trusted.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// How many of them must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

/// Why a bundle is not taken in under a posture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefusal {
    /// No envelope, or one in which too few of the trusted keys and nobody else signed.
    #[error("{}", unsigned(*signed, *needed))]
    Unsigned {
        /// How many trusted keys signed.
        signed: usize,
        /// How many must.
        needed: usize,
    },
    /// Wrongly signed.
    #[error(transparent)]
    Invalid(#[from] InvalidSignature),
    /// Signed, but too few of those who signed are trusted.
    #[error("{}", unknown(keys, *signed, *needed))]
    UnknownKey {
        /// The ids that are not known here, sorted.
        keys: Vec<KeyId>,
        /// How many trusted keys signed.
        signed: usize,
        /// How many must.
        needed: usize,
    },
}

fn unsigned(signed: usize, needed: usize) -> String {
    match signed {
        0 => "the bundle is not signed, and here it must be".to_owned(),
        signed => format!("the bundle is signed by {signed} of the trusted keys, and {needed} must have signed"),
    }
}

fn unknown(keys: &[KeyId], signed: usize, needed: usize) -> String {
    let first = keys.first().map(KeyId::to_string).unwrap_or_default();
    let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
    let (is, are) = if keys.len() > 1 { ("keys", "are") } else { ("key", "is") };
    let stranger = format!("{is} {first}{more}, which {are} not trusted here");
    match signed {
        0 => format!("the bundle is signed by {stranger}"),
        signed => format!("{}; it is signed by {stranger}", unsigned(signed, needed)),
    }
}

impl SignatureRefusal {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "bundle_unsigned",
            Self::Invalid(_) => "signature_invalid",
            Self::UnknownKey { .. } => "signing_key_unknown",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unsigned { signed: 0, .. } => "sign it with a key that is trusted here",
            Self::Unsigned { .. } => "have the others sign it too: signatures that are there are kept",
            Self::Invalid(InvalidSignature::OtherManifest) => {
                "sign this bundle anew: a signature is for one manifest, byte for byte"
            }
            Self::Invalid(InvalidSignature::NotByKey(_)) => {
                "do not use the bundle; fetch it and its signature again from where they were made"
            }
            Self::UnknownKey { .. } => {
                "sign it with a trusted key; or, if that key is to be trusted, add its public key to `keys` in the workspace's `signatures` of the host's config"
            }
        }
    }
}

/// Says which keys a bundle is taken in for: none are demanded under [`Posture::None`]; under
/// [`Posture::Required`] at least the threshold of its keys, each counted once, must have signed, and
/// no signature that names one of them may be wrong. Signatures of other keys do no harm.
pub fn judge(posture: &Posture, manifest: &[u8], envelope: Option<&Envelope>) -> Result<Vec<KeyId>, SignatureRefusal> {
    let Posture::Required(signers) = posture else { return Ok(Vec::new()) };
    let needed = signers.threshold;
    let Some(envelope) = envelope else { return Err(SignatureRefusal::Unsigned { signed: 0, needed }) };
    let found = verify(manifest, envelope, &signers.keys)?;
    let signed = found.by.len();
    if signed >= needed {
        Ok(found.by.into_iter().collect())
    } else if found.unknown.is_empty() {
        Err(SignatureRefusal::Unsigned { signed, needed })
    } else {
        Err(SignatureRefusal::UnknownKey { keys: found.unknown.into_iter().collect(), signed, needed })
    }
}

/// As it is written. Flat, so that a mistake in a key is told at that key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ posture = \"none\" }`")]
struct Written {
    posture: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<PublicKey>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<usize>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    None,
    Required,
}

impl Serialize for Posture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Self::None => Written { posture: Word::None, keys: None, threshold: None },
            Self::Required(signers) => Written {
                posture: Word::Required,
                keys: Some(signers.keys.iter().copied().collect()),
                threshold: Some(signers.threshold),
            },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Posture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let written = Written::deserialize(deserializer)?;
        match (written.posture, written.keys, written.threshold) {
            (Word::None, None, None) => Ok(Self::None),
            (Word::None, ..) => {
                Err(D::Error::custom("posture `none` demands nothing: take `keys` and `threshold` out"))
            }
            (Word::Required, keys, threshold) => {
                Signers::new(keys.unwrap_or_default(), threshold).map(Self::Required).map_err(D::Error::custom)
            }
        }
    }
}
