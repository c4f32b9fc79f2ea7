//! Signature requirements of a workspace: none, or a number of keys that must have signed. The decision is a pure
//! function of values.

use std::collections::BTreeSet;

use error_code::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::envelope::{Envelope, MAX_SIGNATURES};
use super::public_key::{KeyId, PublicKey};
use super::{InvalidSignature, verify};

/// Requirement on the signatures of a bundle. In TOML `{ posture = "none" }`, or `{ posture = "required", keys =
/// ["ed25519:…"], threshold = 1 }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posture {
    /// No requirement. Envelopes are ignored.
    None,
    /// Signatures of these keys are required.
    Required(Signers),
}

/// Keys, and the number of them that must have signed, between 1 and all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    keys: BTreeSet<PublicKey>,
    threshold: usize,
}

/// Error returned when keys and a threshold are not a valid requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigners {
    /// There are no keys.
    #[error("`keys` is empty: name the keys of which `threshold` must have signed")]
    NoKeys,
    /// There are more keys than an envelope can have signatures.
    #[error("`keys` names too many keys ({0} > {MAX_SIGNATURES})")]
    TooManyKeys(usize),
    /// A key is listed twice, although it would count once.
    #[error("`keys` names a key twice")]
    SameKeyTwice,
    /// The threshold is not a possible number of keys.
    #[error("invalid threshold {threshold}: expected a number between 1 and the number of keys ({keys})")]
    Threshold {
        /// Given threshold.
        threshold: usize,
        /// Number of keys.
        keys: usize,
    },
}

impl Signers {
    /// Creates a requirement. Without a threshold, all keys must sign.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>, threshold: Option<usize>) -> Result<Self, InvalidSigners> {
        let keys: Vec<PublicKey> = keys.into_iter().collect();
        let distinct: BTreeSet<PublicKey> = keys.iter().copied().collect();
        let threshold = threshold.unwrap_or(keys.len());
        match keys.len() {
            0 => Err(InvalidSigners::NoKeys),
            many if many > MAX_SIGNATURES => Err(InvalidSigners::TooManyKeys(many)),
            many if many != distinct.len() => Err(InvalidSigners::SameKeyTwice),
            many if !(1..=many).contains(&threshold) => Err(InvalidSigners::Threshold { threshold, keys: many }),
            _ => Ok(Self { keys: distinct, threshold }),
        }
    }

    /// Returns the trusted keys.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// Returns the number of keys that must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }
}

/// Error returned when a bundle does not meet a requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefusal {
    /// There is no envelope, or too few trusted keys and no others signed.
    #[error("{}", unsigned(*signed, *needed))]
    Unsigned {
        /// Number of trusted keys that signed.
        signed: usize,
        /// Required number.
        needed: usize,
    },
    /// A signature is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidSignature),
    /// The bundle is signed, but by too few trusted keys.
    #[error("{}", unknown(keys, *signed, *needed))]
    UnknownKey {
        /// Ids of unknown keys, sorted.
        keys: Vec<KeyId>,
        /// Number of trusted keys that signed.
        signed: usize,
        /// Required number.
        needed: usize,
    },
}

fn unsigned(signed: usize, needed: usize) -> String {
    match signed {
        0 => "bundle is not signed, but signatures are required".to_owned(),
        signed => format!("bundle is signed by {signed} of {needed} required keys"),
    }
}

fn unknown(keys: &[KeyId], signed: usize, needed: usize) -> String {
    let first = keys.first().map(KeyId::to_string).unwrap_or_default();
    let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
    let (is, are) = if keys.len() > 1 { ("keys", "are") } else { ("key", "is") };
    let stranger = format!("{is} {first}{more}, which {are} not trusted");
    match signed {
        0 => format!("bundle is signed by {stranger}"),
        signed => format!("{}; it is signed by {stranger}", unsigned(signed, needed)),
    }
}

impl SignatureRefusal {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unsigned { .. } => Code::BundleUnsigned,
            Self::Invalid(_) => Code::SignatureInvalid,
            Self::UnknownKey { .. } => Code::SigningKeyUnknown,
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unsigned { signed: 0, .. } => "sign the bundle with a trusted key",
            Self::Unsigned { .. } => "have the other keys sign too: existing signatures are kept",
            Self::Invalid(InvalidSignature::OtherManifest) => {
                "sign this bundle again: a signature is valid for one manifest, byte for byte"
            }
            Self::Invalid(InvalidSignature::NotByKey(_)) => {
                "do not use the bundle, and fetch it and its signature again from their source"
            }
            Self::UnknownKey { .. } => {
                "sign it with a trusted key; or, if that key is to be trusted, add its public key to `keys` in the workspace's `signatures` of the host's config"
            }
        }
    }
}

/// Checks the signatures of a bundle and returns the trusted keys that signed. [`Posture::None`] requires nothing.
/// Under [`Posture::Required`], at least `threshold` of its keys must have signed, and no signature that names one of
/// them may be invalid. Signatures of other keys are ignored.
pub fn judge(posture: &Posture, manifest: &[u8], envelope: Option<&Envelope>) -> Result<Vec<KeyId>, SignatureRefusal> {
    let Posture::Required(signers) = posture else { return Ok(Vec::new()) };
    let needed = signers.threshold;
    let Some(envelope) = envelope else { return Err(SignatureRefusal::Unsigned { signed: 0, needed }) };
    let found = verify(manifest, envelope, &signers.keys)?;
    let signed = found.trusted.len();
    if signed >= needed {
        Ok(found.trusted.into_iter().collect())
    } else if found.unknown.is_empty() {
        Err(SignatureRefusal::Unsigned { signed, needed })
    } else {
        Err(SignatureRefusal::UnknownKey { keys: found.unknown.into_iter().collect(), signed, needed })
    }
}

/// The written form. It is flat, so that an error in a key is reported at that key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ posture = \"none\" }`")]
struct PostureFields {
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
            Self::None => PostureFields { posture: Word::None, keys: None, threshold: None },
            Self::Required(signers) => PostureFields {
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
        let written = PostureFields::deserialize(deserializer)?;
        match (written.posture, written.keys, written.threshold) {
            (Word::None, None, None) => Ok(Self::None),
            (Word::None, ..) => Err(D::Error::custom("posture `none` requires nothing: remove `keys` and `threshold`")),
            (Word::Required, keys, threshold) => {
                Signers::new(keys.unwrap_or_default(), threshold).map(Self::Required).map_err(D::Error::custom)
            }
        }
    }
}
