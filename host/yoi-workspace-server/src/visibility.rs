//! Decides which workspaces may be on which Runtimes. Pure: the decision depends on the settings alone.
//!
//! A workspace may be on a Runtime only if four rules allow it: each side can list the names of the other side, and each side
//! can require labels of the other side. The labels come from the config of the Backend and never from a bundle, whose author
//! could otherwise choose the Runtimes.

pub use backend_api::policy::Names;
use backend_api::policy::{Decision, Finding, Labels, Rule, Side};
use bundles::{RuntimeName, WorkspaceId};

/// Rules of one side: which names of the other side it accepts, and which labels the other side must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules<N: Ord> {
    /// Names that are accepted.
    pub accepted: Names<N>,
    /// Labels that the other side must have with these values.
    pub required: Labels,
}

/// Labels and rules of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRules {
    /// Labels of the workspace.
    pub labels: Labels,
    /// Runtimes that the workspace accepts.
    pub rules: Rules<RuntimeName>,
}

/// Labels and rules of a Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeRules {
    /// Labels of the Runtime.
    pub labels: Labels,
    /// Workspaces that the Runtime accepts.
    pub rules: Rules<WorkspaceId>,
}

/// Returns `true` if the workspace may be on the Runtime. Applies the same rules as [`explain`].
pub fn is_allowed(runtime: (&RuntimeName, &RuntimeRules), workspace: (&WorkspaceId, &WorkspaceRules)) -> bool {
    let has = |labels: &Labels, required: &Labels| required.iter().all(|(key, value)| labels.get(key) == Some(value));
    runtime.1.rules.accepted.accepts(workspace.0)
        && workspace.1.rules.accepted.accepts(runtime.0)
        && has(&workspace.1.labels, &runtime.1.rules.required)
        && has(&runtime.1.labels, &workspace.1.rules.required)
}

/// Decides whether the workspace may be on the Runtime, and returns the result of each rule.
pub fn explain(runtime: (&RuntimeName, &RuntimeRules), workspace: (&WorkspaceId, &WorkspaceRules)) -> Decision {
    let mut findings = findings(Side::Runtime, &runtime.1.rules, workspace.0, &workspace.1.labels);
    findings.extend(self::findings(Side::Workspace, &workspace.1.rules, runtime.0, &runtime.1.labels));
    let allowed = findings.iter().all(|finding| finding.allowed);
    Decision { runtime: runtime.0.clone(), workspace: workspace.0.clone(), allowed, findings }
}

/// Applies the rules of one side to the name and the labels of the other side.
fn findings<N: Ord>(side: Side, rules: &Rules<N>, name: &N, labels: &Labels) -> Vec<Finding> {
    let named = Finding { side, allowed: rules.accepted.accepts(name), rule: Rule::Name };
    let labelled = rules.required.iter().map(|(key, required)| {
        let actual = labels.get(key).cloned();
        let rule = Rule::Label { key: key.clone(), required: required.clone(), actual };
        Finding { side, allowed: labels.get(key) == Some(required), rule }
    });
    std::iter::once(named).chain(labelled).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    /// Accepted names, own labels, and labels required of the other side.
    type Sample = (&'static [&'static str], Pairs, Pairs);

    fn labels(pairs: Pairs) -> Labels {
        pairs.iter().map(|(key, value)| (key.parse().expect("a key"), value.parse().expect("a value"))).collect()
    }

    fn names<N: Ord + std::str::FromStr<Err: fmt::Debug>>(names: &[&str]) -> Names<N> {
        match names {
            ["*"] => Names::All,
            names => Names::Only(names.iter().map(|name| name.parse().expect("a name")).collect()),
        }
    }

    fn decide(runtime: Sample, workspace: Sample) -> Decision {
        let (eu, acme) = ("eu-1".parse().expect("a name"), "acme".parse().expect("an id"));
        let runtime = RuntimeRules {
            labels: labels(runtime.1),
            rules: Rules { accepted: names(runtime.0), required: labels(runtime.2) },
        };
        let workspace = WorkspaceRules {
            labels: labels(workspace.1),
            rules: Rules { accepted: names(workspace.0), required: labels(workspace.2) },
        };
        let decision = explain((&eu, &runtime), (&acme, &workspace));
        assert_eq!(decision.allowed, is_allowed((&eu, &runtime), (&acme, &workspace)));
        decision
    }

    #[test]
    fn both_sides_must_accept_the_name_and_the_labels_of_the_other() {
        let any: &[&str] = &["*"];
        let (eu, prod): (Pairs, Pairs) = (&[("region", "eu")], &[("tier", "prod")]);
        for (runtime, workspace, allowed) in [
            ((any, eu, prod), (any, prod, eu), true),
            ((&["acme"][..], eu, prod), (&["eu-1"][..], prod, eu), true),
            ((&["other"][..], eu, prod), (any, prod, eu), false),
            ((&[][..], eu, prod), (any, prod, eu), false),
            ((any, eu, prod), (&["us-1"][..], prod, eu), false),
            ((any, &[], prod), (any, prod, eu), false),
            ((any, &[("region", "us")][..], prod), (any, prod, eu), false),
            ((any, eu, prod), (any, &[], eu), false),
            ((any, eu, &[]), (any, &[], &[]), true),
        ] {
            let decision = decide(runtime, workspace);
            assert_eq!(decision.allowed, allowed, "{decision:?}");
            for finding in &decision.findings {
                assert_eq!(decision.sentence(finding).1.is_none(), finding.allowed);
            }
        }
    }

    #[test]
    fn refusal_names_the_line_of_the_config_that_would_allow_the_pair() {
        let decision = decide((&["other"], &[("region", "us")], &[]), (&["*"], &[], &[("region", "eu")]));
        let said: Vec<_> = decision.findings.iter().filter_map(|finding| decision.sentence(finding).1).collect();
        assert_eq!(
            said,
            ["add `acme` to `workspaces` of [runtimes.eu-1]", "write `region = \"eu\"` in `labels` of [runtimes.eu-1]"]
        );
    }
}
