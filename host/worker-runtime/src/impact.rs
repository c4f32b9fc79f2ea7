//! Effect of a new bundle on resolutions and workers.
//!
//! [`BundleDelta`] finds the resolutions that can differ, by the names that they used of the old bundle. [`Impact`]
//! resolves only these again and compares the results. A resolution that is skipped has the same result as before.

mod comparison;
mod delta;

pub use comparison::{BundleSide, Impact, ImpactEffect};
pub use delta::{BundleDelta, ComparedValues};
