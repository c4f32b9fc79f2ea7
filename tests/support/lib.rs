//! What the behaviours share: fixtures made by code, then broken on purpose.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

pub mod cases;
pub mod examples;
pub mod fixtures;
pub mod fuzz;
pub mod hostile;
pub mod plugin_host;
pub mod plugins;
pub mod sandboxes;

use std::path::PathBuf;

/// The project's root.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder of the corpora that lie beside the project. Where it is missing a test says so in one
/// line and ends; in CI that is a failure.
pub fn corpus(name: &str) -> Option<PathBuf> {
    let folder = root().join("../shared/corpora").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "the corpus `{name}` is missing");
    eprintln!("skipped: the corpus `{name}` does not lie beside the project");
    None
}
