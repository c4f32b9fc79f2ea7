//! Artifacts that are compiled into the Runtime: the default resolver and the built-in bundle.

use bundles::{Bundle, Diagnostics};

/// WebAssembly component of the default resolver, pinned by `resolver-guest/resolver.lock.toml`.
pub const RESOLVER: &[u8] = include_bytes!("../../../resolver-guest/resolver.wasm");

/// Error for an invalid built-in bundle. A test of the build rules it out.
#[derive(Debug, thiserror::Error)]
#[error("the built-in bundle cannot be built")]
pub struct BuiltinBroken(pub &'static Diagnostics);

/// Returns the built-in bundle. Its profiles are selected as `builtin:NAME`.
pub fn bundle() -> Result<Bundle, BuiltinBroken> {
    bundles::builtin().map_err(BuiltinBroken)
}
