//! Specs and tools of workers, derived from the resolution record and the current grants.
//!
//! The resolver does not run again. The recorded resolution is verified against the bundle and enforced under the
//! current config, so a narrowed grant also applies to existing workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundles::canonical::parse;
use bundles::{Bundle, Digest, IngressName, PluginName, ToolName, WorkspaceId};
use component_host::BundleView;
use host_policy::{
    HostPolicy, PackageFault, Refusal, Resolution, ResolvedWorkerSpec, RuntimeConfig, SpecTool, enforce,
};
use tool_schema::{Fault, Schema, SchemaProblem};

use super::Shared;
use crate::content::ContentError;
use crate::plugins::{LoadedPackage, ServicePlans, WorkerPackages};
use crate::resolutions::KnownFacts;
use crate::tools::{SelectedTool, Tool};
use crate::workspace::Workspace;

/// Cache key of a live worker: everything that determines its spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LiveKey {
    pub(crate) workspace: WorkspaceId,
    pub(crate) record: Digest,
    pub(crate) policy: Digest,
}

/// Spec and tools of a worker.
#[derive(Debug)]
pub(crate) struct LiveWorker {
    pub(crate) spec: Arc<ResolvedWorkerSpec>,
    pub(crate) tools: BTreeMap<ToolName, LiveTool>,
    /// Services that the worker should have.
    pub(crate) services: ServicePlans,
    /// Names under which the worker accepts events.
    pub(crate) ingress: BTreeMap<IngressName, Ingress>,
    /// `false` if the package of a plugin is missing or damaged. Such a worker is not cached, because the package can be
    /// put again.
    pub(crate) is_complete: bool,
}

/// A tool of a worker, with the schemas from the bundle.
#[derive(Debug)]
pub(crate) struct LiveTool {
    pub(crate) spec: SpecTool,
    pub(crate) implementation: Arc<dyn Tool>,
    pub(crate) input: Option<ParsedSchema>,
    pub(crate) output: Option<ParsedSchema>,
}

/// Receiver of the events of an ingress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ingress {
    /// The service of this plugin.
    Of(PluginName),
    /// Two plugins of the worker declare the ingress, so neither of them receives events.
    Ambiguous(PluginName, PluginName),
    /// The plugin that declares the ingress is not part of the worker.
    Refused(Refusal),
}

/// Schema of a tool, or its first fault. A bundle that was stored before schemas were checked can have a fault. Only
/// calls of the affected tool are then refused.
pub(crate) type ParsedSchema = Result<Arc<Schema>, Arc<Fault>>;

/// Returns the services that a worker should have. The policy has decided about the plugins in `loaded` before.
fn services(
    config: &RuntimeConfig,
    workspace: &WorkspaceId,
    granted: &[PluginName],
    bundle: &Bundle,
    loaded: &BTreeMap<PluginName, Arc<LoadedPackage>>,
) -> ServicePlans {
    let plan = |name: &PluginName| {
        let package = bundle.manifest().plugins.get(name)?.package.digest;
        let grant = config.plugin(workspace, &package)?;
        Some((name.clone(), Arc::new(loaded.get(name)?.service_plan(grant)?)))
    };
    granted.iter().filter_map(plan).collect()
}

/// Returns the receiver of each ingress that a selected plugin declares.
fn ingress(bundle: &Bundle, resolution: &Resolution, spec: &ResolvedWorkerSpec) -> BTreeMap<IngressName, Ingress> {
    let mut all: BTreeMap<IngressName, Ingress> = BTreeMap::new();
    for name in resolution.plugins() {
        let Some(plugin) = bundle.manifest().plugins.get(name) else { continue };
        let subject = format!("plugin:{name}");
        let refusal = spec.narrowed().iter().find(|refusal| refusal.subject == subject);
        for ingress in &plugin.ingress {
            let receiver = match (refusal, all.get(ingress)) {
                (Some(_), Some(known)) => known.clone(),
                (Some(refusal), None) => Ingress::Refused(refusal.clone()),
                (None, Some(Ingress::Of(other) | Ingress::Ambiguous(other, _))) => {
                    Ingress::Ambiguous(other.clone(), name.clone())
                }
                (None, Some(Ingress::Refused(_)) | None) => Ingress::Of(name.clone()),
            };
            all.insert(ingress.clone(), receiver);
        }
    }
    all
}

