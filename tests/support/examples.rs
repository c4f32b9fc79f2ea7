//! The example plugins in `tests/guests/plugins/examples`, as packages.
//!
//! Components in Rust are committed. Those in JavaScript and Python are larger and not reproducible: `tests/guests/plugins/build`
//! builds them, which `.ci/run` does.

use std::path::{Path, PathBuf};

/// An example with its two files.
pub struct Example {
    /// Content of `plugin.toml`.
    pub manifest: Vec<u8>,
    /// Content of `component.wasm`.
    pub component: Vec<u8>,
}

/// Returns an example. Returns `None`, after a line that says so, if its component is not built.
///
/// # Panics
///
/// If the component is not built and the variable `CI` is set.
#[allow(clippy::expect_used, reason = "tests")]
pub fn example(root: &Path, name: &str) -> Option<Example> {
    let component = component(root, name)?;
    let folder = root.join("tests/guests/plugins/examples").join(name);
    let manifest = std::fs::read(folder.join("plugin.toml")).expect("a manifest");
    Some(Example { manifest, component })
}

/// Returns the component of an example, or `None` like [`example`].
///
/// # Panics
///
/// Like [`example`].
#[allow(clippy::print_stderr, clippy::panic, dead_code, reason = "tests")]
pub fn component(root: &Path, name: &str) -> Option<Vec<u8>> {
    let folder = root.join("tests/guests/plugins/examples").join(name);
    // `cargo xtask guest verify` names a folder with components that another toolchain has built.
    let under_test = std::env::var_os("YOI_EXAMPLE_PLUGINS").map(PathBuf::from);
    let built = under_test.into_iter().chain([root.join("target/plugins")]);
    let mut paths =
        built.map(|built| built.join(format!("example-{name}.wasm"))).chain([folder.join("component.wasm")]);
    let Some(found) = paths.find_map(|path| std::fs::read(path).ok()) else {
        assert!(std::env::var_os("CI").is_none(), "the component of `{name}` is not built");
        eprintln!("skipped: the component of `{name}` is not built; run `tests/guests/plugins/build`");
        return None;
    };
    Some(found)
}
