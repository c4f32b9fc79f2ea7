//! One runner, one file per behaviour.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub,
    clippy::print_stderr,
    reason = "tests"
)]

mod calls;
mod canaries;
mod client;
mod client_tls;
mod content;
mod desired;
mod disk;
mod dropped;
mod errors;
mod events;
mod files;
mod history_writers;
mod network;
mod operator;
mod pages;
mod plugin_examples;
mod plugins;
mod problems;
mod removal;
mod resolver_registry;
mod resolver_swap;
mod secrets;
mod server;
mod service;
mod services;
mod shares;
mod signatures;
mod stores;
mod support;
mod suspended;
mod workers;

/// Returns the root folder of the workspace.
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
