//! The digests of everything that went into a resolution and came out of it.

use bundles::Digest;
use serde::{Deserialize, Serialize};

/// What a resolution is a function of, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// The bundle's manifest.
    pub bundle: Digest,
    /// The resolver component.
    pub resolver: Digest,
    /// The facts' canonical JSON.
    pub facts: Digest,
    /// What the host grants to the workspace; none where nothing was enforced.
    pub policy: Option<Digest>,
    /// The request's canonical JSON.
    pub request: Digest,
    /// The resolution's canonical JSON.
    pub resolution: Digest,
}
