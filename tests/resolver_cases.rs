//! The built-in resolver on the case corpus, run in the sandbox and verified by the host.

use yoi_tests::{cases, sandboxes};

#[test]
fn built_in_resolver_answers_each_case_exactly() {
    let resolver = sandboxes::shipped();
    let cases = cases::all();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    sandboxes::wait(async {
        for case in cases {
            assert_eq!(cases::answer(&resolver, case).await, case.expected, "{}", case.name);
        }
    });
}
