//! The config file of a Backend, and what it names: the data folder, the secrets, the workspaces and the Runtimes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::bundles::signature::Posture;
use ::bundles::{RuntimeName, SecretRef, WorkspaceId};
use async_trait::async_trait;
use backend_api::fleet::{Access, RegisterRuntimeRequest};
use backend_api::policy::Labels;
use host_policy::{RuntimeConfig, WorkspaceGrants};
use runtime_api::Code;
use runtime_client::{Client, ClientOptions, Timeouts};
use serde::Deserialize;
use worker_runtime::blob_store::BlobStore;
use worker_runtime::metadata::MetadataStore;
use worker_runtime::secret::{SecretDirectory, SecretSource};
use worker_runtime::{Runtime, RuntimeLimits, SystemClock};
use yoi_workspace_server::pull::PulledRuntime;
use yoi_workspace_server::reconciler::ReconcilerLimits;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RemoteRuntime, RuntimeLink};
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules, WorkspaceRules};
use yoi_workspace_server::{Backend, BackendBuilder, Connector, ConnectorError, RuntimeEntry, WorkspaceEntry};

use crate::error::CliError;
use crate::output::Output;
use crate::runtime::open;
use crate::runtime::reload::{LastRead, read_file};
use crate::runtime::settings::{Folder, Service};
use crate::{config_file, sandbox};

/// Port of a Backend, if the config names none.
pub(super) const DEFAULT_PORT: u16 = 7080;

/// Name of the data folder of a Backend, if the config names none.
const DATA_FOLDER: &str = "backend-data";

/// Timeouts of requests to a Runtime. A Runtime that does not answer in time is tried again later, so they are short.
const TIMEOUTS: Timeouts = Timeouts {
    response: Duration::from_secs(10),
    transfer: Duration::from_secs(120),
    work: Duration::from_secs(150),
    silence: Duration::from_secs(45),
};

/// The tables of a config file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) service: Service,
    limits: RuntimeLimits,
    workspaces: BTreeMap<WorkspaceId, WorkspaceTable>,
    runtimes: BTreeMap<RuntimeName, RuntimeTable>,
}

/// The table `[workspaces.ID]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `labels`, `runtimes`, `requires` and `signatures`")]
struct WorkspaceTable {
    /// Labels of the workspace.
    #[serde(default)]
    labels: Labels,
    /// Runtimes that may have the workspace.
    runtimes: Names<RuntimeName>,
    /// Labels that a Runtime must have.
    #[serde(default)]
    requires: Labels,
    /// Signatures that a new bundle needs.
    signatures: Posture,
    /// `true` ignores findings of the leak scan that the bundle's author accepted.
    #[serde(default)]
    accept_leak_findings: bool,
}

/// The table `[runtimes.NAME]`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `url` and `token`, with `config`, or with `polls`")]
struct RuntimeTable {
    /// URL of a remote Runtime.
    url: Option<String>,
    /// Name of the secret that holds the token.
    token: Option<SecretRef>,
    /// File with the only trusted certificates in PEM, in place of those of the system.
    certificates: Option<PathBuf>,
    /// `true` if the URL may be `http://` to another machine.
    #[serde(default)]
    allow_http: bool,
    /// Config file of a Runtime that runs in the process of the Backend.
    config: Option<PathBuf>,
    /// `true` if the Runtime polls the Backend, because the Backend cannot reach it.
    #[serde(default)]
    polls: bool,
    /// Labels of the Runtime.
    #[serde(default)]
    labels: Labels,
    /// Workspaces that may be on the Runtime.
    workspaces: Names<WorkspaceId>,
    /// Labels that a workspace must have.
    #[serde(default)]
    requires: Labels,
}

/// Omits URL and paths.
impl fmt::Debug for RuntimeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeTable").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// A parsed config, and the folder of its file.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) settings: Settings,
    folder: Folder,
}

/// Tables of the file that a Runtime's config also has, or does not have. Nothing remains for the policy of a host.
const TABLES: [&str; 4] = ["service", "limits", "workspaces", "runtimes"];

