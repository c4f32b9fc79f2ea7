//! What leaves the process about a resolution: one document, for people's programs.
//!
//! Composed of names, digests and numbers. Without a config nothing is enforced: the proposal is
//! shown as such, and every field of authority is empty.

use bundles::manifest::{Effect, Manifest, ToolPolicy};
use bundles::{
    Access, Digest, LanguageTag, ModelName, PluginName, ProfileName, ProviderName, SecretRef, ToolName, ToolSource,
    UrlPrefix, Wish, WorkflowName,
};
use component_host::{Cost, Read};
use host_policy::{Instruction, Origin, Refusal, ResolvedWorkerSpec, SpecMount};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::digests::Digests;
use crate::resolutions::Resolved;

/// The `schema` of the report.
pub const RESOLUTION_SCHEMA: &str = "yoi.resolution/1";

/// A resolution, and what the host made of it.
#[derive(Debug, Serialize)]
pub struct ResolutionReport {
    schema: &'static str,
    enforced: bool,
    profile: Option<ProfileName>,
    lineage: Vec<ProfileName>,
    wishes: Vec<Wish>,
    model: Option<ModelReport>,
    instructions: Vec<Instruction>,
    tools: Vec<ToolReport>,
    plugins: Vec<PluginName>,
    workflows: Vec<WorkflowName>,
    language: LanguageTag,
    settings: Map<String, Value>,
    mounts: Vec<SpecMount>,
    secrets: Vec<SecretRef>,
    egress: Vec<UrlPrefix>,
    shell: bool,
    git: Option<Access>,
    narrowed: Vec<Refusal>,
    origins: Vec<Origin>,
    reads: Vec<Read>,
    digests: Digests,
    cost: CostReport,
}

/// A model, by the bundle's name and the provider's.
#[derive(Debug, Serialize)]
pub struct ModelReport {
    name: ModelName,
    provider: ProviderName,
    model: String,
    parameters: Map<String, Value>,
    secret: Option<SecretRef>,
}

/// A tool, with how it may be used.
#[derive(Debug, Serialize)]
pub struct ToolReport {
    name: ToolName,
    source: ToolSource,
    effect: Effect,
    policy: ToolPolicy,
}

/// What a resolution cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CostReport {
    /// Fuel, the same on every host.
    pub fuel: u64,
    /// Most bytes of linear memory.
    pub memory_bytes: u64,
}

impl From<Cost> for CostReport {
    fn from(cost: Cost) -> Self {
        Self { fuel: cost.fuel, memory_bytes: cost.memory_bytes }
    }
}

impl ResolutionReport {
    /// The report of a resolution, with a spec where one was enforced.
    pub fn new(manifest: &Manifest, resolved: &Resolved, spec: Option<&ResolvedWorkerSpec>) -> Self {
        let resolution = resolved.resolution();
        let tools: Vec<&ToolName> = match spec {
            Some(spec) => spec.tools().iter().map(|tool| &tool.name).collect(),
            None => resolution.tools().iter().collect(),
        };
        Self {
            schema: RESOLUTION_SCHEMA,
            enforced: spec.is_some(),
            profile: resolution.lineage().first().cloned(),
            lineage: resolution.lineage().to_vec(),
            wishes: resolution.wishes().to_vec(),
            model: resolution.model().and_then(|name| model(manifest, name)),
            instructions: resolution.instructions().to_vec(),
            tools: tools.into_iter().filter_map(|name| tool(manifest, name)).collect(),
            plugins: spec.map_or_else(|| resolution.plugins(), ResolvedWorkerSpec::plugins).to_vec(),
            workflows: resolution.workflows().to_vec(),
            language: resolution.language().clone(),
            settings: resolution.settings().clone(),
            mounts: spec.map(|spec| spec.mounts().to_vec()).unwrap_or_default(),
            secrets: spec.map(|spec| spec.secrets().to_vec()).unwrap_or_default(),
            egress: spec.map(|spec| spec.egress().to_vec()).unwrap_or_default(),
            shell: spec.is_some_and(ResolvedWorkerSpec::shell),
            git: spec.and_then(ResolvedWorkerSpec::git).map(|git| git.access),
            narrowed: spec.map(|spec| spec.narrowed().to_vec()).unwrap_or_default(),
            origins: resolution.origins().to_vec(),
            reads: resolved.reads().to_vec(),
            digests: with_policy(*resolved.digests(), spec.map(ResolvedWorkerSpec::policy)),
            cost: resolved.cost().into(),
        }
    }
}

/// The digests of an enforced resolution.
pub fn with_policy(digests: Digests, policy: Option<Digest>) -> Digests {
    Digests { policy, ..digests }
}

fn model(manifest: &Manifest, name: &ModelName) -> Option<ModelReport> {
    let model = manifest.models.get(name)?;
    Some(ModelReport {
        name: name.clone(),
        provider: model.provider.clone(),
        model: model.model.clone(),
        parameters: model.parameters.clone(),
        secret: model.secret.clone(),
    })
}

fn tool(manifest: &Manifest, name: &ToolName) -> Option<ToolReport> {
    let tool = manifest.tools.get(name)?;
    Some(ToolReport {
        name: name.clone(),
        source: tool.source.clone(),
        effect: tool.effect,
        policy: tool.policy.clone(),
    })
}
