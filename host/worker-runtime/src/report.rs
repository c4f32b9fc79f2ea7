//! What leaves the process about a resolution: one document, for people's programs.
//!
//! Composed of names, digests and numbers. Without a config nothing is enforced: the proposal is
//! shown as such, and every field of authority is empty.

use bundles::manifest::Manifest;
use bundles::{
    Access, Digest, LanguageTag, PluginName, ProfileName, SecretRef, ToolName, UrlPrefix, Wish, WorkflowName,
};
use component_host::{BundleRead, Cost};
use host_policy::{Instruction, Origin, Refusal, ResolvedWorkerSpec, SpecModel, SpecMount, SpecTool};
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
    origins: Vec<Origin>,
    reads: Vec<ReadReport>,
    reads_missing: usize,
    digests: Digests,
    cost: CostReport,
}

/// A name that the resolver looked up and the bundle has.
#[derive(Debug, Serialize)]
pub struct ReadReport {
    /// `profile`, or a kind of declaration: `prompt`, `tool`, `plugin`, `workflow`, `model`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// What was not found is only counted: the name would be the guest's own word, and it has seen the
/// facts.
fn found_reads(reads: &[BundleRead]) -> Vec<ReadReport> {
    let found = reads.iter().filter(|read| read.found);
    found.map(|read| ReadReport { kind: read.kind, name: read.name.clone() }).collect()
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
            origins: resolution.origins().to_vec(),
            reads: found_reads(resolved.reads()),
            reads_missing: resolved.reads().iter().filter(|read| !read.found).count(),
            digests: with_policy(*resolved.digests(), spec.map(ResolvedWorkerSpec::policy)),
            cost: resolved.cost().into(),
        }
    }
}

/// The digests of an enforced resolution.
pub fn with_policy(digests: Digests, policy: Option<Digest>) -> Digests {
    Digests { policy, ..digests }
}
