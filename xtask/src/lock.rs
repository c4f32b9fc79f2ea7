//! The lock file beside a pinned component: the digest of the component, its source and its toolchain.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::source::{self, Guest, Source};
use crate::toolchain::Identity;

const HEADER: &str = "# Written by `cargo xtask guest build`, checked by `cargo xtask guest verify`.\n\n";

/// Content of the lock file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// Digest of the component.
    pub(crate) digest: String,
    /// Size of the component in bytes.
    pub(crate) size: u64,
    pub(crate) source: Source,
    pub(crate) toolchain: Identity,
}

/// Error of reading, checking or writing the pinned component.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read `{path}`")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{path}`")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot parse `{path}`")]
    Parse {
        path: String,
        #[source]
        source: toml::de::Error,
    },
    #[error("cannot write the lock file as TOML")]
    Serialize(#[source] toml::ser::Error),
    #[error("`{path}` is {found}, its lock file says {pinned}; run `cargo xtask guest build`")]
    Component { path: String, pinned: String, found: String },
    #[error("`{path}` has {found} bytes, its lock file says {pinned}; run `cargo xtask guest build`")]
    Size { path: String, pinned: u64, found: u64 },
    #[error("`{path}` is stale: {changed} changed since it was built; run `cargo xtask guest build`")]
    Stale { path: String, changed: &'static str },
    #[error(transparent)]
    Source(#[from] source::Error),
}

impl Lock {
    /// Reads the lock file of a component below `root`.
    pub(crate) fn read(root: &Path, guest: &Guest) -> Result<Self, Error> {
        let path = guest.lock();
        let text = match fs::read_to_string(root.join(&path)) {
            Ok(text) => text,
            Err(source) => return Err(Error::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| Error::Parse { path, source })
    }

    /// Pins `component`, which was built from the current source below `root`.
    pub(crate) fn pin(root: &Path, guest: &Guest, component: &[u8], toolchain: Identity) -> Result<Self, Error> {
        let lock = Self {
            digest: source::digest(component),
            size: component.len() as u64,
            source: Source::read(root, guest)?,
            toolchain,
        };
        let text = toml::to_string(&lock).map_err(Error::Serialize)?;
        write(root, guest.component(), component)?;
        write(root, guest.lock(), format!("{HEADER}{text}").as_bytes())?;
        Ok(lock)
    }

    /// Returns the pinned component, after checking its digest and that the source has not changed since it was built.
    pub(crate) fn check(&self, root: &Path, guest: &Guest) -> Result<Vec<u8>, Error> {
        let path = guest.component();
        let component = match fs::read(root.join(&path)) {
            Ok(component) => component,
            Err(source) => return Err(Error::Read { path, source }),
        };
        let found = source::digest(&component);
        if found != self.digest {
            return Err(Error::Component { path, pinned: self.digest.clone(), found });
        }
        let found = component.len() as u64;
        if found != self.size {
            return Err(Error::Size { path, pinned: self.size, found });
        }
        let source = Source::read(root, guest)?;
        if source.files != self.source.files {
            return Err(Error::Stale { path, changed: "its source" });
        }
        if source.settings != self.source.settings {
            return Err(Error::Stale { path, changed: "a setting of its build" });
        }
        if source.dependencies != self.source.dependencies {
            return Err(Error::Stale { path, changed: "a dependency" });
        }
        Ok(component)
    }
}

/// Replaces a file atomically, so that an interrupted run leaves the old file.
fn write(root: &Path, path: String, bytes: &[u8]) -> Result<(), Error> {
    let target = root.join(&path);
    let unfinished = target.with_added_extension("unfinished");
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &target));
    written.map_err(|source| Error::Write { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Error, Lock};
    use crate::source::RESOLVER;
    use crate::source::tests::project;
    use crate::toolchain::Identity;

    const BYTES: &[u8] = b"a component";

    fn pinned(root: &Path) {
        project(root);
        let toolchain = Identity {
            rustc: "rustc 1.0.0".into(),
            linker: "LLD 1.0.0".into(),
            library: "source".into(),
            flags: vec!["--profile".into(), "guest".into()],
        };
        let lock = Lock::pin(root, &RESOLVER, BYTES, toolchain).unwrap();
        assert_eq!(Lock::read(root, &RESOLVER).unwrap(), lock);
    }

    fn check(root: &Path) -> Result<Vec<u8>, Error> {
        Lock::read(root, &RESOLVER)?.check(root, &RESOLVER)
    }

    #[test]
    fn newly_pinned_component_is_consistent() {
        let root = tempfile::tempdir().unwrap();
        pinned(root.path());
        assert_eq!(check(root.path()).unwrap(), BYTES);
        let mut left: Vec<_> = fs::read_dir(root.path().join("resolver-guest")).unwrap().collect();
        assert_eq!(left.drain(..).flatten().count(), 4, "manifest, source, component, lock; nothing unfinished");
    }

    #[test]
    fn component_with_one_flipped_byte_is_refused() {
        let root = tempfile::tempdir().unwrap();
        pinned(root.path());
        fs::write(root.path().join(RESOLVER.component()), b"a c0mponent").unwrap();
        assert!(matches!(check(root.path()), Err(Error::Component { .. })));
    }

    #[test]
    fn lock_file_with_a_wrong_size_is_refused() {
        let root = tempfile::tempdir().unwrap();
        pinned(root.path());
        let path = root.path().join(RESOLVER.lock());
        let lock = fs::read_to_string(&path).unwrap().replace("size = 11", "size = 12");
        fs::write(&path, lock).unwrap();
        assert!(matches!(check(root.path()), Err(Error::Size { pinned: 12, found: 11, .. })));
    }

    #[test]
    fn stale_component_is_reported_with_the_changed_input() {
        for (file, what) in
            [("wit/world.wit", "its source"), ("Cargo.toml", "a setting of its build"), ("Cargo.lock", "a dependency")]
        {
            let root = tempfile::tempdir().unwrap();
            pinned(root.path());
            let path = root.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("world", "worlds").replace("opt-level = 3", "opt-level = 2").replace("bb", "b0");
            fs::write(&path, text).unwrap();
            assert!(matches!(check(root.path()), Err(Error::Stale { changed, .. }) if changed == what), "{file}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_lock_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        pinned(root.path());
        let path = root.path().join(RESOLVER.lock());
        let lock = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("signed = true\n{lock}")).unwrap();
        assert!(matches!(check(root.path()), Err(Error::Parse { .. })));
    }
}
