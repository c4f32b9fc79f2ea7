//! `cargo xtask guest`: the default resolver and the example plugins in Rust, components that are committed next to their
//! source.
//!
//! Running and testing the project therefore needs no WebAssembly toolchain. `verify` builds the component again. The
//! toolchain that the lock file names must produce the same bytes. Another toolchain can produce other bytes, so its
//! component must pass the tests: a resolver gives the same answers on the case corpus. Such components are stored in
//! `<target>/guest/rebuilt`, and variables of the environment pass their paths to the tests. The report names the check
//! that was made.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use clap::{Args, Subcommand};
use wit_component::ComponentEncoder;

use crate::lock::{self, Lock};
use crate::source::{self, GUESTS, Guest};
use crate::toolchain::{self, Missing, Toolchain, cargo_home};

/// Names the component that the case corpus is to be run against, in place of the pinned one.
const RESOLVER_UNDER_TEST: &str = "YOI_RESOLVER_UNDER_TEST";
/// Names the folder with the components of examples to be tested, in place of the pinned ones.
const EXAMPLES_UNDER_TEST: &str = "YOI_EXAMPLE_PLUGINS";
/// The package whose tests run components.
const TESTS: &str = "yoi-tests";

/// Components that are committed next to their source: the default resolver and the example plugins in Rust.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build the components and pin them.
    Build,
    /// Build the components again and compare them with the pinned ones.
    Verify(Verify),
    /// Check that each pinned component is the one in its lock file and that its source has not changed; needs no toolchain.
    Status,
    /// Build the component of a plugin that `yoi plugin new rust` wrote.
    Plugin(Plugin),
}

#[derive(Args)]
pub(crate) struct Plugin {
    /// Folder of the plugin. The component is written into it as `component.wasm`.
    folder: PathBuf,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// Where no toolchain can build them, be content with what `status` checks.
    #[arg(long)]
    allow_missing_toolchain: bool,
}

