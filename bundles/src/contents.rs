//! A bundle with its envelope. The envelope is for the bundle's manifest, but its signatures are not verified.

use crate::bundle::Bundle;
use crate::signature::{Envelope, EnvelopeError};

/// Content of the file or folder form of a bundle: the bundle, and the envelope if it is signed.
#[derive(Debug, Clone)]
pub struct Contents {
    bundle: Bundle,
    envelope: Option<Envelope>,
}

impl Contents {
    /// Combines a bundle and an envelope. Fails if the payload of the envelope is not the bundle's manifest, byte for
    /// byte.
    pub fn new(bundle: Bundle, envelope: Option<Envelope>) -> Result<Self, EnvelopeError> {
        match &envelope {
            Some(envelope) if envelope.payload() != bundle.manifest_bytes().as_ref() => {
                Err(EnvelopeError::OtherManifest)
            }
            _ => Ok(Self { bundle, envelope }),
        }
    }

    /// Returns the bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Returns the envelope, if the bundle is signed.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_ref()
    }

    /// Returns the bundle without its envelope.
    pub fn into_bundle(self) -> Bundle {
        self.bundle
    }
}

impl From<Bundle> for Contents {
    fn from(bundle: Bundle) -> Self {
        Self { bundle, envelope: None }
    }
}
