//! Decisions about which workspaces may be on which Runtimes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bundles::{LabelKey, LabelValue, RuntimeName, WorkspaceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Labels of a workspace or Runtime, or labels that the other side must have.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// A list of names, or all names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names<N> {
    /// All names. Written as `["*"]`.
    All,
    /// Only these names.
    Only(BTreeSet<N>),
}

impl<N: Ord> Names<N> {
    /// Returns `true` if the list contains the name.
    pub fn accepts(&self, name: &N) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

impl<N: Serialize> Serialize for Names<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => ["*"].serialize(serializer),
            Self::Only(names) => names.serialize(serializer),
        }
    }
}

impl<'de, N: Ord + std::str::FromStr<Err: fmt::Display>> Deserialize<'de> for Names<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        if names.iter().any(|name| name == "*") {
            return match names.len() {
                1 => Ok(Self::All),
                _ => Err(de::Error::custom("`*` stands for all names, so no other name can be beside it")),
            };
        }
        names.iter().map(|name| name.parse().map_err(de::Error::custom)).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// One of the two sides of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The Runtime.
    Runtime,
    /// The workspace.
    Workspace,
}

/// A rule, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// Side whose settings have the rule.
    pub side: Side,
    /// `true` if the rule allows the pair.
    pub allowed: bool,
    /// The rule and the values that it compared.
    #[serde(flatten)]
    pub rule: Rule,
}

/// A rule of one side about the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// The list of names.
    Name,
    /// A required label.
    Label {
        /// Key of the label.
        key: LabelKey,
        /// Required value.
        required: LabelValue,
        /// Value of the other side. Absent if it has no such label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actual: Option<LabelValue>,
    },
}

/// Result of a decision, with every rule that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// Runtime of the pair.
    pub runtime: RuntimeName,
    /// Workspace of the pair.
    pub workspace: WorkspaceId,
    /// `true` if the workspace may be on the Runtime.
    pub allowed: bool,
    /// All rules. The pair is allowed if each of them allows it.
    pub findings: Vec<Finding>,
}

impl Decision {
    /// Returns a sentence for a finding, and the change of the config that would allow the pair if the rule refuses it.
    pub fn sentence(&self, finding: &Finding) -> (String, Option<String>) {
        let Self { runtime, workspace, .. } = self;
        let (own, other) = match finding.side {
            Side::Runtime => (format!("Runtime `{runtime}`"), format!("workspace `{workspace}`")),
            Side::Workspace => (format!("workspace `{workspace}`"), format!("Runtime `{runtime}`")),
        };
        match (&finding.rule, finding.allowed) {
            (Rule::Name, true) => (format!("{own} accepts {other}"), None),
            (Rule::Name, false) => {
                let remedy = match finding.side {
                    Side::Runtime => format!("add `{workspace}` to `workspaces` of [runtimes.{runtime}]"),
                    Side::Workspace => format!("add `{runtime}` to `runtimes` of [workspaces.{workspace}]"),
                };
                (format!("{own} does not list {other}"), Some(remedy))
            }
            (Rule::Label { key, required, .. }, true) => {
                (format!("{other} has the label `{key} = {required}` that {own} requires"), None)
            }
            (Rule::Label { key, required, actual }, false) => {
                let table = match finding.side {
                    Side::Runtime => format!("[workspaces.{workspace}]"),
                    Side::Workspace => format!("[runtimes.{runtime}]"),
                };
                let found = match actual {
                    Some(actual) => format!("has `{key} = {actual}`"),
                    None => format!("has no label `{key}`"),
                };
                let text = format!("{own} requires the label `{key} = {required}`, and {other} {found}");
                (text, Some(format!("write `{key} = \"{required}\"` in `labels` of {table}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_alone() {
        let read = |text: &str| serde_json::from_str::<Names<WorkspaceId>>(text);
        assert_eq!(read(r#"["*"]"#).expect("all"), Names::All);
        assert_eq!(read("[]").expect("none"), Names::Only(BTreeSet::new()));
        assert!(read(r#"["*","acme"]"#).is_err() && read(r#"["Acme"]"#).is_err());
    }
}
