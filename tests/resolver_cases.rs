//! The shipped resolver against the case corpus, through the sandbox and the host's check.

use yoi_tests::{cases, sandboxes};

#[test]
fn the_shipped_resolver_answers_every_case_exactly() {
    let resolver = sandboxes::shipped();
    let cases = cases::all();
    assert!(cases.len() > 100, "only {} cases", cases.len());
    sandboxes::wait(async {
        for case in &cases {
            assert_eq!(cases::answer(&resolver, case).await, cases::expected(case), "{}", case.name);
        }
    });
}
