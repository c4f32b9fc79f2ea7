//! Answers of a resolver, before and after verification.
//!
//! A [`Proposal`] is untrusted text. A [`Resolution`] holds only names that the bundle declares and
//! that an active layer contains. [`verify`](crate::verify()) is the only way to turn a proposal into a
//! resolution.

use bundles::canonical::to_canonical;
use bundles::{
    Digest, LanguageTag, ModelName, Need, PluginName, ProfileName, PromptName, ToolName, Wish, WorkflowName,
};
use error_code::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An unverified answer of a resolver. It stays untrusted when it is read back from a stored record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The selected profile and its ancestors, the profile first.
    pub lineage: Vec<String>,
    /// The chosen model.
    pub model: Option<String>,
    /// Prompts.
    pub instructions: Vec<String>,
    /// Tools.
    pub tools: Vec<String>,
    /// Plugins.
    pub plugins: Vec<String>,
    /// Workflows.
    pub workflows: Vec<String>,
    /// The language, if a layer sets one.
    pub language: Option<String>,
    /// Wishes, each as the authority's text form and the need.
    pub wishes: Vec<(String, Need)>,
    /// Settings as JSON text.
    pub settings: String,
    /// The layer that set each value.
    pub origins: Vec<ProposedOrigin>,
}

/// The layer that set a value, according to a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedOrigin {
    /// JSON pointer into the resolution.
    pub field: String,
    /// Profile that contains the layer.
    pub profile: String,
    /// Index of the layer in its profile.
    pub layer: u32,
}

/// An unverified failure reported by a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedFailure {
    /// The bundle has no such profile.
    UnknownProfile(String),
    /// These profiles inherit from each other.
    InheritanceCycle(Vec<String>),
    /// The parents of this profile have no consistent order.
    InheritanceConflict(String),
    /// The resolver does not support this declaration.
    UnsupportedDeclaration(String),
    /// Capabilities that the request requires and the facts lack.
    UnmetCapability(Vec<String>),
    /// The host offers none of these models.
    NoModel(Vec<String>),
    /// The bundle does not declare this name.
    DanglingReference(String),
}

/// The layer that set a value, verified by the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// JSON pointer into the resolution.
    pub field: String,
    /// Profile that contains the layer.
    pub profile: ProfileName,
    /// Index of the layer in its profile.
    pub layer: u32,
}

/// A reference to a prompt by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// Name of the prompt in the bundle.
    pub name: PromptName,
    /// Digest of the prompt's text.
    pub digest: Digest,
}

/// A verified resolution of a profile for the facts of a host. Created only by [`verify`](crate::verify()).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resolution {
    pub(crate) lineage: Vec<ProfileName>,
    pub(crate) model: Option<ModelName>,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) tools: Vec<ToolName>,
    pub(crate) plugins: Vec<PluginName>,
    pub(crate) workflows: Vec<WorkflowName>,
    pub(crate) language: LanguageTag,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) origins: Vec<Origin>,
}

impl Resolution {
    /// Returns the selected profile and its ancestors, the profile first.
    pub fn lineage(&self) -> &[ProfileName] {
        &self.lineage
    }

    /// Returns the chosen model; `None` if the profile names no model.
    pub fn model(&self) -> Option<&ModelName> {
        self.model.as_ref()
    }

    /// Returns the prompts in the order in which a worker reads them.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Returns the tools that are allowed and not denied.
    pub fn tools(&self) -> &[ToolName] {
        &self.tools
    }

    /// Returns the selected plugins.
    pub fn plugins(&self) -> &[PluginName] {
        &self.plugins
    }

    /// Returns the selected workflows.
    pub fn workflows(&self) -> &[WorkflowName] {
        &self.workflows
    }

    /// Returns the language set by a layer, or else the bundle's.
    pub fn language(&self) -> &LanguageTag {
        &self.language
    }

    /// Returns the sorted wishes. The chosen model's secret is among them.
    pub fn wishes(&self) -> &[Wish] {
        &self.wishes
    }

    /// Returns the settings after all merge patches.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Returns the origin of each value, sorted by field.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Returns the origin of the value at the JSON pointer `field`.
    pub fn origin(&self, field: &str) -> Option<&Origin> {
        let found = self.origins.binary_search_by(|origin| origin.field.as_str().cmp(field)).ok()?;
        self.origins.get(found)
    }

    /// Returns the resolution as canonical JSON, which its digest covers.
    pub fn to_json(&self) -> Vec<u8> {
        to_canonical(self).unwrap_or_default()
    }

    /// Returns the digest of [`Resolution::to_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json())
    }
}

/// A failure to resolve a profile, confirmed by the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Failure {
    /// The bundle has no such profile.
    #[error("profile `{profile}` not found in this bundle")]
    UnknownProfile {
        /// The requested profile.
        profile: ProfileName,
        /// The profile with the most similar name.
        suggestion: Option<ProfileName>,
    },
    /// The host lacks required capabilities.
    #[error("this host lacks required capabilities: {}", list(.capabilities))]
    UnmetCapability {
        /// The missing capabilities.
        capabilities: Vec<bundles::Capability>,
    },
    /// The host offers none of the profile's models.
    #[error("this host offers none of the models {}", list(.models))]
    NoModel {
        /// The profile's models, the preferred one first.
        models: Vec<ModelName>,
    },
    /// The resolver does not support a declaration.
    #[error("the resolver does not support the declaration `{declaration}`")]
    UnsupportedDeclaration {
        /// The declaration's word in the resolver contract.
        declaration: String,
    },
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

impl Failure {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownProfile { .. } => Code::UnknownProfile,
            Self::UnmetCapability { .. } => Code::UnmetCapability,
            Self::NoModel { .. } => Code::NoModel,
            Self::UnsupportedDeclaration { .. } => Code::UnsupportedDeclaration,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> String {
        match self {
            Self::UnknownProfile { suggestion: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownProfile { .. } => "select a profile of the bundle".to_owned(),
            Self::UnmetCapability { .. } => "use a host that has the capabilities, or add them to the host's config".to_owned(),
            Self::NoModel { .. } => "add one of the models to `models` in the facts or the host's config, or add an offered model to the profile".to_owned(),
            Self::UnsupportedDeclaration { .. } => "use a resolver that supports the declaration".to_owned(),
        }
    }
}
