//! The conformance kit: both resolvers of the project pass it, and each faulty one fails the check for its fault.

use component_host::{Allocation, Limits, Sandbox, SandboxConfig};
use resolver_testkit::conformance::{Conformance, Report, Sandboxed, Verdict};
use yoi_tests::faulty::{self, Faulty};
use yoi_tests::{hostile, root, sandboxes};

/// Returns a sandbox with other settings than the shared one.
fn other_sandbox() -> Sandbox {
    let mut limits = Limits::default();
    limits.resolution.lookups *= 2;
    limits.resolution.deadline_ms *= 2;
    let allocation = Allocation::OnDemand;
    Sandbox::new(SandboxConfig { limits, allocation, compiler: sandboxes::child(), cache: None }).expect("a sandbox")
}

/// Checks a component with few generated scenarios.
fn check(component: &[u8], generated: u16, sandboxes: &[Sandbox]) -> Report {
    let kit = Conformance { generated, ..Conformance::default() };
    sandboxes::wait(kit.check_component(sandboxes, component)).expect("a report")
}

fn failed(report: &Report) -> Vec<&str> {
    report.failures().map(|(check, _)| check.name.as_str()).collect()
}

#[test]
fn built_in_resolver_passes_every_check_for_several_seeds() {
    let sandboxes = [sandboxes::shared().clone(), other_sandbox()];
    for seed in [1, 2, 3] {
        let kit = Conformance { seed, ..Conformance::default() };
        let report = sandboxes::wait(kit.check_component(&sandboxes, worker_runtime::shipped::RESOLVER));
        let report = report.expect("a report");
        assert!(report.passed(), "{report}");
        assert!(report.checks.len() >= 50, "{} checks", report.checks.len());
    }
}

#[test]
fn javascript_resolver_passes_every_check() {
    let component = std::fs::read(root().join("tests/guests/quickjs/resolver.wasm")).expect("the foreign resolver");
    let report = check(&component, 48, &[sandboxes::shared().clone()]);
    assert!(report.passed(), "{report}");
}

#[test]
fn each_faulty_resolver_fails_the_check_for_its_fault() {
    let faults = faulty::all();
    assert!(faults.len() >= 30, "only {} of them", faults.len());
    let mut wrong = Vec::new();
    sandboxes::wait(async {
        let shipped = worker_runtime::shipped::RESOLVER;
        let honest = Sandboxed::load(sandboxes::shared(), &[], shipped).await.expect("the built-in resolver");
        for fault in &faults {
            let kit = Conformance { only: fault.check.to_owned(), ..Conformance::default() };
            let report = kit.check(&Faulty::new(&honest, fault), &honest).await.expect("a report");
            if !failed(&report).contains(&fault.check) {
                wrong.push(format!("{} does not fail {}: {:?}", fault.name, fault.check, failed(&report)));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_faulty_component_fails_the_check_for_its_fault() {
    let expected = [
        ("honest", "contract/verified"),
        ("truncated", "contract/structure"),
        ("memory_beyond_the_budget", "contract/structure"),
        ("import_clock", "contract/imports"),
        ("import_environment", "contract/imports"),
        ("export_nothing", "contract/exports"),
        ("import_with_another_type", "contract/types"),
        ("export_with_another_type", "contract/types"),
        ("unreachable", "contract/answers"),
        ("trap_in_post_return", "contract/answers"),
        ("use_handle_after_drop", "contract/answers"),
        ("loop_in_resolve", "limits/fuel"),
        ("loop_in_start", "limits/fuel"),
        ("grow_memory", "limits/memory"),
        ("recursion", "limits/other"),
        ("look_up_forever", "limits/other"),
    ];
    let mut limits = Limits::default();
    // Less than by default, so that a loop ends soon.
    limits.resolution.fuel = 50_000_000.try_into().expect("not zero");
    let sandbox = [sandboxes::with_limits(limits)];
    let all = hostile::all();
    for (name, expected) in expected {
        let component = all.iter().find(|hostile| hostile.name == name).expect("a component");
        let report = check(&component.bytes, 8, &sandbox);
        assert!(failed(&report).contains(&expected), "{name} does not fail {expected}: {report}");
        // Nothing is proved after a call without an answer.
        let is_answered = expected == "contract/verified";
        assert_eq!(report.count(Verdict::NotRun) > 30, !is_answered, "{name}: {report}");
    }
}

#[test]
fn violation_is_shown_with_the_smallest_bundle() {
    let faults = faulty::all();
    sandboxes::wait(async {
        let shipped = worker_runtime::shipped::RESOLVER;
        let honest = Sandboxed::load(sandboxes::shared(), &[], shipped).await.expect("the built-in resolver");
        for (name, check, smallest) in [
            ("append_as_replace", "laws/append", 150),
            ("ignores_null_in_settings", "laws/settings", 150),
            ("reverses_parents", "laws/lineage", 150),
            ("skips_conditional_layers", "laws/conditions", 150),
        ] {
            let fault = faults.iter().find(|fault| fault.name == name).expect("a fault");
            let kit = Conformance { only: check.to_owned(), ..Conformance::default() };
            let report = kit.check(&Faulty::new(&honest, fault), &honest).await.expect("a report");
            let case = report.check(check).and_then(|check| check.failure.as_ref()?.case.clone()).expect("a case");
            let profiles = case["bundle"]["profiles"].to_string();
            assert!(profiles.len() <= smallest, "{name}: {profiles}");
        }
    });
}
