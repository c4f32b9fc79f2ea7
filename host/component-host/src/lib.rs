//! The sandbox for resolver components. This is the only package that names the WebAssembly engine.
//!
//! A component is checked before it is compiled, compiled in a child process that can be killed, linked
//! against a single contract, and run in a fresh instance for each call, within named [`Limits`]. Its
//! answer is an unverified proposal: `host_policy` verifies it and makes all decisions. Start with
//! [`Sandbox`].

mod bindings;
mod call;
pub mod compile;
mod engine;
mod error;
pub mod host_api;
mod limits;
#[doc(hidden)]
pub mod measure;
mod meter;
mod plugin;
mod resolver;
mod sandbox;
mod service;
pub mod structure;
mod swap;
mod tool;
mod world;

/// Names of the worlds whose components this package runs.
pub const WORLDS: [&str; 1] = [World::Resolver.name()];

pub use call::Cost;
pub use engine::Allocation;
pub use error::{CallError, LoadError, PluginError, SandboxError};
pub use limits::{CompileLimits, InvalidLimits, Limits, PluginLimits, PoolLimits, ResolutionLimits};
pub use plugin::{Invocation, LogCounts, PluginRun, ToolAnswer, ToolFailure, ToolFailureCode, ToolFailureKind};
pub use resolver::{BundleRead, BundleView, Resolver, Run};
pub use sandbox::{Sandbox, SandboxConfig};
pub use service::{Event, HandleFailure, NextTurn, Service, ServicePlugin, ServiceState, WakeReason};
pub use swap::memory_is_never_swapped;
pub use tool::ToolPlugin;
pub use world::World;
