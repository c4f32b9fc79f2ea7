//! Desired state of a workspace: the bundle that its Runtimes should use, and how far a staged rollout has come.

use std::collections::BTreeSet;
use std::fmt;

use bundles::RuntimeName;
use runtime_api::desired::DesiredBundle;
use serde::{Deserialize, Serialize};

use crate::policy::Labels;

/// Desired state of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Desired {
    /// The newest decision.
    pub target: DesiredBundle,
    /// Present while only a part of the Runtimes should follow the newest decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub rollout: Option<Rollout>,
}

/// A rollout that has not reached all Runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Runtimes that should follow the newest decision.
    pub stage: Stage,
    /// Decision for all other Runtimes. Absent if there was none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub previous: Option<DesiredBundle>,
    /// Runtimes whose refusal does not halt the rollout, because it was moved on despite it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub accepted_refusals: BTreeSet<RuntimeName>,
}

/// A part of the Runtimes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Runtimes that have all these labels.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    Labels(Labels),
    /// This percentage of the Runtimes. A Runtime that is in a stage is in every larger one too.
    #[cfg_attr(feature = "openapi", schema(value_type = u8))]
    Percent(Percent),
}

/// A percentage from 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

/// Error returned for a number that is not a [`Percent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid percentage: expected a whole number from 1 to 99")]
pub struct InvalidPercent;

impl TryFrom<u8> for Percent {
    type Error = InvalidPercent;

    fn try_from(number: u8) -> Result<Self, InvalidPercent> {
        if (1..=99).contains(&number) { Ok(Self(number)) } else { Err(InvalidPercent) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{} %", percent.0),
            Self::Labels(labels) => {
                let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}