pub(super) fn parse(text: &str, path: &Path) -> Result<Config, CliError> {
    let (_, settings) = RuntimeConfig::from_toml_with::<Settings>(text, &TABLES)
        .map_err(|error| config_file::config_error(error, path))?;
    Ok(Config { settings, folder: Folder::of(path) })
}

pub(super) fn read(path: &Path) -> Result<Config, CliError> {
    parse(&config_file::text(path)?, path)
}

/// The stores of a Backend.
struct Stores {
    blobs: Arc<dyn BlobStore>,
    metadata: Arc<dyn MetadataStore>,
}

impl Settings {
    /// Returns `true` if the tables differ that take effect at the next start.
    pub(super) fn has_other_service(&self, other: &Self) -> bool {
        (&self.service, &self.limits) != (&other.service, &other.limits)
    }
}

impl Config {
    /// Returns the config of the Runtime that keeps the bundles: it names the workspaces and grants nothing.
    pub(super) fn catalogue_config(&self) -> RuntimeConfig {
        let grants = |(id, table): (&WorkspaceId, &WorkspaceTable)| {
            let grants = WorkspaceGrants {
                signatures: Some(table.signatures.clone()),
                accept_leak_findings: table.accept_leak_findings,
                ..WorkspaceGrants::default()
            };
            (id.clone(), grants)
        };
        self.settings.workspaces.iter().map(grants).collect()
    }

    /// Returns the workspaces with their rules.
    pub(super) fn workspaces(&self) -> BTreeMap<WorkspaceId, WorkspaceEntry> {
        let entry = |(id, table): (&WorkspaceId, &WorkspaceTable)| {
            let rules = Rules { accepted: table.runtimes.clone(), required: table.requires.clone() };
            (id.clone(), WorkspaceEntry { rules: WorkspaceRules { labels: table.labels.clone(), rules } })
        };
        self.settings.workspaces.iter().map(entry).collect()
    }

    async fn stores(&self) -> Result<Stores, CliError> {
        let data = self.settings.service.data(&self.folder, DATA_FOLDER);
        let (folder, metadata) = open::open_stores(&data).await?;
        let blobs: Arc<dyn BlobStore> = match &self.settings.service.bucket {
            Some(bucket) => open::in_bucket(bucket, &self.secrets()?).await?,
            None => Arc::new(folder.blobs()),
        };
        Ok(Stores { blobs, metadata: Arc::new(metadata?) })
    }

    fn secrets(&self) -> Result<SecretDirectory, CliError> {
        open::secrets(&self.settings.service, &self.folder)
    }

    /// Opens the Runtime that keeps the bundles.
    async fn catalogue(&self, stores: &Stores, output: &Output) -> Result<Runtime, CliError> {
        let cache =
            sandbox::CacheArgs::in_folder(self.settings.service.data(&self.folder, DATA_FOLDER).join("compiled"));
        let builder = Runtime::builder()
            .clock(Arc::new(SystemClock))
            .blobs(stores.blobs.clone())
            .metadata(stores.metadata.clone())
            .config(self.catalogue_config())
            .limits(self.settings.limits.clone())
            .sandbox(sandbox::start(&cache, component_host::Limits::default(), output)?);
        Ok(builder.open().await?)
    }

    /// Opens the Backend and its Runtimes.
    pub(super) async fn open(&self, output: &Output) -> Result<(Backend, OpenRuntimes), CliError> {
        let stores = self.stores().await?;
        let runtimes = self.runtimes(None, output).await?;
        let builder = BackendBuilder {
            catalogue: self.catalogue(&stores, output).await?,
            metadata: stores.metadata,
            clock: Arc::new(SystemClock),
            workspaces: self.workspaces(),
            runtimes: entries(&runtimes),
            connector: Arc::new(HostConnector(self.secrets()?)),
            limits: ReconcilerLimits::default(),
            seed: seed()?,
        };
        Ok((builder.open().await?, runtimes))
    }

