//! `yoi resolver`: swaps the resolvers of a service.

use serde_json::json;
use worker_runtime::token::Scope;

use crate::served::TestService;

#[test]
fn the_resolvers_of_a_service_are_added_activated_rolled_back_and_removed() {
    let served = TestService::new();
    let operator = served.token(&[Scope::Operator], &[]);
    let json = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        let said = served.with_env(&arguments, &[("YOI_TOKEN", &operator)]);
        (serde_json::from_str::<serde_json::Value>(&said.stdout).expect("one document"), said.code)
    };
    // The shipped resolver with a custom section: another component with the same answers.
    let mut component = worker_runtime::shipped::RESOLVER.to_vec();
    component.extend([0, 3, 2, b'v', 1]);
    served.place.write("next.wasm", &component);
    let (added, code) = json(&["resolver", "add", "next.wasm"]);
    assert_eq!(
        (code, &added["schema"], &added["resolver"]["state"]),
        (0, &json!("yoi.resolver/1"), &json!("admitted"))
    );
    let digest = added["resolver"]["digest"].as_str().expect("a digest").to_owned();
    let prefix = &digest["sha256:".len()..][..8];

    let (activated, _) = json(&["resolver", "activate", prefix]);
    assert_eq!((&activated["resolver"]["digest"], &activated["resolver"]["active"]), (&json!(digest), &json!(true)));
    let (listed, _) = json(&["resolver", "list"]);
    assert_eq!(listed["resolvers"].as_array().map(Vec::len), Some(2), "{listed}");
    for (refused, expected) in [(["resolver", "revoke", prefix], 1), (["resolver", "remove", prefix], 1)] {
        let (error, code) = json(&refused);
        assert_eq!((code, &error["code"]), (expected, &json!("resolver_active")), "{error}");
    }
    let (back, _) = json(&["resolver", "rollback"]);
    assert_eq!(back["resolver"]["state"], "active");
    assert_ne!(back["resolver"]["digest"], json!(digest));
    let (error, code) = json(&["resolver", "rollback"]);
    assert_eq!((code, &error["code"]), (5, &json!("resolver_not_found")));
    let (shown, _) = json(&["resolver", "show", prefix]);
    assert_eq!(shown["resolver"]["state"], "retired");
    let (removed, code) = json(&["resolver", "remove", &digest]);
    assert_eq!((code, removed), (0, json!({ "schema": "yoi.resolver-remove/1", "resolver": digest })));
    let (error, code) = json(&["resolver", "show", prefix]);
    assert_eq!((code, &error["code"]), (5, &json!("resolver_not_found")));
    let (error, code) = json(&["resolver", "activate", "next.wasm"]);
    assert_eq!((code, &error["code"]), (2, &json!("usage")));

    // Text output.
    let said = served.with_env(&["resolver", "list"], &[("YOI_TOKEN", &operator)]);
    assert!(said.stdout.contains("active since"), "{}", said.stdout);
    // The token of a workspace can read resolvers and not change them.
    let reader = served.token(&[Scope::Read], &["team"]);
    let said = served.with_env(&["resolver", "rollback"], &[("YOI_TOKEN", &reader)]);
    assert!(said.code == 4 && said.stderr.starts_with("error[scope_missing]"), "{}", said.stderr);
}
