//! Finds the Rust toolchains on this machine that can build for WebAssembly, and runs their builds.
//!
//! There are two candidates: the toolchain that runs this task, and Debian's packages `rustc-web`, `cargo-web`,
//! `rust-web-src` and `rust-web-llvm`. Each may have the wasm32 standard library compiled or as source. No toolchain is
//! downloaded.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

const TARGET: &str = "wasm32-unknown-unknown";

/// Sizes of the initial memory and of the stack within it. The initial memory suffices in ordinary cases, so that the
/// component does not grow it.
const RUSTC_FLAGS: [&str; 2] = ["-Clink-arg=--initial-memory=2097152", "-Clink-arg=-zstack-size=131072"];
/// Flag that builds a standard library from source.
const BUILD_STD: [&str; 1] = ["-Zbuild-std=std,panic_abort"];

/// Prefixes of environment variables that would change the build.
const FOREIGN_VARIABLES: [&str; 9] = [
    "CARGO_BUILD_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// A toolchain that can build the component.
#[derive(Debug)]
pub(crate) struct Toolchain {
    installation: Installation,
    library: Library,
    linker: Linker,
}

/// Identity of a toolchain. Toolchains of the same identity build the same component from the same source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Output of `rustc --version`.
    pub(crate) rustc: String,
    /// Name and version of the linker, as it prints them.
    pub(crate) linker: String,
    /// Form of the standard library: `compiled` or `source`.
    pub(crate) library: String,
    /// Flags of cargo and rustc, without those that name folders of this machine.
    pub(crate) flags: Vec<String>,
}

/// A tool that this machine lacks for a build.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MissingTool {
    #[error(
        "no toolchain here builds for `wasm32-unknown-unknown`: install Debian's `rustc-web cargo-web rust-web-src \
         rust-web-llvm`, or this target for your Rust toolchain"
    )]
    Library,
    #[error("no `rust-lld` here links for `wasm32-unknown-unknown`: install a Rust toolchain, or Debian's `lld-22`")]
    Linker,
}

/// Error returned by a build.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot start `{}`", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{} build` failed", program.display())]
    Build { program: PathBuf },
    #[error("the build left no module at `{}`", path.display())]
    NoModule {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Toolchain {
    /// Returns all toolchains of this machine that can build the component, at least one. The one that runs this task is
    /// first.
    pub(crate) fn find_all() -> Result<Vec<Self>, MissingTool> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let own = Installation::find(cargo.into(), Path::new(&rustc));
        let debian = Installation::find("/usr/bin/cargo".into(), Path::new("/usr/bin/rustc"));
        let mut found: Vec<Installation> = own.into_iter().chain(debian).collect();
        found.dedup_by(|later, earlier| later.sysroot == earlier.sysroot);

        // Debian's packages have no linker, so all toolchains share the first linker that is found.
        let linkers = found.iter().map(Installation::linker).chain(["/usr/bin/rust-lld".into()]);
        let linker = linkers.filter_map(Linker::find).next();
        let able = found.into_iter().filter_map(|installation| Some((installation.library()?, installation)));
        let able: Vec<(Library, Installation)> = able.collect();
        if able.is_empty() {
            return Err(MissingTool::Library);
        }
        let linker = linker.ok_or(MissingTool::Linker)?;
        let toolchain = |(library, installation)| Self { installation, library, linker: linker.clone() };
        Ok(able.into_iter().map(toolchain).collect())
    }

    /// Returns the identity for the lock file.
    pub(crate) fn identity(&self, profile: &str) -> Identity {
        let library = match self.library {
            Library::Compiled => "compiled",
            Library::Source(_) => "source",
        };
        let flags = self.cargo_flags(profile).into_iter().chain(RUSTC_FLAGS);
        Identity {
            rustc: self.installation.version.clone(),
            linker: self.linker.version.clone(),
            library: library.to_owned(),
            flags: flags.map(str::to_owned).collect(),
        }
    }

    /// Builds the core module of a package of the project at `root` in the target folder `target`.
    pub(crate) fn build(&self, root: &Path, package: &str, profile: &str, target: &Path) -> Result<Vec<u8>, Error> {
        let program = &self.installation.cargo;
        let mut build = Command::new(program);
        for (variable, _) in env::vars_os() {
            if FOREIGN_VARIABLES.iter().any(|start| variable.as_encoded_bytes().starts_with(start.as_bytes())) {
                build.env_remove(variable);
            }
        }
        build
            .current_dir(root)
            .args(["build", "--package", package])
            .args(root.join("Cargo.lock").exists().then_some("--locked"))
            .args(self.cargo_flags(profile))
            .arg("--target-dir")
            .arg(target)
            .env("RUSTC", &self.installation.rustc)
            // Not `-Clinker`: cargo hashes flags into symbol names, and this one names a folder of this machine.
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker.program)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustc_flags(root));
        if let Library::Source(_) = self.library {
            // Building the standard library is unstable. This variable allows it on a stable compiler.
            build.env("RUSTC_BOOTSTRAP", "1");
        }
        let status = build.status().map_err(|source| Error::Start { program: program.clone(), source })?;
        if !status.success() {
            return Err(Error::Build { program: program.clone() });
        }
        let path = target.join(TARGET).join(profile).join(format!("{}.wasm", package.replace('-', "_")));
        fs::read(&path).map_err(|source| Error::NoModule { path, source })
    }

    fn cargo_flags<'p>(&self, profile: &'p str) -> Vec<&'p str> {
        let mut flags = vec!["--profile", profile, "--target", TARGET];
        if let Library::Source(_) = self.library {
            flags.extend(BUILD_STD);
        }
        flags
    }

    /// Returns the flags of the compiler, separated so that no path needs quoting.
    fn rustc_flags(&self, root: &Path) -> OsString {
        let mut flags: Vec<OsString> = RUSTC_FLAGS.map(OsString::from).into();
        for (folder, name) in self.folders(root) {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(folder);
            flag.push("=");
            flag.push(name);
            flags.push(flag);
        }
        flags.join(OsStr::new("\x1f"))
    }

    /// Returns the folders of this machine whose paths the compiler embeds, each with its replacement.
    fn folders(&self, root: &Path) -> Vec<(PathBuf, &'static str)> {
        let mut folders = vec![(root.to_owned(), "/yoi")];
        // The registry has one folder for each index, named after its address.
        let registry = cargo_home().map(|home| home.join("registry/src"));
        let indices = registry.and_then(|registry| fs::read_dir(registry).ok());
        folders.extend(indices.into_iter().flatten().flatten().map(|index| (index.path(), "/registry")));
        if let Library::Source(folder) = &self.library {
            folders.extend(folder.canonicalize().ok().map(|folder| (folder, "/rust")));
            folders.push((folder.clone(), "/rust"));
        }
        folders
    }
}

