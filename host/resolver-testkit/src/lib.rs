//! Tests of resolvers and bundles, without a Runtime.

pub mod bench;
pub mod case;
pub mod conformance;

pub use conformance::Conformance;
