//! Which decision about a workspace a Runtime should follow, while a rollout goes on in stages.

use backend_api::desired::{Desired, Stage};
use bundles::{Digest, RuntimeName};
use runtime_api::desired::DesiredBundle;

use crate::visibility::RuntimeRules;

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
