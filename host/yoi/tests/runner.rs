//! Behaviour of the command line: one runner, one file per command.
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

mod backend;
mod bundle;
mod cases;
mod commit;
mod config;
mod demo;
mod explain_url;
mod files;
mod foreign_text;
#[allow(dead_code, unreachable_pub, reason = "the cross-package tests use all of them")]
#[path = "../../../tests/support/hostile.rs"]
mod hostile;
mod impact;
mod key;
mod plugin;
mod plugin_grants;
mod plugin_run;
#[allow(dead_code, unreachable_pub, reason = "the cross-package tests use all of them")]
#[path = "../../../tests/support/plugins.rs"]
mod plugins;
#[cfg(unix)]
mod readme;
mod remote;
mod resolve;
mod resolver;
mod resolver_check;
mod runtime;
mod secret;
mod served;
mod signing;
mod stored_before;
mod support;
mod swap;
mod worker;

/// Returns the folder of the project.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
