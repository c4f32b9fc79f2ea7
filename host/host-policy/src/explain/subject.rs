//! What somebody may ask about: a value of a resolution, by pointer or by name, there or not.

use std::fmt;
use std::str::FromStr;

use bundles::{Authority, shown};

use crate::resolution::Resolution;

/// One thing that a resolution has or could have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The chosen model, or one of that name.
    Model(Option<String>),
    /// The language.
    Language,
    /// A name in one of the lists.
    Item(List, String),
    /// A wish.
    Wish(Authority),
    /// A setting, by JSON pointer below `/settings`, without that prefix.
    Setting(String),
}

/// The lists of a resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// Prompts.
    Instructions,
    /// Tools.
    Tools,
    /// Plugins.
    Plugins,
    /// Workflows.
    Workflows,
}

impl List {
    /// The field's name in a resolution.
    pub fn field(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Tools => "tools",
            Self::Plugins => "plugins",
            Self::Workflows => "workflows",
        }
    }

    /// What one of its names is called.
    pub fn what(self) -> &'static str {
        match self {
            Self::Instructions => "prompt",
            Self::Tools => "tool",
            Self::Plugins => "plugin",
            Self::Workflows => "workflow",
        }
    }

    /// Its names in a resolution.
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

    pub(super) const ALL: [Self; 4] = [Self::Instructions, Self::Tools, Self::Plugins, Self::Workflows];
}

/// What is asked about: a [`Subject`] by name, or by its place in a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// By name.
    Subject(Subject),
    /// By JSON pointer, such as `/tools/0`.
    Place(List, usize),
    /// By JSON pointer, such as `/wishes/0`.
    WishAt(usize),
}

/// A text that asks about nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` names nothing that a resolution has: write `model`, `language`, `tool:NAME`, `prompt:NAME`, `plugin:NAME`, `workflow:NAME`, \
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
            Some(("tool", name)) => Subject::Item(List::Tools, name.to_owned()),
            Some(("prompt" | "instruction", name)) => Subject::Item(List::Instructions, name.to_owned()),
            Some(("plugin", name)) => Subject::Item(List::Plugins, name.to_owned()),
            Some(("workflow", name)) => Subject::Item(List::Workflows, name.to_owned()),
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
                let list = List::ALL.into_iter().find(|list| list.field() == field).ok_or_else(invalid)?;
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
            Self::Item(list, name) => write!(f, "{} `{}`", list.what(), shown(name)),
            Self::Wish(authority) => write!(f, "`{authority}`"),
            Self::Setting(pointer) => {
                // Each key by itself: all of them together look like a path of a host.
                let keys: Vec<String> = pointer.split('/').skip(1).map(shown).collect();
                write!(f, "setting `{}`", keys.join("."))
            }
        }
    }
}
