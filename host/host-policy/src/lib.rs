//! What this host allows, as pure functions of values: nothing here opens a file, a socket or a
//! sandbox.
//!
//! [`Facts`] is what a host tells a resolver. [`verify_answer`] checks every word that comes back
//! and is the only way to a [`Resolution`]. [`enforce()`] holds that against the bundle's ceiling and
//! the host's [`RuntimeConfig`] and is the only way to a [`ResolvedWorkerSpec`]. [`mod@explain`] says
//! for every value where it came from, and for what is not there, why.

mod config;
mod egress;
mod enforce;
pub mod explain;
mod facts;
mod reach;
mod request;
mod resolution;
mod verify;

pub use config::{ConfigError, ConfigPlace, MAX_CONFIG_BYTES, Mount, RuntimeConfig, WorkspaceGrants};
pub use egress::*;
pub use enforce::{
    Git, HostPolicy, Refusal, ResolvedWorkerSpec, Rule, SpecModel, SpecMount, SpecTool, enforce, refused,
};
pub use facts::{FACTS_BOUNDS, Facts};
pub use reach::{ActiveLayer, Reach};
pub use request::{InvalidSelector, ProfileSelector, Request};
pub use resolution::{Failure, Instruction, Origin, Proposal, ProposedFailure, ProposedOrigin, Resolution};
pub use verify::{Misbehaved, verify, verify_answer, verify_failure};
