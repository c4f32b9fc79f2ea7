//! Compares what a config offers with what this program and this machine have.
//!
//! `yoi runtime check`, the start of `yoi runtime serve` and `yoi resolve` use this comparison, so all three say the
//! same. Paths of mounts are in no output: a mount is named by its workspace and label.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{MountLabel, ToolName, WorkspaceId};
use host_policy::RuntimeConfig;
use serde::Serialize;
use worker_runtime::tool::{HostTool, fs};

use crate::error::CliError;

/// Returns the host tools that the service has.
pub(crate) fn host_tools() -> Result<Vec<Arc<dyn HostTool>>, CliError> {
    let tools = fs::tools().map_err(|_| CliError::new("failed", "the host tools are broken", "report this"))?;
    Ok(tools.into())
}

/// Returns their names.
pub(crate) fn host_tool_names() -> Result<BTreeSet<ToolName>, CliError> {
    Ok(host_tools()?.iter().map(|tool| tool.name().clone()).collect())
}

/// Parts of a config that the service cannot honour.
#[derive(Debug, Serialize)]
pub(super) struct Gaps {
    /// Tools of the capabilities `tool:NAME` that no provider answers.
    pub(super) unanswered_tools: Vec<String>,
    /// Mounts whose folder is not there.
    pub(super) unavailable_mounts: Vec<UnavailableMount>,
}

/// A mount whose folder is not there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnavailableMount {
    pub(super) workspace: WorkspaceId,
    pub(super) mount: MountLabel,
}

/// Says what a capability without a tool means.
pub(super) const UNANSWERED: &str = "no tool provider of this Runtime answers it";

/// Says what a mount without a folder means.
pub(super) const UNAVAILABLE: &str = "its folder does not exist or is not a folder";

impl Gaps {
    /// Compares a config with the host tools and with the file system.
    pub(super) fn of(config: &RuntimeConfig) -> Result<Self, CliError> {
        let answered = host_tool_names()?;
        let tools = config.capabilities().filter_map(|capability| capability.as_str().strip_prefix("tool:"));
        let unanswered = tools.filter(|tool| !answered.contains(*tool));
        let mounts = config.mounts().filter(|(.., mount)| !mount.path().is_dir());
        Ok(Self {
            unanswered_tools: unanswered.map(str::to_owned).collect(),
            unavailable_mounts: mounts
                .map(|(workspace, mount, _)| UnavailableMount { workspace: workspace.clone(), mount: mount.clone() })
                .collect(),
        })
    }

    /// Compares a config on a thread of its own and logs what it finds: a network file system that does not answer
    /// must not hold up the service.
    pub(super) fn log(config: &RuntimeConfig) {
        let config = config.clone();
        std::thread::spawn(move || {
            let Ok(gaps) = Self::of(&config) else { return };
            for tool in &gaps.unanswered_tools {
                let help = "take it out of `capabilities` under [host]";
                tracing::warn!(target: "yoi::config", code = "tool_unanswered", capability = format!("tool:{tool}"), help, "a capability of the config has no tool: {UNANSWERED}");
            }
            for UnavailableMount { workspace, mount } in &gaps.unavailable_mounts {
                let help = format!("make the folder, or change `mounts.{mount}` under [workspaces.{workspace}]");
                let (workspace, mount) = (workspace.as_str(), mount.as_str());
                tracing::warn!(target: "yoi::config", code = "mount_unavailable", workspace, mount, help, "a mount of the config cannot be used: {UNAVAILABLE}");
            }
        });
    }
}
