//! Desired state: the bundle that a workspace should use on a Runtime, as a Backend decides it.
//!
//! A Backend numbers its decisions. A Runtime acknowledges a decision only if its number is higher than that of the decision
//! that it acknowledged last, so a decision that arrives late changes nothing.

use std::fmt;
use std::num::NonZeroU64;

use bundles::Digest;
use serde::{Deserialize, Serialize};

/// Number of a decision about a workspace: 1 to 2^53 − 1, so that it is exact in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Generation(NonZeroU64);

/// Error returned for a number that is not a [`Generation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid generation: expected a whole number from 1 to {}", Generation::MAX)]
pub struct InvalidGeneration;

impl Generation {
    /// The first generation.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    const MAX: u64 = (1 << 53) - 1;

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the next generation, or `None` after the last one.
    pub fn next(self) -> Option<Self> {
        (self.get() + 1).try_into().ok()
    }
}

impl TryFrom<u64> for Generation {
    type Error = InvalidGeneration;

    fn try_from(number: u64) -> Result<Self, InvalidGeneration> {
        let number = NonZeroU64::new(number).filter(|number| number.get() <= Self::MAX);
        number.map(Self).ok_or(InvalidGeneration)
    }
}

impl From<Generation> for u64 {
    fn from(generation: Generation) -> Self {
        generation.get()
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bundle that a workspace should use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DesiredBundle {
    /// Number of the decision.
    #[cfg_attr(feature = "openapi", schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub generation: Generation,
    /// Digest of the bundle. The Runtime must have it.
    pub bundle: Digest,
    /// `true` if the bundle may be older than the newest one of the workspace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub allow_older: bool,
}

/// The decision that a Runtime acknowledged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcknowledgedBundle {
    /// Number of the decision.
    #[cfg_attr(feature = "openapi", schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub generation: Generation,
    /// Digest of the bundle.
    pub bundle: Digest,
    /// Time of the acknowledgement.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub acknowledged_at: jiff::Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_exact_in_json_and_ends() {
        let last: Generation = serde_json::from_str("9007199254740991").expect("the last generation");
        assert_eq!((last.next(), Generation::FIRST.next().map(Generation::get)), (None, Some(2)));
        for bad in ["0", "9007199254740992", "-1", "1.5", "\"1\""] {
            assert!(serde_json::from_str::<Generation>(bad).is_err(), "{bad}");
        }
    }
}
