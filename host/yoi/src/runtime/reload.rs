//! Reloads the config while the service runs. A new policy takes effect as a whole or not at all. Changes of the tables
//! `[service]` and `[limits]` take effect at the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::Digest;
use runtime_api::Code;
use runtime_service::RuntimeService;
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use worker_runtime::Runtime;

use super::gaps::Gaps;
use super::open::{self, Config};
use super::settings::Settings;
use crate::error::CliError;
use crate::{config_file, files};

/// Time between two reads of the config file.
pub(crate) const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Result of the last read of the config file: the digest of its text, or the code of the error.
///
/// Length and modification time do not tell whether a file changed: a restored copy has the times of its original,
/// and all files of a reproducible image have the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastRead(Result<Digest, Code>);

impl LastRead {
    /// Returns the result of the read at the start of the service.
    pub(crate) fn at_start(text: &str, path: &Path) -> Self {
        // A pipe can be read only once, so the service does not follow it.
        match require_file(path) {
            Ok(()) => Self(Ok(Digest::of(text))),
            Err(error) => Self(Err(error.code)),
        }
    }
}

/// Follows the config file until the future is dropped. `last_read` belongs to the text from which `config` was parsed, so the
/// first read finds a change that was made while the service started.
pub(super) async fn watch(
    path: PathBuf,
    config: Config,
    mut last_read: LastRead,
    service: RuntimeService,
    runtime: Runtime,
    mut hang_up: Signal,
) {
    let mut in_force = (config.policy, config.settings);
    let mut interval = tokio::time::interval(READ_INTERVAL);
    let mut event_writers = JoinSet::new();
    loop {
        let is_hang_up = tokio::select! {
            _ = interval.tick() => false,
            _ = hang_up.recv() => true,
            Some(_) = event_writers.join_next() => continue,
        };
        let result = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || read_file(&path)).await
        };
        let Ok((read, text)) = result else { continue };
        if !is_hang_up && read == last_read {
            continue;
        }
        last_read = read;
        match text.and_then(|text| open::parse(&text, &path)) {
            Ok(config) => {
                let pending = pending_restart(&config, &in_force.1);
                if config.policy == in_force.0 {
                    service.config_read(pending);
                } else {
                    match runtime.management().replace_config(config.policy.clone()) {
                        Ok(()) => {
                            service.config_read(pending);
                            Gaps::log(&config);
                            in_force.0 = config.policy;
                            // One task runs and one waits for it. The waiting one also covers later changes.
                            if event_writers.len() < 2 {
                                event_writers.spawn(write_change_events(runtime.clone()));
                            }
                        }
                        Err(error) => {
                            service.config_read(Some(error.code()));
                            tracing::error!(target: "yoi::config", code = error.code().as_str(), reason = %error, help = error.help(), "the new config is invalid; the previous config stays in force");
                        }
                    }
                }
                if let Some(code) = pending {
                    let help = "restart the service, or revert the change of these tables";
                    tracing::warn!(target: "yoi::config", code = code.as_str(), help, "`[service]` or `[limits]` changed; these tables take effect at the next start, the policy takes effect now");
                }
            }
            Err(error) => {
                service.config_read(Some(error.code));
                let (code, reason) = (error.code.as_str(), error.message.as_str());
                tracing::error!(target: "yoi::config", code, reason, help = error.help, "the new config is invalid; the previous config stays in force");
            }
        }
    }
}

pub(crate) fn read_file(path: &Path) -> (LastRead, Result<String, CliError>) {
    let text = require_file(path).and_then(|()| config_file::text(path));
    let read = LastRead(text.as_ref().map(Digest::of).map_err(|error| error.code));
    (read, text)
}

/// Checks that the config is a regular file. Reading a pipe would wait for a writer.
fn require_file(path: &Path) -> Result<(), CliError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => {
            let message = format!("config `{}` is not a regular file", files::shown(path));
            Err(CliError::new(Code::Unreadable, message, "write the config to a file"))
        }
        Err(error) => Err(files::unreadable(path, "config", &error)),
    }
}

/// Returns `restart_needed` if the settings of the service differ from those at its start.
fn pending_restart(config: &Config, before: &Settings) -> Option<Code> {
    (config.settings != *before).then_some(Code::RestartNeeded)
}

/// Writes the events of a new config and logs them. The config is already in force, so revoked authorities do not wait for
/// this.
async fn write_change_events(runtime: Runtime) {
    match runtime.management().record_config_changes().await {
        Ok(report) => {
            let workspaces = report.workspaces.len();
            tracing::info!(target: "yoi::config", workspaces, workers = report.workers.len(), "the new config is in force");
            for changed in &report.workers {
                let refused = changed.refused.is_some();
                let (workspace, worker) = (changed.workspace.as_str(), changed.worker.as_str());
                let (lost, gained) = (changed.lost.join(" "), changed.gained.join(" "));
                let reason = changed.refused.as_ref().map(|suspension| suspension.detail.as_str()).unwrap_or_default();
                tracing::info!(target: "yoi::config", workspace, worker, lost, gained, refused, reason, "the authorities of a running worker changed");
            }
        }
        Err(error) => {
            tracing::error!(target: "yoi::config", code = error.code().as_str(), reason = %error, help = error.help(), "the new config is in force; cannot determine the changes of running workers");
        }
    }
}
