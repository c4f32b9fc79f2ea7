//! Comparison of two resolvers, case by case.
//!
//! A case is a bundle with facts and a request. [`CaseRun`] is the outcome of a resolver for it: computed in the sandbox, or
//! restored from a record. [`Comparer`] adds up the changes and the costs of all cases. The order of the cases does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bundles::{BundleLimits, Digest, Manifest, ProfileName};
use component_host::{BundleView, Cost, Resolver};
use host_policy::{ChangeEffect, Resolution, ResolutionChange, ResolutionOutcome, ResolvedWorkerSpec, outcome_changes};
use runtime_api::Code;
use runtime_api::comparison::{CaseCounts, CaseResult, ComparedCase, ComparedCost, Comparison};

use crate::record::Record;
use crate::resolutions::{ComputedResolution, FailedResolution, Inputs, Resolutions};

/// Maximum number of changes of a comparison. Each has a field and two values of at most 512 bytes, so a comparison stays below
/// the 32 MiB that a client reads.
pub const MAX_CHANGES: usize = 5000;

/// Maximum number of cases that a comparison lists.
const MAX_LISTED_CASES: usize = 1000;

/// Outcome of a resolver for one case.
#[derive(Debug, Clone)]
pub struct CaseRun {
    outcome: Result<Resolution, Code>,
    /// Digest of the resolution.
    digest: Option<Digest>,
    cost: Cost,
    enforced: Option<Result<Arc<ResolvedWorkerSpec>, Code>>,
}

impl From<&ComputedResolution> for CaseRun {
    fn from(computed: &ComputedResolution) -> Self {
        let (digest, cost) = (computed.digests().resolution, computed.cost());
        Self { outcome: Ok(computed.resolution().clone()), digest, cost, enforced: None }
    }
}

impl CaseRun {
    /// Resolves a case in the sandbox.
    ///
    /// # Errors
    ///
    /// The code of a failure that does not depend on the inputs alone, such as an exceeded deadline. It says nothing about the
    /// resolver.
    pub async fn compute(resolver: &Resolver, view: &BundleView, inputs: &Inputs) -> Result<Self, Code> {
        match Resolutions::with_capacity(0).run(resolver, view, inputs).await {
            Ok(computed) => Ok((&*computed).into()),
            Err(failed) => Self::of_failure(&failed).ok_or_else(|| failed.error.code()),
        }
    }

    /// Returns the outcome of a resolution. `None` if it failed for a reason that does not depend on the inputs alone.
    pub(crate) fn of(resolved: &Result<Arc<ComputedResolution>, Box<FailedResolution>>) -> Option<Self> {
        match resolved {
            Ok(computed) => Some((&**computed).into()),
            Err(failed) => Self::of_failure(failed),
        }
    }

    /// Returns the outcome of a failed resolution. `None` if the failure does not depend on the inputs alone.
    pub(crate) fn of_failure(failed: &FailedResolution) -> Option<Self> {
        let run = Self { outcome: Err(failed.error.code()), digest: None, cost: failed.cost, enforced: None };
        failed.error.is_deterministic().then_some(run)
    }

    /// Returns the outcome that a record holds. `None` if the record does not fit the bundle, or is one of version 1.
    pub fn restore(record: &Record, manifest: &Manifest, limits: &BundleLimits) -> Option<Self> {
        let outcome = match record.failure() {
            Some(failure) => Err(failure.code.parse().ok()?),
            None => Ok(record.restore(manifest, limits).ok()?),
        };
        Self::recorded(record, outcome)
    }

    /// Like [`restore`](Self::restore), for a record that this Runtime wrote. If the record names the resolution of another
    /// outcome, that one is not verified again.
    pub(crate) fn restore_own(
        record: &Record,
        manifest: &Manifest,
        limits: &BundleLimits,
        other: &Self,
    ) -> Option<Self> {
        match &other.outcome {
            Ok(resolution) if other.digest.is_some() && record.digests().resolution == other.digest => {
                Self::recorded(record, Ok(resolution.clone()))
            }
            _ => Self::restore(record, manifest, limits),
        }
    }

    fn recorded(record: &Record, outcome: Result<Resolution, Code>) -> Option<Self> {
        let cost = Cost {
            fuel: record.fuel().parse().ok()?,
            memory_bytes: record.memory_bytes()?.parse().ok()?,
            ..Cost::default()
        };
        Some(Self { outcome, digest: record.digests().resolution, cost, enforced: None })
    }

    /// `true` if both outcomes are the same. A host then decides the same about both.
    pub fn has_outcome_of(&self, other: &Self) -> bool {
        self.outcome == other.outcome
    }

