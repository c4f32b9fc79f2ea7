//! A resolver in another language: JavaScript on QuickJS, from `tests/guests/quickjs`.

use yoi_tests::{cases, root, sandboxes};

fn component() -> Vec<u8> {
    std::fs::read(root().join("tests/guests/quickjs/resolver.wasm")).expect("the foreign resolver")
}

#[test]
fn javascript_resolver_answers_each_case_byte_for_byte_like_the_built_in_one() {
    let ours = sandboxes::shipped();
    sandboxes::wait(async {
        let foreign = sandboxes::shared().load(&component()).await.expect("the foreign resolver");
        for case in cases::all() {
            let answer = cases::answer(&foreign, case).await;
            assert_eq!(answer, case.expected, "{}", case.name);
            let bytes = |value| bundles::canonical::to_canonical(value).expect("JSON");
            assert_eq!(bytes(&answer), bytes(&cases::answer(&ours, case).await), "{}", case.name);
        }
    });
}

#[test]
fn committed_component_has_the_digest_in_its_lock_file() {
    let lock = std::fs::read_to_string(root().join("tests/guests/quickjs/resolver.lock.toml")).expect("the lock");
    assert!(
        lock.contains(&bundles::Digest::of(component()).to_string()),
        "build the component again, or correct the lock file"
    );
}
