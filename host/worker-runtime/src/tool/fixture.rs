//! Contexts for the tests of a tool.

use std::sync::Arc;

use bundles::WorkspaceId;
use bundles::manifest::ToolPolicy;
use host_policy::RuntimeConfig;

use super::ToolContext;
use crate::limits::RuntimeLimits;
use crate::secret::{NoSecrets, SecretSource};
use crate::worker::WorkerId;

/// A call without a Runtime, for the tests of a tool. Its worker has everything that `config` grants to `workspace`.
///
/// ```
/// # use bundles::{Authority, ToolName};
/// # use serde_json::{Value, json};
/// use host_policy::RuntimeConfig;
/// use worker_runtime::tool::{HostTool, ToolContext, ToolError, ToolFixture};
///
/// # #[derive(Debug)]
/// # struct WhoCalls(ToolName);
/// # #[async_trait::async_trait]
/// # impl HostTool for WhoCalls {
/// #     fn name(&self) -> &ToolName { &self.0 }
/// #     fn needs(&self) -> &[Authority] { &[] }
/// #     async fn call(&self, context: &ToolContext<'_>, _: Value) -> Result<Value, ToolError> {
/// #         Ok(json!(format!("{}/{}", context.workspace(), context.worker())))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RuntimeConfig::from_toml("workspaces.my-team.signatures = { posture = 'none' }")?;
/// let fixture = ToolFixture::new("my-team".parse()?, "front-desk".parse()?, config);
/// let tool = WhoCalls("who-calls".parse()?);
/// let output = tool.call(&fixture.context(), json!({})).await?;
/// assert_eq!(output, "my-team/front-desk");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ToolFixture {
    /// Workspace of the worker.
    pub workspace: WorkspaceId,
    /// Worker that calls.
    pub worker: WorkerId,
    /// Id of the call. Default: 1.
    pub call_id: u64,
    /// Config that is in force.
    pub config: RuntimeConfig,
    /// Where secrets are. Default: there are none.
    pub secrets: Arc<dyn SecretSource>,
    /// How the bundle lets the tool be used. Default: without restriction.
    pub policy: ToolPolicy,
    /// Limit on the bytes of the answer. Default: that of [`RuntimeLimits`].
    pub answer_bytes: u64,
}

impl ToolFixture {
    /// Creates a call of a worker.
    pub fn new(workspace: WorkspaceId, worker: WorkerId, config: RuntimeConfig) -> Self {
        Self {
            workspace,
            worker,
            call_id: 1,
            config,
            secrets: Arc::new(NoSecrets),
            policy: ToolPolicy::default(),
            answer_bytes: RuntimeLimits::default().call_bytes,
        }
    }

    /// Returns what the tool is given.
    pub fn context(&self) -> ToolContext<'_> {
        ToolContext {
            workspace: &self.workspace,
            worker: &self.worker,
            call_id: self.call_id,
            spec: None,
            config: &self.config,
            secrets: &self.secrets,
            policy: &self.policy,
            answer_bytes: self.answer_bytes,
        }
    }
}
