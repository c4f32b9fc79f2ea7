//! The contract in another language: JavaScript on QuickJS, from `tests/guests/quickjs`.

use yoi_tests::{cases, root, sandboxes};

fn component() -> Vec<u8> {
    std::fs::read(root().join("tests/guests/quickjs/resolver.wasm")).expect("the foreign resolver")
}

#[test]
fn a_resolver_in_javascript_answers_every_case_byte_for_byte_as_ours_does() {
    let ours = sandboxes::shipped();
    sandboxes::wait(async {
        let foreign = sandboxes::shared().load(&component()).await.expect("the foreign resolver");
        for case in cases::all() {
            let answer = cases::answer(&foreign, &case).await;
            assert_eq!(answer, cases::expected(&case), "{}", case.name);
            let bytes = |value| bundles::canonical::to_canonical(value).expect("JSON");
            assert_eq!(bytes(&answer), bytes(&cases::answer(&ours, &case).await), "{}", case.name);
        }
    });
}

#[test]
fn the_committed_component_is_the_one_that_its_lock_names() {
    let lock = std::fs::read_to_string(root().join("tests/guests/quickjs/resolver.lock.toml")).expect("the lock");
    assert!(lock.contains(&bundles::Digest::of(component()).to_string()), "build it again, or mend the lock");
}
