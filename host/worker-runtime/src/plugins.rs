//! Plugins: packages that are loaded for workers, and the tools that they provide.
//!
//! A package is read, verified and loaded before the policy decides about a worker, and a fault of the package refuses its
//! plugin in that decision. Guest code runs only in the compute pool. Read `packages` first, then `tools`.

mod host_api;
mod logs;
mod packages;
mod tools;

pub(crate) use logs::LogOwner;
pub(crate) use logs::PluginLogs;
pub use logs::{MAX_LOG_BYTES, MAX_LOGGED_WORKERS};
pub(crate) use packages::{LoadedPackage, Packages, WorkerPackages};
pub(crate) use tools::PluginTools;
