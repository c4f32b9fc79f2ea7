//! Signatures of bundles: DSSE envelopes with Ed25519, and the requirements of a workspace.
//!
//! The signed content is the manifest, byte for byte, under [`MEDIA_TYPE`]. A signature covers the digest of the bundle
//! and everything that it names, and signing changes neither. An [`Envelope`] travels beside the manifest and is not
//! trusted by itself: [`judge`] checks it against a [`Posture`].
//!
//! Two rules are stricter than DSSE. `keyid` is mandatory and is the digest of the public key. A signature that names a
//! trusted key but is not by that key refuses the whole envelope.

mod base64;
mod envelope;
mod posture;
mod public_key;
mod signing_key;

pub use envelope::{ENVELOPE, Envelope, EnvelopeError, MAX_SIGNATURES};
pub use posture::{InvalidSigners, Posture, SignatureRefusal, Signers, judge};
pub use public_key::{InvalidPublicKey, KeyId, PublicKey};
pub use signing_key::{InvalidSigningKey, MAX_SIGNING_KEY_BYTES, SigningKey};

use std::collections::BTreeSet;

use crate::manifest::MEDIA_TYPE;

/// Result of verifying an envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Trusted keys with a valid signature.
    pub trusted: BTreeSet<KeyId>,
    /// Key ids of the other signatures. These were not verified.
    pub unknown: BTreeSet<KeyId>,
}

/// Error returned when an envelope must be refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// The payload is not the manifest.
    #[error("envelope belongs to another manifest")]
    OtherManifest,
    /// A signature that names a trusted key is not by that key.
    #[error("signature of key {0} is invalid")]
    NotByKey(KeyId),
}

/// Verifies the signatures of the trusted keys on a manifest. An invalid signature that names a trusted key is an
/// error, even if others are valid. Signatures of other keys are ignored.
pub fn verify<'a>(
    manifest: &[u8],
    envelope: &Envelope,
    trusted: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<Verification, InvalidSignature> {
    if envelope.payload() != manifest {
        return Err(InvalidSignature::OtherManifest);
    }
    let trusted: Vec<&PublicKey> = trusted.into_iter().collect();
    let message = pae(MEDIA_TYPE, manifest);
    let mut verification = Verification::default();
    for signature in envelope.signatures() {
        let id = signature.key_id();
        match trusted.iter().find(|key| key.id() == id) {
            Some(key) if key.is_good(&message, signature.bytes()) => verification.trusted.insert(id),
            Some(_) => return Err(InvalidSignature::NotByKey(id)),
            None => verification.unknown.insert(id),
        };
    }
    Ok(verification)
}

/// Returns the pre-authentication encoding of DSSE, which is the signed text. It prevents that a type is read as part
/// of a payload.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests;
