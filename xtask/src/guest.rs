//! `cargo xtask guest`: the default resolver and the example plugins in Rust, components that are committed next to their
//! source.
//!
//! Running and testing the project therefore needs no WebAssembly toolchain. `verify` builds the component again. The
//! toolchain that the lock file names must produce the same bytes. Another toolchain can produce other bytes, so its
//! component must pass the tests: a resolver must give the same answers on the case corpus. Such components are stored in
//! `<target>/guest/rebuilt`, and environment variables pass their paths to the tests. The report names the check that was
//! made.

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
use crate::toolchain::{self, MissingTool, Toolchain, cargo_home};

/// Variable with the path of the component that the case corpus runs against, instead of the pinned one.
const RESOLVER_UNDER_TEST: &str = "YOI_RESOLVER_UNDER_TEST";
/// Variable with the folder of the example components to test, instead of the pinned ones.
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
    /// If no toolchain can build the components, run only the checks of `status`.
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
    /// Component, lock file and source match.
    Consistent(Lock),
    /// They match, and a build gave the same bytes.
    Reproduced(Lock),
    /// They match, and a component built by another toolchain gave the same answers.
    SameAnswers { lock: Lock, rebuilt: String },
    /// They match, and nothing was built because a tool is missing.
    Unbuilt { lock: Lock, missing: MissingTool },
}

/// Error of a task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("run this as `cargo xtask`: only cargo passes the folder of the project")]
    NoProject,
    #[error(transparent)]
    MissingTool(#[from] MissingTool),
    #[error(transparent)]
    Lock(#[from] lock::Error),
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error(transparent)]
    Toolchain(#[from] toolchain::Error),
    #[error("cannot encode the module as a component")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the component of `{package}` contains `{}`, a folder of this machine", folder.display())]
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
    /// Runs the task for each component.
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
    /// Output of cargo and of this task.
    target: PathBuf,
}

impl Project {
    fn find() -> Result<Self, Error> {
        // Read at run time and not at compile time, because several checkouts may share one target folder.
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or(Error::NoProject)?;
        let root = package.parent().ok_or(Error::NoProject)?.to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Ok(Self { target: root.join(target).join("guest"), root })
    }

    fn pin(&self, guest: &'static Guest) -> Result<Outcome, Error> {
        let toolchains = Toolchain::find_all()?;
        let toolchain = toolchains.first().ok_or(MissingTool::Library)?;
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
        // Prefers the toolchain of the lock file, which must produce the same bytes.
        toolchains.sort_by_key(|toolchain| toolchain.identity(guest.profile) != lock.toolchain);
        let toolchain = toolchains.first().ok_or(MissingTool::Library)?;
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

    /// Removes the output of earlier builds, so that `verify` builds everything again.
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
        let toolchain = toolchains.first().ok_or(MissingTool::Library)?;
        let package = source::package_name(folder)?;
        let module = toolchain.build(folder, &package, "release", &self.target.join("plugins"))?;
        let path = folder.join("component.wasm");
        fs::write(&path, encode(&module).map_err(Error::Encode)?).map_err(|source| Error::Write { path, source })
    }

    #[allow(clippy::print_stderr)] // reports the step that takes long, and the command that repeats it
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

/// Encodes a core module as a component. A custom section of the module describes the component's world.
fn encode(module: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(ComponentEncoder::default().validate(true).module(module)?.encode()?)
}

fn holds(bytes: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_encoded_bytes();
    // Skips the root folder `/`: every absolute path contains it.
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
