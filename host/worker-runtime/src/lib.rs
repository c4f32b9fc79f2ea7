//! The Runtime: stores bundles, creates workers from them and runs the calls of their tools. Everything that it has
//! acknowledged is durable.
//!
//! A program embeds a [`Runtime`]. The program passes in the stores, the config, the clock and the limits; the Runtime
//! reads neither the environment nor the system clock. The API of a workspace has four parts:
//! [`Content`](content::Content) stores its bundles, [`Catalogue`] creates its workers, [`Interaction`] calls their
//! tools, and [`Observation`] reads histories and events. [`Management`] is for the operator.
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Without features the crate opens no file and no socket. The feature `files` adds stores, mounts and secrets on the
//! local disk; `sqlite` and `s3` add the stores of these names. With `files` and `sqlite`, [`Runtime::open_folder`] opens
//! a Runtime on a local folder; its documentation has an example.
//!
//! # Debug builds
//!
//! Opening a Runtime compiles the built-in resolver, unless the compile cache has it. An unoptimised build of the
//! compiler is slow: it takes 15 to 21 s for the built-in resolver and 251 s for a resolver in JavaScript. An optimised
//! build takes less than 1 s and about 3 s. Two things help:
//!
//! - Optimise dependencies in the development profile. In the `Cargo.toml` of your workspace:
//!
//!   ```toml
//!   [profile.dev.package."*"]
//!   opt-level = 2
//!   ```
//!
//! - Cache compiled resolvers. A data folder has a compile cache; for your own sandbox, set
//!   [`SandboxConfig::cache`](component_host::SandboxConfig::cache). A component is then compiled once for each
//!   machine and engine version, even if it is admitted again or the Runtime is reopened.
//!
//! [`Resolutions`] only calls a sandboxed resolver and checks its answer. It does not need a Runtime.

mod catch_panic;
mod clock;
pub mod comparison;
mod compute_pool;
mod config_in_force;
pub mod content;
mod digests;
mod error;
pub mod impact;
mod ledger;
mod limits;
mod memo;
mod plugins;
pub mod prelude;
mod recent_blobs;
mod record;
pub mod report;
mod resolutions;
mod runtime;
pub mod shipped;
mod stripes;
mod tenants;
pub mod token;
mod tools;
mod workspace;

#[cfg(feature = "files")]
pub use content_store::{DataFolder, DataFolderError};
pub use content_store::{blob_store, metadata};
#[cfg(feature = "egress")]
pub use egress;
pub use host_tools::{secret, tool};
pub use runtime_api::limit::InvalidLimit;
pub use runtime_api::{call, event, history, log, worker};

pub use clock::{Clock, ManualClock, SystemClock};
pub use content_store::records::Page;
pub use digests::Digests;
pub use error::{Outcome, ResolveError};
pub use limits::RuntimeLimits;
pub use plugins::{MAX_LOG_BYTES, MAX_LOGGED_WORKERS};
pub use record::{FoundName, RECORD_SCHEMA, ReadSet, Record};
pub use record::{RECORD_BOUNDS, RestoreError};
pub use resolutions::{ComputedResolution, Inputs, Resolutions};
pub use runtime::*;
pub use tenants::{Busy, InflightReservation};
