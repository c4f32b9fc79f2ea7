//! What the component is built from, as two digests.
//!
//! Both are SHA-256 over lines that are easy to make by other means: for files `<digest>  <path>`, as `sha256sum` prints
//! them, sorted by path; for packages `<name> <version> <checksum>`, sorted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The digests of everything that the component is built from, the toolchain aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// The package's manifest and code, and its part of the contract.
    pub(crate) files: String,
    /// The packages whose code is in the component, and those that generate code of it.
    pub(crate) dependencies: String,
}

/// The package that the component is built from.
const PACKAGE: &str = "resolver-guest";
/// Runs at compile time: its version counts, but not what it is made of.
const GENERATOR: &str = "wit-bindgen-rust-macro";
/// Wraps the compiled module; a dependency of this task, not of the package.
const ENCODER: (&str, &str) = ("xtask", "wit-component");

/// What else in the repository decides the component's bytes, relative to its root.
const FILES: [&str; 2] = ["resolver-guest/Cargo.toml", "wit/world.wit"];
const FOLDERS: [&str; 1] = ["resolver-guest/src"];
/// Every version of the resolver's contract: `wit/deps/yoi-resolver@<version>`.
const CONTRACTS: (&str, &str) = ("wit/deps", "yoi-resolver@");

/// Why the source has no digest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` has no name in UTF-8", path.display())]
    Name { path: PathBuf },
    #[error("cannot parse `Cargo.lock`")]
    Parse(#[source] toml::de::Error),
    #[error("`Cargo.lock` has no package `{0}`")]
    NoPackage(String),
}

impl Source {
    /// Reads the source below `root`, the repository's root.
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        let lock = root.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).map_err(|source| Error::Read { path: lock, source })?;
        Ok(Self { files: files(root)?, dependencies: dependencies(&lock)? })
    }
}

/// The digest of some bytes, as it is spelled everywhere in the project.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn files(root: &Path) -> Result<String, Error> {
    let mut found = BTreeMap::new();
    for file in FILES {
        add_file(root, file.to_owned(), &mut found)?;
    }
    for folder in FOLDERS {
        add_folder(root, folder, &mut found)?;
    }
    let (parent, prefix) = CONTRACTS;
    for name in entries(&root.join(parent))? {
        if name.starts_with(prefix) {
            add_folder(root, &format!("{parent}/{name}"), &mut found)?;
        }
    }
    let lines: String = found.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    Ok(digest(lines.as_bytes()))
}

fn add_folder(root: &Path, folder: &str, found: &mut BTreeMap<String, String>) -> Result<(), Error> {
    for name in entries(&root.join(folder))? {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            add_folder(root, &path, found)?;
        } else {
            add_file(root, path, found)?;
        }
    }
    Ok(())
}

fn add_file(root: &Path, path: String, found: &mut BTreeMap<String, String>) -> Result<(), Error> {
    let full = root.join(&path);
    let bytes = fs::read(&full).map_err(|source| Error::Read { path: full, source })?;
    found.insert(path, format!("{:x}", Sha256::digest(bytes)));
    Ok(())
}

/// The names in a folder. Hidden ones are an editor's, not the source's.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.into_string().map_err(|name| Error::Name { path: folder.join(name) })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// `Cargo.lock`, as far as it matters here.
#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

impl CargoLock {
    /// Finds what a `dependencies` entry means: `name`, or `name version` where the name alone is ambiguous.
    fn find(&self, entry: &str) -> Result<&Package, Error> {
        let mut words = entry.split(' ');
        let (name, version) = (words.next(), words.next());
        self.package
            .iter()
            .find(|package| {
                Some(package.name.as_str()) == name && version.is_none_or(|version| package.version == version)
            })
            .ok_or_else(|| Error::NoPackage(entry.to_owned()))
    }
}

