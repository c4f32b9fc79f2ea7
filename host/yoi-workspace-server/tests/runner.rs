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

mod browser;
mod fleet;
mod pages;
mod placements;
mod pull;
mod service;
mod simulation;
mod support;
mod webdriver;
mod workers;
