//! The envelope that signatures travel in: DSSE's JSON, read strictly.
//!
//! An [`Envelope`] has the payload type of a manifest, between one and [`MOST_SIGNATURES`] signatures
//! of 64 bytes, each with the id of a key. Whether they are good is not known by having one: see
//! [`verify`](super::verify).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::base64;
use super::pae;
use super::public_key::KeyId;
use super::signing_key::SigningKey;
use crate::canonical::{JsonBounds, JsonError, from_value, parse, to_canonical};
use crate::limits::BundleLimits;
use crate::manifest::MEDIA_TYPE;

/// The name of the envelope in every form of a bundle.
pub const ENVELOPE: &str = "signature.dsse.json";

/// Most signatures of one envelope. Each costs a pass over the manifest.
pub const MOST_SIGNATURES: usize = 16;

/// Objects in a list in an object.
const DEPTH: usize = 3;

/// Signatures over one manifest. Cheap to clone but for the signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Arc<[u8]>,
    signatures: Vec<Signature>,
}

/// One signature, and the key that it says it is by.
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

/// DSSE's JSON, field for field. What DSSE lets be absent is absent here, to be told by name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
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

/// Why bytes are no envelope, or none can be made. Messages never repeat the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON it should be.
    #[error("the envelope is {0}")]
    Json(#[from] JsonError),
    /// The payload is something else than a manifest.
    #[error("the envelope's `payloadType` is not `{MEDIA_TYPE}`")]
    PayloadType,
    /// A field that is not base64 in its one spelling.
    #[error("`{0}` of the envelope is not base64 with padding and without stray bits")]
    Base64(&'static str),
    /// A signature that cannot be of Ed25519.
    #[error("signature {index} of the envelope has {actual} bytes, and an Ed25519 signature has 64")]
    SignatureLength {
        /// Which one, from 1.
        index: usize,
        /// Bytes that it has.
        actual: usize,
    },
    /// A signature without a key's id.
    #[error("signature {index} of the envelope has no `keyid` of the form `sha256:` and 64 lowercase hex digits")]
    KeyId {
        /// Which one, from 1.
        index: usize,
    },
    /// An envelope around nothing.
    #[error("the envelope holds no signature")]
    NoSignature,
    /// More signatures than are looked at.
    #[error("the envelope holds {0} signatures, more than the {MOST_SIGNATURES} allowed")]
    TooManySignatures(usize),
    /// The payload is not the manifest beside it.
    #[error("the envelope is for another manifest than the one beside it")]
    OtherManifest,
}

impl EnvelopeError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::TooManySignatures(_) => "too_large",
            Self::OtherManifest => "signature_invalid",
            _ => "invalid_envelope",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Json(error @ JsonError::Shape { unknown_field: true, .. }) => error.help(),
            Self::Json(JsonError::Shape { .. }) => {
                "an envelope is `payload`, `payloadType` and `signatures`, each with `keyid` and `sig`"
            }
            Self::Json(error) => error.help(),
            Self::PayloadType => "sign the bundle's manifest",
            Self::Base64(_) | Self::SignatureLength { .. } | Self::NoSignature => {
                "fetch the envelope again, or sign again"
            }
            Self::KeyId { .. } => "sign again, or have the signer write the SHA-256 of the 32 bytes of its public key",
            Self::TooManySignatures(_) => "leave out signatures that nobody asks for",
            Self::OtherManifest => "sign the bundle again: a changed bundle needs a new signature",
        }
    }
}

/// The bounds under which an envelope is parsed: a manifest in base64 and what stands around it.
fn bounds(limits: &BundleLimits) -> JsonBounds {
    JsonBounds { bytes: ("manifest_bytes", limits.envelope_bytes()), depth: ("json_depth", DEPTH) }
}

impl Envelope {
    /// Signs a manifest, byte for byte.
    pub fn sign(manifest: Arc<[u8]>, key: &SigningKey) -> Self {
        let bytes = key.sign(&pae(MEDIA_TYPE, &manifest));
        Self { payload: manifest, signatures: vec![Signature { key: key.public_key().id(), bytes }] }
    }

    /// Adds a key's signature, behind the others. One that this key made before is replaced.
    pub fn add(&mut self, key: &SigningKey) -> Result<(), EnvelopeError> {
        let added = Self::sign(Arc::clone(&self.payload), key);
        let id = key.public_key().id();
        let kept = self.signatures.iter().filter(|signature| signature.key != id).cloned();
        let signatures: Vec<Signature> = kept.chain(added.signatures).collect();
        if signatures.len() > MOST_SIGNATURES {
            return Err(EnvelopeError::TooManySignatures(signatures.len()));
        }
        self.signatures = signatures;
        Ok(())
    }

    /// Reads an envelope in any spelling of its JSON.
    pub fn parse(bytes: &[u8], limits: &BundleLimits) -> Result<Self, EnvelopeError> {
        let written: Written = from_value(parse(bytes, bounds(limits))?)?;
        if written.payload_type != MEDIA_TYPE {
            return Err(EnvelopeError::PayloadType);
        }
        match written.signatures.len() {
            0 => return Err(EnvelopeError::NoSignature),
            1..=MOST_SIGNATURES => {}
            more => return Err(EnvelopeError::TooManySignatures(more)),
        }
        let signatures = written.signatures.iter().enumerate().map(|(index, one)| read_signature(index + 1, one));
        let signatures = signatures.collect::<Result<_, _>>()?;
        let payload = base64::decode(&written.payload).ok_or(EnvelopeError::Base64("payload"))?;
        Ok(Self { payload: payload.into(), signatures })
    }

    /// The envelope's JSON, in canonical form.
    pub fn to_json(&self) -> Vec<u8> {
        let written = Written {
            payload: base64::encode(&self.payload),
            payload_type: MEDIA_TYPE.to_owned(),
            signatures: self.signatures.iter().map(write_signature).collect(),
        };
        // Strings in lists in objects: nothing that JSON cannot hold.
        to_canonical(&written).unwrap_or_default()
    }

    /// The bytes that were signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The keys that the signatures say they are by, in their order. Nothing of it is proved.
    pub fn claimed(&self) -> impl Iterator<Item = KeyId> {
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
        let claimed: Vec<KeyId> = self.claimed().collect();
        f.debug_struct("Envelope").field("payload_bytes", &self.payload.len()).field("claimed", &claimed).finish()
    }
}
