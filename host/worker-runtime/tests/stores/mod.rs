//! One suite for every blob store, one for every metadata store, and what each has of its own.

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

/// Where a path, an address or a key could show, this stands in it.
const CANARY: &str = "canary-5a1f";
