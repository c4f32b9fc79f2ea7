//! Decisions about plugins: grants in the host's config, and what they give to a worker.
//!
//! A plugin becomes part of a worker only if the bundle declares it, the profile selects it, the bundle's ceiling allows
//! it and the host grants its package by digest. The decision is all or nothing: one refusal refuses the plugin. Targets
//! of requests and secrets are checked again at every use. A [`PluginReview`] shows a person what a grant gives before the
//! decision. Read [`PluginGrant`] first.

mod fault;
mod grant;
mod lists;
mod review;
mod statement;

pub use fault::{PackageFault, PackageFaults};
pub use grant::{PluginGrant, SecretGrant};
pub use lists::PermissionLists;
pub use review::{PluginChange, PluginReview};
pub use statement::{Danger, Standing, Statement};
