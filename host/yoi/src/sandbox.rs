//! The sandbox of the command line. It compiles components in a child process and caches compiled code in the user's cache
//! folder.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use component_host::compile::Compiler;
use component_host::compile::cache::CompileCache;
use component_host::compile::child::ARGUMENT;
use component_host::{Allocation, Limits, Resolver, Sandbox, SandboxConfig};
use etcetera::BaseStrategy;
use runtime_api::Code;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Arguments that configure the cache of compiled components.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct CacheArgs {
    /// Folder for compiled components. Default: `yoi/compiled` in the user's cache folder.
    #[arg(long, value_name = "FOLDER", env = "YOI_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Compiles without reading or writing the cache.
    #[arg(long, env = "YOI_NO_CACHE", value_parser = BoolishValueParser::new())]
    no_cache: bool,
}

impl CacheArgs {
    /// Returns arguments that name a folder.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { cache_dir: Some(folder), no_cache: false }
    }
}

/// Argument that names a limits file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LimitsArgs {
    /// File with limits (TOML). `docs/limits.toml` of the project lists each limit with its default and its reason. Omitted
    /// limits have their defaults.
    #[arg(long, value_name = "FILE", env = "YOI_LIMITS")]
    limits: Option<PathBuf>,
}

impl LimitsArgs {
    /// Reads the limits file, or returns the default limits.
    pub(crate) fn read(&self) -> Result<Limits, CliError> {
        match &self.limits {
            Some(path) => Ok(Limits::from_toml(&files::read_text(path, 1 << 20, "limits file")?)?),
            None => Ok(Limits::default()),
        }
    }
}

/// Creates a sandbox.
pub(crate) fn start(args: &CacheArgs, limits: Limits, output: &Output) -> Result<Sandbox, CliError> {
    let allocation =
        if component_host::memory_is_never_swapped() { Allocation::PooledResident } else { Allocation::Pooled };
    start_with(args, limits, allocation, output)
}

/// Creates a sandbox with the given allocation of memory.
pub(crate) fn start_with(
    args: &CacheArgs,
    limits: Limits,
    allocation: Allocation,
    output: &Output,
) -> Result<Sandbox, CliError> {
    let compiler = match std::env::current_exe() {
        Ok(program) => Compiler::Child { program, arguments: vec![ARGUMENT.into()] },
        // Without the path of this program there is no child process. Only the tighter structural budget then limits the
        // compilation.
        Err(_) => Compiler::InProcess,
    };
    let cache = cache(args, output);
    Ok(Sandbox::new(SandboxConfig { limits, allocation, compiler, cache })?)
}

fn cache(args: &CacheArgs, output: &Output) -> Option<CompileCache> {
    if args.no_cache {
        return None;
    }
    let folder = match &args.cache_dir {
        Some(folder) => folder.clone(),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("yoi").join("compiled"),
    };
    CompileCache::open(&folder)
        .inspect_err(|error| output.note(&format!("note: {error}; continuing without the cache ({})", error.help())))
        .ok()
}

/// A component named as `PATH` or `PATH@sha256:…`.
#[derive(Debug, Clone)]
pub(crate) struct ComponentRef {
    path: PathBuf,
    digest: Option<bundles::Digest>,
}

impl std::str::FromStr for ComponentRef {
    type Err = bundles::InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once("@sha256:") {
            Some((path, hex)) => Ok(Self { path: path.into(), digest: Some(format!("sha256:{hex}").parse()?) }),
            None => Ok(Self { path: text.into(), digest: None }),
        }
    }
}

impl ComponentRef {
    /// Reads the component and verifies its digest, if one was given.
    pub(crate) fn read(&self, limits: &Limits) -> Result<Vec<u8>, CliError> {
        let most = usize::try_from(limits.structure.bytes).unwrap_or(usize::MAX);
        let bytes = files::read_within(&self.path, ("bytes", most), "component")?;
        match self.digest {
            Some(expected) if bundles::Digest::of(&bytes) != expected => {
                let actual = bundles::Digest::of(&bytes);
                let message = format!("the component has the digest {actual}, not {expected}");
                Err(CliError::new(
                    Code::DigestMismatch,
                    message,
                    "download the component again, or pass its correct digest",
                ))
            }
            _ => Ok(bytes),
        }
    }
}

/// Loads the named resolver, or the one that ships with the program.
pub(crate) async fn resolver(sandbox: &Sandbox, component: Option<&ComponentRef>) -> Result<Resolver, CliError> {
    match component {
        Some(component) => Ok(sandbox.load(&component.read(sandbox.limits())?).await?),
        None => Ok(sandbox.load(worker_runtime::shipped::RESOLVER).await?),
    }
}

impl ComponentRef {
    /// Reads the component. `builtin` is the resolver that ships with the program.
    pub(crate) fn read_or_shipped(&self, limits: &Limits) -> Result<Vec<u8>, CliError> {
        let shipped = self.path.as_os_str() == "builtin" && self.digest.is_none();
        if shipped { Ok(worker_runtime::shipped::RESOLVER.to_vec()) } else { self.read(limits) }
    }
}
