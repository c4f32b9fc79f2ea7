//! The bundle compiled into the Runtime, with profiles for hosts that have no bundle of their own.

use std::sync::OnceLock;

use include_dir::{Dir, DirEntry, include_dir};

use crate::builder::{BuildOptions, build};
use crate::bundle::Bundle;
use crate::diagnostic::Diagnostics;
use crate::folder::Folder;
use crate::limits::BundleLimits;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/builtin");

/// Returns the built-in bundle, built on first use. Fails only if its own files are invalid, which a test excludes.
pub fn builtin() -> Result<Bundle, &'static Diagnostics> {
    static BUILTIN: OnceLock<Result<Bundle, Diagnostics>> = OnceLock::new();
    let built = BUILTIN
        .get_or_init(|| build(&folder(), &BuildOptions::default(), &BundleLimits::default()).map(|built| built.bundle));
    match built {
        Ok(bundle) => Ok(bundle.clone()),
        Err(diagnostics) => Err(diagnostics),
    }
}

/// Returns the authoring folder of the built-in bundle, as an example and a starting point.
pub fn folder() -> Folder {
    let mut files = Vec::new();
    collect(&FILES, &mut files);
    Folder::from_files(files)
}

fn collect(dir: &Dir<'static>, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => collect(dir, files),
            DirEntry::File(file) => {
                if let Some(name) = file.path().to_str() {
                    files.push((name.replace('\\', "/"), file.contents().to_vec()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_bundle_is_valid() {
        let bundle = builtin().unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list));
        for profile in ["companion", "coder", "reviewer"] {
            assert!(bundle.manifest().profiles.contains_key(profile), "{profile}");
        }
    }
}
