//! Details of refusals by Runtimes: codes, names and numbers.
//!
//! A Runtime explains a refusal with texts and fields. The Backend passes on only what has a type here, so no text that a
//! Runtime wrote leaves the Backend.

use std::fmt;
use std::str::FromStr;

use bundles::{Authority, Capability, ModelName, Need, PluginName, ToolName};
use error_code::Code;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Maximum number of refused subjects that are passed on.
pub const MAX_REFUSED_SUBJECTS: usize = 256;

/// Details of a refusal. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RefusalDetails {
    /// Name of the limit that was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Word>,
    /// Value of the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u64>,
    /// Value that exceeds the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<u64>,
    /// Cause for which a worker accepts no calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// Code of a tool, which defines the codes of its refusals itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_code: Option<Word>,
    /// Refused subjects, at most [`MAX_REFUSED_SUBJECTS`] items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<RefusedSubject>,
}

/// Something that a profile selects and that a Runtime does not grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RefusedSubject {
    /// The refused subject.
    pub subject: Subject,
    /// `required` if the worker cannot be created without it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub need: Need,
    /// Code of the rule that refused.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub rule: Code,
}

impl RefusedSubject {
    /// Returns the typed fields of a refusal as a Runtime reports it. `None` if one of them has no type here.
    pub fn from_refusal(refusal: &serde_json::Value) -> Option<Self> {
        let text = |name: &str| refusal.get(name)?.as_str();
        let need = serde_json::from_value(refusal.get("need")?.clone()).ok()?;
        Some(Self { subject: text("subject")?.parse().ok()?, need, rule: text("rule")?.parse().ok()? })
    }
}

/// Subject of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The bundle as a whole.
    Bundle,
    /// An authority.
    Authority(Authority),
    /// `capability:NAME`
    Capability(Capability),
    /// `tool:NAME`
    Tool(ToolName),
    /// `plugin:NAME`
    Plugin(PluginName),
    /// `model:NAME`
    Model(ModelName),
}

/// Error returned for a text that is not a [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid subject: expected `bundle`, an authority, `capability:NAME`, `tool:NAME`, `plugin:NAME` or `model:NAME`"
)]
pub struct InvalidSubject;

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let parsed = match text.split_once(':') {
            None if text == "bundle" => Ok(Self::Bundle),
            Some(("capability", name)) => name.parse().map(Self::Capability).map_err(drop),
            Some(("tool", name)) => name.parse().map(Self::Tool).map_err(drop),
            Some(("plugin", name)) => name.parse().map(Self::Plugin).map_err(drop),
            Some(("model", name)) => name.parse().map(Self::Model).map_err(drop),
            _ => text.parse().map(Self::Authority).map_err(drop),
        };
        parsed.map_err(|()| InvalidSubject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle => f.write_str("bundle"),
            Self::Authority(authority) => authority.fmt(f),
            Self::Capability(name) => write!(f, "capability:{name}"),
            Self::Tool(name) => write!(f, "tool:{name}"),
            Self::Plugin(name) => write!(f, "plugin:{name}"),
            Self::Model(name) => write!(f, "model:{name}"),
        }
    }
}

/// A code or a name of a limit: 1–64 lower-case letters, digits and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Box<str>);

/// Error returned for a text that is not a [`Word`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid code: expected 1–64 lower-case letters, digits and `_`")]
pub struct InvalidWord;

impl Word {
    /// Returns the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let is_valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(is_valid) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidWord)
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Implements serde through `FromStr` and `Display`.
macro_rules! as_text {
    ($name:ty, $words:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                bundles::openapi::text($words, None, None)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

as_text!(Subject, "`bundle`, an authority, `capability:NAME`, `tool:NAME`, `plugin:NAME` or `model:NAME`");
as_text!(Word, "a code: 1–64 lower-case letters, digits and `_`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_a_name_and_never_a_text() {
        for good in [
            "bundle",
            "shell",
            "git:write",
            "secret:api-key",
            "tool:fs.read",
            "capability:tool:fs.read",
            "plugin:echo",
            "model:large",
        ] {
            assert_eq!(good.parse::<Subject>().map(|subject| subject.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "a text", "tool:", "tool:a b", "/srv/data", "model:../x", "host:10.0.0.1"] {
            assert_eq!(bad.parse::<Subject>(), Err(InvalidSubject), "{bad}");
        }
        for bad in ["", "Not a word", "a-b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Word>(), Err(InvalidWord), "{bad}");
        }
    }
}