fn dependencies(cargo_lock: &str) -> Result<String, Error> {
    let lock: CargoLock = toml::from_str(cargo_lock).map_err(Error::Parse)?;
    let (encoder_user, encoder) = ENCODER;
    let encoder_entry = lock
        .find(encoder_user)?
        .dependencies
        .iter()
        .find(|entry| entry.split(' ').next() == Some(encoder))
        .ok_or_else(|| Error::NoPackage(encoder.to_owned()))?;
    let mut lines = BTreeSet::from([line(lock.find(encoder_entry)?)]);
    let mut waiting: Vec<&String> = lock.find(PACKAGE)?.dependencies.iter().collect();
    while let Some(entry) = waiting.pop() {
        let package = lock.find(entry)?;
        if lines.insert(line(package)) && package.name != GENERATOR {
            waiting.extend(&package.dependencies);
        }
    }
    let lines: String = lines.into_iter().collect();
    Ok(digest(lines.as_bytes()))
}

fn line(package: &Package) -> String {
    format!("{} {} {}\n", package.name, package.version, package.checksum.as_deref().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Error, Source, dependencies};

    const LOCK: &str = r#"
        version = 4
        package = [
            { name = "resolver-guest", version = "0.1.0", dependencies = ["json", "wit-bindgen-rust-macro"] },
            { name = "xtask", version = "0.1.0", dependencies = ["toml", "wit-component 2.0.0"] },
            { name = "json", version = "1.0.0", checksum = "aa", dependencies = ["itoa"] },
            { name = "itoa", version = "1.0.0", checksum = "bb" },
            { name = "toml", version = "1.0.0", checksum = "cc" },
            { name = "syn", version = "1.0.0", checksum = "dd" },
            { name = "wit-bindgen-rust-macro", version = "1.0.0", checksum = "ee", dependencies = ["syn"] },
            { name = "wit-component", version = "1.0.0", checksum = "ff" },
            { name = "wit-component", version = "2.0.0", checksum = "00" },
        ]
    "#;

    #[test]
    fn a_package_that_is_in_the_component_counts_and_another_does_not() {
        let pinned = dependencies(LOCK).unwrap();
        let changed = |from: &str, to: &str| dependencies(&LOCK.replace(from, to)).unwrap() != pinned;
        assert!(changed("bb", "b0"), "below a dependency");
        assert!(changed("ee", "e0"), "the generator");
        assert!(changed("\"00\"", "\"01\""), "the encoder");
        assert!(!changed("cc", "c0"), "of this task alone");
        assert!(!changed("dd", "d0"), "below the generator");
        assert!(!changed("ff", "f0"), "another version of the encoder");
    }

    #[test]
    fn a_lock_file_without_the_package_is_refused() {
        let refused = dependencies(&LOCK.replace("\"itoa\", version", "\"atoi\", version"));
        assert!(matches!(refused, Err(Error::NoPackage(name)) if name == "itoa"));
    }

    fn project(root: &Path) {
        for (path, content) in [
            ("Cargo.lock", LOCK),
            ("resolver-guest/Cargo.toml", "manifest"),
            ("resolver-guest/src/lib.rs", "code"),
            ("resolver-guest/src/deep/more.rs", "more"),
            ("wit/world.wit", "world"),
            ("wit/deps/yoi-resolver@1.0.0/resolver.wit", "contract"),
            ("wit/deps/yoi-host@1.0.0/host.wit", "other"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn the_digest_follows_names_and_contents_and_not_the_folder() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        project(here.path());
        project(there.path());
        let pinned = Source::read(here.path()).unwrap();
        assert_eq!(Source::read(there.path()).unwrap(), pinned);

        fs::write(there.path().join("wit/deps/yoi-host@1.0.0/host.wit"), "changed").unwrap();
        fs::write(there.path().join("resolver-guest/src/.swp"), "an editor's").unwrap();
        assert_eq!(Source::read(there.path()).unwrap(), pinned, "neither is the resolver's source");

        let file = there.path().join("resolver-guest/src/deep/more.rs");
        fs::rename(&file, file.with_file_name("less.rs")).unwrap();
        assert_ne!(Source::read(there.path()).unwrap(), pinned);
    }

    #[test]
    fn a_missing_file_is_named() {
        let here = tempfile::tempdir().unwrap();
        project(here.path());
        fs::remove_file(here.path().join("wit/world.wit")).unwrap();
        let refused = Source::read(here.path());
        assert!(matches!(refused, Err(Error::Read { path, .. }) if path.ends_with("wit/world.wit")));
    }
}
