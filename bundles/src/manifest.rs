//! Data model of the manifest.
//!
//! These types mirror the manifest's JSON, field for field. Unknown fields are refused. Empty lists are left out, and
//! an absent list is empty, so one meaning has one spelling. A [`Manifest`] alone guarantees only that its names match
//! their grammars. A [`Bundle`](crate::Bundle) guarantees that it is complete and sound. No field can hold the value of
//! a secret, a host path, a socket, a session or a cache.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authority::{Authority, Wish};
use crate::condition::Condition;
use crate::digest::Digest;
use crate::names::{
    CommitId, IngressName, LabelKey, LanguageTag, ModelName, PluginName, ProfileName, PromptName, ProviderName,
    Revision, SecretRef, Surface, Timestamp, ToolName, WorkflowName, WorkspaceId, WorldName,
};
use crate::pointer::Pointer;
use crate::resource::{ResourceUri, WorkspaceGlob};
use crate::secret_placement::SecretPlacement;
use crate::tool_source::ToolSource;
use crate::url_permission::UrlPermission;

/// Value of `schema` in the manifests that this version reads and writes.
pub const SCHEMA: &str = "yoi.config-bundle/1";

/// Media type of the manifest, for transport and signatures.
pub const MEDIA_TYPE: &str = "application/vnd.yoi.config-bundle.v1+json";

/// Surfaces that a plugin can offer.
pub const PLUGIN_SURFACES: [&str; 3] = ["tools", "service", "ingress"];

fn is_empty_map<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.is_empty()
}

/// Content of a bundle. Blobs (prompts, definitions, schemas) are named by digest and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: ManifestSchema,
    /// Workspace that the bundle configures.
    pub workspace: Workspace,
    /// Grows with every change in the workspace.
    pub revision: Revision,
    /// Time of this revision according to its author.
    pub created_at: Timestamp,
    /// Origin of the bundle.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
    /// Default language of profiles.
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
    /// Ceiling of the workspace. It only narrows rights.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub policy: Policy,
    /// Findings of the leak scan that the author accepts. A Runtime honours them only if its config says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Acceptance>,
}

impl Manifest {
    /// Returns every blob that the manifest names, with its place.
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

    /// Returns every plugin package that the manifest names, with its place. Packages travel beside bundles.
    pub fn packages(&self) -> impl Iterator<Item = (Pointer, BlobRef)> {
        let plugins = Pointer::root().key("plugins");
        self.plugins.iter().map(move |(name, plugin)| (plugins.key(name).key("package"), plugin.package))
    }

    /// Returns the digests of the blobs that must travel with the bundle: all except those that are only packages.
    pub fn carried(&self) -> BTreeSet<Digest> {
        let blobs = self.blobs().into_iter().skip(self.plugins.len());
        blobs.map(|(_, blob)| blob.digest).collect()
    }
}

/// Supported schema versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestSchema {
    /// [`SCHEMA`].
    #[serde(rename = "yoi.config-bundle/1")]
    V1,
}

/// Workspace that a bundle configures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// The tenant.
    pub id: WorkspaceId,
    /// Display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Purpose, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Display name of the repository that the workspace is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// Labels for people and programs. They have no effect here.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub labels: BTreeMap<LabelKey, String>,
}

/// Origin of a bundle according to its author. Informative only, and never trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Description of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Display name of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Commit of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Program that built the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

impl Provenance {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A profile: its parents, and its own layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Purpose, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Parents, the nearest first. They are linearised by C3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extends: Vec<ProfileName>,
    /// Layers, in order of application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

/// Changes made by a profile, or by a conditional part of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Conditions that must all hold for the layer to apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// Models, the preferred one first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Amend<ModelName>>,
    /// Prompts, in the order in which a worker reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Amend<PromptName>>,
    /// Allowed tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools_allow: Option<Amend<ToolName>>,
    /// Denied tools. A denial overrides every permission.
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
    /// Requested authorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wishes: Vec<Wish>,
    /// Wishes of earlier layers to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<Authority>,
    /// A JSON Merge Patch (RFC 7396) on the settings of earlier layers.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

/// A change to a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amend<T> {
    /// Items to add at the end, unless they are in the list already.
    Append(Vec<T>),
    /// Items that replace the list.
    Replace(Vec<T>),
}

