//! The sandbox: the only package that names the WebAssembly engine.
//!
//! A component is examined before it is compiled, compiled where it can be killed, linked against
//! the one contract it may have, and run in a fresh instance for every question, within [`Limits`]
//! of which each has a name. What it answers is a proposal: nothing here believes it, and nothing
//! here decides what is allowed.

mod bindings;
mod call;
pub mod compile;
mod convert;
mod engine;
mod error;
mod handle;
mod limits;
#[doc(hidden)]
pub mod measure;
mod meter;
mod resolver;
mod sandbox;
pub mod structure;
mod swap;

pub use call::Cost;
pub use engine::Allocation;
pub use error::{CallError, LoadError, SandboxError};
pub use handle::{BundleView, Read};
pub use limits::{CompileLimits, InvalidLimits, Limits, ResolutionLimits};
pub use resolver::{Resolver, Run, check_contract};
pub use sandbox::{Sandbox, SandboxConfig};
pub use swap::memory_is_never_swapped;
