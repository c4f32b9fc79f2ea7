//! Host tools: what the host itself does for a worker, each with the authority that it needs.
//!
//! A tool gets a [`ToolContext`] and nothing else. Every mount, secret and URL goes through it, and it
//! asks two keys each time: the worker's spec, and the host's config as it is now. So a grant that is
//! narrowed takes effect with the next use.

pub(crate) mod contain;
mod fixture;
#[cfg(feature = "files")]
pub mod fs;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::manifest::ToolPolicy;
use bundles::{Authority, MountLabel, SecretRef, ToolName, WorkspaceId};
use host_policy::{ResolvedWorkerSpec, RuntimeConfig};
use secrecy::SecretString;
use serde_json::Value;

use crate::secret::{SecretError, SecretSource};
use crate::worker::WorkerId;

pub use fixture::ToolFixture;

/// Something that the host does for workers.
#[async_trait]
pub trait HostTool: fmt::Debug + Send + Sync + 'static {
    /// The name by which bundles declare it.
    fn name(&self) -> &ToolName;

    /// The authority without which it is not given to a worker. What depends on the input, such as
    /// which mount, is asked of the context at the call.
    fn needs(&self) -> &[Authority];

    /// Does it. The input fits the schema that the bundle declares; the output is held against it
    /// afterwards. Dropping the future must end what it does. A panic ends the call with `tool_panicked`.
    async fn call(&self, context: &ToolContext<'_>, input: Value) -> Result<Value, ToolError>;
}

/// What one call of a tool may use.
#[derive(Debug, Clone, Copy)]
pub struct ToolContext<'a> {
    pub(crate) workspace: &'a WorkspaceId,
    pub(crate) worker: &'a WorkerId,
    pub(crate) call_id: u64,
    /// The spec of the worker. None for a worker that has everything that the config grants ([`ToolFixture`]).
    pub(crate) spec: Option<&'a ResolvedWorkerSpec>,
    pub(crate) config: &'a RuntimeConfig,
    pub(crate) secrets: &'a Arc<dyn SecretSource>,
    pub(crate) policy: &'a ToolPolicy,
    pub(crate) answer_bytes: u64,
}

impl<'a> ToolContext<'a> {
    /// The workspace of the worker that calls.
    pub fn workspace(&self) -> &'a WorkspaceId {
        self.workspace
    }

    /// The worker that calls.
    pub fn worker(&self) -> &'a WorkerId {
        self.worker
    }

    /// The id of the call, which no other call of this worker has: the number of its beginning in the worker's
    /// history.
    pub fn call_id(&self) -> u64 {
        self.call_id
    }

    /// How the bundle lets this tool be used.
    pub fn policy(&self) -> &'a ToolPolicy {
        self.policy
    }

    /// Most bytes of the answer as JSON (`call_bytes`). What is longer is refused after the call, so a tool
    /// that can leave something out does.
    pub fn answer_bytes(&self) -> u64 {
        self.answer_bytes
    }

    /// Whether the worker has an authority: granted when it was made, and granted still.
    pub fn allow(&self, authority: &Authority) -> Result<(), ToolError> {
        let granted =
            self.spec.is_none_or(|spec| spec.grants(authority)) && self.config.still_grants(self.workspace, authority);
        if granted { Ok(()) } else { Err(ToolError::NotGranted(authority.clone())) }
    }

    /// The folder of a mount.
    #[cfg(feature = "files")]
    pub fn mount(&self, label: &MountLabel, access: bundles::Access) -> Result<cap_std::fs::Dir, ToolError> {
        self.allow(&Authority::Mount(label.clone(), access))?;
        let path = self.config.mount(self.workspace, label).map(host_policy::Mount::path);
        path.and_then(|path| cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority()).ok())
            .ok_or_else(|| ToolError::MountUnavailable(label.clone()))
    }

    /// The value of a secret.
    pub async fn secret(&self, name: &SecretRef) -> Result<SecretString, ToolError> {
        self.allow(&Authority::Secret(name.clone()))?;
        Ok(self.secrets.get(name).await?)
    }
}

/// Why a tool did not do what it was asked. Composed of names that the caller knows; no place of this
/// host is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The worker does not have the authority, or has it no longer.
    #[error("`{0}` is not granted to this worker")]
    NotGranted(Authority),
    /// The mount's folder cannot be opened.
    #[error("mount `{0}` cannot be opened")]
    MountUnavailable(MountLabel),
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The tool says no: what was asked for is not there, not possible, or not so any more.
    #[error("{message}")]
    Refused {
        /// The stable machine word.
        code: &'static str,
        /// What is wrong, in a sentence for the model that called.
        message: String,
        /// What to do about it.
        help: &'static str,
    },
}

impl ToolError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotGranted(_) => "not_granted",
            Self::MountUnavailable(_) => "mount_unavailable",
            Self::Secret(error) => error.code(),
            Self::Refused { code, .. } => code,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotGranted(_) => "grant it in the host's config, and ask for it in the profile",
            Self::MountUnavailable(_) => "see to it that the folder exists and the Runtime's user may enter it",
            Self::Secret(error) => error.help(),
            Self::Refused { help, .. } => help,
        }
    }
}
