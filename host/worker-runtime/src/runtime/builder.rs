//! Builder of a Runtime, and the error of opening one.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bundles::{Platform, ToolName};
use component_host::{BundleView, LoadError, Sandbox, SandboxConfig, SandboxError};
use content_store::blob_store::{BlobStore, MemoryBlobs};
use content_store::metadata::{MemoryMetadata, MetadataError, MetadataStore};
use host_policy::{ConfigError, RuntimeConfig};
use host_tools::secret::{NoSecrets, SecretSource};
use host_tools::tool::HostTool;
use runtime_api::Code;
use runtime_api::event::Epoch;

use super::{Runtime, Shared, resolver_registry, status};
use crate::clock::Clock;
use crate::compute_pool::ComputePool;
use crate::config_in_force::ConfigInForce;
use crate::content::scan_queue::ScanQueue;
use crate::ledger::Ledger;
use crate::limits::RuntimeLimits;
use crate::memo::Memo;
#[cfg(feature = "egress")]
use crate::plugins::PluginNetwork;
use crate::plugins::{Packages, PluginHost, PluginLogs, PluginTools, ServiceHost, Services};
use crate::recent_blobs::RecentBlobs;
use crate::resolutions::Resolutions;
use crate::shipped;
use crate::tenants::Tenants;
use crate::tools::{HostTools, ToolRegistry};

/// Settings of a Runtime. The defaults are no grants, no secrets, no tools, and stores in memory.
#[derive(Debug, Default)]
pub struct RuntimeBuilder {
    blobs: Option<Arc<dyn BlobStore>>,
    metadata: Option<Arc<dyn MetadataStore>>,
    clock: Option<Arc<dyn Clock>>,
    sandbox: Option<Sandbox>,
    secrets: Option<Arc<dyn SecretSource>>,
    config: RuntimeConfig,
    limits: RuntimeLimits,
    tools: Vec<Arc<dyn HostTool>>,
    platform: Option<(Platform, Platform)>,
    #[cfg(feature = "egress")]
    egress: Option<egress::Egress>,
    #[cfg(all(feature = "files", feature = "sqlite"))]
    data_folder: Option<std::path::PathBuf>,
}

