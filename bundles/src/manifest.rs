//! The manifest: what a bundle says, as data.
//!
//! These types are the manifest's JSON, field for field: unknown fields are refused, an absent list
//! is an empty one, and an empty one is left out, so that one meaning has one spelling. A
//! [`Manifest`] by itself promises only that its names fit their grammars; that it is whole and
//! sound is what a [`Bundle`](crate::Bundle) promises. There is no field for a secret's value, a
//! host path, a socket, a session or a cache.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authority::{Authority, Wish};
use crate::condition::Condition;
use crate::digest::Digest;
use crate::names::{
    CommitId, LabelKey, LanguageTag, ModelName, MountLabel, PluginName, ProfileName, PromptName, ProviderName,
    Revision, SecretRef, Surface, Timestamp, ToolName, WorkflowName, WorkspaceId, WorldName,
};
use crate::pointer::Pointer;
use crate::resource::{ResourceUri, WorkspaceGlob};
use crate::tool_source::ToolSource;
use crate::url_permission::UrlPermission;

/// The `schema` of the manifests that this version reads and writes.
pub const SCHEMA: &str = "yoi.config-bundle/1";

/// The manifest's media type, for transport and signatures.
pub const MEDIA_TYPE: &str = "application/vnd.yoi.config-bundle.v1+json";

/// The surfaces that a plugin can offer.
pub const PLUGIN_SURFACES: [&str; 3] = ["tools", "service", "ingress"];

fn is_empty_map<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.is_empty()
}

/// Everything a bundle says. Blobs (prompts, definitions, schemas) are named by digest and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: Schema,
    /// Whose configuration this is.
    pub workspace: Workspace,
    /// Grows with every change in the workspace.
    pub revision: Revision,
    /// When this revision was made, as its author says.
    pub created_at: Timestamp,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
    /// The language of a profile that says none.
    pub language: LanguageTag,
    /// Profiles by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// Prompts by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub prompts: BTreeMap<PromptName, Prompt>,
    /// Workflows by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub workflows: BTreeMap<WorkflowName, Workflow>,
    /// Tools by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub tools: BTreeMap<ToolName, Tool>,
    /// Plugins by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// Models by name.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub models: BTreeMap<ModelName, Model>,
    /// The workspace's own ceiling, which only narrows.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub policy: Policy,
    /// Findings of the leak scan that the author accepts. A Runtime honours them only where its
    /// config says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Acceptance>,
}

impl Manifest {
    /// Every blob that a manifest names, with where it names it.
    pub fn blobs(&self) -> Vec<(Pointer, BlobRef)> {
        let root = Pointer::root();
        let mut refs: Vec<_> = self.packages().collect();
        for (name, prompt) in &self.prompts {
            refs.push((root.key("prompts").key(name).key("text"), prompt.text));
        }
        for (name, tool) in &self.tools {
            for (key, schema) in [("input", tool.input), ("output", tool.output)] {
                refs.extend(schema.map(|blob| (root.key("tools").key(name).key(key), blob)));
            }
        }
        for (name, workflow) in &self.workflows {
            if let Workflow::Definition(blob) = workflow {
                refs.push((root.key("workflows").key(name).key("definition"), *blob));
            }
        }
        refs
    }

    /// Returns every plugin package that this manifest names, with its place. Packages travel beside bundles.
    pub fn packages(&self) -> impl Iterator<Item = (Pointer, BlobRef)> {
        let plugins = Pointer::root().key("plugins");
        self.plugins.iter().map(move |(name, plugin)| (plugins.key(name).key("package"), plugin.package))
    }

    /// Returns the digests of the blobs that must travel with the bundle: all but those that are only packages.
    pub fn carried(&self) -> BTreeSet<Digest> {
        let blobs = self.blobs().into_iter().skip(self.plugins.len());
        blobs.map(|(_, blob)| blob.digest).collect()
    }
}

/// The one schema version that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    /// [`SCHEMA`].
    #[serde(rename = "yoi.config-bundle/1")]
    V1,
}

/// Whose configuration a bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The tenant.
    pub id: WorkspaceId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels for people and programs; they decide nothing here.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub labels: BTreeMap<LabelKey, String>,
}

/// Where a bundle came from, as its author says. Nobody believes it; it helps people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// What it was built from, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The repository, as people name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// What built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

