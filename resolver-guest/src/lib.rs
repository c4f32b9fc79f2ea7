//! The default profile resolver: what a profile means, given a bundle and the facts of a host.
//!
//! It is a pure function. It ships as a sandboxed component (`resolver.wasm`, pinned by `resolver.lock.toml` and built by
//! `cargo xtask guest build`) and is the same code natively, over any [`Bundle`]:
//!
//! ```
//! use resolver_guest::{Bundle, Facts, Kind, Profile, Request, resolve};
//!
//! /// A bundle that holds one profile, which says nothing.
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
//! What a resolution is, exactly, is pinned by the case corpus in `tests/cases`, which any resolver must meet.

// A component has no operating system, and needs none; elsewhere the package is an ordinary library.
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