    /// Returns the resolution, if the case was resolved.
    pub fn resolution(&self) -> Option<&Resolution> {
        self.outcome.as_ref().ok()
    }

    /// Adds the decision of a host about the resolution: the worker, or the code of the refusal.
    pub fn with_decision(mut self, decision: Result<Arc<ResolvedWorkerSpec>, Code>) -> Self {
        self.enforced = Some(decision);
        self
    }

    /// Returns the changes from this outcome to another one for the same inputs.
    pub fn changes_to(&self, after: &Self, profile: &ProfileName) -> BTreeSet<ResolutionChange> {
        outcome_changes(profile, self.borrowed(), after.borrowed())
    }

    fn borrowed(&self) -> ResolutionOutcome<'_> {
        match &self.outcome {
            Ok(resolution) => ResolutionOutcome::Resolved {
                resolution,
                enforced: self.enforced.as_ref().map(|decision| decision.as_deref().map_err(|code| *code)),
            },
            Err(code) => ResolutionOutcome::Failed(*code),
        }
    }
}

/// Error returned for a comparison with more changes than [`MAX_CHANGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit `changes` reached ({MAX_CHANGES})")]
pub struct TooManyChanges;

/// Adds up the results of all cases.
#[derive(Debug)]
pub struct Comparer {
    before: Digest,
    after: Digest,
    records: BTreeSet<Digest>,
    cases: CaseCounts,
    changed_cases: BTreeMap<Digest, ComparedCase>,
    cost: ComparedCost,
    changes: BTreeSet<ResolutionChange>,
}

impl Comparer {
    /// Creates a comparison without cases.
    pub fn new(before: Digest, after: Digest) -> Self {
        Self {
            before,
            after,
            records: BTreeSet::new(),
            cases: CaseCounts::default(),
            changed_cases: BTreeMap::new(),
            cost: ComparedCost::default(),
            changes: BTreeSet::new(),
        }
    }

    /// Adds a case. `record` is the digest of the record, or of the inputs of a case without one.
    pub fn add(
        &mut self,
        record: Digest,
        profile: &ProfileName,
        before: &CaseRun,
        after: &CaseRun,
    ) -> Result<(), TooManyChanges> {
        self.records.insert(record);
        let changes = before.changes_to(after, profile);
        let has = |effect| changes.iter().any(|change| change.effect == effect);
        let (result, count) = if changes.is_empty() {
            (CaseResult::Same, &mut self.cases.same)
        } else if has(ChangeEffect::NewlyFails) {
            (CaseResult::NewlyFailing, &mut self.cases.newly_failing)
        } else if has(ChangeEffect::NewlySucceeds) {
            (CaseResult::NewlySucceeding, &mut self.cases.newly_succeeding)
        } else {
            (CaseResult::Different, &mut self.cases.different)
        };
        *count += 1;
        self.changes.extend(changes);
        let cost = ComparedCost {
            fuel_before: before.cost.fuel,
            fuel_after: after.cost.fuel,
            memory_bytes_before: before.cost.memory_bytes,
            memory_bytes_after: after.cost.memory_bytes,
        };
        self.cost.fuel_before = self.cost.fuel_before.saturating_add(cost.fuel_before);
        self.cost.fuel_after = self.cost.fuel_after.saturating_add(cost.fuel_after);
        self.cost.memory_bytes_before = self.cost.memory_bytes_before.max(cost.memory_bytes_before);
        self.cost.memory_bytes_after = self.cost.memory_bytes_after.max(cost.memory_bytes_after);
        if result != CaseResult::Same {
            self.changed_cases.insert(record, ComparedCase { case: record, profile: profile.clone(), result, cost });
            if self.changed_cases.len() > MAX_LISTED_CASES {
                self.changed_cases.pop_last();
            }
        }
        if self.changes.len() > MAX_CHANGES { Err(TooManyChanges) } else { Ok(()) }
    }

    /// Adds a case that could not be repeated.
    pub fn skip(&mut self, record: Digest) {
        self.records.insert(record);
        self.cases.skipped += 1;
    }

    /// Returns the comparison.
    pub fn finish(self) -> Comparison {
        let Self { before, after, records, cases, changed_cases, cost, changes } = self;
        let change_set = Comparison::digest_of(before, after, &cost, &changes);
        let (snapshot, changed_cases) = (snapshot_digest(&records), changed_cases.into_values().collect());
        Comparison { before, after, snapshot, cases, changed_cases, cost, change_set, changes }
    }
}

/// Returns the digest of a snapshot, which is a set of records.
pub fn snapshot_digest(records: &BTreeSet<Digest>) -> Digest {
    Digest::of(bundles::canonical::to_canonical(records).unwrap_or_default())
}
