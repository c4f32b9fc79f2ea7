//! Policy decisions of a host, as pure functions: nothing here opens a file, a socket or a sandbox.
//!
//! [`Facts`] describe a host to a resolver. [`verify_answer`] checks the resolver's answer and is the
//! only way to obtain a [`Resolution`]. [`enforce()`] checks a resolution against the bundle's ceiling
//! and the host's [`RuntimeConfig`] and is the only way to obtain a [`ResolvedWorkerSpec`].
//! [`mod@explain`] reports the origin of each value, or the reason for its absence.

mod config;
mod egress;
mod enforce;
pub mod explain;
mod facts;
mod plugin;
mod reach;
mod request;
mod resolution;
mod resolution_change;
mod verify;

pub use config::{ConfigError, ConfigPlace, MAX_CONFIG_BYTES, Mount, RuntimeConfig, WorkspaceGrants};
pub use egress::*;
pub use enforce::{
    HostPolicy, Refusal, ResolvedWorkerSpec, Rule, SpecGit, SpecModel, SpecMount, SpecTool, enforce, refusal_summary,
};
pub use facts::{FACTS_BOUNDS, Facts};
pub use plugin::{
    Danger, PackageFault, PackageFaults, PermissionLists, PluginChange, PluginGrant, PluginReview, SecretGrant,
    Standing, Statement,
};
pub use reach::{ActiveLayer, Reach};
pub use request::{InvalidSelector, ProfileSelector, Request};
pub use resolution::{Failure, Instruction, Origin, Proposal, ProposedFailure, ProposedOrigin, Resolution};
pub use resolution_change::{ChangeEffect, MAX_TEXT_BYTES, ResolutionChange, ResolutionOutcome, outcome_changes};
pub use verify::{InvalidAnswer, verify, verify_answer, verify_failure};
