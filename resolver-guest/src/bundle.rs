//! What the resolver asks about a bundle.
//!
//! The trait stands between the logic and the generated handle, so that the same logic runs in a component, in unit
//! tests and natively.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Kind, Profile};

/// A read-only view of one bundle. A call may be costly whatever it asks, so every question takes many names.
pub trait Bundle {
    /// The profiles of these names, each at its name's place; `None` where the bundle has no such profile.
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>>;

    /// Whether the bundle declares these names as `kind`, each answer at its name's place.
    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool>;
}
