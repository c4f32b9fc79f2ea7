//! Opens the data folder, the secrets and the sandbox that a config names, and the Runtime over them. [`DataStores`] gives
//! access to the data of a service that is not running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use component_host::Limits;
use host_policy::RuntimeConfig;
use runtime_api::Code;
use secrecy::SecretString;
use worker_runtime::blob_store::{BlobStore, ObjectBlobs, S3Config};
use worker_runtime::egress::{Egress, EgressSettings, InvalidRoots, TlsRoots};
use worker_runtime::metadata::{MetadataError, SqliteMetadata};
use worker_runtime::secret::{SecretDirectory, SecretSource};
use worker_runtime::{DataFolder, Runtime, RuntimeLimits, SystemClock};

use super::gaps;
use super::settings::{Bucket, Folder, Service, Settings};
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs};
use crate::secret;
use crate::{config_file, files};

/// File that every data folder has from its first opening on, and the files beside it. If one of the latter has content, the
/// former existed.
const METADATA: &str = "metadata.sqlite";
const METADATA_COMPANIONS: [&str; 2] = ["metadata.sqlite-wal", "metadata.sqlite-mark"];

/// Name of the data folder of a Runtime, if the config names none.
const DATA_FOLDER: &str = "yoi-data";

/// Threads for the connections of all plugins.
const NETWORK_THREADS: usize = 2;

/// Size of a file of root certificates. Those of a system have about 200 KiB.
const MAX_CERTIFICATES_BYTES: usize = 4 << 20;

/// A parsed config: policy, settings of the service, and the folder of the file.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) policy: RuntimeConfig,
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
}

pub(crate) fn read(path: &Path) -> Result<Config, CliError> {
    parse(&config_file::text(path)?, path)
}

pub(crate) fn parse(text: &str, path: &Path) -> Result<Config, CliError> {
    let (policy, settings) = config_file::parse(text, path)?;
    Ok(Config { policy, settings, folder: Folder::of(path) })
}

impl Config {
    /// Opens the Runtime.
    pub(crate) async fn open(&self, output: &Output) -> Result<Runtime, CliError> {
        let service = &self.settings.service;
        let data = self.data();
        let (folder, metadata) = open_stores(&data).await?;
        let metadata = metadata?;
        let secrets = Arc::new(self.secrets()?);
        let blobs: Arc<dyn BlobStore> = match &service.bucket {
            Some(bucket) => in_bucket(bucket, &*secrets).await?,
            None => Arc::new(folder.blobs()),
        };
        let cache = CacheArgs::in_folder(data.join("compiled"));
        let builder = Runtime::builder()
            .clock(Arc::new(SystemClock))
            .blobs(blobs)
            .metadata(Arc::new(metadata))
            .config(self.policy.clone())
            .limits(self.settings.limits.clone())
            .sandbox(sandbox::start(&cache, self.component_limits()?, output)?)
            .secrets(secrets)
            .egress(self.egress()?);
        Ok(gaps::host_tools()?.into_iter().fold(builder, |builder, tool| builder.tool(tool)).open().await?)
    }

    /// Returns the network access of plugins. Its connections have threads of their own, so that a remote system that sends
    /// much does not keep the service from answering.
    fn egress(&self) -> Result<Egress, CliError> {
        let _entered = network_threads()?.enter();
        let settings = EgressSettings::of_system(self.settings.egress.limits.clone());
        Egress::new(EgressSettings { roots: self.roots()?, ..settings }).map_err(|error| invalid_roots(error, "egress"))
    }

    fn roots(&self) -> Result<TlsRoots, CliError> {
        match self.settings.egress.certificates(&self.folder) {
            Some(path) => read_roots(&path, "egress"),
            None => Ok(TlsRoots::System),
        }
    }

    fn component_limits(&self) -> Result<Limits, CliError> {
        match self.settings.service.component_limits(&self.folder) {
            Some(path) => Ok(Limits::from_toml(&files::read_text(&path, 1 << 20, "limits file")?)?),
            None => Ok(Limits::default()),
        }
    }

    pub(super) fn secrets(&self) -> Result<SecretDirectory, CliError> {
        secrets(&self.settings.service, &self.folder)
    }

    /// Opens the folder of the secrets if it exists. Does not create it.
    pub(super) fn existing_secrets(&self) -> Result<Option<SecretDirectory>, CliError> {
        let exists = secrets_folder(&self.settings.service, &self.folder)?.symlink_metadata().is_ok();
        exists.then(|| self.secrets()).transpose()
    }

    /// Returns the errors that keep a service with this config from starting, independent of the data folder.
    pub(super) fn refusals(&self) -> Vec<CliError> {
        let private = self.settings.service.require_private();
        let signed = self.policy.require_postures().map_err(CliError::from);
        let (limits, roots) = (self.component_limits().map(drop), self.roots().map(drop));
        let backend = self.settings.backend.as_ref().map(|table| table.certificates(&self.folder).map(drop));
        [private, signed, limits, roots, backend.unwrap_or(Ok(()))].into_iter().filter_map(Result::err).collect()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.settings.service.data(&self.folder, DATA_FOLDER)
    }
}

/// Opens the folder of the secrets.
pub(crate) fn secrets(service: &Service, folder: &Folder) -> Result<SecretDirectory, CliError> {
    let path = secrets_folder(service, folder)?;
    Ok(if service.secrets_read_only { SecretDirectory::credentials(&path) } else { SecretDirectory::open(&path) }?)
}

