//! Host tools: operations that the host performs for a worker.
//!
//! A tool gets a [`ToolContext`] and nothing else. Each access to a mount or secret goes through the context, which checks
//! the spec of the worker and the config in force. A grant that was narrowed therefore takes effect with the next access.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::manifest::ToolPolicy;
use bundles::{Authority, MountLabel, SecretRef, ToolName, WorkspaceId};
use host_policy::{ResolvedWorkerSpec, RuntimeConfig};
use runtime_api::Code;
use runtime_api::worker::WorkerId;
use secrecy::SecretString;
use serde_json::Value;

use crate::secret::{SecretError, SecretSource};

pub use crate::fixture::ToolFixture;

/// An operation that the host performs for workers.
#[async_trait]
pub trait HostTool: fmt::Debug + Send + Sync + 'static {
    /// Returns the name by which bundles declare the tool.
    fn name(&self) -> &ToolName;

    /// Returns the authorities that a worker must have to get the tool. An authority that depends on the input, such as
    /// access to a particular mount, is checked by the context during the call.
    fn needs(&self) -> &[Authority];

    /// Performs the operation. The input is valid against the input schema of the bundle, and the Runtime validates the
    /// output afterwards. Dropping the future must end the operation. A panic ends the call with `tool_panicked`.
    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError>;
}

/// Subject and limits of one call: the fields of a [`ToolContext`].
#[derive(Debug, Clone)]
pub struct CallScope {
    /// Workspace of the worker.
    pub workspace: WorkspaceId,
    /// Worker that calls.
    pub worker: WorkerId,
    /// Id of the call, unique for the worker: the number of the entry that began it in the worker's history.
    pub call_id: u64,
    /// Spec of the worker. `None` for a worker with everything that the config grants, as in a [`ToolFixture`].
    pub spec: Option<Arc<ResolvedWorkerSpec>>,
    /// Config in force.
    pub config: Arc<RuntimeConfig>,
    /// Source of secrets.
    pub secrets: Arc<dyn SecretSource>,
    /// Policy that the bundle sets for the tool.
    pub policy: ToolPolicy,
    /// Maximum size of the output as JSON, in bytes.
    pub answer_bytes: u64,
    /// Time at which the host ends the call. `None` if no time is set, as in a [`ToolFixture`].
    pub deadline: Option<Instant>,
}

/// Access of one tool call to its worker's mounts and secrets. Cheap to clone, and `'static`, so that a tool can use it on
/// another thread.
#[derive(Debug, Clone)]
pub struct ToolContext(Arc<CallScope>);

impl ToolContext {
    /// Creates the context of a call.
    pub fn new(scope: CallScope) -> Self {
        Self(Arc::new(scope))
    }

    /// Returns the workspace of the worker that calls.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.0.workspace
    }

    /// Returns the worker that calls.
    pub fn worker(&self) -> &WorkerId {
        &self.0.worker
    }

    /// Returns the id of the call, unique for the worker: the number of the entry that began it in the worker's history.
    pub fn call_id(&self) -> u64 {
        self.0.call_id
    }

    /// Returns the policy that the bundle sets for this tool.
    pub fn policy(&self) -> &ToolPolicy {
        &self.0.policy
    }

    /// Returns the maximum size of the output as JSON, in bytes (`call_bytes`). A larger output is refused after the call,
    /// so a tool that can truncate its output should.
    pub fn answer_bytes(&self) -> u64 {
        self.0.answer_bytes
    }

    /// Returns the time until the host ends the call (`call_ms`), or `None` if no time is set.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.0.deadline?.saturating_duration_since(Instant::now()))
    }

    /// Checks that the worker has an authority: that it was granted when the worker was created, and still is.
    pub fn allow(&self, authority: &Authority) -> Result<(), ToolError> {
        let CallScope { workspace, spec, config, .. } = &*self.0;
        let granted = spec.as_ref().is_none_or(|spec| spec.grants(authority)) && config.has_grant(workspace, authority);
        if granted { Ok(()) } else { Err(ToolError::NotGranted(authority.clone())) }
    }

    /// Opens the folder of a mount.
    #[cfg(feature = "files")]
    pub fn mount(&self, label: &MountLabel, access: bundles::Access) -> Result<cap_std::fs::Dir, ToolError> {
        self.allow(&Authority::Mount(label.clone(), access))?;
        let path = self.0.config.mount(&self.0.workspace, label).map(host_policy::Mount::path);
        path.and_then(|path| cap_std::fs::Dir::open_ambient_dir(path, cap_std::ambient_authority()).ok())
            .ok_or_else(|| ToolError::MountUnavailable(label.clone()))
    }

    /// Returns the value of a secret.
    pub async fn secret(&self, name: &SecretRef) -> Result<SecretString, ToolError> {
        self.allow(&Authority::Secret(name.clone()))?;
        Ok(self.0.secrets.get(name).await?)
    }
}

/// Error of a tool call. It holds names that the caller knows, and no path of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The worker does not have the authority, or no longer has it.
    #[error("`{0}` is not granted to this worker")]
    NotGranted(Authority),
    /// The mount's folder cannot be opened.
    #[error("mount `{0}` cannot be opened")]
    MountUnavailable(MountLabel),
    /// A secret is not available.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The tool refuses the operation.
    #[error("{message}")]
    Refused {
        /// Code of the tool, which no other package knows.
        code: Cow<'static, str>,
        /// Description of the error for the model that called.
        message: String,
        /// Remedy.
        help: &'static str,
    },
    /// The plugin that provides the tool did not answer.
    #[error("{message}")]
    Plugin {
        /// Error code.
        code: Code,
        /// Description without text of the plugin.
        message: String,
        /// Remedy.
        help: &'static str,
    },
}

impl ToolError {
    /// Returns the error code. A refusal has the code of the tool in addition.
    pub fn code(&self) -> Code {
        match self {
            Self::NotGranted(_) => Code::NotGranted,
            Self::MountUnavailable(_) => Code::MountUnavailable,
            Self::Secret(error) => error.code(),
            Self::Refused { .. } => Code::ToolRefused,
            Self::Plugin { code, .. } => *code,
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotGranted(_) => "grant it in the host's config, and ask for it in the profile",
            Self::MountUnavailable(_) => {
                "make sure that the folder exists and that the user of the Runtime has access to it"
            }
            Self::Secret(error) => error.help(),
            Self::Refused { help, .. } | Self::Plugin { help, .. } => help,
        }
    }
}
