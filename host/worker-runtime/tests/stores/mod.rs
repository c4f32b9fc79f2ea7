//! Test suites of the blob stores and of the metadata stores, and the tests of each implementation.

mod blobs;
mod bucket;
mod damage;
mod data_folder;
mod files;
mod metadata;
mod model;
mod peer;
mod place;
mod sqlite;
mod sqlite_log;

/// Text in paths, addresses and keys that must not appear in an error.
const CANARY: &str = "canary-5a1f";
