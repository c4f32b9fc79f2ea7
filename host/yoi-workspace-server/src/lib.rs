//! The Backend: keeps the bundles of workspaces, decides which Runtimes may have which, brings them there, and shows what each
//! Runtime really has.
//!
//! A Backend never sends a resolved specification. A Runtime gets a bundle and the decision that a workspace should use it,
//! and verifies both as if they came from anyone else.
//!
//! - [`visibility`] decides which workspaces may be on which Runtimes, and [`desired`] what they should have there.
//! - [`reconciler`] compares that with what the Runtimes acknowledged, and decides what to do next.
//! - [`runtime_link`] is the access to one Runtime, and [`delivery`] brings a bundle there.
//! - [`pull`] serves Runtimes that the Backend cannot reach.
//! - [`service`] is the HTTP API.
//! - [`pages`] shows the same to people, in a browser.

mod activity;
mod audit;
mod backend;
mod catalogue;
mod connector;
pub mod delivery;
pub mod desired;
mod driver;
mod link_error;
pub mod pages;
mod placements;
pub mod pull;
pub mod reconciler;
pub mod runtime_link;
pub mod service;
mod sessions;
pub mod visibility;
mod workers;

pub use backend::{Backend, BackendBuilder, BackendError, RuntimeEntry, WorkspaceEntry};
pub use connector::{Connector, ConnectorError, NoConnector};
pub use link_error::LinkError;
pub use workers::{ExplainedValue, ExplainedWorker, PlacedWorker};
