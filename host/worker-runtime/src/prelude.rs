//! Names for a program that embeds a Runtime: `use worker_runtime::prelude::*`.

pub use async_trait::async_trait;
pub use bundles::{Access, Authority, Bundle, Digest, MountLabel, SecretRef, ToolName, WorkspaceId};
pub use host_policy::RuntimeConfig;
pub use secrecy::SecretString;

pub use runtime_api::call::{CallResult, ToolCall};

pub use crate::clock::SystemClock;
pub use crate::limits::RuntimeLimits;
pub use crate::runtime::{CallError, Runtime, RuntimeBuilder, SubscriptionItem};
pub use host_tools::secret::{SecretError, SecretSource};
pub use host_tools::tool::{HostTool, ToolContext, ToolError};
pub use runtime_api::event::EventKind;
pub use runtime_api::worker::{CreateWorkerRequest, WorkerId};
