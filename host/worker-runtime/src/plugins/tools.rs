//! Tools of plugins.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bundles::manifest::Effect;
use bundles::{PluginName, ToolName, ToolSource, one_line};
use component_host::{Invocation, PluginError, PluginLimits, ToolAnswer, ToolFailure};
use host_policy::{Refusal, Rule};
use host_tools::tool::{ToolContext, ToolError};
use runtime_api::Code;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::host_api::{PluginHost, PluginInterfaces};
use super::logs::PluginOwner;
use super::packages::{LoadedComponent, LoadedPackage};
use super::services::Services;
use crate::compute_pool::ComputePool;
use crate::tenants::Tenants;
use crate::tools::{SelectedTool, Tool, ToolProvider};

/// Remaining time of a call without a deadline. A call of a Runtime has one.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Provider of the tools of plugins.
#[derive(Debug)]
pub(crate) struct PluginTools {
    pub(crate) compute_pool: Arc<ComputePool>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) plugin_host: PluginHost,
    pub(crate) services: Arc<Services>,
    pub(crate) limits: PluginLimits,
}

/// A tool of a plugin. A fresh instance answers each call, or the running instance of a service.
#[derive(Debug)]
struct PluginTool {
    name: ToolName,
    plugin: PluginName,
    package: Arc<LoadedPackage>,
    compute_pool: Arc<ComputePool>,
    slots: Arc<Semaphore>,
    interfaces: PluginInterfaces,
    services: Arc<Services>,
    limits: PluginLimits,
}

#[async_trait]
impl ToolProvider for PluginTools {
    async fn find(&self, selected: SelectedTool<'_>) -> Option<Result<Arc<dyn Tool>, Refusal>> {
        let ToolSource::Plugin(plugin) = &selected.tool.source else { return None };
        // Not reached: the policy refuses the tools of a plugin without a package.
        let Some(package) = selected.packages.get(plugin) else {
            let reason = format!("the package of plugin `{plugin}` is not loaded");
            return Some(Err(selected.refusal(Rule::PackageMissing, reason, "put the package into the workspace")));
        };
        Some(Ok(Arc::new(PluginTool {
            name: selected.tool.name.clone(),
            plugin: plugin.clone(),
            package: package.clone(),
            compute_pool: self.compute_pool.clone(),
            slots: self.tenants.compute_slot(selected.workspace),
            interfaces: self.plugin_host.interfaces(selected.workspace, plugin.clone(), package),
            services: self.services.clone(),
            limits: self.limits.clone(),
        })))
    }
}

#[async_trait]
impl Tool for PluginTool {
    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError> {
        let owner = PluginOwner { workspace: context.workspace().clone(), worker: context.worker().clone() };
        let (id, remaining) = (context.call_id().to_string(), context.remaining().unwrap_or(NO_DEADLINE));
        let LoadedComponent::Tool(component) = &self.package.component else {
            let deadline = Instant::now() + remaining;
            let reply = self.services.call(&owner, &self.plugin, id, self.name.clone(), input, deadline).await;
            return reply
                .map_err(|error| ToolError::Plugin {
                    code: Code::ServiceEnded,
                    message: format!("plugin `{}`: {error}", self.plugin),
                    help: "retry later, and check the state of the service",
                })
                .and_then(to_output);
        };
        let invocation = Invocation { id, tool: self.name.clone(), input, remaining };
        // A worker has only tools of the manifest.
        let effect = self.package.manifest.tools().get(&self.name).map_or(Effect::None, |tool| tool.effect());
        let host = self.interfaces.of_instance(owner, effect);
        let (component, limits) = (component.clone(), self.limits.clone());
        let call = async move { component.call(&invocation, host, &limits).await };
        let Some(run) = self.compute_pool.run(self.slots.clone(), call).await else {
            return Err(ToolError::Plugin {
                code: Code::ToolPanicked,
                message: format!("the call of plugin `{}` was aborted", self.plugin),
                help: "report the panic: it is a bug of this Runtime",
            });
        };
        to_output(run.result)
    }
}

/// Returns the output of a call. Texts of the plugin are reduced to one line.
fn to_output(result: Result<ToolAnswer, PluginError>) -> Result<Value, ToolError> {
    match result {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(ToolFailure { code, message, .. })) => {
            let code = Cow::Owned(code.as_str().to_owned());
            Err(ToolError::Refused { code, message: one_line(&message), help: "read the message of the plugin" })
        }
        Err(error) => Err(ToolError::Plugin { code: error.code(), message: error.to_string(), help: error.help() }),
    }
}
