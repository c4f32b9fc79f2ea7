//! Subjects of explanations: values of a resolution, present or absent, by JSON pointer or by name.

use std::fmt;
use std::str::FromStr;

use bundles::{Authority, shown};

use crate::resolution::Resolution;

/// A value that a resolution has or could have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The chosen model, or the model of the given name.
    Model(Option<String>),
    /// The language.
    Language,
    /// A name in one of the lists.
    Item(ListField, String),
    /// A wish.
    Wish(Authority),
    /// A setting, by its JSON pointer without the prefix `/settings`.
    Setting(String),
}

/// A list in a resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListField {
    /// Prompts.
    Instructions,
    /// Tools.
    Tools,
    /// Plugins.
    Plugins,
    /// Workflows.
    Workflows,
}

impl ListField {
    /// Returns the name of the field in a resolution.
    pub fn field(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Tools => "tools",
            Self::Plugins => "plugins",
            Self::Workflows => "workflows",
        }
    }

    /// Returns the noun for an item of the list.
    pub fn item_kind(self) -> &'static str {
        match self {
            Self::Instructions => "prompt",
            Self::Tools => "tool",
            Self::Plugins => "plugin",
            Self::Workflows => "workflow",
        }
    }

    /// Returns the names that the list holds in a resolution.
    pub(super) fn names(self, resolution: &Resolution) -> Vec<&str> {
        match self {
            Self::Instructions => {
                resolution.instructions().iter().map(|instruction| instruction.name.as_str()).collect()
            }
            Self::Tools => resolution.tools().iter().map(|name| name.as_str()).collect(),
            Self::Plugins => resolution.plugins().iter().map(|name| name.as_str()).collect(),
            Self::Workflows => resolution.workflows().iter().map(|name| name.as_str()).collect(),
        }
    }

    /// All lists.
    pub(super) const ALL: [Self; 4] = [Self::Instructions, Self::Tools, Self::Plugins, Self::Workflows];
}

/// A question about a resolution: a [`Subject`] by name, or an element by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A subject by name.
    Subject(Subject),
    /// An item of a list by JSON pointer, such as `/tools/0`.
    Place(ListField, usize),
    /// A wish by JSON pointer, such as `/wishes/0`.
    WishAt(usize),
}

/// Error returned for a text that is not a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid subject `{}`: expected `model`, `language`, `tool:NAME`, `prompt:NAME`, `plugin:NAME`, `workflow:NAME`, \
     `model:NAME`, an authority such as `mount:repo:write`, or a pointer such as `/tools/0` or `/settings/key`",
    shown(.0)
)]
pub struct InvalidQuestion(String);

impl FromStr for Question {
    type Err = InvalidQuestion;

    fn from_str(text: &str) -> Result<Self, InvalidQuestion> {
        let invalid = || InvalidQuestion(text.to_owned());
        let subject = match text.split_once(':') {
            None if text == "model" || text == "/model" => Subject::Model(None),
            None if text == "language" || text == "/language" => Subject::Language,
            Some(("tool", name)) => Subject::Item(ListField::Tools, name.to_owned()),
            Some(("prompt" | "instruction", name)) => Subject::Item(ListField::Instructions, name.to_owned()),
            Some(("plugin", name)) => Subject::Item(ListField::Plugins, name.to_owned()),
            Some(("workflow", name)) => Subject::Item(ListField::Workflows, name.to_owned()),
            Some(("model", name)) => Subject::Model(Some(name.to_owned())),
            _ => {
                if let Some(pointer) = text.strip_prefix("/settings").filter(|pointer| pointer.starts_with('/')) {
                    return Ok(Self::Subject(Subject::Setting(pointer.to_owned())));
                }
                if let Some(path) = text.strip_prefix("settings.") {
                    return Ok(Self::Subject(Subject::Setting(format!("/{}", path.replace('.', "/")))));
                }
                if let Ok(authority) = text.parse() {
                    return Ok(Self::Subject(Subject::Wish(authority)));
                }
                let (field, index) =
                    text.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
                let index: usize = index.parse().map_err(|_| invalid())?;
                if field == "wishes" {
                    return Ok(Self::WishAt(index));
                }
                let list = ListField::ALL.into_iter().find(|list| list.field() == field).ok_or_else(invalid)?;
                return Ok(Self::Place(list, index));
            }
        };
        Ok(Self::Subject(subject))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(None) => f.write_str("model"),
            Self::Model(Some(name)) => write!(f, "model `{}`", shown(name)),
            Self::Language => f.write_str("language"),
            Self::Item(list, name) => write!(f, "{} `{}`", list.item_kind(), shown(name)),
            Self::Wish(authority) => write!(f, "`{authority}`"),
            Self::Setting(pointer) => {
                // Masks each key separately, because the joined keys look like a path of the host.
                let keys: Vec<String> = pointer.split('/').skip(1).map(shown).collect();
                write!(f, "setting `{}`", keys.join("."))
            }
        }
    }
}
