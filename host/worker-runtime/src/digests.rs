//! Digests of the inputs and the output of a resolution.

use bundles::Digest;
use serde::{Deserialize, Serialize};

/// Digests of the inputs of a resolution and of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// Digest of the bundle's manifest.
    pub bundle: Digest,
    /// Digest of the resolver component.
    pub resolver: Digest,
    /// Digest of the facts as canonical JSON.
    pub facts: Digest,
    /// Digest of the host's grants to the workspace. `None` if no policy was enforced.
    pub policy: Option<Digest>,
    /// Digest of the request as canonical JSON.
    pub request: Digest,
    /// Digest of the resolution as canonical JSON. `None` if the resolution failed.
    pub resolution: Option<Digest>,
}
