//! Report of a resolution, as one JSON document.
//!
//! The report contains only names, digests and numbers. Without a config no policy is enforced: the report then shows
//! the proposal of the resolver, and every field that holds an authority is empty.

use bundles::manifest::Manifest;
use bundles::{
    Access, Digest, LanguageTag, PluginName, ProfileName, SecretRef, ToolName, UrlPrefix, Wish, WorkflowName,
};
use component_host::Cost;
use host_policy::{Instruction, Origin, Refusal, Resolution, ResolvedWorkerSpec, SpecModel, SpecMount, SpecTool};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::digests::Digests;
use crate::record::FoundName;
use crate::resolutions::ComputedResolution;

/// Value of the report's field `schema`.
pub const RESOLUTION_SCHEMA: &str = "yoi.resolution/1";

/// Report of a resolution and of its enforcement.
#[derive(Debug, Serialize)]
pub struct ResolutionReport {
    schema: &'static str,
    enforced: bool,
    #[serde(flatten)]
    values: ReportedValues,
    origins: Vec<Origin>,
    reads: Vec<FoundName>,
    reads_missing: usize,
    digests: Digests,
    cost: CostReport,
}

/// Values of a resolution and of its enforcement, without the way in which they were computed.
#[derive(Debug, Serialize)]
pub struct ReportedValues {
    profile: Option<ProfileName>,
    lineage: Vec<ProfileName>,
    wishes: Vec<Wish>,
    model: Option<SpecModel>,
    instructions: Vec<Instruction>,
    tools: Vec<SpecTool>,
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
}

/// Cost of a resolution.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CostReport {
    /// Consumed fuel. It is the same on every host.
    pub fuel: u64,
    /// Peak size of the linear memory in bytes.
    pub memory_bytes: u64,
}

impl From<Cost> for CostReport {
    fn from(cost: Cost) -> Self {
        Self { fuel: cost.fuel, memory_bytes: cost.memory_bytes }
    }
}

impl ResolutionReport {
    /// Creates a report. `spec` is the enforced spec, if a policy was enforced.
    pub fn new(manifest: &Manifest, resolved: &ComputedResolution, spec: Option<&ResolvedWorkerSpec>) -> Self {
        let resolution = resolved.resolution();
        Self {
            schema: RESOLUTION_SCHEMA,
            enforced: spec.is_some(),
            values: ReportedValues::new(manifest, resolution, spec),
            origins: resolution.origins().to_vec(),
            reads: resolved.reads().found.clone(),
            reads_missing: resolved.reads().missing.len(),
            digests: with_policy(*resolved.digests(), spec.map(ResolvedWorkerSpec::policy)),
            cost: resolved.cost().into(),
        }
    }
}

impl ReportedValues {
    /// Returns the values of a resolution. `spec` is the enforced spec, if a policy was enforced.
    pub fn new(manifest: &Manifest, resolution: &Resolution, spec: Option<&ResolvedWorkerSpec>) -> Self {
        let tools: Vec<&ToolName> = match spec {
            Some(spec) => spec.tools().iter().map(|tool| &tool.name).collect(),
            None => resolution.tools().iter().collect(),
        };
        Self {
            profile: resolution.lineage().first().cloned(),
            lineage: resolution.lineage().to_vec(),
            wishes: resolution.wishes().to_vec(),
            model: resolution.model().and_then(|name| SpecModel::of(manifest, name)),
            instructions: resolution.instructions().to_vec(),
            tools: tools.into_iter().filter_map(|name| SpecTool::of(manifest, name)).collect(),
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
        }
    }
}

/// Returns the digests with `policy` set.
pub fn with_policy(digests: Digests, policy: Option<Digest>) -> Digests {
    Digests { policy, ..digests }
}
