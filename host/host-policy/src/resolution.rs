//! What a resolver proposes, and what the host makes of it once it has checked every word.
//!
//! A [`Proposal`] is text from outside. A [`Resolution`] holds only names that the bundle declares
//! and that a layer which counts has written; [`verify`](crate::verify()) is the only way from the one
//! to the other.

use bundles::canonical::to_canonical;
use bundles::{
    Digest, LanguageTag, ModelName, Need, PluginName, ProfileName, PromptName, ToolName, Wish, WorkflowName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a resolver answered, as it answered. Nothing in it is believed, also not when it comes out of
/// a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The profile and its ancestors.
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
    /// The language, where a layer says one.
    pub language: Option<String>,
    /// Wishes: the authority's text form, and the need.
    pub wishes: Vec<(String, Need)>,
    /// JSON text of the settings.
    pub settings: String,
    /// Which layer gave each value.
    pub origins: Vec<ProposedOrigin>,
}

/// Which layer gave a value, as a resolver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposedOrigin {
    /// JSON pointer into the resolution.
    pub field: String,
    /// The layer's profile.
    pub profile: String,
    /// The layer's index.
    pub layer: u32,
}

/// Why a resolver says that there is no resolution, as it says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedFailure {
    /// A profile that the bundle does not have.
    UnknownProfile(String),
    /// Profiles that inherit from each other.
    InheritanceCycle(Vec<String>),
    /// Parents that cannot be put in one order.
    InheritanceConflict(String),
    /// A declaration that the resolver does not understand.
    UnsupportedDeclaration(String),
    /// Capabilities that the request requires and the facts lack.
    UnmetCapability(Vec<String>),
    /// Models of which the host offers none.
    NoModel(Vec<String>),
    /// A name that the bundle does not declare.
    DanglingReference(String),
}

/// Which layer gave a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// JSON pointer into the resolution.
    pub field: String,
    /// The layer's profile.
    pub profile: ProfileName,
    /// The layer's index among the profile's layers.
    pub layer: u32,
}

/// A prompt by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instruction {
    /// The prompt's name in the bundle.
    pub name: PromptName,
    /// The digest of its text.
    pub digest: Digest,
}

/// What a profile means on a host of given facts. Only [`verify`](crate::verify()) makes one.
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
    /// The profile and its ancestors, itself first.
    pub fn lineage(&self) -> &[ProfileName] {
        &self.lineage
    }

    /// The chosen model; none where the profile names none.
    pub fn model(&self) -> Option<&ModelName> {
        self.model.as_ref()
    }

    /// Prompts in the order in which a worker reads them.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Tools that are allowed and not denied.
    pub fn tools(&self) -> &[ToolName] {
        &self.tools
    }

    /// Plugins.
    pub fn plugins(&self) -> &[PluginName] {
        &self.plugins
    }

    /// Workflows.
    pub fn workflows(&self) -> &[WorkflowName] {
        &self.workflows
    }

    /// The language: a layer's, else the bundle's.
    pub fn language(&self) -> &LanguageTag {
        &self.language
    }

    /// Wishes, sorted; the chosen model's secret is among them.
    pub fn wishes(&self) -> &[Wish] {
        &self.wishes
    }

    /// Settings after all merge patches.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Which layer gave each value, sorted by field.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The origin of one field.
    pub fn origin(&self, field: &str) -> Option<&Origin> {
        let found = self.origins.binary_search_by(|origin| origin.field.as_str().cmp(field)).ok()?;
        self.origins.get(found)
    }

    /// The resolution's canonical JSON, which its digest covers.
    pub fn to_json(&self) -> Vec<u8> {
        to_canonical(self).unwrap_or_default()
    }

    /// The digest of [`Resolution::to_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json())
    }
}

/// Why there is no resolution; the host has found the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Failure {
    /// The bundle has no such profile.
    #[error("there is no profile `{profile}` in this bundle")]
    UnknownProfile {
        /// The profile that was asked for.
        profile: ProfileName,
        /// A profile that may be meant.
        suggestion: Option<ProfileName>,
    },
    /// The request requires what the host cannot do.
    #[error("this host lacks what is required: {}", list(.capabilities))]
    UnmetCapability {
        /// What is lacking.
        capabilities: Vec<bundles::Capability>,
    },
    /// The host offers none of the profile's models.
    #[error("this host offers none of the models {}", list(.models))]
    NoModel {
        /// The profile's models, the preferred first.
        models: Vec<ModelName>,
    },
    /// The resolver does not understand a declaration.
    #[error("the resolver does not understand `{declaration}`")]
    UnsupportedDeclaration {
        /// What it does not understand, in its own short word.
        declaration: String,
    },
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

impl Failure {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownProfile { .. } => "unknown_profile",
            Self::UnmetCapability { .. } => "unmet_capability",
            Self::NoModel { .. } => "no_model",
            Self::UnsupportedDeclaration { .. } => "unsupported_declaration",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::UnknownProfile { suggestion: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownProfile { .. } => "name a profile of the bundle".to_owned(),
            Self::UnmetCapability { .. } => "run it on a host that has them, or grant them in the host's config".to_owned(),
            Self::NoModel { .. } => "offer one of them in the facts or the host's config (`models`), or add one that is offered to the profile".to_owned(),
            Self::UnsupportedDeclaration { .. } => "use a resolver that knows it".to_owned(),
        }
    }
}
