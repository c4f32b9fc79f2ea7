//! Reading the config again while the service runs: the host's part as a whole, or not at all. The tables
//! that say how the service runs count from the next start.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use host_policy::RuntimeConfig;
use tokio::signal::unix::Signal;
use worker_runtime::Runtime;
use worker_runtime::service::RuntimeService;

use super::open::{self, Config};
use super::settings::Settings;

/// A file that has changed is seen after so long at the most.
const LOOKS: Duration = Duration::from_secs(2);

/// What tells that a file was written.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// Follows the config file until it is dropped. The stamp is of before the config was read: what was written
/// since, while the service started, is seen at the first look.
pub(super) async fn watch(
    path: PathBuf,
    config: Config,
    mut seen: Stamp,
    service: RuntimeService,
    runtime: Runtime,
    mut hang_up: Signal,
) {
    let mut in_force = (config.policy, config.settings);
    let mut clock = tokio::time::interval(LOOKS);
    loop {
        let asked = tokio::select! {
            _ = clock.tick() => false,
            _ = hang_up.recv() => true,
        };
        let now = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || stamp(&path)).await.ok().flatten()
        };
        if !asked && now == seen {
            continue;
        }
        seen = now;
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || open::read(&path)).await
        };
        let Ok(read) = read else { continue };
        match read {
            Ok(config) => {
                let later = later(&config, &in_force.1);
                if config.policy == in_force.0 {
                    service.config_read(later);
                } else if put_in_force(&runtime, config.policy.clone(), &service, later).await {
                    in_force.0 = config.policy;
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

/// The stamp of a file as it is now; none of one that is not there.
pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The code that is told where a config says something else of the service than it was started with.
fn later(config: &Config, before: &Settings) -> Option<&'static str> {
    (config.settings != *before).then_some("restart_needed")
}

/// Whether the host's part is in force now. `later` is the code of what is not until the next start.
async fn put_in_force(
    runtime: &Runtime,
    policy: RuntimeConfig,
    service: &RuntimeService,
    later: Option<&'static str>,
) -> bool {
    match runtime.management().reload(policy).await {
        Ok(report) => {
            service.config_read(later);
            let workspaces = report.workspaces.len();
            tracing::info!(target: "yoi::config", workspaces, workers = report.workers.len(), "another config is in force");
            for changed in &report.workers {
                let refused = changed.refused.is_some();
                let (workspace, worker) = (changed.workspace.as_str(), changed.worker.as_str());
                let (lost, gained) = (changed.lost.join(" "), changed.gained.join(" "));
                tracing::info!(target: "yoi::config", workspace, worker, lost, gained, refused, "a running worker holds other authorities");
            }
            true
        }
        Err(error) => {
            service.config_read(Some(error.code()));
            tracing::error!(target: "yoi::config", code = error.code(), reason = %error, help = error.help(), "the config was not put in force as a whole");
            // Where only its meaning for workers is not known, it is in force.
            !matches!(error, worker_runtime::ReloadError::Config(_))
        }
    }
}
