//! Contexts for tests of a tool.

use std::sync::Arc;

use bundles::WorkspaceId;
use bundles::manifest::ToolPolicy;
use host_policy::RuntimeConfig;
use runtime_api::worker::WorkerId;

use crate::secret::{NoSecrets, SecretSource};
use crate::tool::{CallScope, ToolContext};

/// A tool call without a Runtime, for tests of a tool. Its worker has everything that `config` grants to `workspace`.
///
/// ```
/// # use bundles::{Authority, ToolName};
/// # use serde_json::{Value, json};
/// use host_policy::RuntimeConfig;
/// use host_tools::tool::{HostTool, ToolContext, ToolError, ToolFixture};
///
/// # #[derive(Debug)]
/// # struct WhoCalls(ToolName);
/// # #[async_trait::async_trait]
/// # impl HostTool for WhoCalls {
/// #     fn name(&self) -> &ToolName { &self.0 }
/// #     fn needs(&self) -> &[Authority] { &[] }
/// #     async fn call(&self, context: ToolContext, _: Value) -> Result<Value, ToolError> {
/// #         Ok(json!(format!("{}/{}", context.workspace(), context.worker())))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = RuntimeConfig::from_toml("workspaces.my-team.signatures = { posture = 'none' }")?;
/// let fixture = ToolFixture::new("my-team".parse()?, "front-desk".parse()?, config);
/// let tool = WhoCalls("who-calls".parse()?);
/// let output = tool.call(fixture.context(), json!({})).await?;
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
    /// Config in force.
    pub config: RuntimeConfig,
    /// Source of secrets. Default: one without secrets.
    pub secrets: Arc<dyn SecretSource>,
    /// Policy that the bundle sets for the tool. Default: no restriction.
    pub policy: ToolPolicy,
    /// Maximum size of the output as JSON, in bytes. Default: 1 MiB, as in a Runtime.
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
            answer_bytes: 1 << 20,
        }
    }

    /// Returns a context with these fields.
    pub fn context(&self) -> ToolContext {
        ToolContext::new(CallScope {
            workspace: self.workspace.clone(),
            worker: self.worker.clone(),
            call_id: self.call_id,
            spec: None,
            config: Arc::new(self.config.clone()),
            secrets: self.secrets.clone(),
            policy: self.policy.clone(),
            answer_bytes: self.answer_bytes,
            deadline: None,
        })
    }
}
