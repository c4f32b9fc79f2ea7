//! Behaviours across packages, one file for each.
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
mod bundle_packages;
mod bundle_signature;
mod compiling;
mod conformance;
mod corpora_json;
mod corpora_leaks;
mod determinism;
mod enforcement;
mod foreign_resolver;
mod fuzz_bodies;
mod hostile_resolvers;
mod impact;
mod package_dependencies;
mod plugin_examples;
mod plugin_grants;
mod plugin_services;
mod plugin_tools;
mod resolver_cases;
mod system_calls;
mod verification;
mod verification_orders;
mod worlds;

/// The compiling child of the other tests, which start this binary again. It is not a test itself. The harness prints
/// to stdout before this function runs, which the protocol allows, and nothing afterwards.
#[test]
#[ignore = "serves the other tests as their compiling child"]
fn compile_child() {
    std::process::exit(component_host::compile::child::main().into());
}
