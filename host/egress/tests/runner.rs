//! One runner, one file per behaviour.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::type_complexity,
    unreachable_pub,
    clippy::print_stderr,
    reason = "tests"
)]

/// Makes components from core code, shared with the cross-package tests.
#[allow(dead_code, reason = "the cross-package tests use more of it")]
#[path = "../../../tests/guests/plugins/component.rs"]
mod component;
mod corpus;
mod logs;
mod requests;
mod support;
mod websockets;

/// Returns the root folder of the workspace.
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
