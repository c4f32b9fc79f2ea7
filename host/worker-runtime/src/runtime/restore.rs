//! A worker that can be called: its spec, computed from its record and from what the host grants now.
//!
//! No resolver is asked again. The recorded answer is verified against the bundle, and enforced under
//! the config that is in force, so a grant that was narrowed is narrow for workers that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bundles::{Bundle, Digest, Need, ToolName, ToolSource, WorkspaceId};
use component_host::BundleView;
use host_policy::{HostPolicy, Refusal, Resolution, ResolvedWorkerSpec, Rule, RuntimeConfig, SpecTool, enforce};
use jsonschema::Validator;

use super::Shared;
use crate::resolutions::KnownFacts;
use crate::tool::HostTool;

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
    pub(crate) spec: ResolvedWorkerSpec,
    pub(crate) tools: BTreeMap<ToolName, LiveTool>,
}

#[derive(Debug)]
pub(crate) struct LiveTool {
    pub(crate) spec: SpecTool,
    pub(crate) tool: Arc<dyn HostTool>,
    pub(crate) input: Option<Arc<Validator>>,
    pub(crate) output: Option<Arc<Validator>>,
}

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
        if refused.is_empty() { Ok(Live { spec, tools }) } else { Err(refused) }
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
            return refuse(
                Rule::ToolWithoutAuthority,
                format!("it needs `{missing}`, which this worker does not have"),
                "ask for it in the profile and grant it in the host's config, or do not select the tool",
            );
        }
        let declared = bundle.manifest().tools.get(&tool.name);
        let schema = |blob: Option<bundles::manifest::BlobRef>| match blob {
            None => Ok(None),
            Some(blob) => self.schema(bundle, &blob.digest).map(Some).ok_or(()),
        };
        let both = declared.map_or(Ok((None, None)), |tool| Ok((schema(tool.input)?, schema(tool.output)?)));
        match both {
            Ok((input, output)) => Ok(Some(LiveTool { spec: tool.clone(), tool: host.clone(), input, output })),
            Err(()) => refuse(
                Rule::UnsupportedDeclaration,
                "its schema is none, or refers to what does not travel with the bundle".to_owned(),
                "write a JSON Schema that stands alone",
            ),
        }
    }

    /// A schema of a bundle. Most workers of a bundle have the same ones.
    fn schema(&self, bundle: &Bundle, digest: &Digest) -> Option<Arc<Validator>> {
        let text = bundle.blob(digest)?;
        if let Some(known) = self.schemas.get(digest) {
            return Some(known);
        }
        let schema = Arc::new(validator(&serde_json::from_slice(text).ok()?)?);
        self.schemas.insert(*digest, schema.clone());
        Some(schema)
    }

    /// What this host tells a resolver: only tools that this Runtime has. It follows from the policy, where
    /// the config names the workspace.
    pub(crate) fn facts(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> Arc<KnownFacts> {
        let policy = config.names(workspace).then(|| config.digest(workspace));
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
        let mut facts = config.facts(workspace, os, arch);
        facts.capabilities.retain(|name| match name.as_str().strip_prefix("tool:") {
            Some(tool) => self.tools.contains_key(tool),
            None => true,
        });
        facts
    }
}

/// Patterns are matched in time that grows with the text alone, and nothing is fetched.
fn validator(schema: &serde_json::Value) -> Option<Validator> {
    jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex()).build(schema).ok()
}
