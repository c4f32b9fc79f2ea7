//! `cargo xtask guest`: the default resolver, a component that is committed next to its source.
//!
//! Running and testing the project therefore needs no WebAssembly toolchain. `verify` builds the component again. The
//! toolchain that the lock file names must produce the same bytes. Another toolchain can produce other bytes, so its
//! component must give the same answers on the case corpus. That component is stored at `<target>/guest/resolver.wasm`,
//! and `YOI_RESOLVER_UNDER_TEST` passes its path to the tests. The report names the check that was made.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use clap::{Args, Subcommand};
use wit_component::ComponentEncoder;

use crate::lock::{self, COMPONENT, Lock};
use crate::source;
use crate::toolchain::{self, Missing, Toolchain, cargo_home};

/// Names the component that the case corpus is to be run against, in place of the pinned one.
const UNDER_TEST: &str = "YOI_RESOLVER_UNDER_TEST";
/// The package whose tests run the case corpus against a component.
const TESTS: &str = "yoi-tests";

/// The default resolver: a component that is committed next to its source.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build the component and pin it.
    Build,
    /// Build the component again and compare it with the pinned one.
    Verify(Verify),
    /// Check that the pinned component is the one in the lock file and that its source has not changed; needs no toolchain.
    Status,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// Where no toolchain can build it, be content with what `status` checks.
    #[arg(long)]
    allow_missing_toolchain: bool,
}

/// Result of a task.
#[derive(Debug)]
pub(crate) enum Report {
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
    Toolchain(#[from] toolchain::Error),
    #[error("cannot make a component of the module")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the component holds `{}`, a folder of this machine", folder.display())]
    HostPath { folder: PathBuf },
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
    #[error("the rebuilt component does not give the same answers: `{UNDER_TEST}={} cargo test -p {TESTS}` failed", path.display())]
    OtherAnswers { path: PathBuf },
}

impl Command {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<Report, Error> {
        let project = Project::find()?;
        match self {
            Self::Build => project.pin(),
            Self::Verify(Verify { allow_missing_toolchain }) => project.verify(allow_missing_toolchain),
            Self::Status => {
                let lock = Lock::read(&project.root)?;
                lock.check(&project.root)?;
                Ok(Report::Consistent(lock))
            }
        }
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

    fn pin(&self) -> Result<Report, Error> {
        let toolchains = Toolchain::find_all()?;
        let toolchain = toolchains.first().ok_or(Missing::Library)?;
        let component = self.build(toolchain)?;
        Ok(Report::Pinned(Lock::pin(&self.root, &component, toolchain.identity())?))
    }

    fn verify(&self, allow_missing_toolchain: bool) -> Result<Report, Error> {
        let lock = Lock::read(&self.root)?;
        lock.check(&self.root)?;
        let mut toolchains = match Toolchain::find_all() {
            Err(missing) if allow_missing_toolchain => return Ok(Report::Unbuilt { lock, missing }),
            found => found?,
        };
        // The one that can be held to the same bytes, if there are several.
        toolchains.sort_by_key(|toolchain| toolchain.identity() != lock.toolchain);
        let toolchain = toolchains.first().ok_or(Missing::Library)?;
        self.forget_builds()?;
        let component = self.build(toolchain)?;
        let built = source::digest(&component);
        if built == lock.digest {
            return Ok(Report::Reproduced(lock));
        }
        let path = self.target.join("resolver.wasm");
        fs::write(&path, &component).map_err(|source| Error::Write { path: path.clone(), source })?;
        if toolchain.identity() == lock.toolchain {
            return Err(Error::NotReproduced { pinned: lock.digest, built, path });
        }
        self.compare_answers(path)?;
        Ok(Report::SameAnswers { lock, rebuilt: built })
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

    fn build(&self, toolchain: &Toolchain) -> Result<Vec<u8>, Error> {
        let module = toolchain.build(&self.root, &self.target)?;
        let component = encode(&module).map_err(Error::Encode)?;
        for folder in [Some(self.root.clone()), cargo_home(), env::home_dir()].into_iter().flatten() {
            if holds(&component, &folder) {
                return Err(Error::HostPath { folder });
            }
        }
        Ok(component)
    }

    #[allow(clippy::print_stderr)] // says what takes the time, and how to run it again
    fn compare_answers(&self, component: PathBuf) -> Result<(), Error> {
        eprintln!("another toolchain than the pinned one: comparing answers on the case corpus");
        eprintln!("  {UNDER_TEST}={} cargo test -p {TESTS}", component.display());
        let status = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(&self.root)
            .args(["test", "--package", TESTS])
            .env(UNDER_TEST, &component)
            .status()
            .map_err(Error::StartTests)?;
        if status.success() { Ok(()) } else { Err(Error::OtherAnswers { path: component }) }
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
        let (lock, done) = match self {
            Self::Pinned(lock) => (lock, "built and pinned".to_owned()),
            Self::Consistent(lock) => (lock, "matches its lock file and its source".to_owned()),
            Self::Reproduced(lock) => (lock, "verified: a build gave the same bytes".to_owned()),
            Self::SameAnswers { lock, rebuilt } => {
                (lock, format!("verified: another toolchain built {rebuilt}, which gives the same answers"))
            }
            Self::Unbuilt { lock, missing } => {
                (lock, format!("matches its lock file and its source; not built: {missing}"))
            }
        };
        write!(f, "`{COMPONENT}` {}, {} bytes, by {}: {done}", lock.digest, lock.size, lock.toolchain.rustc)
    }
}
