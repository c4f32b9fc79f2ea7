//! Error of the operations of a [`Backend`](super::Backend).

use bundles::{RuntimeName, WorkspaceId};
use content_store::metadata::{CommitError, MetadataError};
use runtime_api::Code;
use runtime_api::worker::WorkerId;
use worker_runtime::content::ContentError;

use crate::connector::ConnectorError;
use crate::link_error::LinkError;

/// Error returned by operations of the Backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The content of a bundle is refused, or its store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The config of the Backend has no such workspace.
    #[error("workspace `{0}` not found")]
    WorkspaceNotFound(WorkspaceId),
    /// The config of the Backend has no such Runtime.
    #[error("Runtime `{0}` not found")]
    RuntimeNotFound(RuntimeName),
    /// The config of the Backend has the Runtime, so a request cannot change it.
    #[error("Runtime `{0}` is in the config of the Backend")]
    RuntimeInConfig(RuntimeName),
    /// The access to the Runtime cannot be opened.
    #[error("cannot add Runtime `{runtime}`: {error}")]
    Connector {
        /// The Runtime.
        runtime: RuntimeName,
        /// The reason.
        error: ConnectorError,
    },
    /// A limit of the Backend is reached.
    #[error("limit `{limit}` reached ({allowed})")]
    Full {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: usize,
    },
    /// No bundle of the workspace is desired yet.
    #[error("workspace `{0}` has no desired bundle")]
    NothingDesired(WorkspaceId),
    /// The workspace had no other desired bundle before.
    #[error("workspace `{0}` has no earlier bundle")]
    NoEarlierBundle(WorkspaceId),
    /// The workspace has no rollout in stages.
    #[error("workspace `{0}` has no rollout in stages")]
    NoRollout(WorkspaceId),
    /// A Runtime refuses the bundle of the rollout.
    #[error("the rollout of workspace `{0}` is halted, because a Runtime refuses the bundle")]
    RolloutHalted(WorkspaceId),
    /// Every attempt conflicted with a concurrent change.
    #[error("the operation conflicted with concurrent changes")]
    Contended,
    /// No worker of the workspace was created with this id through this Backend.
    #[error("worker `{0}` not found")]
    WorkerNotFound(WorkerId),
    /// Another Runtime than the named one has the worker.
    #[error("worker `{worker}` already exists on Runtime `{runtime}`")]
    WorkerElsewhere {
        /// The worker.
        worker: WorkerId,
        /// Its Runtime.
        runtime: RuntimeName,
    },
    /// The policy does not allow the workspace on the Runtime.
    #[error("workspace `{workspace}` is not allowed on Runtime `{runtime}`")]
    NotAllowed {
        /// The Runtime.
        runtime: RuntimeName,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// No allowed Runtime answers and has the desired bundle.
    #[error("no Runtime that workspace `{0}` may use answers and has its desired bundle")]
    NoRuntime(WorkspaceId),
    /// The Backend reaches the Runtime itself, so the Runtime cannot poll.
    #[error("Runtime `{0}` does not poll the Backend")]
    NotPulled(RuntimeName),
    /// The desired state of the workspace has another generation than the one that was shown.
    #[error("the desired state of workspace `{0}` was changed meanwhile")]
    DesiredChanged(WorkspaceId),
    /// The config of the catalogue is invalid.
    #[error(transparent)]
    Config(#[from] host_policy::ConfigError),
    /// An operation on a Runtime failed.
    #[error("Runtime `{runtime}`: {error}")]
    Link {
        /// The Runtime.
        runtime: RuntimeName,
        /// The error.
        error: LinkError,
    },
}

impl BackendError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Content(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::WorkspaceNotFound(_) => Code::WorkspaceNotFound,
            Self::RuntimeNotFound(_) => Code::RuntimeNotFound,
            Self::RuntimeInConfig(_) => Code::RuntimeInConfig,
            Self::Connector { error, .. } => error.code,
            Self::Full { .. } => Code::StoreFull,
            Self::NothingDesired(_) => Code::NothingDesired,
            Self::NoEarlierBundle(_) => Code::NoEarlierBundle,
            Self::NoRollout(_) => Code::NoRollout,
            Self::RolloutHalted(_) => Code::RolloutHalted,
            Self::Contended => Code::Contended,
            Self::WorkerNotFound(_) => Code::WorkerNotFound,
            Self::WorkerElsewhere { .. } => Code::WorkerExists,
            Self::NotAllowed { .. } => Code::RuntimeNotAllowed,
            Self::NoRuntime(_) => Code::NoRuntime,
            Self::NotPulled(_) => Code::RuntimeNotPulled,
            Self::DesiredChanged(_) => Code::FormOutdated,
            Self::Config(error) => error.code(),
            Self::Link { error, .. } => match error {
                LinkError::Unreachable => Code::RuntimeUnreachable,
                LinkError::TimedOut => Code::RuntimeTimedOut,
                LinkError::Unauthorized(_) => Code::RuntimeUnauthorized,
                LinkError::Unsupported => Code::RuntimeUnsupported,
                LinkError::NotAllowed => Code::RuntimeNotAllowed,
                LinkError::Busy(code) | LinkError::Source(code) | LinkError::Refused { code, .. } => *code,
            },
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Content(error) => error.help(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::WorkspaceNotFound(workspace) => {
                format!("add a table [workspaces.{workspace}] to the config of the Backend")
            }
            Self::RuntimeNotFound(runtime) => format!("add a table [runtimes.{runtime}] to the config of the Backend"),
            Self::RuntimeInConfig(runtime) => format!("change the table [runtimes.{runtime}] of the config"),
            Self::Connector { error, .. } => error.help.clone(),
            Self::Full { .. } => "remove Runtimes that are not used".to_owned(),
            Self::NothingDesired(_) => "publish a bundle, or make one the desired bundle".to_owned(),
            Self::NoEarlierBundle(_) => "make another bundle the desired one".to_owned(),
            Self::NoRollout(_) => "begin one: make a bundle the desired one for a stage".to_owned(),
            Self::RolloutHalted(_) => {
                "see which Runtime refuses it and why, then repair the bundle or the Runtime, or roll back".to_owned()
            }
            Self::Contended => "retry the operation".to_owned(),
            Self::WorkerNotFound(_) => "list the workers of the workspace".to_owned(),
            Self::WorkerElsewhere { .. } => "name the Runtime that has the worker, or choose another id".to_owned(),
            Self::NotAllowed { runtime, .. } => format!("run `yoi backend explain {runtime} WORKSPACE`"),
            Self::NoRuntime(_) => "see the condition of each Runtime: `yoi backend status`".to_owned(),
            Self::DesiredChanged(_) => "look at the workspace again".to_owned(),
            Self::Config(error) => error.help().to_string(),
            Self::NotPulled(runtime) => format!("let the Runtime poll in the table [runtimes.{runtime}] of the config"),
            Self::Link { error, .. } => match error {
                LinkError::Unreachable | LinkError::TimedOut => {
                    "check that the Runtime is running, and whether the operation took effect, then retry".to_owned()
                }
                LinkError::Unauthorized(_) => "give the Backend a token of the Runtime that has the scopes".to_owned(),
                LinkError::Unsupported => "check the version of the Runtime and the URL in the config".to_owned(),
                LinkError::NotAllowed => "see why: `yoi backend explain RUNTIME WORKSPACE`".to_owned(),
                LinkError::Busy(_) => "retry after a second".to_owned(),
                LinkError::Source(_) => "publish the bundle again".to_owned(),
                LinkError::Refused { .. } => {
                    "send the request to the Runtime itself, which names the reason and the remedy".to_owned()
                }
            },
        }
    }
}

impl From<CommitError> for BackendError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Contended,
            CommitError::Store(error) => Self::Metadata(error),
        }
    }
}
