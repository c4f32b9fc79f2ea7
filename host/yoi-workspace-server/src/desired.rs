//! Desired state of workspaces: how decisions follow each other, and which one a Runtime should follow while a rollout goes
//! on in stages.

use std::collections::BTreeSet;

use backend_api::desired::{Desired, Rollout, Stage};
use bundles::{Digest, RuntimeName};
use runtime_api::desired::{DesiredBundle, Generation};
use serde::{Deserialize, Serialize};

use crate::visibility::RuntimeRules;

/// Number of earlier bundles to which a workspace can be rolled back.
const MAX_EARLIER: usize = 64;

/// Desired state of a workspace, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesiredRow {
    /// The desired state.
    pub desired: Desired,
    /// Bundles that were desired before for all Runtimes, the newest first.
    pub earlier: Vec<Digest>,
}

impl DesiredRow {
    /// Returns the row after a decision for another bundle or another part of the Runtimes. `None` if there is no further
    /// generation.
    pub fn decide(before: Option<Self>, bundle: Digest, allow_older: bool, stage: Option<Stage>) -> Option<Self> {
        let generation = match &before {
            None => Generation::FIRST,
            Some(row) => row.desired.target.generation.next()?,
        };
        let mut earlier = before.as_ref().map(|row| row.earlier.clone()).unwrap_or_default();
        // A bundle that reached only a stage is not one to go back to: a rollback is for all Runtimes.
        let is_staged = before.as_ref().is_some_and(|row| row.desired.rollout.is_some());
        let replaced = before.as_ref().filter(|_| !is_staged).map(|row| row.desired.target.bundle);
        // The bundle that a rollout was to replace is the present one again.
        if is_staged && earlier.first() == Some(&bundle) {
            earlier.remove(0);
        }
        if let Some(replaced) = replaced.filter(|old| *old != bundle && earlier.first() != Some(old)) {
            earlier.insert(0, replaced);
            earlier.truncate(MAX_EARLIER);
        }
        // Runtimes outside the stage keep the decision that they follow now. They may have been in the stage before and have
        // its bundle, which is newer.
        let previous = before.and_then(|row| match row.desired.rollout {
            Some(rollout) => rollout.previous,
            None => Some(DesiredBundle { allow_older: true, ..row.desired.target }),
        });
        let target = DesiredBundle { generation, bundle, allow_older };
        let rollout = stage.map(|stage| Rollout { stage, previous, accepted_refusals: BTreeSet::new() });
        Some(Self { desired: Desired { target, rollout }, earlier })
    }

    /// Returns the row after a rollback to the earlier bundle with this index. `None` if there is no such bundle or no further
    /// generation.
    pub fn roll_back(self, index: usize) -> Option<Self> {
        let bundle = *self.earlier.get(index)?;
        let earlier = self.earlier.iter().skip(index + 1).copied().collect();
        Some(Self { earlier, ..Self::decide(Some(self), bundle, true, None)? })
    }

    /// Returns the row with the rollout moved on to another stage, or to all Runtimes. The refusals of the Runtimes in
    /// `accepted` no longer halt it. `None` if there is no rollout.
    pub fn advance(mut self, stage: Option<Stage>, accepted: BTreeSet<RuntimeName>) -> Option<Self> {
        let Rollout { previous, mut accepted_refusals, .. } = self.desired.rollout?;
        accepted_refusals.extend(accepted);
        self.desired.rollout = stage.map(|stage| Rollout { stage, previous, accepted_refusals });
        Some(self)
    }

    /// Returns the row with generations above one that a Runtime acknowledged, for the same bundles. `None` if there is no
    /// further generation.
    pub fn raise(mut self, above: Generation) -> Option<Self> {
        // Runtimes may have any generation up to `above` and any bundle, whether they are in the stage or not.
        let raised = |generation, of: DesiredBundle| DesiredBundle { generation, allow_older: true, ..of };
        let mut generation = above.next()?;
        if let Some(previous) = self.desired.rollout.as_mut().and_then(|rollout| rollout.previous.as_mut()) {
            *previous = raised(generation, *previous);
            generation = generation.next()?;
        }
        self.desired.target = raised(generation, self.desired.target);
        Some(self)
    }
}

