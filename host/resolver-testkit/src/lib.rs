//! Tests of resolvers and bundles, without a Runtime.
