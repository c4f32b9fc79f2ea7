//! Tests of the reconciler, step by step.

use super::*;
use backend_api::desired::{Rollout, Stage};
use backend_api::policy::Labels;
use runtime_api::runtime::{RuntimeId, WorkspaceStatus};

use crate::visibility::{Names, Rules};

fn refused(code: Code) -> LinkError {
    LinkError::Refused { code, acknowledged: None, details: Box::default() }
}

fn at(millis: u64) -> Now {
    Now { elapsed: Duration::from_millis(millis), time: Timestamp::UNIX_EPOCH }
}

fn runtime(number: usize) -> RuntimeName {
    format!("runtime-{number}").parse().expect("a name")
}

fn acme() -> WorkspaceId {
    "acme".parse().expect("an id")
}

fn runtime_rules(ring: &str) -> RuntimeRules {
    let labels = [("ring".parse().expect("a key"), ring.parse().expect("a value"))].into();
    RuntimeRules { labels, rules: Rules { accepted: Names::All, required: Labels::new() } }
}

fn workspace_rules(accepted: Names<RuntimeName>) -> WorkspaceRules {
    WorkspaceRules { labels: Labels::new(), rules: Rules { accepted, required: Labels::new() } }
}

fn generation(number: u64) -> Generation {
    number.try_into().expect("a generation")
}

fn decision(number: u64, bundle: &str) -> DesiredBundle {
    DesiredBundle { generation: generation(number), bundle: Digest::of(bundle), allow_older: false }
}

fn desired(number: u64, bundle: &str) -> Desired {
    Desired { target: decision(number, bundle), rollout: None }
}

/// Returns a decision for the Runtimes with the label `ring = canary`.
fn staged(number: u64, bundle: &str, previous: Option<DesiredBundle>) -> Desired {
    let stage = Stage::Labels(runtime_rules("canary").labels);
    Desired {
        target: decision(number, bundle),
        rollout: Some(Rollout { stage, previous, accepted_refusals: BTreeSet::new() }),
    }
}

fn acknowledged(number: u64, bundle: &str) -> AcknowledgedBundle {
    let (generation, bundle) = (generation(number), Digest::of(bundle));
    AcknowledgedBundle { generation, bundle, acknowledged_at: Timestamp::UNIX_EPOCH }
}

fn status(workspaces: &[(&WorkspaceId, Option<AcknowledgedBundle>)]) -> RuntimeStatus {
    let none = Digest::of("");
    let workspace = |(id, acknowledged): &(&WorkspaceId, Option<AcknowledgedBundle>)| {
        let acknowledged = *acknowledged;
        let status = WorkspaceStatus { facts: none, resolver: none, newest_revision: None, acknowledged, fault: None };
        ((*id).clone(), status)
    };
    RuntimeStatus {
        id: RuntimeId::from([0; 16]),
        version: String::new(),
        worlds: Vec::new(),
        active_resolver: none,
        workspaces: workspaces.iter().map(workspace).collect(),
    }
}

/// Returns a reconciler with the workspace `acme` and Runtimes in these rings, which have been read and acknowledged these
/// decisions.
fn reconciler(desired: Option<Desired>, runtimes: &[(&str, Option<AcknowledgedBundle>)]) -> Reconciler {
    let mut reconciler = Reconciler::new(ReconcilerLimits::default(), 1);
    reconciler.set_workspace(acme(), workspace_rules(Names::All), at(0));
    for (number, (ring, state)) in runtimes.iter().enumerate() {
        let status = Some(status(&[(&acme(), *state)]));
        let known = RuntimeKnowledge { status, ..RuntimeKnowledge::default() };
        reconciler.set_runtime(runtime(number), runtime_rules(ring), known, at(0));
    }
    reconciler.set_desired(&acme(), desired, at(0));
    reconciler
}

/// Returns all steps that are due.
fn steps(reconciler: &mut Reconciler, now: Now) -> Vec<Step> {
    std::iter::from_fn(|| reconciler.next(now)).collect()
}

/// Returns the Runtimes that get something.
fn delivered_to(steps: &[Step]) -> Vec<RuntimeName> {
    let runtime = |step: &Step| match step {
        Step::Deliver { runtime, .. } => Some(runtime.clone()),
        _ => None,
    };
    steps.iter().filter_map(runtime).collect()
}

/// Reads a Runtime that acknowledged a decision, and returns the generation above which it raises the one of the workspace.
fn raised(reconciler: &mut Reconciler, number: usize, state: AcknowledgedBundle, now: Now) -> Option<u64> {
    reconciler.status_read(&runtime(number), Ok(status(&[(&acme(), Some(state))])), now);
    match reconciler.next(now) {
        Some(Step::RaiseGeneration { above, .. }) => Some(above.get()),
        _ => None,
    }
}

