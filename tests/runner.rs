//! One runner, one file per behaviour.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests"
)]

mod bundle_authoring;
mod bundle_canonical;
mod bundle_digest;
mod bundle_fixture;
mod bundle_lineage;
mod bundle_manifest;
mod bundle_signature;
mod compiling;
mod corpora_json;
mod corpora_leaks;
mod determinism;
mod enforcement;
mod foreign_resolver;
mod fuzz_bodies;
mod hostile_resolvers;
mod package_dependencies;
mod resolver_cases;
mod system_calls;
mod verification;
mod verification_orders;

/// Not a test of its own: the compiling child of the others, which start this binary again. The
/// harness says something on stdout before, which the protocol allows, and nothing after.
#[test]
#[ignore = "serves the other tests as their compiling child"]
fn compile_child() {
    std::process::exit(component_host::compile::child::main().into());
}
