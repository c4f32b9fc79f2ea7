//! Envelopes of signatures: DSSE JSON, parsed strictly.
//!
//! An [`Envelope`] has the payload type of a manifest and 1 to [`MAX_SIGNATURES`] signatures of 64 bytes, each with a
//! key id. The signatures are not verified yet, see [`verify`](super::verify).

use std::fmt;
use std::sync::Arc;

use error_code::Code;
use serde::{Deserialize, Serialize};

use super::base64;
use super::pae;
use super::public_key::KeyId;
use super::signing_key::SigningKey;
use crate::canonical::{JsonBounds, JsonError, from_value, parse, to_canonical};
use crate::limits::BundleLimits;
use crate::manifest::MEDIA_TYPE;

/// Name of the envelope in every form of a bundle.
pub const ENVELOPE: &str = "signature.dsse.json";

/// Maximum number of signatures of one envelope. Each costs a pass over the manifest.
pub const MAX_SIGNATURES: usize = 16;

/// Maximum nesting: objects in a list in an object.
const DEPTH: usize = 3;

/// Signatures over one manifest. Cheap to clone except for the signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Arc<[u8]>,
    signatures: Vec<Signature>,
}

/// A signature and the id of the key that it claims.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signature {
    key: KeyId,
    bytes: [u8; 64],
}

impl Signature {
    pub(super) fn key_id(&self) -> KeyId {
        self.key
    }

    pub(super) fn bytes(&self) -> &[u8; 64] {
        &self.bytes
    }
}

/// DSSE JSON, field for field. Fields that are optional in DSSE are optional here, so that errors can name them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeFields {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// Error returned when bytes are not a valid envelope, or when none can be created. Messages never repeat the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The text is not the expected JSON.
    #[error("invalid envelope: {0}")]
    Json(#[from] JsonError),
    /// The payload type is not that of a manifest.
    #[error("invalid envelope: `payloadType` is not `{MEDIA_TYPE}`")]
    PayloadType,
    /// A field is not base64 in its only spelling.
    #[error("invalid envelope: `{0}` is not padded base64 without unused bits")]
    Base64(&'static str),
    /// A signature does not have the length of an Ed25519 signature.
    #[error("invalid envelope: signature {index} has {actual} bytes, expected 64")]
    SignatureLength {
        /// Number of the signature, from 1.
        index: usize,
        /// Length in bytes.
        actual: usize,
    },
    /// A signature has no valid key id.
    #[error("invalid envelope: `keyid` of signature {index} is not `sha256:` followed by 64 lowercase hex digits")]
    KeyId {
        /// Number of the signature, from 1.
        index: usize,
    },
    /// The envelope has no signatures.
    #[error("invalid envelope: no signatures")]
    NoSignature,
    /// The envelope has too many signatures.
    #[error("envelope has too many signatures ({0} > {MAX_SIGNATURES})")]
    TooManySignatures(usize),
    /// The payload is not the given manifest.
    #[error("envelope belongs to another manifest")]
    OtherManifest,
}

impl EnvelopeError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Json(error) => error.code(),
            Self::TooManySignatures(_) => Code::TooLarge,
            Self::OtherManifest => Code::SignatureInvalid,
            _ => Code::InvalidEnvelope,
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Json(error @ JsonError::Shape { unknown_field: true, .. }) => error.help(),
            Self::Json(JsonError::Shape { .. }) => {
                "write `payload`, `payloadType` and `signatures`, each signature with `keyid` and `sig`"
            }
            Self::Json(error) => error.help(),
            Self::PayloadType => "sign the bundle's manifest",
            Self::Base64(_) | Self::SignatureLength { .. } | Self::NoSignature => {
                "fetch the envelope again, or sign again"
            }
            Self::KeyId { .. } => "sign again, or have the signer write the SHA-256 of the 32 bytes of its public key",
            Self::TooManySignatures(_) => "remove signatures that are not required",
            Self::OtherManifest => "sign the bundle again: a changed bundle needs a new signature",
        }
    }
}

/// Returns the limits for parsing an envelope: a manifest in base64 and the text around it.
fn bounds(limits: &BundleLimits) -> JsonBounds {
    JsonBounds { bytes: ("manifest_bytes", limits.envelope_bytes()), depth: ("json_depth", DEPTH) }
}

impl Envelope {
    /// Signs a manifest, byte for byte.
    pub fn sign(manifest: Arc<[u8]>, key: &SigningKey) -> Self {
        let bytes = key.sign(&pae(MEDIA_TYPE, &manifest));
        Self { payload: manifest, signatures: vec![Signature { key: key.public_key().id(), bytes }] }
    }

    /// Appends the signature of a key. An earlier signature of the same key is replaced.
    pub fn add(&mut self, key: &SigningKey) -> Result<(), EnvelopeError> {
        let added = Self::sign(Arc::clone(&self.payload), key);
        let id = key.public_key().id();
        let kept = self.signatures.iter().filter(|signature| signature.key != id).cloned();
        let signatures: Vec<Signature> = kept.chain(added.signatures).collect();
        if signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::TooManySignatures(signatures.len()));
        }
        self.signatures = signatures;
        Ok(())
    }

    /// Parses an envelope in any spelling of its JSON.
    pub fn parse(bytes: &[u8], limits: &BundleLimits) -> Result<Self, EnvelopeError> {
        let written: EnvelopeFields = from_value(parse(bytes, bounds(limits))?)?;
        if written.payload_type != MEDIA_TYPE {
            return Err(EnvelopeError::PayloadType);
        }
        match written.signatures.len() {
            0 => return Err(EnvelopeError::NoSignature),
            1..=MAX_SIGNATURES => {}
            more => return Err(EnvelopeError::TooManySignatures(more)),
        }
        let signatures = written.signatures.iter().enumerate().map(|(index, one)| read_signature(index + 1, one));
        let signatures = signatures.collect::<Result<_, _>>()?;
        let payload = base64::decode(&written.payload).ok_or(EnvelopeError::Base64("payload"))?;
        Ok(Self { payload: payload.into(), signatures })
    }

    /// Returns the JSON of the envelope in canonical form.
    pub fn to_json(&self) -> Vec<u8> {
        let written = EnvelopeFields {
            payload: base64::encode(&self.payload),
            payload_type: MEDIA_TYPE.to_owned(),
            signatures: self.signatures.iter().map(write_signature).collect(),
        };
        // The value consists of strings, lists and objects, so serialization does not fail.
        to_canonical(&written).unwrap_or_default()
    }

    /// Returns the signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the key ids that the signatures claim, in order. They are not verified.
    pub fn claimed_key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.signatures.iter().map(Signature::key_id)
    }

    pub(super) fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

fn read_signature(index: usize, written: &WrittenSignature) -> Result<Signature, EnvelopeError> {
    let key = written.keyid.parse().map_err(|_| EnvelopeError::KeyId { index })?;
    let bytes = base64::decode(&written.sig).ok_or(EnvelopeError::Base64("sig"))?;
    let actual = bytes.len();
    let bytes = bytes.try_into().map_err(|_| EnvelopeError::SignatureLength { index, actual })?;
    Ok(Signature { key, bytes })
}

fn write_signature(signature: &Signature) -> WrittenSignature {
    WrittenSignature { keyid: signature.key.to_string(), sig: base64::encode(&signature.bytes) }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claimed: Vec<KeyId> = self.claimed_key_ids().collect();
        f.debug_struct("Envelope").field("payload_bytes", &self.payload.len()).field("claimed", &claimed).finish()
    }
}
