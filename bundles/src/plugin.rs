//! Plugin packages: a `plugin.toml` and one component.
//!
//! [`PluginManifest`] states what a plugin offers and requests, and a [`Package`] is both files in one verified blob. A
//! request does not grant access, and the entry in a bundle does not either: a host grants a package by its digest. The
//! bundle's descriptor repeats what a reviewer must see, and [`differences`] compares it with the package. Nothing here
//! compiles or runs a component. Read `manifest` first, then `package`.

mod difference;
mod manifest;
mod package;

pub use difference::{Difference, differences};
pub(crate) use manifest::normal;
pub use manifest::{MANIFEST, PluginManifest, PluginTool, PluginWorld, SCHEMA};
pub use package::{COMPONENT, Package, PackageError, pack};

#[cfg(test)]
mod tests;
