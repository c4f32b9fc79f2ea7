//! Compares the capabilities, mounts and secrets of a config with those of this program and this machine.
//!
//! `yoi runtime check`, the start of `yoi runtime serve` and `yoi resolve` use this comparison, so all three report the same.
//! No output contains the path of a mount: a mount is named by its workspace and label.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{Capability, KnownCapabilities, MountLabel, SecretRef, ToolName, UnknownCapability, WorkspaceId};
use host_tools::fs;
use host_tools::tool::HostTool;
use runtime_api::Code;
use serde::Serialize;
use worker_runtime::secret::{SecretError, SecretSource};

use super::open::Config;
use crate::error::CliError;

/// Returns the host tools of the service.
pub(crate) fn host_tools() -> Result<Vec<Arc<dyn HostTool>>, CliError> {
    let tools =
        fs::tools().map_err(|_| CliError::new(Code::Failed, "the host tools are invalid", "report this as a bug"))?;
    Ok(tools.into())
}

/// Returns the names of the host tools.
pub(crate) fn host_tool_names() -> Result<BTreeSet<ToolName>, CliError> {
    Ok(host_tools()?.iter().map(|tool| tool.name().clone()).collect())
}

/// Parts of a config that the service cannot honour.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gaps {
    /// Tools of capabilities `tool:NAME` without a provider.
    pub(super) unanswered_tools: Vec<String>,
    /// Capabilities that no host has. Most likely they are mistyped.
    pub(super) unknown_capabilities: Vec<UnusableCapability>,
    /// Mounts whose folder does not exist.
    pub(super) unavailable_mounts: Vec<UnavailableMount>,
    /// Secrets without a usable value.
    pub(super) unavailable_secrets: Vec<UnavailableSecret>,
}

/// A capability under `[host]` that no host has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnusableCapability {
    pub(super) capability: Capability,
    pub(super) problem: String,
    pub(super) help: String,
}

/// A mount whose folder does not exist.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnavailableMount {
    pub(super) workspace: WorkspaceId,
    pub(super) mount: MountLabel,
}

/// A secret without a usable value.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct UnavailableSecret {
    /// Workspace that may use the secret. `None` for the secrets of the bucket and of the Backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) secret: SecretRef,
    pub(super) code: Code,
    pub(super) problem: String,
    pub(super) help: String,
}

/// Description of a capability without a tool.
pub(super) const UNANSWERED: &str = "this Runtime has no provider for it";

/// Description of a mount without a folder.
pub(super) const UNAVAILABLE: &str = "its path does not exist or is not a folder";

impl Gaps {
    /// Compares a config with the host tools, with the file system and with the secrets of this host.
    pub(super) async fn of(config: &Config) -> Result<Self, CliError> {
        let provided = host_tool_names()?;
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
            let Some(UnknownCapability { message, help }) = problem(capability.as_str(), &provided) else { continue };
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

    /// Compares a config on a separate thread and logs the result. A network file system that does not respond must not delay
    /// the service.
    pub(super) fn log(config: &Config) {
        let config = config.clone();
        std::thread::spawn(move || {
            let Ok(Ok(gaps)) = crate::block_on(Self::of(&config)) else { return };
            for tool in &gaps.unanswered_tools {
                let help = format!("remove it from `capabilities` under [host]{}", suggestion(tool));
                tracing::warn!(target: "yoi::config", code = "tool_unanswered", capability = format!("tool:{tool}"), help, "capability without a tool: {UNANSWERED}");
            }
            for UnusableCapability { capability, problem, help } in &gaps.unknown_capabilities {
                let capability = capability.as_str();
                tracing::warn!(target: "yoi::config", code = "unknown_capability", capability, help, "unknown capability in the config: {problem}");
            }
            for UnavailableMount { workspace, mount } in &gaps.unavailable_mounts {
                let help = format!("create the folder, or change `mounts.{mount}` under [workspaces.{workspace}]");
                let (workspace, mount) = (workspace.as_str(), mount.as_str());
                tracing::warn!(target: "yoi::config", code = Code::MountUnavailable.as_str(), workspace, mount, help, "unusable mount in the config: {UNAVAILABLE}");
            }
            for UnavailableSecret { workspace, secret, code, problem, help } in &gaps.unavailable_secrets {
                let (workspace, secret) = (workspace.as_ref().map(WorkspaceId::as_str), secret.as_str());
                tracing::warn!(target: "yoi::config", code = code.as_str(), workspace, secret, help, "unusable secret in the config: {problem}");
            }
        });
    }
}

/// Returns the secrets of a config without a usable value on this host. Each value is read and dropped.
async fn unavailable_secrets(config: &Config) -> Vec<UnavailableSecret> {
    let bucket = config.settings.service.bucket.iter().map(|bucket| (None, &bucket.secret_access_key));
    let backend = config.settings.backend.iter().map(|table| (None, &table.token));
    let granted = config.policy.secrets().map(|(workspace, secret)| (Some(workspace), secret));
    let named: Vec<_> = bucket.chain(backend).chain(granted).collect();
    if named.is_empty() {
        return Vec::new();
    }
    let convert = |error: SecretError| CliError::of_library(error.code(), error.to_string(), error.help());
    let folder = config.existing_secrets();
    let mut found = Vec::new();
    for (workspace, secret) in named {
        let error = match &folder {
            Ok(Some(folder)) => folder.get(secret).await.err().map(convert),
            Ok(None) => Some(convert(SecretError::NotFound(secret.clone()))),
            Err(error) => Some(CliError::new(error.code, error.message.clone(), error.help.clone())),
        };
        found.extend(error.map(|error| UnavailableSecret {
            workspace: workspace.cloned(),
            secret: secret.clone(),
            code: error.code,
            problem: error.message,
            help: error.help,
        }));
    }
    found
}

/// Returns the problem with a capability, for a host with these tools.
fn problem(capability: &str, tools: &BTreeSet<ToolName>) -> Option<UnknownCapability> {
    let known = KnownCapabilities { tools: tools.iter().map(ToolName::as_str), worlds: std::iter::empty() };
    known.problem(capability, |tool| tools.contains(tool))
}

/// Returns `; did you mean …?` for the name of a tool without a provider, if another name is similar.
pub(super) fn suggestion(tool: &str) -> String {
    let help =
        host_tool_names().ok().and_then(|tools| problem(&format!("tool:{tool}"), &tools)).map(|found| found.help);
    help.filter(|help| help.starts_with("did you mean")).map(|help| format!("; {help}")).unwrap_or_default()
}
