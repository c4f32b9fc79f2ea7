//! Plugins: packages that are loaded for workers, and the tools that they provide.
//!
//! A package is read, verified and loaded before the policy decides about a worker, and a fault of the package refuses its
//! plugin in that decision. Guest code runs only in the compute pool. Read `packages` first, then `tools` and `services`.

mod host_api;
mod ingress;
mod logs;
#[cfg(feature = "egress")]
mod network;
mod packages;
mod services;
mod supervisor;
mod tools;

pub(crate) use host_api::PluginHost;
pub(crate) use logs::PluginLogs;
pub(crate) use logs::PluginOwner;
pub use logs::{MAX_LOG_BYTES, MAX_LOGGED_WORKERS};
#[cfg(feature = "egress")]
pub(crate) use network::PluginNetwork;
pub(crate) use packages::{LoadedPackage, Packages, WorkerPackages};
pub(crate) use services::{ServiceHost, ServicePlans, Services};
pub(crate) use tools::PluginTools;
