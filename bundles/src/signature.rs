//! Signatures of bundles: DSSE envelopes with Ed25519, and what a workspace demands of them.
//!
//! What is signed is the manifest, byte for byte, under [`MEDIA_TYPE`]: a signature covers the bundle's
//! digest and everything that it names, and signing changes neither. An [`Envelope`] travels beside
//! the manifest and proves nothing by being there: [`judge`] holds it against a [`Posture`].
//!
//! Two things are stricter than DSSE asks: `keyid` must be there and be the digest of the public key,
//! and a signature that names a trusted key and is not that key's refuses the whole envelope.

mod base64;
mod envelope;
mod posture;
mod public_key;
mod signing_key;

pub use envelope::{ENVELOPE, Envelope, EnvelopeError, MOST_SIGNATURES};
pub use posture::{InvalidSigners, Posture, SignatureRefusal, Signers, judge};
pub use public_key::{InvalidPublicKey, KeyId, PublicKey};
pub use signing_key::{InvalidSigningKey, MAX_SIGNING_KEY_BYTES, SigningKey};

use std::collections::BTreeSet;

use crate::manifest::MEDIA_TYPE;

/// Who signed a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// Trusted keys whose signature is good, each once.
    pub by: BTreeSet<KeyId>,
    /// What the envelope's other signatures say they are by. Nothing is known about those.
    pub unknown: BTreeSet<KeyId>,
}

/// Why an envelope is not believed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// The payload is not the manifest.
    #[error("the envelope is for another manifest")]
    OtherManifest,
    /// A signature that names a trusted key is not by that key.
    #[error("the signature that names key {0} is not by that key")]
    NotByKey(KeyId),
}

/// Says which of the trusted keys signed a manifest. A signature that names a trusted key and is not
/// good is an error, however many others are good; signatures of other keys are not looked at.
pub fn verify<'a>(
    manifest: &[u8],
    envelope: &Envelope,
    trusted: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<Signed, InvalidSignature> {
    if envelope.payload() != manifest {
        return Err(InvalidSignature::OtherManifest);
    }
    let trusted: Vec<&PublicKey> = trusted.into_iter().collect();
    let message = pae(MEDIA_TYPE, manifest);
    let mut signed = Signed::default();
    for signature in envelope.signatures() {
        let id = signature.key_id();
        match trusted.iter().find(|key| key.id() == id) {
            Some(key) if key.is_good(&message, signature.bytes()) => signed.by.insert(id),
            Some(_) => return Err(InvalidSignature::NotByKey(id)),
            None => signed.unknown.insert(id),
        };
    }
    Ok(signed)
}

/// DSSE's pre-authentication encoding: what is signed, so that neither type nor payload can be read
/// as the other.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests;
