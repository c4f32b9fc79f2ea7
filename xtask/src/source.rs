//! Digests of the source from which the component is built.
//!
//! Each digest is SHA-256 over sorted lines, which other tools can produce too: `<digest>  <path>` for a file, as
//! `sha256sum` prints it, `<key> = <value>` in TOML for a setting, and `<name> <version> <checksum>` for a package.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

/// The digests of all inputs of the component's build, except the toolchain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Digest of the manifest and the code of the package, and of its part of the contract.
    pub(crate) files: String,
    /// Digest of the settings in the workspace's manifest that affect the build of the package.
    pub(crate) settings: String,
    /// Digest of the packages whose code is in the component, and of those that generate its code.
    pub(crate) dependencies: String,
}

/// A package whose component is committed next to its source. All names are relative to the repository's root.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Name of the package.
    pub(crate) package: &'static str,
    /// Folder of the package.
    pub(crate) folder: &'static str,
    /// Name of the component and, with the extension `.lock.toml`, of its lock file.
    pub(crate) stem: &'static str,
    /// Profile of the build.
    pub(crate) profile: &'static str,
    /// The parts of the contract that the component uses: the beginnings of their folders' names, with every version.
    contracts: &'static [&'static str],
}

const PLUGIN_CONTRACTS: &[&str] = &["yoi-host@", "yoi-plugin@"];

/// The default resolver.
pub(crate) const RESOLVER: Guest = Guest {
    package: "resolver-guest",
    folder: "resolver-guest",
    stem: "resolver",
    profile: "guest",
    contracts: &["yoi-resolver@"],
};

/// All packages whose components are committed.
pub(crate) const GUESTS: [Guest; 5] = [
    RESOLVER,
    Guest {
        package: "example-markdown-table",
        folder: "tests/guests/plugins/examples/markdown-table",
        stem: "component",
        profile: "guest-small",
        contracts: PLUGIN_CONTRACTS,
    },
    Guest {
        package: "example-counter",
        folder: "tests/guests/plugins/examples/counter",
        stem: "component",
        profile: "guest-small",
        contracts: PLUGIN_CONTRACTS,
    },
    Guest {
        package: "example-web-fetch",
        folder: "tests/guests/plugins/examples/web-fetch",
        stem: "component",
        profile: "guest-small",
        contracts: PLUGIN_CONTRACTS,
    },
    Guest {
        package: "example-chat-gateway",
        folder: "tests/guests/plugins/examples/chat-gateway",
        stem: "component",
        profile: "guest-small",
        contracts: PLUGIN_CONTRACTS,
    },
];

impl Guest {
    /// Path of the component.
    pub(crate) fn component(&self) -> String {
        format!("{}/{}.wasm", self.folder, self.stem)
    }

    /// Path of the lock file.
    pub(crate) fn lock(&self) -> String {
        format!("{}/{}.lock.toml", self.folder, self.stem)
    }
}

/// A generator that runs at compile time. Its version is part of the digest, but its dependencies are not.
const GENERATOR: &str = "wit-bindgen-rust-macro";
/// The encoder of the compiled module. It is a dependency of this task, not of the package.
const ENCODER: (&str, &str) = ("xtask", "wit-component");

/// The folder with every version of every part of the contract: `wit/deps/yoi-resolver@<version>`.
const CONTRACTS: &str = "wit/deps";
/// Keys of the workspace's manifest. The keys of the package's dependencies are added to them.
const SETTINGS: [&str; 3] = ["profile.guest", "profile.release", "workspace.package.edition"];

/// Error of computing the digests.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the name of `{}` is not UTF-8", path.display())]
    Name { path: PathBuf },
    #[error("cannot parse `{path}`")]
    Parse {
        path: String,
        #[source]
        source: toml::de::Error,
    },
    #[error("`Cargo.lock` has no package `{0}`")]
    NoPackage(String),
}

impl Source {
    /// Reads the source of a component below `root`, the repository's root.
    pub(crate) fn read(root: &Path, guest: &Guest) -> Result<Self, Error> {
        let manifest: Manifest = parse(root, &format!("{}/Cargo.toml", guest.folder))?;
        let direct: BTreeSet<String> = manifest.dependencies.into_iter().map(|(name, _)| name).collect();
        Ok(Self {
            files: files(root, guest)?,
            settings: settings(&parse(root, "Cargo.toml")?, guest.profile, &direct),
            dependencies: dependencies(&parse(root, "Cargo.lock")?, guest.package, direct)?,
        })
    }
}