#[test]
fn time_before_a_retry_doubles_up_to_the_limit() {
    let (limits, mut random) = (ReconcilerLimits::default(), fastrand::Rng::with_seed(1));
    let mut retry = Backoff::default();
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        retry = backoff(&limits, &mut random, retry, at(5000));
        let (until, most) = (retry.until - Duration::from_secs(5), Duration::from_secs(expected));
        assert!(most / 2 <= until && until <= most, "{until:?} of {most:?}");
    }
    let many = Backoff { failures: u32::MAX, until: Duration::ZERO };
    assert!(backoff(&limits, &mut random, many, at(0)).until <= limits.max_retry);
}

#[test]
fn runtimes_that_were_silent_before_a_restart_have_few_places() {
    let mut reconciler = reconciler(Some(desired(1, "a")), &[("rest", None); 4]);
    let failure = Some(ContactFailure { code: Code::TimedOut, since: Timestamp::UNIX_EPOCH });
    for number in 10..50 {
        let known = RuntimeKnowledge { failure, ..RuntimeKnowledge::default() };
        reconciler.set_runtime(runtime(number), runtime_rules("rest"), known, at(0));
    }
    let steps = steps(&mut reconciler, at(20_000));
    let is_silent = |step: &&Step| matches!(step, Step::ReadStatus { runtime } if runtime.as_str().len() > 9);
    let limits = ReconcilerLimits::default();
    assert_eq!(steps.iter().filter(is_silent).count(), limits.max_steps_to_silent);
    assert_eq!(steps.len(), limits.max_steps_to_silent + 4);
    assert!(reconciler.next_due() > Some(at(20_000).elapsed), "the others wait");
}

#[test]
fn slow_steps_give_up_their_places() {
    let mut reconciler = reconciler(Some(desired(1, "a")), &[("rest", None); 40]);
    reconciler.limits.max_slow_steps = 34;
    reconciler.set_desired(&acme(), Some(desired(2, "b")), at(0));
    assert_eq!(steps(&mut reconciler, at(0)).len(), 32);
    assert_eq!((steps(&mut reconciler, at(1999)), reconciler.next_due()), (vec![], Some(at(2000).elapsed)));
    assert_eq!(steps(&mut reconciler, at(2000)).len(), 8);
    // Two of these have no place among the slow ones, and the end of one frees it.
    reconciler.steps.release_slow(&reconciler.limits, at(4000));
    assert_eq!((reconciler.steps.slow, reconciler.steps.answering.len()), (34, 6));
    let done = steps(&mut reconciler, at(4000));
    assert_eq!(done, []);
    (0..40).for_each(|number| reconciler.status_read(&runtime(number), Err(LinkError::TimedOut), at(4000)));
    assert_eq!((reconciler.steps.slow, reconciler.steps.answering.len(), reconciler.steps.places.len()), (0, 0, 0));
}

#[test]
fn abandoned_steps_are_due_again() {
    let mut reconciler = reconciler(Some(desired(1, "a")), &[("rest", None); 3]);
    let begun = steps(&mut reconciler, at(0));
    assert_eq!((begun.len(), steps(&mut reconciler, at(100_000))), (3, vec![]));
    reconciler.abandon_steps(at(10));
    assert_eq!(steps(&mut reconciler, at(10)), begun);
}

#[test]
fn one_runtime_raises_the_generation_by_a_bounded_number() {
    let far = acknowledged(1 << 40, "x");
    let runtimes = [("rest", Some(acknowledged(5, "a"))); 3];
    let mut own = reconciler(Some(desired(5, "a")), &runtimes);
    assert_eq!(raised(&mut own, 0, far, at(0)), Some(5 + MAX_GENERATION_RAISE));
    // The next raise has to wait.
    assert_eq!(raised(&mut own, 0, far, at(100)), None);
    assert!(raised(&mut own, 0, far, at(2000)).is_some());
    let mut near = reconciler(Some(desired(5, "a")), &runtimes);
    assert_eq!(raised(&mut near, 0, acknowledged(9, "x"), at(0)), Some(9));
    assert_eq!(raised(&mut near, 1, acknowledged(5, "a"), at(2000)), None);
    assert_eq!(raised(&mut near, 2, acknowledged(5, "x"), at(4000)), Some(5), "another decision has the number");
}

#[test]
fn generation_of_most_runtimes_is_reached_at_once() {
    let far = acknowledged(1 << 40, "x");
    let runtimes = [("rest", Some(far)), ("rest", Some(far)), ("rest", Some(acknowledged(5, "a")))];
    let mut restored = reconciler(Some(desired(5, "a")), &runtimes);
    assert_eq!(raised(&mut restored, 0, far, at(0)), Some(1 << 40));
    // Not even most Runtimes can use up the numbers.
    let last = acknowledged((1 << 53) - 1, "x");
    let mut lied_to = reconciler(Some(desired(5, "a")), &[("rest", Some(last)); 3]);
    assert_eq!(raised(&mut lied_to, 0, last, at(0)), Some(MAX_COMMON_GENERATION + MAX_GENERATION_RAISE));
}

