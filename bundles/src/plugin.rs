//! Plugin packages: a `plugin.toml` and one component.
//!
//! [`PluginManifest`] states what a plugin offers and requests. A request does not grant access, and the entry in a
//! bundle does not either: a host grants a package by its digest. The bundle's descriptor repeats what a reviewer must
//! first.

mod manifest;

pub(crate) use manifest::normal;
pub use manifest::{MANIFEST, PluginManifest, PluginTool, PluginWorld, SCHEMA};

#[cfg(test)]
mod tests;