/// Returns the decision for a Runtime. `None` if a rollout has not reached the Runtime and there was no earlier decision.
pub fn for_runtime(desired: &Desired, name: &RuntimeName, rules: &RuntimeRules) -> Option<DesiredBundle> {
    match &desired.rollout {
        Some(rollout) if !includes(&rollout.stage, name, rules) => rollout.previous,
        _ => Some(desired.target),
    }
}

/// Returns `true` if the Runtime belongs to the stage.
pub fn includes(stage: &Stage, name: &RuntimeName, rules: &RuntimeRules) -> bool {
    match stage {
        Stage::Labels(labels) => labels.iter().all(|(key, value)| rules.labels.get(key) == Some(value)),
        Stage::Percent(percent) => share(name) < u8::from(*percent),
    }
}

/// Returns a number from 0 to 99 that depends on the name alone, so that a Runtime keeps its place in every rollout.
fn share(name: &RuntimeName) -> u8 {
    let [first, second] = Digest::of(name.as_str()).as_bytes().first_chunk().copied().unwrap_or_default();
    (u16::from_be_bytes([first, second]) % 100).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend_api::policy::Labels;

    use crate::visibility::{Names, Rules};

    fn percent(number: u8) -> Option<Stage> {
        Some(Stage::Percent(number.try_into().expect("a percentage")))
    }

    #[test]
    fn decision_outside_of_a_stage_allows_the_newer_bundle_of_the_stage() {
        let bundles = ["a", "b", "c"].map(Digest::of);
        let first = DesiredRow::decide(None, bundles[0], false, None).expect("a decision");
        let second = DesiredRow::decide(Some(first.clone()), bundles[1], false, percent(10)).expect("a decision");
        let third = DesiredRow::decide(Some(second), bundles[2], false, percent(10)).expect("a decision");
        let previous = Some(DesiredBundle { allow_older: true, ..first.desired.target });
        assert_eq!(third.desired.rollout.as_ref().and_then(|rollout| rollout.previous), previous);
        assert_eq!((third.desired.target.generation.get(), third.earlier.clone()), (3, vec![bundles[0]]));
        // A rollback goes to what all Runtimes had, and not to another bundle of a stage.
        assert_eq!(third.clone().roll_back(0).expect("a decision").desired.target.bundle, bundles[0]);
        let ended = DesiredRow::decide(Some(third.clone()), bundles[0], true, None).expect("a decision");
        assert_eq!((ended.desired.target.bundle, ended.earlier), (bundles[0], vec![]));
        assert_eq!(third.advance(None, BTreeSet::new()).expect("moved on").desired.rollout, None);
    }

    #[test]
    fn raise_lifts_both_decisions_of_a_rollout() {
        let first = DesiredRow::decide(None, Digest::of("a"), false, None);
        let row = DesiredRow::decide(first, Digest::of("b"), false, percent(10)).expect("a decision");
        let raised = row.raise(9.try_into().expect("a generation")).expect("a decision").desired;
        let previous = raised.rollout.and_then(|rollout| rollout.previous).expect("a decision");
        assert_eq!((previous.generation.get(), previous.bundle, previous.allow_older), (10, Digest::of("a"), true));
        let target = raised.target;
        assert_eq!((target.generation.get(), target.bundle, target.allow_older), (11, Digest::of("b"), true));
    }

    #[test]
    fn larger_stage_contains_the_smaller_one() {
        let names: Vec<RuntimeName> =
            (0..1000).map(|number| format!("runtime-{number}").parse().expect("a name")).collect();
        let rules =
            RuntimeRules { labels: Labels::new(), rules: Rules { accepted: Names::All, required: Labels::new() } };
        let stage = |percent: u8, name: &RuntimeName| {
            let percent = percent.try_into().expect("a percentage");
            includes(&Stage::Percent(percent), name, &rules)
        };
        assert!(names.iter().all(|name| !stage(10, name) || stage(30, name)));
        for (percent, expected) in [(1, 2..30), (10, 60..140), (50, 420..580), (99, 970..1000)] {
            let count = names.iter().filter(|name| stage(percent, name)).count();
            assert!(expected.contains(&count), "{percent} percent: {count}");
        }
    }
}