    /// Opens only the Runtime that keeps the bundles and tokens, of a Backend that is not running.
    pub(super) async fn open_tokens(&self) -> Result<Runtime, CliError> {
        let stores = self.stores().await?;
        let builder = Runtime::builder().clock(Arc::new(SystemClock)).limits(self.settings.limits.clone());
        Ok(builder.blobs(stores.blobs).metadata(stores.metadata).open().await?)
    }

    /// Opens the Runtimes. Those whose access does not differ from an earlier config stay open, because the data folder of an
    /// embedded Runtime can be opened only once.
    pub(super) async fn runtimes(
        &self,
        before: Option<(&Self, &OpenRuntimes)>,
        output: &Output,
    ) -> Result<OpenRuntimes, CliError> {
        let mut runtimes = OpenRuntimes::new();
        for (name, table) in &self.settings.runtimes {
            let earlier = before.and_then(|(config, runtimes)| {
                let same = config.settings.runtimes.get(name).is_some_and(|earlier| earlier.has_same_access(table));
                runtimes.get(name).filter(|_| same).cloned()
            });
            let opened = match earlier {
                Some(opened) => opened,
                None => self.open_runtime(name, table, output).await?,
            };
            runtimes.insert(name.clone(), opened.with_rules(table));
        }
        Ok(runtimes)
    }

    async fn open_runtime(
        &self,
        name: &RuntimeName,
        table: &RuntimeTable,
        output: &Output,
    ) -> Result<OpenRuntime, CliError> {
        let rules = table.rules();
        let invalid = |reason: &str, help: &str| {
            Err(CliError::new(Code::InvalidConfig, format!("invalid table [runtimes.{name}]: {reason}"), help))
        };
        match (&table.url, &table.config, table.polls) {
            (None, None, true) => {
                let entry = RuntimeEntry { rules, access: Access::Pulled, link: Arc::new(PulledRuntime::default()) };
                Ok(OpenRuntime { entry, embedded: None })
            }
            (None, Some(config), false) => {
                let path = self.folder.at(config);
                let text = config_file::text(&path)?;
                let last_read = LastRead::at_start(&text, &path);
                let runtime = open::parse(&text, &path)?.open(output).await?;
                let link = Arc::new(EmbeddedRuntime::from(runtime.clone()));
                let entry = RuntimeEntry { rules, access: Access::Embedded, link };
                Ok(OpenRuntime { entry, embedded: Some(EmbeddedConfig { runtime, path, last_read }) })
            }
            (Some(url), None, false) => {
                let Some(token) = &table.token else {
                    return invalid("`token` is missing", "write the name of the secret that holds the token");
                };
                let certificates = table
                    .certificates
                    .as_deref()
                    .map(|path| open::read_certificates(&self.folder.at(path), &format!("runtimes.{name}")));
                let link = remote(&self.secrets()?, url, token, certificates.transpose()?, table.allow_http).await;
                let link = link.map_err(|error| CliError {
                    message: format!("invalid table [runtimes.{name}]: {}", error.message),
                    ..error
                })?;
                let entry = RuntimeEntry { rules, access: Access::Remote, link };
                Ok(OpenRuntime { entry, embedded: None })
            }
            (None, None, false) => {
                invalid("it has no `url`, `config` or `polls`", "write the `url` of the Runtime, or `polls = true`")
            }
            _ => invalid("more than one of `url`, `config` and `polls` is set", "keep one of them"),
        }
    }
}

/// A Runtime that the Backend can use.
#[derive(Debug, Clone)]
pub(super) struct OpenRuntime {
    entry: RuntimeEntry,
    /// The Runtime itself, if it runs in this process.
    pub(super) embedded: Option<EmbeddedConfig>,
}

/// A Runtime in this process, and the config that it follows.
#[derive(Debug, Clone)]
pub(super) struct EmbeddedConfig {
    pub(super) runtime: Runtime,
    path: PathBuf,
    last_read: LastRead,
}

