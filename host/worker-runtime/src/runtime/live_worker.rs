//! A worker that can be called: its spec, computed from its record and from what the host grants now.
//!
//! No resolver is asked again. The recorded answer is verified against the bundle, and enforced under
//! the config that is in force, so a grant that was narrowed is narrow for workers that are there.

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

/// What a live worker depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LiveKey {
    pub(crate) workspace: WorkspaceId,
    pub(crate) record: Digest,
    pub(crate) policy: Digest,
}

/// A worker's spec and tools.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) spec: Arc<ResolvedWorkerSpec>,
    pub(crate) tools: BTreeMap<ToolName, LiveTool>,
}

#[derive(Debug)]
pub(crate) struct LiveTool {
    pub(crate) spec: SpecTool,
    pub(crate) tool: Arc<dyn HostTool>,
    pub(crate) input: Option<ParsedSchema>,
    pub(crate) output: Option<ParsedSchema>,
}

/// A tool's schema, or its first fault: a bundle that was stored before schemas were judged may have one. Only calls
/// of that tool are refused then.
pub(crate) type ParsedSchema = Result<Arc<Schema>, Arc<Fault>>;

impl Shared {
    /// What the host makes of a resolution for a workspace: a worker, or every refusal.
    pub(crate) fn enforce(
        &self,
        config: &RuntimeConfig,
        workspace: &WorkspaceId,
        view: &BundleView,
        resolution: &Resolution,
    ) -> Result<Live, Vec<Refusal>> {
        let builtin = view.bundle().digest() == self.builtin.bundle().digest();
        let policy = HostPolicy { config, workspace, builtin };
        let spec = enforce(view.bundle().manifest(), resolution, policy)?;
        let mut tools = BTreeMap::new();
        let mut refused = Vec::new();
        for tool in spec.tools() {
            match self.tool(&spec, view.bundle(), tool) {
                Ok(Some(live)) => {
                    tools.insert(tool.name.clone(), live);
                }
                Ok(None) => {}
                Err(refusal) => refused.push(refusal),
            }
        }
        if refused.is_empty() { Ok(Live { spec: Arc::new(spec), tools }) } else { Err(refused) }
    }

    fn tool(&self, spec: &ResolvedWorkerSpec, bundle: &Bundle, tool: &SpecTool) -> Result<Option<LiveTool>, Refusal> {
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
                format!("this Runtime has no host tool `{}`", tool.name),
                "take `tool:…` out of the host's capabilities, or run a Runtime that has it",
            );
        };
        if let Some(missing) = host.needs().iter().find(|needed| !spec.grants(needed)) {
            let reason = format!("it needs `{missing}`, which this worker does not have");
            let narrowed = spec.narrowed().iter().find(|refusal| refusal.subject == missing.to_string());
            let plain = "ask for it in the profile and grant it in the host's config, or do not select the tool";
            return refuse(Rule::ToolWithoutAuthority, reason, narrowed.map_or(plain, |refusal| &refusal.remedy));
        }
        let declared = bundle.manifest().tools.get(&tool.name);
        let schema = |blob: Option<bundles::manifest::BlobRef>| blob.map(|blob| self.schema(bundle, &blob.digest));
        let [input, output] = declared.map_or([None, None], |tool| [tool.input, tool.output].map(schema));
        Ok(Some(LiveTool { spec: tool.clone(), tool: host.clone(), input, output }))
    }

    /// A schema of a bundle. Most workers of a bundle have the same ones.
    fn schema(&self, bundle: &Bundle, digest: &Digest) -> ParsedSchema {
        if let Some(known) = self.schemas.get(digest) {
            return known;
        }
        let limits = &self.sandbox.limits().bundle;
        let document = bundle.blob(digest).and_then(|text| parse(text, limits.schema()).ok());
        let schema = match document.map(|document| Schema::parse(&document, limits.pattern_bytes)) {
            Some(Ok(schema)) => Ok(Arc::new(schema)),
            Some(Err(faults)) => Err(faults.into_iter().next()),
            // A bundle is not opened with such a schema.
            None => Err(None),
        };
        let schema = schema
            .map_err(|fault| Arc::new(fault.unwrap_or(Fault { pointer: String::new(), problem: Problem::NotASchema })));
        self.schemas.insert(*digest, schema.clone());
        schema
    }

    /// What this host tells a resolver: only tools that this Runtime has. It follows from the policy, where
    /// the config names the workspace.
    pub(crate) fn facts(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> Arc<KnownFacts> {
        let policy = config.has_workspace(workspace).then(|| config.digest(workspace));
        if let Some(known) = policy.and_then(|policy| self.facts.get(&policy)) {
            return known;
        }
        let facts = Arc::new(self.facts_anew(config, workspace).into());
        if let Some(policy) = policy {
            self.facts.insert(policy, Arc::clone(&facts));
        }
        facts
    }

    fn facts_anew(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> host_policy::Facts {
        let (os, arch) = self.platform.clone();
        let mut facts = config.facts(workspace, os, arch, &component_host::WORLDS);
        facts.capabilities.retain(|name| match name.as_str().strip_prefix("tool:") {
            Some(tool) => self.tools.contains_key(tool),
            None => true,
        });
        facts
    }
}
