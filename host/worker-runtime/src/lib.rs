//! The Runtime: takes bundles in, keeps them, makes workers of them, and loses nothing that it has
//! acknowledged.
//!
//! [`Runtime`] is what an engineer embeds. It is handed its stores, its config, its clock and its
//! limits, and reads nothing of its own accord. A workspace brings [`Content`](content::Content); its
//! workers are made through a [`Catalogue`], called through an [`Interaction`] and watched through an
//! [`Observation`]; the operator has [`Management`].
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Without features the crate opens no file and no socket. `files` adds stores, mounts and secrets on
//! this machine, `sqlite` and `s3` the stores of these names, `service` the routes of the API over HTTP,
//! `client` the other end of them. With `files` and `sqlite`, [`Runtime::open_folder`] opens a Runtime on
//! a folder of this machine; its page shows a program that does.
//!
//! # Debug builds
//!
//! Opening a Runtime compiles the resolver that ships inside, unless the compile cache holds it. The compiler is slow
//! when it is itself compiled without optimisation: 15 to 21 s for the resolver that ships inside, and 251 s for one in
//! JavaScript, against less than a second and about three. Two things help:
//!
//! - Optimise dependencies in the development profile. In the `Cargo.toml` of your workspace:
//!
//!   ```toml
//!   [profile.dev.package."*"]
//!   opt-level = 2
//!   ```
//!
//! - Keep compiled resolvers. A data folder has a compile cache; for a sandbox of your own, set
//!   [`SandboxConfig::cache`](component_host::SandboxConfig::cache). A component is then compiled once for each
//!   machine and version of the engine, also when it is admitted again or when the Runtime is opened again.
//!
//! [`Resolutions`] is the part that asks a sandboxed resolver, for who needs no more than that.

mod clock;
mod computing;
mod contain;
pub mod content;
mod digests;
mod error;
mod ledger;
mod limits;
mod memo;
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
mod workspace;

#[cfg(feature = "files")]
pub use content_store::{DataFolder, DataFolderError};
pub use content_store::{blob_store, metadata};
pub use host_tools::{secret, tool};
pub use runtime_api::limit::InvalidLimit;
pub use runtime_api::{call, event, history, worker};

pub use clock::{Clock, ManualClock, SystemClock};
pub use digests::Digests;
pub use error::{Outcome, ResolveError};
pub use ledger::Page;
pub use limits::RuntimeLimits;
pub use record::{FoundName, RECORD_SCHEMA, ReadSet, Record};
pub use record::{RECORD_BOUNDS, RestoreError};
pub use resolutions::{Inputs, Resolutions, Resolved};
pub use runtime::*;
pub use tenants::{Busy, Inflight};
