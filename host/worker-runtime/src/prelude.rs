//! The names that a program needs that embeds a Runtime: `use worker_runtime::prelude::*`.

pub use async_trait::async_trait;
pub use bundles::{Access, Authority, Bundle, Digest, MountLabel, SecretRef, ToolName, WorkspaceId};
pub use host_policy::RuntimeConfig;
pub use secrecy::SecretString;

pub use crate::clock::SystemClock;
pub use crate::event::EventKind;
pub use crate::limits::RuntimeLimits;
pub use crate::runtime::{CallError, Called, Runtime, RuntimeBuilder, Seen, ToolCall};
pub use crate::secret::{SecretError, SecretSource};
pub use crate::tool::{HostTool, ToolContext, ToolError};
pub use crate::worker::{CreateWorkerRequest, WorkerId};
