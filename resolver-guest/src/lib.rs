//! The default profile resolver: resolves a profile of a bundle for the facts of a host.
//!
//! [`resolve()`] is a pure function. It ships as a sandboxed component: `resolver.wasm`, pinned by `resolver.lock.toml` and
//! built by `cargo xtask guest build`. The same code also runs natively, over any [`Bundle`]:
//!
//! ```
//! use resolver_guest::{Bundle, Facts, Kind, Profile, Request, resolve};
//!
//! /// A bundle with one empty profile.
//! struct Plain;
//!
//! impl Bundle for Plain {
//!     fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
//!         let plain = Profile { extends: vec![], layers: vec![] };
//!         names.iter().map(|name| (name == "plain").then(|| plain.clone())).collect()
//!     }
//!
//!     fn declares(&self, _: Kind, names: &[String]) -> Vec<bool> {
//!         vec![false; names.len()]
//!     }
//! }
//!
//! let request = Request { profile: "plain".into(), required_capabilities: vec![] };
//! let facts = Facts {
//!     os: "linux".into(),
//!     arch: "x86_64".into(),
//!     capabilities: vec![],
//!     models: vec![],
//!     mounts: vec![],
//!     secrets: vec![],
//! };
//! let resolution = resolve(&request, &Plain, &facts)?;
//! assert_eq!(resolution.lineage, ["plain"]);
//! assert_eq!(resolution.settings, "{}");
//! # Ok::<(), resolver_guest::Failure>(())
//! ```
//!
//! The case corpus in `tests/cases` specifies the exact result. Any resolver must pass it.

// A component has no operating system, so it uses no `std`. On other targets the package is an ordinary library.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod ancestry;
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)] // an allocator hands out addresses
mod arena;
mod bundle;
mod c3;
mod glue;
mod json;
mod layers;
mod names;
mod origins;
#[cfg(target_arch = "wasm32")]
mod panic;
mod resolve;
mod settings;
mod wishes;

pub use bundle::Bundle;
pub use glue::{
    Access, Amend, Authority, Condition, Facts, Failure, Kind, Layer, Need, Origin, Profile, Request, Resolution, Wish,
};
pub use resolve::resolve;