#[test]
fn foreign_decision_with_the_number_of_the_previous_one_raises_the_generation() {
    let state = staged(6, "b", Some(decision(5, "a")));
    let mut reconciler = reconciler(Some(state), &[("rest", None)]);
    assert_eq!(raised(&mut reconciler, 0, acknowledged(5, "a"), at(0)), None);
    assert_eq!(raised(&mut reconciler, 0, acknowledged(5, "x"), at(0)), Some(6));
}

#[test]
fn refusal_halts_a_rollout_until_it_no_longer_counts() {
    let previous = Some(decision(1, "a"));
    let mut reconciler = reconciler(Some(staged(2, "b", previous)), &[("canary", None), ("rest", None)]);
    assert_eq!(delivered_to(&steps(&mut reconciler, at(0))), [runtime(0), runtime(1)]);
    reconciler.delivered(&runtime(1), &acme(), generation(1), Ok(acknowledged(1, "a")), at(0));
    reconciler.delivered(&runtime(0), &acme(), generation(2), Err(refused(Code::InvalidBundle)), at(0));
    assert!(reconciler.is_halted(&acme()));
    // A Runtime that joins the stage does not get the decision.
    reconciler.set_runtime(runtime(1), runtime_rules("canary"), RuntimeKnowledge::default(), at(10));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(10))), []);
    // Not even if the generation is raised, which is the same decision.
    reconciler.set_desired(&acme(), Some(staged(8, "b", Some(decision(7, "a")))), at(20));
    assert!(reconciler.is_halted(&acme()));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(20))), []);
    // The policy excludes the Runtime that refused.
    let others = Names::Only([runtime(1)].into());
    reconciler.set_workspace(acme(), workspace_rules(others), at(30));
    assert!(!reconciler.is_halted(&acme()));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(30))), [runtime(1)]);
}

#[test]
fn accepted_refusal_does_not_halt_a_rollout() {
    let mut reconciler = reconciler(Some(staged(2, "b", None)), &[("canary", None), ("rest", None), ("canary", None)]);
    assert_eq!(delivered_to(&steps(&mut reconciler, at(0))), [runtime(0), runtime(2)]);
    for refusing in [0, 2] {
        let refused = Err(refused(Code::InvalidBundle));
        reconciler.delivered(&runtime(refusing), &acme(), generation(2), refused, at(0));
    }
    assert_eq!(reconciler.refusing(&acme()), [runtime(0), runtime(2)].into());
    let accepted = |names: &[usize]| {
        let mut desired = staged(2, "b", None);
        let rollout = desired.rollout.as_mut().expect("a rollout");
        rollout.accepted_refusals = names.iter().map(|number| runtime(*number)).collect();
        Some(desired)
    };
    reconciler.set_runtime(runtime(1), runtime_rules("canary"), RuntimeKnowledge::default(), at(10));
    reconciler.set_desired(&acme(), accepted(&[0]), at(10));
    assert_eq!(reconciler.refusing(&acme()), [runtime(2)].into());
    assert!(!delivered_to(&steps(&mut reconciler, at(10))).contains(&runtime(1)));
    reconciler.set_desired(&acme(), accepted(&[0, 2]), at(20));
    assert!(!reconciler.is_halted(&acme()));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(20))), [runtime(1)]);
}

#[test]
fn refusal_of_an_earlier_decision_lets_no_halted_rollout_through() {
    let mut reconciler = reconciler(Some(staged(2, "b", None)), &[("canary", None), ("canary", None)]);
    assert_eq!(delivered_to(&steps(&mut reconciler, at(0))), [runtime(0), runtime(1)]);
    for number in [0, 1] {
        reconciler.delivered(&runtime(number), &acme(), generation(2), Err(refused(Code::InvalidBundle)), at(0));
    }
    reconciler.set_desired(&acme(), Some(staged(3, "c", None)), at(10));
    let Some(Step::Deliver { runtime: first, .. }) = reconciler.next(at(10)) else { panic!("a delivery") };
    reconciler.delivered(&first, &acme(), generation(3), Err(refused(Code::InvalidBundle)), at(10));
    // The other Runtime refused another decision.
    assert!(reconciler.is_halted(&acme()));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(10))), []);
}

#[test]
fn delivery_that_the_policy_ended_is_not_a_refusal() {
    let mut reconciler = reconciler(Some(staged(1, "a", None)), &[("canary", None)]);
    assert_eq!(delivered_to(&steps(&mut reconciler, at(0))), [runtime(0)]);
    reconciler.delivered(&runtime(0), &acme(), generation(1), Err(LinkError::NotAllowed), at(0));
    assert!(!reconciler.is_halted(&acme()));
    assert_eq!(reconciler.pair(&runtime(0), &acme()).expect("a pair").refusal, None);
}

