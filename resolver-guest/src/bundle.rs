//! Requests of the resolver to a bundle.
//!
//! The trait separates the logic from the generated handle, so that the same logic runs in a component, in unit tests and
//! natively.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Kind, Profile};

/// A read-only view of one bundle. Every method takes many names, because a call has a cost that does not depend on them.
pub trait Bundle {
    /// Returns the profiles with these names, in the order of the names; `None` for a profile that the bundle lacks.
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>>;

    /// Returns for each name, in order, `true` if the bundle declares it as `kind`.
    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool>;
}
