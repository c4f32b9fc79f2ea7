//! Tests of resolvers and bundles, without a Runtime.

pub mod case;
