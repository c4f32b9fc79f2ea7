//! Specs and tools of workers, derived from the resolution record and the current grants.
//!
//! The resolver does not run again. The recorded resolution is verified against the bundle and enforced under the
//! current config, so a narrowed grant also applies to existing workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundles::canonical::parse;
use bundles::{Bundle, Digest, Need, ToolName, ToolSource, WorkspaceId};
use component_host::BundleView;
use host_policy::{HostPolicy, Refusal, Resolution, ResolvedWorkerSpec, Rule, RuntimeConfig, SpecTool, enforce};
use host_tools::tool::HostTool;
use tool_schema::{Fault, Problem, Schema};

use super::Shared;
use crate::resolutions::KnownFacts;

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
}

/// A host tool of a worker, with the schemas from the bundle.
#[derive(Debug)]
pub(crate) struct LiveTool {
    pub(crate) spec: SpecTool,
    pub(crate) tool: Arc<dyn HostTool>,
    pub(crate) input: Option<ParsedSchema>,
    pub(crate) output: Option<ParsedSchema>,
}

/// Schema of a tool, or its first fault. A bundle that was stored before schemas were checked can have a fault. Only
/// calls of the affected tool are then refused.
pub(crate) type ParsedSchema = Result<Arc<Schema>, Arc<Fault>>;

impl Shared {
    /// Enforces the host's policy on a resolution. Returns the worker's spec and tools, or all refusals.
    pub(crate) fn enforce(
        &self,
        config: &RuntimeConfig,
        workspace: &WorkspaceId,
        view: &BundleView,
        resolution: &Resolution,
    ) -> Result<LiveWorker, Vec<Refusal>> {
        let builtin = view.bundle().digest() == self.builtin.bundle().digest();
        let policy = HostPolicy { config, workspace, builtin };
        let spec = enforce(view.bundle().manifest(), resolution, policy)?;
        let mut tools = BTreeMap::new();
        let mut refusals = Vec::new();
        for tool in spec.tools() {
            match self.live_tool(&spec, view.bundle(), tool) {
                Ok(Some(live)) => {
                    tools.insert(tool.name.clone(), live);
                }
                Ok(None) => {}
                Err(refusal) => refusals.push(refusal),
            }
        }
        if refusals.is_empty() { Ok(LiveWorker { spec: Arc::new(spec), tools }) } else { Err(refusals) }
    }

    /// Returns the host tool behind a declared tool. Returns `None` if the tool comes from another source.
    fn live_tool(
        &self,
        spec: &ResolvedWorkerSpec,
        bundle: &Bundle,
        tool: &SpecTool,
    ) -> Result<Option<LiveTool>, Refusal> {
        let refuse = |rule, reason: String, remedy: &str| {
            Err(Refusal {
                subject: format!("tool:{}", tool.name),
                need: Need::Required,
                rule,
                reason,
                remedy: remedy.to_owned(),
            })
        };
        if tool.source != ToolSource::Host {
            return Ok(None);
        }
        let Some(host) = self.tools.get(&tool.name) else {
            return refuse(
                Rule::UnsupportedDeclaration,
                format!("host tool `{}` not found in this Runtime", tool.name),
                "remove `tool:…` from the host's capabilities, or use a Runtime that has the tool",
            );
        };
        if let Some(missing) = host.needs().iter().find(|needed| !spec.grants(needed)) {
            let reason = format!("the tool needs `{missing}`, which is not granted to this worker");
            let narrowed = spec.narrowed().iter().find(|refusal| refusal.subject == missing.to_string());
            let remedy = "request it in the profile and grant it in the host's config, or do not select the tool";
            return refuse(Rule::ToolWithoutAuthority, reason, narrowed.map_or(remedy, |refusal| &refusal.remedy));
        }
        let declared = bundle.manifest().tools.get(&tool.name);
        let schema = |blob: Option<bundles::manifest::BlobRef>| blob.map(|blob| self.schema(bundle, &blob.digest));
        let [input, output] = declared.map_or([None, None], |tool| [tool.input, tool.output].map(schema));
        Ok(Some(LiveTool { spec: tool.clone(), tool: host.clone(), input, output }))
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
        let schema = schema
            .map_err(|fault| Arc::new(fault.unwrap_or(Fault { pointer: String::new(), problem: Problem::NotASchema })));
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
            Some(tool) => self.tools.contains_key(tool),
            None => true,
        });
        facts
    }
}
