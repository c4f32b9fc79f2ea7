//! Tools that the host itself provides.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::{ToolName, ToolSource};
use host_policy::{Refusal, Rule};
use host_tools::tool::{HostTool, ToolContext, ToolError};
use serde_json::Value;

use super::{SelectedTool, Tool, ToolProvider};

/// Provider of the tools that the embedder of the Runtime registered.
#[derive(Debug, Default)]
pub(crate) struct HostTools(BTreeMap<ToolName, Arc<dyn HostTool>>);

#[derive(Debug)]
struct RegisteredTool(Arc<dyn HostTool>);

impl HostTools {
    /// Adds a tool. Returns its name as an error if another tool has the name.
    pub(crate) fn add(&mut self, tool: Arc<dyn HostTool>) -> Result<(), ToolName> {
        let name = tool.name().clone();
        match self.0.insert(name.clone(), tool) {
            None => Ok(()),
            Some(_) => Err(name),
        }
    }

    /// `true` if a tool has this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the names of all tools, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ToolName> {
        self.0.keys()
    }
}

#[async_trait]
impl ToolProvider for HostTools {
    async fn find(&self, selected: SelectedTool<'_>) -> Option<Result<Arc<dyn Tool>, Refusal>> {
        let SelectedTool { tool, spec, .. } = selected;
        if tool.source != ToolSource::Host {
            return None;
        }
        let Some(host) = self.0.get(&tool.name) else {
            return Some(Err(selected.refusal(
                Rule::UnsupportedDeclaration,
                format!("host tool `{}` not found in this Runtime", tool.name),
                "remove `tool:…` from the host's capabilities, or use a Runtime that has the tool",
            )));
        };
        if let Some(missing) = host.needs().iter().find(|needed| !spec.grants(needed)) {
            let reason = format!("the tool needs `{missing}`, which is not granted to this worker");
            let narrowed = spec.narrowed().iter().find(|refusal| refusal.subject == missing.to_string());
            let remedy = "request it in the profile and grant it in the host's config, or do not select the tool";
            let remedy = narrowed.map_or(remedy, |refusal| &refusal.remedy);
            return Some(Err(selected.refusal(Rule::ToolWithoutAuthority, reason, remedy)));
        }
        Some(Ok(Arc::new(RegisteredTool(host.clone()))))
    }
}

#[async_trait]
impl Tool for RegisteredTool {
    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError> {
        self.0.call(context, input).await
    }
}