/// Returns the folder of cargo, which contains its registry.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// A compiler and its sysroot.
#[derive(Debug)]
struct Installation {
    cargo: PathBuf,
    rustc: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

/// Form of an installation's standard library for wasm32.
#[derive(Debug)]
enum Library {
    Compiled,
    /// The folder with the sources of Rust.
    Source(PathBuf),
}

impl Installation {
    fn find(cargo: PathBuf, rustc: &Path) -> Option<Self> {
        let about = output(rustc, &["-vV"])?;
        let version = about.lines().next()?.to_owned();
        let host = about.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
        let sysroot = PathBuf::from(output(rustc, &["--print", "sysroot"])?.trim_end());
        // The compiler itself, because `rustc` may be a proxy that chooses among several.
        let rustc = sysroot.join("bin/rustc");
        Some(Self { cargo, rustc, version, host, sysroot })
    }

    fn library(&self) -> Option<Library> {
        let rustlib = self.sysroot.join("lib/rustlib");
        let compiled = fs::read_dir(rustlib.join(TARGET).join("lib")).into_iter().flatten().flatten();
        if compiled.map(|file| file.file_name()).any(|name| name.as_encoded_bytes().starts_with(b"libstd-")) {
            return Some(Library::Compiled);
        }
        let source = rustlib.join("src/rust");
        source.join("library/std/Cargo.toml").is_file().then_some(Library::Source(source))
    }

    fn linker(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin/rust-lld")
    }
}

#[derive(Clone, Debug)]
struct Linker {
    program: PathBuf,
    version: String,
}

impl Linker {
    fn find(program: PathBuf) -> Option<Self> {
        let about = output(&program, &["-flavor", "wasm", "--version"])?;
        // The text in parentheses names the place of its build.
        let version = about.split('(').next()?.trim().to_owned();
        Some(Self { program, version })
    }
}

/// Returns the output of a program, or `None` if it does not exist or fails.
fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    // Cargo sets this variable for its own compiler, and it is wrong for another one.
    let output = command.args(arguments).env_remove("LD_LIBRARY_PATH").output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::{Installation, Library, Linker};

    /// Returns an installation in `sysroot` that has only these files.
    fn installation(sysroot: &Path, files: &[&str]) -> Installation {
        for file in files {
            let path = sysroot.join("lib/rustlib").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        Installation {
            cargo: "cargo".into(),
            rustc: "rustc".into(),
            version: "rustc 1.0.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            sysroot: sysroot.to_owned(),
        }
    }

    fn library(files: &[&str]) -> Option<Library> {
        installation(tempfile::tempdir().unwrap().path(), files).library()
    }

    #[test]
    fn a_compiled_library_is_preferred_to_its_source() {
        let (compiled, source) = ("wasm32-unknown-unknown/lib/libstd-0.rlib", "src/rust/library/std/Cargo.toml");
        assert!(matches!(library(&[compiled, source]), Some(Library::Compiled)));
        assert!(matches!(library(&[source]), Some(Library::Source(folder)) if folder.ends_with("src/rust")));
    }

    #[test]
    fn library_for_another_target_or_without_std_is_not_found() {
        assert!(library(&["x86_64-unknown-linux-gnu/lib/libstd-0.rlib"]).is_none());
        assert!(library(&["wasm32-unknown-unknown/lib/libcore-0.rlib"]).is_none());
    }

    /// Creates a linker that prints `prints` and exits with `code`, and returns the version that is found.
    fn linker(prints: &str, code: u8) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("rust-lld");
        fs::write(&program, format!("#!/bin/sh\necho '{prints}'\nexit {code}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Linker::find(program).map(|linker| linker.version)
    }

    #[test]
    fn linker_version_omits_the_build_path() {
        assert_eq!(linker("LLD 1.2.3 (/build/llvm 0123abc)", 0).unwrap(), "LLD 1.2.3");
        assert_eq!(linker("Debian LLD 1.2.3", 0).unwrap(), "Debian LLD 1.2.3");
    }

    #[test]
    fn linker_that_does_not_run_is_not_found() {
        assert_eq!(linker("LLD 1.2.3", 1), None);
        assert!(Linker::find("/nowhere/rust-lld".into()).is_none());
    }
}