/// Result of a task for one component.
#[derive(Debug)]
pub(crate) struct Report {
    guest: &'static Guest,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// The component is pinned.
    Pinned(Lock),
    /// Component, lock file and source belong together.
    Consistent(Lock),
    /// So they do, and a build gave the same bytes.
    Reproduced(Lock),
    /// So they do, and a build by another toolchain gave the same answers.
    SameAnswers { lock: Lock, rebuilt: String },
    /// So they do, and nothing was built for want of something.
    Unbuilt { lock: Lock, missing: Missing },
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("run this as `cargo xtask`: the project's folder is not known otherwise")]
    NoProject,
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Lock(#[from] lock::Error),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    #[error("cannot make a component of the module")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the component of `{package}` holds `{}`, a folder of this machine", folder.display())]
    HostPath { package: &'static str, folder: PathBuf },
    #[error("the same toolchain built {built}, the lock file says {pinned}; the rebuilt component is `{}`", path.display())]
    NotReproduced { pinned: String, built: String, path: PathBuf },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start cargo")]
    StartTests(#[source] io::Error),
    #[error("the rebuilt component does not give the same answers: `{variable}={} cargo test -p {TESTS}` failed", path.display())]
    OtherAnswers { variable: &'static str, path: PathBuf },
}

impl Command {
    /// Does what was asked, for each component.
    pub(crate) fn run(self) -> Result<Vec<Report>, Error> {
        let project = Project::find()?;
        if let Self::Plugin(Plugin { folder }) = &self {
            project.build_plugin(folder)?;
            return Ok(Vec::new());
        }
        let outcome = |guest| match &self {
            Self::Build | Self::Plugin(_) => project.pin(guest),
            Self::Verify(Verify { allow_missing_toolchain }) => project.verify(guest, *allow_missing_toolchain),
            Self::Status => {
                let lock = Lock::read(&project.root, guest)?;
                lock.check(&project.root, guest)?;
                Ok(Outcome::Consistent(lock))
            }
        };
        if matches!(self, Self::Verify(_)) {
            project.forget_builds()?;
        }
        GUESTS.iter().map(|guest| Ok(Report { guest, outcome: outcome(guest)? })).collect()
    }
}

/// The folders that a task works in.
struct Project {
    root: PathBuf,
    /// What cargo and this task leave behind when they build the component.
    target: PathBuf,
}

impl Project {
    fn find() -> Result<Self, Error> {
        // Asked when it runs, not when it is compiled: several checkouts may share one target folder.
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(Error::NoProject)?;
        let root = package.parent().ok_or(Error::NoProject)?.to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Ok(Self { target: root.join(target).join("guest"), root })
    }

    fn pin(&self, guest: &'static Guest) -> Result<Outcome, Error> {
        let toolchains = Toolchain::find_all()?;
        let toolchain = toolchains.first().ok_or(Missing::Library)?;
        let component = self.build(guest, toolchain)?;
        Ok(Outcome::Pinned(Lock::pin(&self.root, guest, &component, toolchain.identity(guest.profile))?))
    }

    fn verify(&self, guest: &'static Guest, allow_missing_toolchain: bool) -> Result<Outcome, Error> {
        let lock = Lock::read(&self.root, guest)?;
        lock.check(&self.root, guest)?;
        let mut toolchains = match Toolchain::find_all() {
            Err(missing) if allow_missing_toolchain => return Ok(Outcome::Unbuilt { lock, missing }),
            found => found?,
        };
        // The one that can be held to the same bytes, if there are several.
        toolchains.sort_by_key(|toolchain| toolchain.identity(guest.profile) != lock.toolchain);
        let toolchain = toolchains.first().ok_or(Missing::Library)?;
        let component = self.build(guest, toolchain)?;
        let built = source::digest(&component);
        if built == lock.digest {
            return Ok(Outcome::Reproduced(lock));
        }
        let folder = self.target.join("rebuilt");
        let path = folder.join(format!("{}.wasm", guest.package));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &component));
        written.map_err(|source| Error::Write { path: path.clone(), source })?;
        if toolchain.identity(guest.profile) == lock.toolchain {
            return Err(Error::NotReproduced { pinned: lock.digest, built, path });
        }
        if guest.package == source::RESOLVER.package {
            self.compare_answers(RESOLVER_UNDER_TEST, path)?;
        } else {
            self.compare_answers(EXAMPLES_UNDER_TEST, folder)?;
        }
        Ok(Outcome::SameAnswers { lock, rebuilt: built })
    }

    /// Nothing that an earlier build left counts as evidence.
    fn forget_builds(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.target) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path: self.target.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn build(&self, guest: &'static Guest, toolchain: &Toolchain) -> Result<Vec<u8>, Error> {
        let package = guest.package;
        let module = toolchain.build(&self.root, package, guest.profile, &self.target)?;
        let component = encode(&module).map_err(Error::Encode)?;
        for folder in [Some(self.root.clone()), cargo_home(), env::home_dir()].into_iter().flatten() {
            if holds(&component, &folder) {
                return Err(Error::HostPath { package, folder });
            }
        }
        Ok(component)
    }

    /// Builds a plugin that is a project of its own.
    fn build_plugin(&self, folder: &Path) -> Result<(), Error> {
        let toolchains = Toolchain::find_all()?;
        let toolchain = toolchains.first().ok_or(Missing::Library)?;
        let package = source::package_name(folder)?;
        let module = toolchain.build(folder, &package, "release", &self.target.join("plugins"))?;
        let path = folder.join("component.wasm");
        fs::write(&path, encode(&module).map_err(Error::Encode)?).map_err(|source| Error::Write { path, source })
    }

    #[allow(clippy::print_stderr)] // says what takes the time, and how to run it again
    fn compare_answers(&self, variable: &'static str, path: PathBuf) -> Result<(), Error> {
        eprintln!("another toolchain than the pinned one: comparing answers in the tests");
        eprintln!("  {variable}={} cargo test -p {TESTS}", path.display());
        let status = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(&self.root)
            .args(["test", "--package", TESTS])
            .env(variable, &path)
            .status()
            .map_err(Error::StartTests)?;
        if status.success() { Ok(()) } else { Err(Error::OtherAnswers { variable, path }) }
    }
}

/// Wraps a core module, which says in a custom section what it is to become, as that component.
fn encode(module: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(ComponentEncoder::default().validate(true).module(module)?.encode()?)
}

fn holds(bytes: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_encoded_bytes();
    // The root folder names no machine, and every absolute path has it.
    folder.len() > 1 && bytes.windows(folder.len()).any(|window| window == folder)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lock, done) = match &self.outcome {
            Outcome::Pinned(lock) => (lock, "built and pinned".to_owned()),
            Outcome::Consistent(lock) => (lock, "matches its lock file and its source".to_owned()),
            Outcome::Reproduced(lock) => (lock, "verified: a build gave the same bytes".to_owned()),
            Outcome::SameAnswers { lock, rebuilt } => {
                (lock, format!("verified: another toolchain built {rebuilt}, which gives the same answers"))
            }
            Outcome::Unbuilt { lock, missing } => {
                (lock, format!("matches its lock file and its source; not built: {missing}"))
            }
        };
        let component = self.guest.component();
        write!(f, "`{component}` {}, {} bytes, by {}: {done}", lock.digest, lock.size, lock.toolchain.rustc)
    }
}
