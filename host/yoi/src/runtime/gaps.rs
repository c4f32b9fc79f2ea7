//! Compares what a config offers with what this program and this machine have.
//!
//! `yoi runtime check`, the start of `yoi runtime serve` and `yoi resolve` use this comparison, so all three say the
//! same. Paths of mounts are in no output: a mount is named by its workspace and label.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{Capability, KnownCapabilities, MountLabel, SecretRef, ToolName, UnknownCapability, WorkspaceId};
use host_tools::fs;
use host_tools::tool::HostTool;
use serde::Serialize;
use worker_runtime::secret::{SecretError, SecretSource};

use super::open::Config;
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
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gaps {
    /// Tools of the capabilities `tool:NAME` that no provider answers.
    pub(super) unanswered_tools: Vec<String>,
    /// Capabilities that no host has, most likely mistyped.
    pub(super) unknown_capabilities: Vec<UnusableCapability>,
    /// Mounts whose folder is not there.
    pub(super) unavailable_mounts: Vec<UnavailableMount>,
    /// Secrets without a value that can be used.
    pub(super) unavailable_secrets: Vec<UnavailableSecret>,
}

/// A capability under `[host]` that no host has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnusableCapability {
    pub(super) capability: Capability,
    pub(super) problem: String,
    pub(super) help: String,
}

/// A mount whose folder is not there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnavailableMount {
    pub(super) workspace: WorkspaceId,
    pub(super) mount: MountLabel,
}

/// A secret without a value that can be used.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnavailableSecret {
    /// The workspace that may use it; none for the secret of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) secret: SecretRef,
    pub(super) code: &'static str,
    pub(super) problem: String,
    pub(super) help: String,
}

/// Says what a capability without a tool means.
pub(super) const UNANSWERED: &str = "no tool provider of this Runtime answers it";

/// Says what a mount without a folder means.
pub(super) const UNAVAILABLE: &str = "its folder does not exist or is not a folder";

impl Gaps {
    /// Compares a config with the host tools, with the file system and with the secrets of this host.
    pub(super) async fn of(config: &Config) -> Result<Self, CliError> {
        let answered = host_tool_names()?;
        let mounts = config.policy.mounts().filter(|(.., mount)| !mount.path().is_dir());
        let mut gaps = Self {
            unanswered_tools: Vec::new(),
            unknown_capabilities: Vec::new(),
            unavailable_mounts: mounts
                .map(|(workspace, mount, _)| UnavailableMount { workspace: workspace.clone(), mount: mount.clone() })
                .collect(),
            unavailable_secrets: unavailable_secrets(config).await,
        };
        for capability in config.policy.capabilities() {
            let Some(UnknownCapability { message, help }) = problem(capability.as_str(), &answered) else { continue };
            match capability.as_str().strip_prefix("tool:") {
                Some(tool) => gaps.unanswered_tools.push(tool.to_owned()),
                None => gaps.unknown_capabilities.push(UnusableCapability {
                    capability: capability.clone(),
                    problem: message,
                    help,
                }),
            }
        }
        Ok(gaps)
    }

    /// Compares a config on a thread of its own and logs what it finds: a network file system that does not answer
    /// must not hold up the service.
    pub(super) fn log(config: &Config) {
        let config = config.clone();
        std::thread::spawn(move || {
            let Ok(Ok(gaps)) = crate::block_on(Self::of(&config)) else { return };
            for tool in &gaps.unanswered_tools {
                let help = format!("take it out of `capabilities` under [host]{}", or_the_one_meant(tool));
                tracing::warn!(target: "yoi::config", code = "tool_unanswered", capability = format!("tool:{tool}"), help, "a capability of the config has no tool: {UNANSWERED}");
            }
            for UnusableCapability { capability, problem, help } in &gaps.unknown_capabilities {
                let capability = capability.as_str();
                tracing::warn!(target: "yoi::config", code = "unknown_capability", capability, help, "a capability of the config is unknown: {problem}");
            }
            for UnavailableMount { workspace, mount } in &gaps.unavailable_mounts {
                let help = format!("make the folder, or change `mounts.{mount}` under [workspaces.{workspace}]");
                let (workspace, mount) = (workspace.as_str(), mount.as_str());
                tracing::warn!(target: "yoi::config", code = "mount_unavailable", workspace, mount, help, "a mount of the config cannot be used: {UNAVAILABLE}");
            }
            for UnavailableSecret { workspace, secret, code, problem, help } in &gaps.unavailable_secrets {
                let (workspace, secret) = (workspace.as_ref().map(WorkspaceId::as_str), secret.as_str());
                tracing::warn!(target: "yoi::config", code, workspace, secret, help, "a secret of the config cannot be used: {problem}");
            }
        });
    }
}

/// Returns the secrets that a config names and that this host cannot use. Values are read and dropped.
async fn unavailable_secrets(config: &Config) -> Vec<UnavailableSecret> {
    let bucket = config.settings.service.bucket.iter().map(|bucket| (None, &bucket.secret_access_key));
    let granted = config.policy.secrets().map(|(workspace, secret)| (Some(workspace), secret));
    let named: Vec<_> = bucket.chain(granted).collect();
    if named.is_empty() {
        return Vec::new();
    }
    let told = |error: SecretError| CliError::of_library(error.code(), error.to_string(), error.help());
    let folder = config.secrets_if_there();
    let mut found = Vec::new();
    for (workspace, secret) in named {
        let error = match &folder {
            Ok(Some(folder)) => folder.get(secret).await.err().map(told),
            Ok(None) => Some(told(SecretError::NotFound(secret.clone()))),
            Err(error) => Some(CliError::new(error.code.clone(), error.message.clone(), error.help.clone())),
        };
        found.extend(error.map(|error| UnavailableSecret {
            workspace: workspace.cloned(),
            secret: secret.clone(),
            code: error.own_code(),
            problem: error.message,
            help: error.help,
        }));
    }
    found
}

/// Returns the problem with a capability of a host that has these tools.
fn problem(capability: &str, tools: &BTreeSet<ToolName>) -> Option<UnknownCapability> {
    let known = KnownCapabilities { tools: tools.iter().map(ToolName::as_str), worlds: std::iter::empty() };
    known.problem(capability, |tool| tools.contains(tool))
}

/// Returns `; did you mean …?` for the name of a tool that no provider answers, if another name is near.
pub(super) fn or_the_one_meant(tool: &str) -> String {
    let help =
        host_tool_names().ok().and_then(|tools| problem(&format!("tool:{tool}"), &tools)).map(|found| found.help);
    help.filter(|help| help.starts_with("did you mean")).map(|help| format!("; {help}")).unwrap_or_default()
}
