//! Reloads the config while the service runs: the host's part as a whole, or not at all. The tables that configure the
//! service count from the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bundles::Digest;
use runtime_service::RuntimeService;
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use worker_runtime::Runtime;

use super::gaps::Gaps;
use super::open::{self, Config};
use super::settings::Settings;
use crate::error::CliError;
use crate::{config_file, files};

/// Interval of looks at the config file.
const LOOKS: Duration = Duration::from_secs(2);

/// Result of the last read of the config file: the digest of its text, or the code of the error.
///
/// Length and modification time do not tell whether a file changed: a restored copy has the times of its original,
/// and all files of a reproducible image have the same time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen(Result<Digest, &'static str>);

impl Seen {
    /// Returns the result of a look that found the text that the service started with.
    pub(super) fn of_start(text: &str, path: &Path) -> Self {
        // A pipe can be read once. It is not followed.
        match is_file(path) {
            Ok(()) => Self(Ok(Digest::of(text))),
            Err(error) => Self(Err(error.own_code())),
        }
    }
}

/// Follows the config file until it is dropped. `seen` is of the text that `config` was parsed from, so a change that
/// was made while the service started is found by the first look.
pub(super) async fn watch(
    path: PathBuf,
    config: Config,
    mut seen: Seen,
    service: RuntimeService,
    runtime: Runtime,
    mut hang_up: Signal,
) {
    let mut in_force = (config.policy, config.settings);
    let mut clock = tokio::time::interval(LOOKS);
    let mut passes = JoinSet::new();
    loop {
        let asked = tokio::select! {
            _ = clock.tick() => false,
            _ = hang_up.recv() => true,
            Some(_) = passes.join_next() => continue,
        };
        let looking = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || look(&path)).await
        };
        let Ok((now, text)) = looking else { continue };
        if !asked && now == seen {
            continue;
        }
        seen = now;
        let read = text.and_then(|text| open::parse(&text, &path));
        match read {
            Ok(config) => {
                let later = later(&config, &in_force.1);
                if config.policy == in_force.0 {
                    service.config_read(later);
                } else {
                    match runtime.management().replace_config(config.policy.clone()) {
                        Ok(()) => {
                            service.config_read(later);
                            Gaps::log(&config);
                            in_force.0 = config.policy;
                            // One that runs and one that waits for it: the latter takes what changes meanwhile.
                            if passes.len() < 2 {
                                passes.spawn(tell_changes(runtime.clone()));
                            }
                        }
                        Err(error) => {
                            service.config_read(Some(error.code()));
                            tracing::error!(target: "yoi::config", code = error.code(), reason = %error, help = error.help(), "the config is not in force; the one before is");
                        }
                    }
                }
                if let Some(code) = later {
                    let help = "start the service again, or put those tables back as they were";
                    tracing::warn!(target: "yoi::config", code, help, "`[service]` or `[limits]` is another; those tables count from the next start, the host's part now");
                }
            }
            Err(error) => {
                service.config_read(Some(error.own_code()));
                let (code, reason) = (error.own_code(), error.message.as_str());
                tracing::error!(target: "yoi::config", code, reason, help = error.help, "the config is not in force; the one before is");
            }
        }
    }
}

fn look(path: &Path) -> (Seen, Result<String, CliError>) {
    let text = is_file(path).and_then(|()| config_file::text(path));
    let seen = Seen(text.as_ref().map(Digest::of).map_err(CliError::own_code));
    (seen, text)
}

/// Checks that reading the file does not wait for a writer.
fn is_file(path: &Path) -> Result<(), CliError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => {
            let message = format!("config `{}` is not a regular file", files::shown(path));
            Err(CliError::new("unreadable", message, "write the config to a file"))
        }
        Err(error) => Err(files::unreadable(path, "config", &error)),
    }
}

/// The code that is told where a config says something else of the service than it was started with.
fn later(config: &Config, before: &Settings) -> Option<&'static str> {
    (config.settings != *before).then_some("restart_needed")
}

/// Adds the events of a config that was put in force, and logs them. A config that takes something away does not wait
/// for this.
async fn tell_changes(runtime: Runtime) {
    match runtime.management().record_config_changes().await {
        Ok(report) => {
            let workspaces = report.workspaces.len();
            tracing::info!(target: "yoi::config", workspaces, workers = report.workers.len(), "another config is in force");
            for changed in &report.workers {
                let refused = changed.refused.is_some();
                let (workspace, worker) = (changed.workspace.as_str(), changed.worker.as_str());
                let (lost, gained) = (changed.lost.join(" "), changed.gained.join(" "));
                let reason = changed.refused.as_ref().map(|suspension| suspension.detail.as_str()).unwrap_or_default();
                tracing::info!(target: "yoi::config", workspace, worker, lost, gained, refused, reason, "a running worker holds other authorities");
            }
        }
        Err(error) => {
            tracing::error!(target: "yoi::config", code = error.code(), reason = %error, help = error.help(), "another config is in force; the changes of running workers could not be determined");
        }
    }
}
