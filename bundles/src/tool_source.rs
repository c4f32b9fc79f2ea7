//! Implementation of a tool: the host itself, or a plugin.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{InvalidName, PluginName};

/// Implementation of a tool. Its text form is `host` or `plugin:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolSource {
    /// The host.
    Host,
    /// A plugin of the same bundle.
    Plugin(PluginName),
}

impl fmt::Display for ToolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Plugin(name) => write!(f, "plugin:{name}"),
        }
    }
}

impl FromStr for ToolSource {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once(':') {
            None if text == "host" => Ok(Self::Host),
            Some(("plugin", name)) => Ok(Self::Plugin(name.parse()?)),
            _ => Err(InvalidName::new("tool source", "`host` or `plugin:NAME`", text)),
        }
    }
}

impl Serialize for ToolSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ToolSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}
