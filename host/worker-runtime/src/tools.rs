//! Tools of workers: the registry and the providers behind it.
//!
//! Each tool of a worker comes from the first provider that knows the tool's source. If no provider has a selected
//! tool, the worker is refused; it never runs without the tool. Start with [`ToolProvider`].

mod host;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::{Need, PluginName, WorkspaceId};
use host_policy::{Refusal, ResolvedWorkerSpec, Rule, SpecTool};
use host_tools::tool::{ToolContext, ToolError};
use serde_json::Value;

use crate::plugins::{LoadedPackage, PluginTools};

pub(crate) use host::HostTools;

/// Provider of tools with a common source, such as the host.
#[async_trait]
pub(crate) trait ToolProvider: fmt::Debug + Send + Sync {
    /// Returns the implementation of a tool, or the refusal of a tool that the worker cannot have. Returns `None` if the
    /// tool's source belongs to another provider. Runs in the compute pool, and may wait for the stores.
    async fn find(&self, selected: SelectedTool<'_>) -> Option<Result<Arc<dyn Tool>, Refusal>>;
}

/// Implementation of a tool.
#[async_trait]
pub(crate) trait Tool: fmt::Debug + Send + Sync {
    /// Performs a call. The input is valid against the input schema, and the output is validated afterwards. Dropping the
    /// future must end the call. The future runs on a thread that answers requests, so it must not compute for long.
    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError>;
}

/// A tool that a worker selects, with everything on which a provider decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelectedTool<'a> {
    /// The tool.
    pub(crate) tool: &'a SpecTool,
    /// Spec of the worker.
    pub(crate) spec: &'a ResolvedWorkerSpec,
    /// Workspace of the worker.
    pub(crate) workspace: &'a WorkspaceId,
    /// Packages of the worker's plugins.
    pub(crate) packages: &'a BTreeMap<PluginName, Arc<LoadedPackage>>,
}

impl SelectedTool<'_> {
    /// Returns the refusal of this tool, which refuses the worker.
    pub(crate) fn refusal(&self, rule: Rule, reason: String, remedy: impl Into<String>) -> Refusal {
        let subject = format!("tool:{}", self.tool.name);
        Refusal { subject, need: Need::Required, rule, reason, remedy: remedy.into() }
    }
}

/// All providers of a Runtime.
#[derive(Debug)]
pub(crate) struct ToolRegistry {
    host: Arc<HostTools>,
    providers: Vec<Arc<dyn ToolProvider>>,
}

impl ToolRegistry {
    /// Creates a registry with the tools of the host and of plugins.
    pub(crate) fn new(host: HostTools, plugins: PluginTools) -> Self {
        let host = Arc::new(host);
        Self { providers: vec![host.clone(), Arc::new(plugins)], host }
    }

    /// Returns the tools of the host.
    pub(crate) fn host(&self) -> &HostTools {
        &self.host
    }

    /// Returns the implementation of a tool, or the refusal of a tool that the worker cannot have.
    pub(crate) async fn find(&self, selected: SelectedTool<'_>) -> Result<Arc<dyn Tool>, Refusal> {
        for provider in &self.providers {
            if let Some(found) = provider.find(selected).await {
                return found;
            }
        }
        Err(selected.refusal(
            Rule::UnsupportedDeclaration,
            format!("this Runtime has no provider for source `{}`", selected.tool.source),
            "do not select the tool, or use a Runtime that supports its source",
        ))
    }
}