/// Returns the name of the package in a folder.
pub(crate) fn package_name(folder: &Path) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Named {
        package: Name,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    Ok(parse::<Named>(folder, "Cargo.toml")?.package.name)
}

/// The package's manifest, without its development dependencies.
#[derive(Deserialize)]
struct Manifest {
    dependencies: Table,
}

fn parse<T: serde::de::DeserializeOwned>(root: &Path, path: &str) -> Result<T, Error> {
    let full = root.join(path);
    let text = fs::read_to_string(&full).map_err(|source| Error::Read { path: full, source })?;
    toml::from_str(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })
}

/// Returns the digest of bytes in the text form of the project.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn files(root: &Path, guest: &Guest) -> Result<String, Error> {
    let mut found = BTreeMap::new();
    for file in [format!("{}/Cargo.toml", guest.folder), "wit/world.wit".to_owned()] {
        add_file(root, file, &mut found)?;
    }
    add_folder(root, &format!("{}/src", guest.folder), &mut found)?;
    for name in entries(&root.join(CONTRACTS))? {
        if guest.contracts.iter().any(|prefix| name.starts_with(prefix)) {
            add_folder(root, &format!("{CONTRACTS}/{name}"), &mut found)?;
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

/// Returns the names in a folder, without hidden files, which editors create.
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

fn settings(workspace: &Table, profile: &str, direct: &BTreeSet<String>) -> String {
    let inherited = direct.iter().map(|name| format!("workspace.dependencies.{name}"));
    let settings = SETTINGS.map(str::to_owned).into_iter().chain([format!("profile.{profile}")]);
    let keys: BTreeSet<String> = settings.chain(inherited).collect();
    let value = |key: &str| {
        let (first, rest) = key.split_once('.')?;
        rest.split('.').try_fold(workspace.get(first)?, Value::get)
    };
    let lines: String = keys.iter().filter_map(|key| Some(format!("{key} = {}\n", value(key)?))).collect();
    digest(lines.as_bytes())
}

/// The parts of `Cargo.lock` that affect the digest.
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
    /// Returns the package of a `dependencies` entry, which is `name`, or `name version` if the name is ambiguous.
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

fn dependencies(lock: &CargoLock, package: &str, direct: BTreeSet<String>) -> Result<String, Error> {
    let entry = |package: &str, dependency: &str| {
        let mut entries = lock.find(package)?.dependencies.iter();
        let found = entries.find(|entry| entry.split(' ').next() == Some(dependency));
        found.ok_or_else(|| Error::NoPackage(dependency.to_owned()))
    };
    let mut lines = BTreeSet::from([line(lock.find(entry(ENCODER.0, ENCODER.1)?)?)]);
    let mut waiting = Vec::new();
    for name in direct {
        waiting.push(entry(package, &name)?);
    }
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
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Error, RESOLVER, Source};

    const MANIFEST: &str = r#"
        [dependencies]
        json.workspace = true
        wit-bindgen-rust-macro = "1"
        [dev-dependencies]
        proptest = "1"
    "#;

    const WORKSPACE: &str = r#"
        [workspace.package]
        edition = "2024"
        [workspace.dependencies]
        json = { version = "1", default-features = false }
        clap = "4"
        [profile.guest]
        opt-level = 3
    "#;

    const LOCK: &str = r#"
        version = 4
        package = [
            { name = "resolver-guest", version = "0.1.0", dependencies = ["json", "proptest", "wit-bindgen-rust-macro"] },
            { name = "xtask", version = "0.1.0", dependencies = ["toml", "wit-component 2.0.0"] },
            { name = "json", version = "1.0.0", checksum = "aa", dependencies = ["itoa"] },
            { name = "itoa", version = "1.0.0", checksum = "bb" },
            { name = "toml", version = "1.0.0", checksum = "cc" },
            { name = "syn", version = "1.0.0", checksum = "dd" },
            { name = "proptest", version = "1.0.0", checksum = "ee" },
            { name = "wit-bindgen-rust-macro", version = "1.0.0", checksum = "ff", dependencies = ["syn"] },
            { name = "wit-component", version = "1.0.0", checksum = "00" },
            { name = "wit-component", version = "2.0.0", checksum = "11" },
        ]
    "#;

    /// Writes a small project with all inputs of a build.
    pub(crate) fn project(root: &Path) {
        for (path, content) in [
            ("Cargo.lock", LOCK),
            ("Cargo.toml", WORKSPACE),
            ("resolver-guest/Cargo.toml", MANIFEST),
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

    /// Returns the source of a project in which `from` is replaced by `to` in the file `path`.
    fn changed(path: &str, from: &str, to: &str) -> Result<Source, Error> {
        let root = tempfile::tempdir().unwrap();
        project(root.path());
        let path = root.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(&path, text.replace(from, to)).unwrap();
        Source::read(root.path(), &RESOLVER)
    }

    fn unchanged() -> Source {
        changed("Cargo.toml", "workspace", "workspace").unwrap()
    }

    #[test]
    fn digest_depends_on_names_and_contents_and_not_on_the_folder() {
        let pinned = unchanged();
        assert_eq!(unchanged(), pinned, "in another folder");
        for file in ["resolver-guest/src/deep/more.rs", "wit/world.wit", "wit/deps/yoi-resolver@1.0.0/resolver.wit"] {
            assert_ne!(changed(file, "o", "0").unwrap().files, pinned.files, "{file}");
        }
        let renamed = tempfile::tempdir().unwrap();
        project(renamed.path());
        let file = renamed.path().join("resolver-guest/src/deep/more.rs");
        fs::rename(&file, file.with_file_name("less.rs")).unwrap();
        assert_ne!(Source::read(renamed.path(), &RESOLVER).unwrap().files, pinned.files);
    }

    #[test]
    fn files_outside_the_resolver_do_not_change_the_digest() {
        let pinned = unchanged();
        assert_eq!(changed("wit/deps/yoi-host@1.0.0/host.wit", "other", "changed").unwrap(), pinned);
        let edited = tempfile::tempdir().unwrap();
        project(edited.path());
        fs::write(edited.path().join("resolver-guest/src/.lib.rs.swp"), "an editor's").unwrap();
        assert_eq!(Source::read(edited.path(), &RESOLVER).unwrap(), pinned);
    }

    #[test]
    fn only_build_settings_change_the_digest() {
        let pinned = unchanged();
        let settings = |from: &str, to: &str| changed("Cargo.toml", from, to).unwrap().settings;
        assert_ne!(settings("opt-level = 3", "opt-level = 2"), pinned.settings);
        assert_ne!(settings("[profile.guest]", "[profile.release]"), pinned.settings);
        assert_ne!(settings("2024", "2021"), pinned.settings);
        assert_ne!(settings("false", "true"), pinned.settings, "a dependency's features");
        assert_eq!(settings("clap = \"4\"", "clap = \"5\""), pinned.settings);
    }

    #[test]
    fn only_packages_of_the_component_change_the_digest() {
        let pinned = unchanged();
        let dependencies = |from: &str, to: &str| changed("Cargo.lock", from, to).unwrap().dependencies;
        assert_ne!(dependencies("bb", "b0"), pinned.dependencies, "below a dependency");
        assert_ne!(dependencies("ff", "f0"), pinned.dependencies, "the generator");
        assert_ne!(dependencies("11", "01"), pinned.dependencies, "the encoder");
        assert_eq!(dependencies("cc", "c0"), pinned.dependencies, "of this task alone");
        assert_eq!(dependencies("dd", "d0"), pinned.dependencies, "below the generator");
        assert_eq!(dependencies("ee", "e0"), pinned.dependencies, "of tests alone");
        assert_eq!(dependencies("00", "01"), pinned.dependencies, "another version of the encoder");
    }

    #[test]
    fn missing_input_is_named() {
        let refused = changed("Cargo.lock", "{ name = \"itoa\"", "{ name = \"atoi\"");
        assert!(matches!(refused, Err(Error::NoPackage(name)) if name == "itoa"));
        let root = tempfile::tempdir().unwrap();
        project(root.path());
        fs::remove_file(root.path().join("wit/world.wit")).unwrap();
        let refused = Source::read(root.path(), &RESOLVER);
        assert!(matches!(refused, Err(Error::Read { path, .. }) if path.ends_with("wit/world.wit")));
    }
}
