//! The sandbox for resolvers and plugins. This is the only package that names the WebAssembly engine.
//!
//! A component is admitted for one [`World`]: checked before it is compiled, compiled in a child process that can be
//! killed, and linked once. A resolver and a tool plugin run in a fresh instance for each call, a service in one instance
//! that is given turns, all within named [`Limits`]. Their answers are not verified here. Start with [`Sandbox`].

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
mod pool;
mod resolver;
mod sandbox;
mod service;
pub mod structure;
mod swap;
mod tool;
mod world;

/// Names of the worlds whose components a Runtime runs, as they appear in facts.
pub const WORLDS: [&str; 3] = [World::Resolver.name(), World::Tool.name(), World::Service.name()];

pub use call::Cost;
pub use engine::Allocation;
pub use error::{LoadError, PluginError, RunError, SandboxError};
pub use limits::{CompileLimits, InvalidLimits, Limits, PluginLimits, PoolLimits, ResolutionLimits};
pub use plugin::{Invocation, LogCounts, PluginRun, ToolAnswer, ToolFailure, ToolFailureCode, ToolFailureKind};
pub use resolver::{BundleRead, BundleView, Resolver, Run};
pub use sandbox::{Sandbox, SandboxConfig};
pub use service::{HandleFailure, NextTurn, ReportedState, Service, ServiceEvent, ServicePlugin, WakeReason};
pub use swap::memory_is_never_swapped;
pub use tool::ToolPlugin;
pub use world::World;
