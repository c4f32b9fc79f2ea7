//! Tests of resolvers and bundles, without a Runtime.

pub mod case;
pub mod bench;
pub mod conformance;

pub use conformance::Conformance;