impl Shared {
    /// Enforces the host's policy on a resolution. Returns the worker's spec and tools, or all refusals.
    ///
    /// # Errors
    ///
    /// A store that cannot be read now.
    pub(crate) async fn enforce(
        self: &Arc<Self>,
        config: &RuntimeConfig,
        workspace: &WorkspaceId,
        view: &BundleView,
        resolution: &Resolution,
    ) -> Result<Result<LiveWorker, Vec<Refusal>>, ContentError> {
        let bundle = view.bundle();
        let builtin = bundle.digest() == self.builtin.bundle().digest();
        let owner = Workspace { shared: self.clone(), id: workspace.clone() };
        let WorkerPackages { loaded, faults } = owner.load_packages(config, bundle, resolution).await?;
        let is_complete = !faults.values().any(PackageFault::is_temporary);
        let policy = HostPolicy { config, workspace, builtin, package_faults: Some(&faults) };
        let spec = match enforce(bundle.manifest(), resolution, policy) {
            Ok(spec) => spec,
            Err(refusals) => return Ok(Err(refusals)),
        };
        let mut tools = BTreeMap::new();
        let mut refusals = Vec::new();
        for tool in spec.tools() {
            match self.tools.find(SelectedTool { tool, spec: &spec, workspace, packages: &loaded }).await {
                Ok(found) => {
                    tools.insert(tool.name.clone(), self.live_tool(bundle, tool, found));
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        if !refusals.is_empty() {
            return Ok(Err(refusals));
        }
        let services = services(config, workspace, spec.plugins(), bundle, &loaded);
        let ingress = ingress(bundle, resolution, &spec);
        Ok(Ok(LiveWorker { spec: Arc::new(spec), tools, services, ingress, is_complete }))
    }

    /// Adds the schemas of the bundle to a tool.
    fn live_tool(&self, bundle: &Bundle, tool: &SpecTool, implementation: Arc<dyn Tool>) -> LiveTool {
        let declared = bundle.manifest().tools.get(&tool.name);
        let schema = |blob: Option<bundles::manifest::BlobRef>| blob.map(|blob| self.schema(bundle, &blob.digest));
        let [input, output] = declared.map_or([None, None], |tool| [tool.input, tool.output].map(schema));
        LiveTool { spec: tool.clone(), implementation, input, output }
    }

    /// Returns a parsed schema of a bundle. The cache is keyed by content because workers of a bundle share schemas.
    fn schema(&self, bundle: &Bundle, digest: &Digest) -> ParsedSchema {
        if let Some(known) = self.schemas.get(digest) {
            return known;
        }
        let limits = &self.sandbox.limits().bundle;
        let document = bundle.blob(digest).and_then(|text| parse(text, limits.schema()).ok());
        let schema = match document.map(|document| Schema::parse(&document, limits.pattern_bytes)) {
            Some(Ok(schema)) => Ok(Arc::new(schema)),
            Some(Err(faults)) => Err(faults.into_iter().next()),
            // Not reached: a bundle with a missing or malformed schema cannot be opened.
            None => Err(None),
        };
        let schema = schema.map_err(|fault| {
            Arc::new(fault.unwrap_or(Fault { pointer: String::new(), problem: SchemaProblem::NotASchema }))
        });
        self.schemas.insert(*digest, schema.clone());
        schema
    }

    /// Returns the facts for a resolver. Capabilities of host tools that this Runtime lacks are left out. Facts of a
    /// workspace that the config names depend only on its policy, so they are cached by its digest.
    pub(crate) fn facts(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> Arc<KnownFacts> {
        let policy = config.has_workspace(workspace).then(|| config.digest(workspace));
        if let Some(known) = policy.and_then(|policy| self.facts.get(&policy)) {
            return known;
        }
        let facts = Arc::new(self.compute_facts(config, workspace).into());
        if let Some(policy) = policy {
            self.facts.insert(policy, Arc::clone(&facts));
        }
        facts
    }

    fn compute_facts(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> host_policy::Facts {
        let (os, arch) = self.platform.clone();
        let mut facts = config.facts(workspace, os, arch, &component_host::WORLDS);
        facts.capabilities.retain(|name| match name.as_str().strip_prefix("tool:") {
            Some(tool) => self.tools.host().contains(tool),
            None => true,
        });
        facts
    }
}
