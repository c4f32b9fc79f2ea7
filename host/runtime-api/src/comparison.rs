//! Comparisons of two resolvers over the recorded resolutions of a Runtime.

use std::collections::BTreeSet;

use bundles::canonical::to_canonical;
use bundles::{Digest, ProfileName};
use host_policy::{ChangeEffect, ResolutionChange};
use serde::{Deserialize, Serialize};

use error_code::Code;

/// Numbers of cases by result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CaseCounts {
    /// Cases without a change.
    pub same: u64,
    /// Cases that both resolvers resolve, with a change.
    pub different: u64,
    /// Cases that only the earlier resolver resolves, or whose worker is accepted only with it.
    pub newly_failing: u64,
    /// Cases that only the later resolver resolves, or whose worker is accepted only with it.
    pub newly_succeeding: u64,
    /// Cases that could not be repeated, because the bundle or the record is missing or damaged.
    pub skipped: u64,
}

impl CaseCounts {
    /// Returns the number of cases that were compared.
    pub fn compared(&self) -> u64 {
        self.same + self.different + self.newly_failing + self.newly_succeeding
    }
}

/// Cost of one case or of all cases. That of a recorded case is the recorded cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComparedCost {
    /// Fuel of the earlier resolver, in total. Fuel is the same on every host.
    pub fuel_before: u64,
    /// Fuel of the later resolver, in total.
    pub fuel_after: u64,
    /// Largest peak of the memory of the earlier resolver, in bytes.
    pub memory_bytes_before: u64,
    /// Largest peak of the memory of the later resolver, in bytes.
    pub memory_bytes_after: u64,
}

impl ComparedCost {
    /// Returns the larger one of the ratios of fuel and memory, in percent, rounded up.
    pub fn percent(&self) -> u64 {
        let ratio = |before: u64, after: u64| after.saturating_mul(100).div_ceil(before.max(1));
        let memory = ratio(self.memory_bytes_before, self.memory_bytes_after);
        ratio(self.fuel_before, self.fuel_after).max(if self.memory_bytes_before == 0 { 0 } else { memory })
    }
}

/// Result of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CaseResult {
    /// No change.
    Same,
    /// Both resolvers resolve the case, with a change.
    Different,
    /// Only the earlier resolver resolves the case, or the worker is accepted only with it.
    NewlyFailing,
    /// Only the later resolver resolves the case, or the worker is accepted only with it.
    NewlySucceeding,
}

impl CaseResult {
    /// Returns the result in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "the same",
            Self::Different => "different",
            Self::NewlyFailing => "newly failing",
            Self::NewlySucceeding => "newly succeeding",
        }
    }
}

/// A case with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComparedCase {
    /// Digest of the record, or of the inputs of a case without a record.
    pub case: Digest,
    /// Resolved profile.
    pub profile: ProfileName,
    /// Result.
    pub result: CaseResult,
    /// Cost of the case.
    pub cost: ComparedCost,
}

/// Comparison of two resolvers over a snapshot of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Comparison {
    /// The earlier resolver.
    pub before: Digest,
    /// The later resolver.
    pub after: Digest,
    /// Digest of the list of all compared records.
    pub snapshot: Digest,
    /// Numbers of cases.
    pub cases: CaseCounts,
    /// Cases with a change, ordered by digest. At most 1,000: a comparison with more of them lists the first ones.
    pub changed_cases: Vec<ComparedCase>,
    /// Cost of both resolvers.
    pub cost: ComparedCost,
    /// Digest of both resolvers, their costs and all changes. A request that accepts the digest accepts exactly these changes.
    pub change_set: Digest,
    /// All changes, those that let a worker do more first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub changes: BTreeSet<ResolutionChange>,
}

/// Reason for which a resolver is not activated without acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Objection {
    /// A worker could do more.
    AuthorityGrew,
    /// A profile no longer resolves, or a worker is no longer accepted.
    NewFailures,
    /// The cost exceeds `comparison_cost_percent`.
    Cost,
}

impl Objection {
    /// Returns the objection in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthorityGrew => "workers could do more",
            Self::NewFailures => "profiles newly fail",
            Self::Cost => "the cost grows too much",
        }
    }
}

impl Comparison {
    /// Returns the digest of the changes between two resolvers, with their costs.
    pub fn digest_of(
        before: Digest,
        after: Digest,
        cost: &ComparedCost,
        changes: &BTreeSet<ResolutionChange>,
    ) -> Digest {
        let ComparedCost { fuel_before, fuel_after, memory_bytes_before, memory_bytes_after } = cost;
        // As texts, because the canonical form has no large numbers.
        let cost = [fuel_before, fuel_after, memory_bytes_before, memory_bytes_after].map(ToString::to_string);
        // Changes hold only names and texts, so they can always be serialized.
        Digest::of(to_canonical(&(before, after, cost, changes)).unwrap_or_default())
    }

    /// Returns the reasons against activating the later resolver. `cost_percent` is the highest cost that is allowed, in
    /// percent of the earlier cost.
    pub fn objections(&self, cost_percent: u64) -> BTreeSet<Objection> {
        if self.before == self.after {
            return BTreeSet::new();
        }
        let has = |effect| self.changes.iter().any(|change| change.effect == effect);
        let mut found = BTreeSet::new();
        found.extend(has(ChangeEffect::Grew).then_some(Objection::AuthorityGrew));
        found.extend(has(ChangeEffect::NewlyFails).then_some(Objection::NewFailures));
        found.extend((self.cost.percent() > cost_percent).then_some(Objection::Cost));
        found
    }
}

/// State of the comparison of the active resolver with another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComparisonStatus {
    /// The resolver that was active when the comparison began.
    pub before: Digest,
    /// The other resolver.
    pub after: Digest,
    /// Time at which the records were listed.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// Progress or result.
    #[serde(flatten)]
    pub state: ComparisonState,
}

/// Progress or result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ComparisonState {
    /// The comparison goes on.
    Running {
        /// Cases that were compared.
        done: u64,
        /// All cases.
        total: u64,
    },
    /// The comparison ended.
    Finished {
        /// The result.
        comparison: Box<Comparison>,
        /// Reasons against activating the resolver. Empty if it can be activated without acceptance.
        objections: BTreeSet<Objection>,
    },
    /// The comparison failed.
    Failed {
        /// Error code.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        code: Code,
    },
    /// The comparison was cancelled.
    Cancelled,
}

/// Request to activate a resolver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ActivateRequest {
    /// Digest of the set of changes that is accepted, from a comparison of the active resolver with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<Digest>,
    /// `true` to activate the resolver without a comparison.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
}

impl ActivateRequest {
    /// Activates the resolver without a comparison.
    pub const UNCHECKED: Self = Self { accept: None, unchecked: true };
}
