//! The command line as people and programs meet it: one runner, one file per command.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod bundle;
mod commit;
mod config;
mod demo;
mod files;
mod foreign_text;
mod key;
mod plugin;
mod plugin_grants;
#[cfg(unix)]
mod readme;
mod remote;
mod resolve;
mod resolver;
mod runtime;
mod secret;
mod served;
mod signing;
mod stored_before;
mod support;
mod swap;
mod worker;
