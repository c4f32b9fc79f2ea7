//! Tools and secrets that a host provides to its workers.
//!
//! [`HostTool`](tool::HostTool) is the trait of a tool, and [`SecretSource`](secret::SecretSource) the trait of a place that
//! holds secrets. A tool reaches mounts and secrets only through its [`ToolContext`](tool::ToolContext), which checks the
//! grants of the worker and the config at each use. The feature `files` adds the tools `fs.list`, `fs.read` and `fs.write`
//! and secrets kept as files.
//!
//! A tool can be tested without a Runtime: see [`ToolFixture`](tool::ToolFixture).

mod fixture;
#[cfg(feature = "files")]
pub mod fs;
pub mod secret;
#[cfg(feature = "files")]
mod temporary;
pub mod tool;
