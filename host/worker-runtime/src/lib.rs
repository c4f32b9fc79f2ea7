//! The Runtime: turns a profile selector and a bundle into what a worker may be and touch.
//!
//! [`Resolutions`] asks a sandboxed resolver what a profile means on this host, checks every word of
//! the answer, and remembers it by the digests of all inputs. [`report`] is what leaves the
//! process. The resolver and the bundle that ship inside are in [`shipped`].
//!
//! ```
//! use component_host::{BundleView, Sandbox, SandboxConfig};
//! use host_policy::{Facts, Request};
//! use worker_runtime::{Inputs, Resolutions, shipped};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let sandbox = Sandbox::new(SandboxConfig::default())?;
//! let resolver = sandbox.load(shipped::RESOLVER).await?;
//! let bundle = BundleView::new(shipped::bundle()?);
//! let facts = Facts::bare("linux".parse()?, "x86_64".parse()?);
//! let inputs = Inputs::new(facts, Request::new("companion".parse()?, []));
//! let resolved = Resolutions::default().resolve(&resolver, &bundle, &inputs).await?;
//! assert_eq!(resolved.resolution().lineage()[0].as_str(), "companion");
//! # Ok(())
//! # })
//! # }
//! ```

pub mod blob_store;
#[cfg(feature = "files")]
mod data_folder;
mod digests;
mod error;
mod memo;
pub mod metadata;
mod record;
pub mod report;
mod resolutions;
pub mod shipped;

#[cfg(feature = "files")]
pub use data_folder::{DataFolder, DataFolderError};
pub use digests::Digests;
pub use error::{Outcome, ResolveError};
pub use record::{RECORD_SCHEMA, Record};
pub use resolutions::{Inputs, Resolutions, Resolved};