fn secrets_folder(service: &Service, folder: &Folder) -> Result<PathBuf, CliError> {
    let help = "write `secrets = \"FOLDER\"` under [service]";
    match service.secrets(folder) {
        Some(path) => Ok(path),
        None => secret::default_folder().map_err(|error| CliError { help: help.to_owned(), ..error }),
    }
}

/// Returns the threads of the connections of plugins, which live as long as the process.
fn network_threads() -> Result<&'static tokio::runtime::Runtime, CliError> {
    static THREADS: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    if let Some(threads) = THREADS.get() {
        return Ok(threads);
    }
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .thread_name("plugin-network")
        .enable_all()
        .build()
        .map_err(|error| {
            let message = format!("cannot start the threads of the network: {}", error.kind());
            CliError::new(Code::NoThreads, message, "raise the system's thread limit")
        })?;
    Ok(THREADS.get_or_init(|| threads))
}

/// Reads root certificates in PEM that a table of the config names.
fn read_roots(path: &Path, table: &str) -> Result<TlsRoots, CliError> {
    let text = files::read_text(path, MAX_CERTIFICATES_BYTES, "file of certificates")?;
    TlsRoots::from_pem(text.as_bytes()).map_err(|error| invalid_roots(error, table))
}

/// Reads the certificates of a file that a table of the config names, each in DER.
pub(crate) fn read_certificates(path: &Path, table: &str) -> Result<Vec<Vec<u8>>, CliError> {
    Ok(match read_roots(path, table)? {
        TlsRoots::Only(certificates) => certificates,
        TlsRoots::System => Vec::new(),
    })
}

fn invalid_roots(error: InvalidRoots, table: &str) -> CliError {
    let help = format!("let `certificates` under [{table}] name a file with root certificates in PEM");
    CliError::new(Code::InvalidConfig, error.to_string(), help)
}

/// Opens the stores of a data folder. Damaged metadata is an inner error, because the blobs can still be read.
pub(crate) async fn open_stores(data: &Path) -> Result<(DataFolder, Result<SqliteMetadata, MetadataError>), CliError> {
    let folder = DataFolder::open(data).await?;
    match SqliteMetadata::open(folder.metadata_file()).await {
        Err(error) if error.code() != Code::MetadataDamaged => Err(error.into()),
        metadata => Ok((folder, metadata)),
    }
}

/// `true` if the folder is a data folder: it has metadata.
pub(crate) fn is_data_folder(data: &Path) -> bool {
    let has_content = |name: &&str| data.join(name).metadata().is_ok_and(|found| found.is_file() && found.len() > 0);
    data.join(METADATA).is_file() || METADATA_COMPANIONS.iter().any(has_content)
}

/// Checks that a data folder exists. Opening a folder without metadata would create them.
pub(crate) fn require_data_folder(data: &Path) -> Result<(), CliError> {
    if is_data_folder(data) {
        return Ok(());
    }
    let message = format!("data folder `{}` not found", files::shown(data));
    Err(CliError::new(Code::NotFound, message, "pass the folder that `data` in the config names"))
}

/// The stores of a service that is not running.
pub(super) struct DataStores {
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) metadata: Result<SqliteMetadata, MetadataError>,
    limits: RuntimeLimits,
}

impl DataStores {
    /// Opens the stores of an existing data folder.
    pub(super) async fn in_folder(data: &Path) -> Result<Self, CliError> {
        require_data_folder(data)?;
        Self::open_folder(data).await
    }

    async fn open_folder(data: &Path) -> Result<Self, CliError> {
        let (folder, metadata) = open_stores(data).await?;
        let blobs = Arc::new(folder.blobs());
        Ok(Self { blobs, metadata, limits: RuntimeLimits::default() })
    }

    /// Opens the stores that a config names: its existing data folder and its bucket. Applies its limits.
    pub(super) async fn of_config(config: Config) -> Result<Self, CliError> {
        require_data_folder(&config.data())?;
        Self::open_config(config).await
    }

    /// Like [`of_config`](Self::of_config), but creates the data folder if it does not exist.
    pub(super) async fn of_new_config(path: &Path) -> Result<Self, CliError> {
        Self::open_config(read(path)?).await
    }

    async fn open_config(config: Config) -> Result<Self, CliError> {
        let mut stores = Self::open_folder(&config.data()).await?;
        if let Some(bucket) = &config.settings.service.bucket {
            stores.blobs = in_bucket(bucket, &config.secrets()?).await?;
        }
        stores.limits = config.settings.limits;
        Ok(stores)
    }

    /// Opens a Runtime over the stores. It has no policy and no sandbox, so it grants and runs nothing.
    pub(super) async fn runtime(self) -> Result<Runtime, CliError> {
        let builder = Runtime::builder().clock(Arc::new(SystemClock)).limits(self.limits);
        Ok(builder.blobs(self.blobs).metadata(Arc::new(self.metadata?)).open().await?)
    }
}

pub(crate) async fn in_bucket(bucket: &Bucket, secrets: &dyn SecretSource) -> Result<Arc<dyn BlobStore>, CliError> {
    Ok(Arc::new(ObjectBlobs::s3(&s3(bucket, secrets).await?).await?))
}

async fn s3(bucket: &Bucket, secrets: &dyn SecretSource) -> Result<S3Config, CliError> {
    let key: SecretString = secrets
        .get(&bucket.secret_access_key)
        .await
        .map_err(|error| CliError::of_library(error.code(), error.to_string(), error.help()))?;
    Ok(S3Config {
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        bucket: bucket.name.clone(),
        prefix: bucket.prefix.clone(),
        access_key_id: bucket.access_key_id.clone(),
        secret_access_key: key,
        allow_http: bucket.allow_http,
        certificates: Vec::new(),
    })
}