impl<T> Amend<T> {
    /// Returns the items to add or to set.
    pub fn names(&self) -> &[T] {
        match self {
            Self::Append(names) | Self::Replace(names) => names,
        }
    }
}

/// Reference to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of bytes.
    pub size: u32,
}

/// A prompt: UTF-8 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The text.
    pub text: BlobRef,
}

/// A workflow: a definition in the bundle, or a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workflow {
    /// The definition, as UTF-8 text in a format chosen by the author.
    Definition(BlobRef),
    /// A name that is resolved outside the Runtime: `workflow://release/checks`.
    Reference(ResourceUri),
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Implementation of the tool.
    pub source: ToolSource,
    /// Description for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Maximum effect of a call.
    pub effect: Effect,
    /// JSON Schema of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<BlobRef>,
    /// JSON Schema of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<BlobRef>,
    /// Restrictions on its use.
    #[serde(default, skip_serializing_if = "ToolPolicy::is_empty")]
    pub policy: ToolPolicy,
}

/// Maximum effect of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Computation only.
    None,
    /// Reads. A plugin's tool reads remote systems, with the methods `GET` and `HEAD` only.
    Read,
    /// Changes files inside the worker's mounts. A plugin has no mounts.
    Write,
    /// Acts outside of the mounts: network, commands.
    External,
}

impl Effect {
    /// Returns the effect as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::External => "external",
        }
    }
}

/// Restrictions on the use of a tool. They never widen rights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolPolicy {
    /// Confirmation by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// Maximum number of calls in a worker's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Files inside the worker's mounts that the tool may access. An empty list means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<WorkspaceGlob>,
}

impl ToolPolicy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Time at which a person must confirm the use of a tool.
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

/// Descriptor of a plugin: what a reviewer must see of its package. Its permissions are requests and do not grant
/// access. A host refuses a descriptor that differs from the manifest in the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Version of the plugin.
    pub version: semver::Version,
    /// Package of the plugin. Its bytes may travel beside the bundle.
    pub package: BlobRef,
    /// World that the component implements.
    pub world: WorldName,
    /// Purpose, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Offered surfaces: names of [`PLUGIN_SURFACES`]. A manifest stored before that set was closed may contain others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surfaces: Vec<Surface>,
    /// Offered tools, each with its maximum effect.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub tools: BTreeMap<ToolName, Effect>,
    /// Ingress names under which the plugin receives events.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ingress: BTreeSet<IngressName>,
    /// Requested permissions.
    #[serde(default, skip_serializing_if = "Permissions::is_empty")]
    pub permissions: Permissions,
}

/// Permissions that a plugin requests, each with a reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// HTTP targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<PermissionRequest<UrlPermission>>,
    /// WebSocket targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub websockets: Vec<PermissionRequest<UrlPermission>>,
    /// Secrets, by reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRequest>,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A requested secret with its placement and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// The requested secret.
    pub what: SecretRef,
    /// Place at which the host puts the value. Only descriptors of earlier versions have none, and no package matches
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<SecretPlacement>,
    /// Reason, for the person who decides.
    pub reason: String,
}

/// A requested permission with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionRequest<T> {
    /// The requested permission.
    pub what: T,
    /// Reason, for the person who decides.
    pub reason: String,
}

/// A model: its provider, name and parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Provider of the model.
    pub provider: ProviderName,
    /// Name of the model at the provider.
    pub model: String,
    /// Parameters in the format of the provider.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// Secret that the provider requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// Ceiling of the workspace over all its profiles. Resolvers cannot see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Ceiling over authorities. An entry covers narrower ones.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub authorities: Ceiling<Authority>,
    /// Ceiling over tools.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub tools: Ceiling<ToolName>,
    /// Ceiling over plugins.
    #[serde(default, skip_serializing_if = "Ceiling::is_empty")]
    pub plugins: Ceiling<PluginName>,
}

impl Policy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Maximum of what is allowed. A denial overrides `allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "T: serde::de::DeserializeOwned"))]
pub struct Ceiling<T> {
    /// Allowed items. `None` allows all, and an empty list allows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<T>>,
    /// Denied items.
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

/// A finding of the leak scan that the author accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Rule of the finding.
    pub rule: String,
    /// Place of the finding: a JSON pointer into the manifest, or `/prompts/NAME/text` for the text itself.
    pub field: String,
    /// Reason why it is not a leak.
    pub reason: String,
}