impl Provenance {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A profile: parents, and layers over them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Parents, the nearest first; linearised by C3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<ProfileName>,
    /// What it sets, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

/// What a profile, or one conditional part of it, sets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Every condition must hold for the layer to count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// Models, the preferred first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Amend<ModelName>>,
    /// Prompts, in the order in which a worker reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Amend<PromptName>>,
    /// Tools that are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools_allow: Option<Amend<ToolName>>,
    /// Tools that are denied, whatever allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools_deny: Option<Amend<ToolName>>,
    /// Plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Amend<PluginName>>,
    /// Workflows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflows: Option<Amend<WorkflowName>>,
    /// The language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<LanguageTag>,
    /// Authorities wished for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wishes: Vec<Wish>,
    /// Wishes of earlier layers to take back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<Authority>,
    /// A JSON Merge Patch (RFC 7396) on the settings that came before.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

/// A change to a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amend<T> {
    /// What to add at the end, where it is not yet in the list.
    Append(Vec<T>),
    /// What to have instead.
    Replace(Vec<T>),
}

impl<T> Amend<T> {
    /// The names that are added or put in place.
    pub fn names(&self) -> &[T] {
        match self {
            Self::Append(names) | Self::Replace(names) => names,
        }
    }
}

/// Which bytes are meant, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u32,
}

/// A prompt resource: UTF-8 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The text.
    pub text: BlobRef,
}

/// A workflow: its definition travels along, or a reference names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workflow {
    /// The definition, as UTF-8 text of the author's making.
    Definition(BlobRef),
    /// A name that the Runtime's surroundings know: `workflow://release/checks`.
    Reference(ResourceUri),
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Who answers it.
    pub source: ToolSource,
    /// What it tells the model about itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The most it does to the world.
    pub effect: Effect,
    /// JSON Schema of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<BlobRef>,
    /// JSON Schema of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<BlobRef>,
    /// How it may be used.
    #[serde(default, skip_serializing_if = "ToolPolicy::is_empty")]
    pub policy: ToolPolicy,
}

/// The most a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It computes.
    None,
    /// It reads.
    Read,
    /// It changes what is inside the worker's mounts.
    Write,
    /// It acts outside: network, commands.
    External,
}

/// How a tool may be used; narrows, never widens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPolicy {
    /// When a person is asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// Most calls in a worker's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Files inside the worker's mounts that the tool may touch; none written means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<WorkspaceGlob>,
}

impl ToolPolicy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When a person is asked before a tool runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// Before each call.
    Always,
    /// Before the first call of a worker.
    Once,
    /// Never.
    Never,
}

/// A plugin's descriptor. Wanting grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Its version.
    pub version: semver::Version,
    /// Its package. The bytes may travel beside the bundle.
    pub package: BlobRef,
    /// The world that its component implements.
    pub world: WorldName,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it offers: names of [`PLUGIN_SURFACES`]. A manifest that was stored before that set was closed may hold
    /// others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surfaces: Vec<Surface>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Permissions::is_empty")]
    pub permissions: Permissions,
}

/// What a plugin asks for, each with a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// HTTP targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Asked<UrlPermission>>,
    /// WebSocket targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub websockets: Vec<Asked<UrlPermission>>,
    /// Secrets, by reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Asked<SecretRef>>,
    /// Mounts, by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Asked<MountLabel>>,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something asked for, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked<T> {
    /// What is asked for.
    pub what: T,
    /// Why, for the person who decides.
    pub reason: String,
}

/// A model: who provides it, under which name, with which parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Who provides it.
    pub provider: ProviderName,
    /// The provider's name for it.
    pub model: String,
    /// Parameters for the provider, as it understands them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The secret that the provider asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// The workspace's own ceiling over what its profiles may come to. A resolver never sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Over authorities; an entry covers what is narrower.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub authorities: Ceiling<Authority>,
    /// Over tools.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub tools: Ceiling<ToolName>,
    /// Over plugins.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub plugins: Ceiling<PluginName>,
}

impl Policy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is allowed at the most. Deny wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "T: serde::de::DeserializeOwned"))]
pub struct Ceiling<T> {
    /// Only these; none written means all, an empty list means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<T>>,
    /// None of these.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<T>,
}

impl<T> Default for Ceiling<T> {
    fn default() -> Self {
        Self { allow: None, deny: Vec::new() }
    }
}

impl<T> Ceiling<T> {
    fn is_empty(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

/// A finding of the leak scan that the author accepts, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The rule that found it.
    pub rule: String,
    /// Where: a JSON pointer into the manifest, or `/prompts/NAME/text` for the text itself.
    pub field: String,
    /// Why it is none.
    pub reason: String,
}
