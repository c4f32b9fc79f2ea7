//! The bundle that ships inside: profiles to begin with, on a host that has none of its own.

use std::sync::OnceLock;

use include_dir::{Dir, DirEntry, include_dir};

use crate::builder::{BuildOptions, build};
use crate::bundle::Bundle;
use crate::diagnostic::Diagnostics;
use crate::folder::Folder;
use crate::limits::BundleLimits;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/builtin");

/// The bundle that ships inside, built on first use. It fails only where its own files are wrong,
/// which a test rules out.
pub fn builtin() -> Result<Bundle, &'static Diagnostics> {
    static BUILTIN: OnceLock<Result<Bundle, Diagnostics>> = OnceLock::new();
    let built = BUILTIN
        .get_or_init(|| build(&folder(), &BuildOptions::default(), &BundleLimits::default()).map(|built| built.bundle));
    match built {
        Ok(bundle) => Ok(bundle.clone()),
        Err(told) => Err(told),
    }
}

/// The authoring folder of the bundle that ships inside: an example to read and to begin from.
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
    fn what_ships_inside_is_a_bundle() {
        let bundle = builtin().unwrap_or_else(|told| panic!("{:#?}", told.list));
        for profile in ["companion", "coder", "reviewer"] {
            assert!(bundle.manifest().profiles.contains_key(profile), "{profile}");
        }
    }
}
