//! The table `[backend]`: a Backend that this Runtime polls, because the Backend cannot reach the Runtime.

use std::path::PathBuf;

use bundles::{SecretRef, WorkspaceId};
use runtime_api::Code;
use runtime_client::{Client, ClientOptions};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use worker_runtime::Runtime;
use worker_runtime::secret::SecretSource;
use yoi_workspace_server::pull::agent::{PullAgent, RetryWaits};
use yoi_workspace_server::visibility::Names;

use super::open::{Config, read_certificates};
use super::settings::Folder;
use crate::error::CliError;

/// The table `[backend]`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `url`, `token` and `workspaces`")]
pub(crate) struct BackendTable {
    /// URL of the Backend.
    url: String,
    /// Name of the secret that holds the token.
    pub(super) token: SecretRef,
    /// File with the only trusted certificates in PEM, in place of those of the system. Relative to the folder of the config.
    certificates: Option<PathBuf>,
    /// `true` if the URL may be `http://` to another machine.
    #[serde(default)]
    allow_http: bool,
    /// Workspaces for which the Backend decides.
    workspaces: Names<WorkspaceId>,
}

/// Omits URL and paths.
impl std::fmt::Debug for BackendTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendTable").field("workspaces", &self.workspaces).finish_non_exhaustive()
    }
}

impl BackendTable {
    /// Reads the certificates. `None` for those of the system.
    pub(super) fn certificates(&self, folder: &Folder) -> Result<Option<Vec<Vec<u8>>>, CliError> {
        let read = |path: &PathBuf| read_certificates(&folder.at(path), "backend");
        self.certificates.as_ref().map(read).transpose()
    }
}

/// The task that polls the Backend.
pub(super) struct Polling {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Polling {
    /// Starts to poll the Backend, if the config names one.
    pub(super) async fn start(config: &Config, runtime: &Runtime) -> Result<Option<Self>, CliError> {
        let Some(table) = &config.settings.backend else { return Ok(None) };
        let token = config.secrets()?.get(&table.token).await.map_err(|error| {
            let help = format!("set it with `yoi secret set {}`, or change `token` under [backend]", table.token);
            CliError::new(error.code(), error.to_string(), help)
        })?;
        let certificates = table.certificates(&config.folder)?;
        let options = ClientOptions {
            system_certificates: certificates.is_none(),
            certificates: certificates.unwrap_or_default(),
            allow_http: table.allow_http,
            ..ClientOptions::new(table.url.clone(), token)
        };
        let client = Client::new(options).map_err(|error| {
            let message = format!("invalid table [backend]: {error}");
            CliError::new(error.known_code().unwrap_or(Code::InvalidConfig), message, error.help())
        })?;
        let agent = PullAgent::new(client, runtime.clone(), table.workspaces.clone(), RetryWaits::default());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move { agent.run(async move { drop(stopped.await) }).await });
        Ok(Some(Self { stop, task }))
    }

    /// Ends the polls, and drops the operations in progress.
    pub(super) async fn end(self) {
        drop(self.stop);
        // Fails only if the task panicked, which the log shows.
        let _ = self.task.await;
    }
}
