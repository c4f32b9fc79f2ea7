//! Opening what a config names: the data folder, the secrets, the sandbox, and the Runtime over them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use component_host::Limits;
use host_policy::RuntimeConfig;
use secrecy::SecretString;
use worker_runtime::blob_store::{BlobStore, ObjectBlobs, S3Config};
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

/// The file of a data folder that it has from its first opening on, and the files beside it. Where one of those has
/// content, the first one was there.
const METADATA: &str = "metadata.sqlite";
const BESIDE_METADATA: [&str; 2] = ["metadata.sqlite-wal", "metadata.sqlite-mark"];

/// A config with everything in it.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) policy: RuntimeConfig,
    pub(super) settings: Settings,
    pub(super) folder: Folder,
}

pub(super) fn read(path: &Path) -> Result<Config, CliError> {
    parse(&config_file::text(path)?, path)
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Config, CliError> {
    let (policy, settings) = config_file::parse(text, path)?;
    Ok(Config { policy, settings, folder: Folder::of(path) })
}

impl Config {
    /// Opens the Runtime.
    pub(super) async fn open(&self, output: &Output) -> Result<Runtime, CliError> {
        let service = &self.settings.service;
        let data = self.data();
        let (folder, metadata) = stores(&data).await?;
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
            .secrets(secrets);
        Ok(gaps::host_tools()?.into_iter().fold(builder, |builder, tool| builder.tool(tool)).open().await?)
    }

    fn component_limits(&self) -> Result<Limits, CliError> {
        match self.settings.service.component_limits(&self.folder) {
            Some(path) => Ok(Limits::from_toml(&files::read_text(&path, 1 << 20, "limits file")?)?),
            None => Ok(Limits::default()),
        }
    }

    fn secrets(&self) -> Result<SecretDirectory, CliError> {
        let Service { secrets_read_only, .. } = self.settings.service;
        let folder = self.secrets_folder()?;
        Ok(if secrets_read_only { SecretDirectory::credentials(&folder) } else { SecretDirectory::open(&folder) }?)
    }

    fn secrets_folder(&self) -> Result<PathBuf, CliError> {
        let help = "write `secrets = \"FOLDER\"` under [service]";
        match self.settings.service.secrets(&self.folder) {
            Some(path) => Ok(path),
            None => secret::default_folder().map_err(|error| CliError { help: help.to_owned(), ..error }),
        }
    }

    /// Opens the folder of the secrets if there is one, and makes none.
    pub(super) fn secrets_if_there(&self) -> Result<Option<SecretDirectory>, CliError> {
        let is_there = self.secrets_folder()?.symlink_metadata().is_ok();
        is_there.then(|| self.secrets()).transpose()
    }

    /// Returns everything for which a service with this config would not start, whatever the data folder holds.
    pub(super) fn refusals(&self) -> Vec<CliError> {
        let private = self.settings.service.is_private();
        let signed = self.policy.require_postures().map_err(CliError::from);
        [private, signed, self.component_limits().map(drop)].into_iter().filter_map(Result::err).collect()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.settings.service.data(&self.folder)
    }
}

/// The stores of a data folder. Of damaged metadata the error, since blobs can be read all the same.
async fn stores(data: &Path) -> Result<(DataFolder, Result<SqliteMetadata, MetadataError>), CliError> {
    let folder = DataFolder::open(data).await?;
    match SqliteMetadata::open(folder.metadata_file()).await {
        Err(error) if error.code() != "metadata_damaged" => Err(error.into()),
        metadata => Ok((folder, metadata)),
    }
}

/// That there is such a data folder: looking at one makes none.
pub(crate) fn is_there(data: &Path) -> Result<(), CliError> {
    // Its rows are what makes a folder one: where there are none, opening it would make them.
    let has_content = |name: &&str| data.join(name).metadata().is_ok_and(|found| found.is_file() && found.len() > 0);
    if data.join(METADATA).is_file() || BESIDE_METADATA.iter().any(has_content) {
        return Ok(());
    }
    let message = format!("there is no data folder `{}`", files::shown(data));
    Err(CliError::new("not_found", message, "name the folder that `data` in the config names"))
}

/// What is kept, for who looks after it while no service runs.
pub(super) struct Kept {
    pub(super) blobs: Arc<dyn BlobStore>,
    pub(super) metadata: Result<SqliteMetadata, MetadataError>,
    limits: RuntimeLimits,
}

impl Kept {
    /// What a data folder holds. Looking at one makes none.
    pub(super) async fn in_folder(data: &Path) -> Result<Self, CliError> {
        is_there(data)?;
        Self::opened(data).await
    }

    async fn opened(data: &Path) -> Result<Self, CliError> {
        let (folder, metadata) = stores(data).await?;
        let blobs = Arc::new(folder.blobs());
        Ok(Self { blobs, metadata, limits: RuntimeLimits::default() })
    }

    /// What a config names: its data folder, its bucket where it has one, its limits.
    pub(super) async fn of_config(config: Config) -> Result<Self, CliError> {
        is_there(&config.data())?;
        Self::of(config).await
    }

    /// The same, also before the service has ever run.
    pub(super) async fn of_new_config(path: &Path) -> Result<Self, CliError> {
        Self::of(read(path)?).await
    }

    async fn of(config: Config) -> Result<Self, CliError> {
        let mut kept = Self::opened(&config.data()).await?;
        if let Some(bucket) = &config.settings.service.bucket {
            kept.blobs = in_bucket(bucket, &config.secrets()?).await?;
        }
        kept.limits = config.settings.limits;
        Ok(kept)
    }

    /// A Runtime over it that grants nothing and runs nothing.
    pub(super) async fn runtime(self) -> Result<Runtime, CliError> {
        let builder = Runtime::builder().clock(Arc::new(SystemClock)).limits(self.limits);
        Ok(builder.blobs(self.blobs).metadata(Arc::new(self.metadata?)).open().await?)
    }
}

async fn in_bucket(bucket: &Bucket, secrets: &dyn SecretSource) -> Result<Arc<dyn BlobStore>, CliError> {
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