#[test]
fn workspace_whose_delivery_fails_does_not_delay_another_one() {
    let beta: WorkspaceId = "beta".parse().expect("an id");
    let mut reconciler = reconciler(Some(desired(1, "a")), &[("rest", None)]);
    reconciler.set_workspace(beta.clone(), workspace_rules(Names::All), at(0));
    reconciler.set_desired(&beta, Some(desired(1, "a")), at(0));
    assert_eq!(delivered_to(&steps(&mut reconciler, at(0))), [runtime(0)]);
    reconciler.delivered(&runtime(0), &acme(), generation(1), Err(LinkError::TimedOut), at(0));
    let read = Step::ReadStatus { runtime: runtime(0) };
    assert_eq!(steps(&mut reconciler, at(1000)), [read]);
    // The second failure of `acme` lets it wait for longer than the next read of the status.
    reconciler.delay_retry(&runtime(0), &acme(), at(1000));
    reconciler.status_read(&runtime(0), Ok(status(&[(&acme(), None), (&beta, None)])), at(1000));
    let next = steps(&mut reconciler, at(1000));
    assert!(matches!(&next[..], [Step::Deliver { workspace, .. }] if *workspace == beta), "{next:?}");
}

#[test]
fn acknowledgement_that_no_status_shows_is_repeated_more_and_more_rarely() {
    let mut reconciler = reconciler(Some(desired(1, "a")), &[("rest", None)]);
    let mut deliveries = 0;
    for millis in (0..600_000).step_by(100) {
        for step in steps(&mut reconciler, at(millis)) {
            match step {
                Step::ReadStatus { runtime } => reconciler.status_read(&runtime, Ok(status(&[])), at(millis)),
                Step::Deliver { runtime, workspace, .. } => {
                    deliveries += 1;
                    let state = Ok(acknowledged(1, "a"));
                    reconciler.delivered(&runtime, &workspace, generation(1), state, at(millis));
                }
                Step::RaiseGeneration { .. } => {}
            }
        }
    }
    assert!((5..20).contains(&deliveries), "{deliveries}");
}

#[test]
fn runtime_with_a_newer_bundle_than_the_backend_makes_it_allow_an_older_one() {
    let refused = || Err(refused(Code::RevisionOlder));
    let mut reconciler = reconciler(Some(desired(4, "a")), &[("rest", None)]);
    reconciler.delivered(&runtime(0), &acme(), generation(4), refused(), at(0));
    let raise = Step::RaiseGeneration { workspace: acme(), above: generation(4) };
    assert_eq!(reconciler.next(at(0)), Some(raise));
    // A Runtime that refuses a decision which allows older bundles does not raise it again.
    let target = DesiredBundle { allow_older: true, ..decision(5, "a") };
    reconciler.set_desired(&acme(), Some(Desired { target, rollout: None }), at(0));
    reconciler.delivered(&runtime(0), &acme(), generation(5), refused(), at(5000));
    assert!(!matches!(reconciler.next(at(5000)), Some(Step::RaiseGeneration { .. })));
}

#[test]
fn report_of_a_runtime_is_bounded() {
    let mut reconciler = Reconciler::new(ReconcilerLimits::default(), 1);
    let rules = || Rules { accepted: Names::All, required: Labels::new() };
    reconciler.set_workspace(acme(), WorkspaceRules { labels: Labels::new(), rules: rules() }, at(0));
    let of_runtime =
        RuntimeRules { labels: Labels::new(), rules: Rules { accepted: Names::All, required: Labels::new() } };
    reconciler.set_runtime(runtime(1), of_runtime, RuntimeKnowledge::default(), at(0));
    for round in 0..3 {
        let foreign: Vec<WorkspaceId> =
            (0..1000).map(|number| format!("w-{round}-{number}").parse().expect("an id")).collect();
        let own = acme();
        let all: Vec<_> = foreign.iter().chain([&own]).map(|id| (id, Some(acknowledged(1, "a")))).collect();
        let mut reported = status(&all);
        reported.version = "9".repeat(1 << 20);
        reported.worlds = vec!["w".repeat(1 << 10); 1000];
        for workspace in reported.workspaces.values_mut() {
            workspace.fault = Some("f".repeat(1 << 10));
        }
        reconciler.status_read(&runtime(1), Ok(reported), at(round * 100_000));
    }
    let known = reconciler.runtime(&runtime(1)).expect("a Runtime");
    let size = serde_json::to_string(known).expect("JSON").len();
    assert!(known.workspaces.keys().eq([&acme()]) && size < 8 << 10, "{size} bytes");
}
