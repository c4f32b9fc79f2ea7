//! The Runtime: takes bundles in, keeps them, makes workers of them, and loses nothing that it has
//! acknowledged.
//!
//! [`Runtime`] is what an engineer embeds. It is handed its stores, its config, its clock and its
//! limits, and reads nothing of its own accord. A workspace brings [`Content`](content::Content); its
//! workers are made through a [`Catalogue`], called through an [`Interaction`] and watched through an
//! [`Observation`]; the operator has [`Management`].
//!
//! ```
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use bundles::{Authority, BuildOptions, BundleLimits, Folder, ToolName, build};
//! use host_policy::RuntimeConfig;
//! use serde_json::{Value, json};
//! use worker_runtime::tool::{HostTool, ToolContext, ToolError};
//! use worker_runtime::worker::CreateWorkerRequest;
//! use worker_runtime::{Runtime, SystemClock, ToolCall, blob_store};
//!
//! /// What this host does for its workers; nothing needs to be granted for it.
//! #[derive(Debug)]
//! struct Greet(ToolName);
//!
//! #[async_trait]
//! impl HostTool for Greet {
//!     fn name(&self) -> &ToolName {
//!         &self.0
//!     }
//!     fn needs(&self) -> &[Authority] {
//!         &[]
//!     }
//!     async fn call(&self, _: &ToolContext<'_>, input: Value) -> Result<Value, ToolError> {
//!         Ok(json!({ "greeting": format!("good day, {}", input["name"].as_str().unwrap_or("you")) }))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let config = "[host]\ncapabilities = ['tool:greet']\n[workspaces.my-team]\nsignatures = { posture = 'none' }";
//! let runtime = Runtime::builder()
//!     .clock(Arc::new(SystemClock))
//!     .config(RuntimeConfig::from_toml(config)?)
//!     .tool(Arc::new(Greet("greet".parse()?)))
//!     .open()
//!     .await?;
//! let folder = Folder::from_files([
//!     ("bundle.toml".to_owned(), br#"
//!         schema = "yoi.config-bundle/1"
//!         revision = 1
//!         created_at = "2026-06-25T15:49:30Z"
//!         language = "en"
//!         [workspace]
//!         id = "my-team"
//!         [tools.greet]
//!         source = "host"
//!         effect = "none"
//!     "#.to_vec()),
//!     ("profiles/host.toml".to_owned(), br#"tools_allow = ["greet"]"#.to_vec()),
//! ]);
//! let bundle = build(&folder, &BuildOptions::default(), &BundleLimits::default()).map_err(|_| "no bundle")?.bundle;
//! let team = bundle.manifest().workspace.id.clone();
//! let content = runtime.content(&team);
//! for (digest, blob) in bundle.blobs() {
//!     content.put_blob(*digest, blob_store::whole(blob.to_vec()), None).await?;
//! }
//! content.put_bundle(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await?;
//!
//! let request = CreateWorkerRequest::of_bundle("host".parse()?, bundle.digest());
//! runtime.catalogue(&team).create("front-desk".parse()?, request).await?;
//! let call = ToolCall { input: json!({ "name": "Ada" }), confirmed: false };
//! let called = runtime.interaction(&team).call(&"front-desk".parse()?, &"greet".parse()?, call).await?;
//! assert_eq!(called.output["greeting"], "good day, Ada");
//! assert_eq!(runtime.observation(&team).history(&"front-desk".parse()?, 0, 10).await?.len(), 2);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! Without features the crate opens no file and no socket. `files` adds stores, mounts and secrets on
//! this machine, `sqlite` and `s3` the stores of these names, `service` the routes of the API over HTTP.
//!
//! [`Resolutions`] is the part that asks a sandboxed resolver, for who needs no more than that.

pub mod blob_store;
mod clock;
mod computing;
pub mod content;
#[cfg(feature = "files")]
mod data_folder;
mod digests;
mod error;
pub mod event;
pub mod history;
mod ledger;
mod limits;
mod memo;
pub mod metadata;
mod record;
pub mod report;
mod resolutions;
mod runtime;
pub mod secret;
#[cfg(feature = "service")]
pub mod service;
pub mod shipped;
mod stripes;
#[cfg(feature = "files")]
mod temporary;
mod tenants;
pub mod token;
pub mod tool;
pub mod worker;

pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "files")]
pub use data_folder::{DataFolder, DataFolderError};
pub use digests::Digests;
pub use error::{Outcome, ResolveError};
pub use limits::RuntimeLimits;
pub use record::{RECORD_BOUNDS, RestoreError};
pub use record::{RECORD_SCHEMA, Record};
pub use resolutions::{Inputs, Resolutions, Resolved};
pub use runtime::*;
pub use tenants::Busy;
