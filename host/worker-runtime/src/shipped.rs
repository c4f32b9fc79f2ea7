//! What ships inside: the pinned resolver component, and a bundle to begin with.

use bundles::{Bundle, Diagnostics};

/// The default resolver, pinned by `resolver-guest/resolver.lock.toml`.
pub const RESOLVER: &[u8] = include_bytes!("../../../resolver-guest/resolver.wasm");

/// The bundle that ships inside is broken, which its own test rules out.
#[derive(Debug, thiserror::Error)]
#[error("the bundle that ships inside cannot be built")]
pub struct BuiltinBroken(pub &'static Diagnostics);

/// The bundle that ships inside, whose profiles are selected as `builtin:NAME`.
pub fn bundle() -> Result<Bundle, BuiltinBroken> {
    bundles::builtin().map_err(BuiltinBroken)
}