/// Error returned by [`RuntimeBuilder::open`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The builder has no clock. A Runtime does not read the system clock by default.
    #[error("no clock is set")]
    NoClock,
    /// The config is incomplete.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Two host tools have the same name.
    #[error("host tool `{0}` already exists")]
    DuplicateTool(ToolName),
    /// The sandbox cannot be created.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The built-in resolver cannot be loaded.
    #[error("cannot load the built-in resolver: {0}")]
    Shipped(#[source] LoadError),
    /// The built-in bundle is invalid.
    #[error("the built-in bundle is invalid")]
    Builtin,
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The system's random source failed.
    #[error("the system's random source failed")]
    NoEntropy,
    /// The data folder cannot be used.
    #[cfg(all(feature = "files", feature = "sqlite"))]
    #[error(transparent)]
    DataFolder(#[from] content_store::DataFolderError),
    /// The compile cache of the data folder cannot be used.
    #[cfg(all(feature = "files", feature = "sqlite"))]
    #[error(transparent)]
    Cache(#[from] component_host::compile::cache::CacheError),
    /// The secrets of the data folder cannot be used.
    #[cfg(all(feature = "files", feature = "sqlite"))]
    #[error(transparent)]
    Secrets(#[from] host_tools::secret::SecretDirectoryError),
    /// The system cannot start the computing threads.
    #[error("cannot start the computing threads: {0}")]
    Threads(std::io::ErrorKind),
}

impl OpenError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NoClock => Code::NoClock,
            Self::Config(error) => error.code(),
            Self::DuplicateTool(_) => Code::DuplicateTool,
            Self::Sandbox(error) => error.code(),
            Self::Shipped(error) => error.code(),
            Self::Builtin => Code::InvalidBundle,
            Self::Metadata(error) => error.code(),
            Self::NoEntropy => Code::NoEntropy,
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::DataFolder(error) => error.code(),
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::Cache(error) => error.code(),
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::Secrets(error) => error.code(),
            Self::Threads(_) => Code::NoThreads,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::NoClock => "call `RuntimeBuilder::clock`, for example with `Arc::new(SystemClock)`".to_owned(),
            Self::Config(error) => error.help(),
            Self::DuplicateTool(_) => "register each tool once".to_owned(),
            Self::Sandbox(error) => error.help().to_owned(),
            Self::Shipped(error) => error.help().to_owned(),
            Self::Builtin => "install another build; this one is broken".to_owned(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::NoEntropy => "check the system's random source".to_owned(),
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::DataFolder(error) => error.help().to_owned(),
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::Cache(error) => error.help().to_owned(),
            #[cfg(all(feature = "files", feature = "sqlite"))]
            Self::Secrets(error) => error.help().to_owned(),
            Self::Threads(_) => "raise the system's thread limit, or lower `computing_threads`".to_owned(),
        }
    }
}

impl RuntimeBuilder {
    /// Sets the blob store. Default: a store in memory of 1 GiB.
    #[must_use]
    pub fn blobs(mut self, store: Arc<dyn BlobStore>) -> Self {
        self.blobs = Some(store);
        self
    }

    /// Sets the metadata store. Default: a store in memory.
    #[must_use]
    pub fn metadata(mut self, store: Arc<dyn MetadataStore>) -> Self {
        self.metadata = Some(store);
        self
    }

    /// Sets the clock. There is no default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the host's config with its grants. Default: no grants.
    #[must_use]
    pub fn config(mut self, config: RuntimeConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the limits. Default: [`RuntimeLimits::default`].
    #[must_use]
    pub fn limits(mut self, limits: RuntimeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the sandbox for resolvers. Default: a sandbox that compiles in this process, without a cache.
    #[must_use]
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// Sets the source of secrets. Default: no secrets.
    #[must_use]
    pub fn secrets(mut self, source: Arc<dyn SecretSource>) -> Self {
        self.secrets = Some(source);
        self
    }

    /// Gives plugins network access, where manifest and grant both allow it. Default: none, so that every request and
    /// connection is refused with `egress_unavailable`.
    #[cfg(feature = "egress")]
    #[must_use]
    pub fn egress(mut self, egress: egress::Egress) -> Self {
        self.egress = Some(egress);
        self
    }

    /// Adds a host tool. A worker has the tool if its bundle declares the tool, its profile selects it, and the host
    /// grants every authority that the tool needs.
    #[must_use]
    pub fn tool(mut self, tool: Arc<dyn HostTool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Sets the operating system and architecture in the facts for resolvers. Default: those of the compilation target.
    #[must_use]
    pub fn platform(mut self, os: Platform, arch: Platform) -> Self {
        self.platform = Some((os, arch));
        self
    }

    /// Sets a local folder for everything that has no other setting: blobs, metadata, compiled resolvers (`compiled`),
    /// and secrets as files (`secrets`). The folder is created if it does not exist, is private to the current user,
    /// and is locked by this process.
    #[cfg(all(feature = "files", feature = "sqlite"))]
    #[must_use]
    pub fn data_folder(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.data_folder = Some(path.into());
        self
    }

    #[cfg(all(feature = "files", feature = "sqlite"))]
    async fn with_data_folder(mut self) -> Result<Self, OpenError> {
        use component_host::compile::cache::CompileCache;

        let Some(path) = self.data_folder.take() else { return Ok(self) };
        let folder = content_store::DataFolder::open(path).await?;
        if self.metadata.is_none() {
            self.metadata =
                Some(Arc::new(content_store::metadata::SqliteMetadata::open(folder.metadata_file()).await?));
        }
        if self.sandbox.is_none() {
            let cache = Some(CompileCache::open(&folder.compiled_folder())?);
            self.sandbox = Some(Sandbox::new(SandboxConfig { cache, ..SandboxConfig::default() })?);
        }
        if self.secrets.is_none() {
            self.secrets = Some(Arc::new(host_tools::secret::SecretDirectory::open(&folder.secrets_folder())?));
        }
        self.blobs.get_or_insert_with(|| Arc::new(folder.blobs()));
        Ok(self)
    }

    /// Opens the Runtime.
    pub async fn open(self) -> Result<Runtime, OpenError> {
        #[cfg(all(feature = "files", feature = "sqlite"))]
        let this = self.with_data_folder().await?;
        #[cfg(not(all(feature = "files", feature = "sqlite")))]
        let this = self;
        this.open_with_stores().await
    }

    async fn open_with_stores(self) -> Result<Runtime, OpenError> {
        let clock = self.clock.ok_or(OpenError::NoClock)?;
        self.config.require_postures()?;
        let sandbox = match self.sandbox {
            Some(sandbox) => sandbox,
            None => Sandbox::new(SandboxConfig::default())?,
        };
        let shipped = sandbox.load(shipped::RESOLVER).await.map_err(OpenError::Shipped)?;
        let builtin = BundleView::new(shipped::bundle().map_err(|_| OpenError::Builtin)?);
        let mut tools = HostTools::default();
        for tool in self.tools {
            tools.add(tool).map_err(OpenError::DuplicateTool)?;
        }
        let platform = match self.platform {
            Some(platform) => platform,
            None => {
                let name = |text: &str| text.parse().map_err(|_| OpenError::Builtin);
                (name(std::env::consts::OS)?, name(std::env::consts::ARCH)?)
            }
        };
        let metadata = self.metadata.unwrap_or_else(|| Arc::new(MemoryMetadata::default()));
        let epoch = getrandom::u64().map(Epoch::from).map_err(|_| OpenError::NoEntropy)?;
        let compute_pool =
            ComputePool::start(self.limits.computing_threads).map_err(|error| OpenError::Threads(error.kind()))?;
        let (compute_pool, tenants) = (Arc::new(compute_pool), Arc::new(Tenants::new(self.limits.clone())));
        let plugin_logs = Arc::new(PluginLogs::new(clock.clone()));
        let secrets = self.secrets.unwrap_or_else(|| Arc::new(NoSecrets));
        let config = Arc::new(ConfigInForce::new(Arc::new(self.config)));
        let plugin_host = PluginHost {
            clock: clock.clone(),
            logs: plugin_logs.clone(),
            config: config.clone(),
            #[cfg(feature = "egress")]
            network: self.egress.clone().map(|egress| PluginNetwork { egress, secrets: secrets.clone() }),
        };
        let services = Arc::new(Services::new(ServiceHost {
            compute_pool: compute_pool.clone(),
            tenants: tenants.clone(),
            plugin_host: plugin_host.clone(),
            plugin_limits: sandbox.limits().plugin.clone(),
            limits: self.limits.clone(),
        }));
        let plugin_tools = PluginTools {
            compute_pool: compute_pool.clone(),
            tenants: tenants.clone(),
            plugin_host,
            services: services.clone(),
            limits: sandbox.limits().plugin.clone(),
        };
        let open_bundles = usize::try_from(self.limits.open_bundles).unwrap_or(usize::MAX);
        // All that can be named, and the active one, so that requests of one workspace do not displace the resolvers of another.
        let resolvers = usize::try_from(self.limits.resolvers)
            .unwrap_or(usize::MAX)
            .saturating_add(resolver_registry::MAX_EARLIER + 1);
        let ledger = Ledger::new(metadata, clock, self.limits.clone(), epoch);
        let shared = Shared {
            id: status::load_id(&ledger).await?,
            blobs: self.blobs.unwrap_or_else(|| Arc::new(MemoryBlobs::new(1 << 30))),
            ledger,
            sandbox,
            reported_config: tokio::sync::Mutex::new(config.load_full()),
            config,
            scan_queue: ScanQueue::new(self.limits.computing_threads),
            tenants,
            recent: RecentBlobs::new(self.limits.recent_blob_bytes),
            limits: self.limits,
            stripes: Default::default(),
            compute_pool,
            secrets,
            known_tokens: Default::default(),
            tools: ToolRegistry::new(tools, plugin_tools),
            packages: Packages::default(),
            plugin_logs,
            services,
            #[cfg(feature = "egress")]
            egress: self.egress,
            platform,
            resolutions: Resolutions::default(),
            facts: Memo::new(1024),
            views: Memo::shared(open_bundles, |_, view| view.bundle().manifest().workspace.id.clone()),
            live: Memo::shared(1024, |key, _| key.workspace.clone()),
            conditions: Memo::shared(8192, |key, _| key.workspace.clone()),
            schemas: Memo::new(1024),
            resolvers: Memo::new(resolvers),
            active_resolver: ArcSwap::from_pointee(shipped.digest()),
            watch: ArcSwapOption::empty(),
            comparisons: Default::default(),
            resolver_changes: Arc::default(),
            resolver_loading: tokio::sync::Mutex::default(),
            shipped,
            builtin,
        };
        let runtime = Runtime(Arc::new(shared));
        runtime.management().restore_state().await?;
        runtime.0.services.attach(Arc::downgrade(&runtime.0));
        runtime.management().start_services();
        Ok(runtime)
    }
}
