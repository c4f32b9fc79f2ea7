//! A bundle and the envelope that travels with it. Having [`Contents`] proves that the envelope is for
//! this bundle's manifest; it does not prove that a signature in it is good.

use crate::bundle::Bundle;
use crate::signature::{Envelope, EnvelopeError};

/// What a file or folder of a built bundle holds: the bundle, and its envelope if it is signed.
#[derive(Debug, Clone)]
pub struct Contents {
    bundle: Bundle,
    envelope: Option<Envelope>,
}

impl Contents {
    /// Puts an envelope beside a bundle. It must be for the bundle's manifest, byte for byte.
    pub fn new(bundle: Bundle, envelope: Option<Envelope>) -> Result<Self, EnvelopeError> {
        match &envelope {
            Some(envelope) if envelope.payload() != bundle.manifest_bytes().as_ref() => {
                Err(EnvelopeError::OtherManifest)
            }
            _ => Ok(Self { bundle, envelope }),
        }
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The envelope, where somebody signed.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_ref()
    }

    /// The bundle alone.
    pub fn into_bundle(self) -> Bundle {
        self.bundle
    }
}

impl From<Bundle> for Contents {
    fn from(bundle: Bundle) -> Self {
        Self { bundle, envelope: None }
    }
}