impl EmbeddedConfig {
    /// Reads the config again, and puts a changed policy in force.
    pub(super) async fn follow(&mut self, name: &RuntimeName) {
        let path = self.path.clone();
        let Ok((read, text)) = tokio::task::spawn_blocking(move || read_file(&path)).await else { return };
        if read == self.last_read {
            return;
        }
        self.last_read = read;
        let policy = text.and_then(|text| open::parse(&text, &self.path)).map(|config| config.policy);
        let replaced = policy.and_then(|policy| Ok(self.runtime.management().replace_config(policy)?));
        match replaced {
            Ok(()) => {
                tracing::info!(target: "yoi::config", runtime = %name, "the new config of the embedded Runtime is in force");
                if let Err(error) = self.runtime.management().record_config_changes().await {
                    tracing::error!(target: "yoi::config", runtime = %name, code = error.code().as_str(), "cannot determine the changes of running workers");
                }
            }
            Err(error) => {
                let (code, reason) = (error.code.as_str(), error.message.as_str());
                tracing::error!(target: "yoi::config", runtime = %name, code, reason, help = error.help, "the new config of the embedded Runtime is invalid; the previous one stays in force");
            }
        }
    }
}

/// The Runtimes of a Backend by name.
pub(super) type OpenRuntimes = BTreeMap<RuntimeName, OpenRuntime>;

/// Returns the Runtimes as the Backend knows them.
pub(super) fn entries(runtimes: &OpenRuntimes) -> BTreeMap<RuntimeName, RuntimeEntry> {
    runtimes.iter().map(|(name, runtime)| (name.clone(), runtime.entry.clone())).collect()
}

impl OpenRuntime {
    fn with_rules(self, table: &RuntimeTable) -> Self {
        Self { entry: RuntimeEntry { rules: table.rules(), ..self.entry }, ..self }
    }
}

impl RuntimeTable {
    fn rules(&self) -> RuntimeRules {
        let rules = Rules { accepted: self.workspaces.clone(), required: self.requires.clone() };
        RuntimeRules { labels: self.labels.clone(), rules }
    }

    /// Returns `true` if the Backend reaches the Runtime in the same way.
    fn has_same_access(&self, other: &Self) -> bool {
        let access = |table: &Self| {
            let remote = (table.url.clone(), table.token.clone(), table.certificates.clone(), table.allow_http);
            (remote, table.config.clone(), table.polls)
        };
        access(self) == access(other)
    }
}

/// Opens the access to a remote Runtime. Sends nothing.
async fn remote(
    secrets: &SecretDirectory,
    url: &str,
    token: &SecretRef,
    certificates: Option<Vec<Vec<u8>>>,
    allow_http: bool,
) -> Result<Arc<dyn RuntimeLink>, CliError> {
    let secret = secrets.get(token).await.map_err(|error| {
        CliError::new(error.code(), error.to_string(), format!("set the token: `yoi secret set {token}`"))
    })?;
    let options = ClientOptions {
        system_certificates: certificates.is_none(),
        certificates: certificates.unwrap_or_default(),
        allow_http,
        timeouts: TIMEOUTS,
        ..ClientOptions::new(url, secret)
    };
    let client = Client::new(options).map_err(|error| {
        CliError::new(error.known_code().unwrap_or(Code::InvalidConfig), error.to_string(), error.help())
    })?;
    Ok(Arc::new(RemoteRuntime::from(client)))
}

/// Opens the access to Runtimes that requests add, with the secrets of this host.
#[derive(Debug)]
struct HostConnector(SecretDirectory);

#[async_trait]
impl Connector for HostConnector {
    async fn connect(&self, request: &RegisterRuntimeRequest) -> Result<Arc<dyn RuntimeLink>, ConnectorError> {
        let RegisterRuntimeRequest { url, token, allow_http, .. } = request;
        let CliError { code, message, help, .. } = match remote(&self.0, url, token, None, *allow_http).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        Err(ConnectorError { code, message, help })
    }
}

/// Returns a seed for the variation of times. Several Backends that start at the same time must not read Runtimes at the same
/// times.
fn seed() -> Result<u64, CliError> {
    getrandom::u64()
        .map_err(|_| CliError::new(Code::NoEntropy, "the system's random source failed", "see the log of the system"))
}
