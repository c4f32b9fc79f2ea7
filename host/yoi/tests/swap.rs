//! `yoi resolver`: swaps the resolvers of a service.

use serde_json::json;
use worker_runtime::token::Scope;

use crate::hostile;
use crate::served::TestService;
use crate::support::{Place, snapshot};

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

    let (activated, _) = json(&["resolver", "activate", prefix, "--unchecked"]);
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

/// Writes the authoring folder of a bundle with the profiles `p00` to `p11`, which want a secret and drop the wish again.
fn write_twelve(place: &Place) {
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                    language = \"en\"\n[workspace]\nid = \"acme\"\n";
    place.write("twelve/bundle.toml", manifest);
    place.write("twelve/prompts/hello.md", "Be kind.");
    for number in 0..12 {
        let layers = "wants = [\"secret:token\"]\n[[layer]]\ndrops = [\"secret:token\"]\n";
        place.write(&format!("twelve/profiles/p{number:02}.toml"), format!("instructions = [\"hello\"]\n{layers}"));
    }
    place.write("host.toml", "[workspaces.acme]\nsignatures = { posture = \"none\" }\nsecrets = [\"token\"]\n");
}

#[test]
fn comparison_names_what_grows_and_writes_a_page() {
    let place = Place::new();
    write_twelve(&place);
    place.write("grows.wasm", hostile::ignores_drops(Some(7), None));
    place.write("same.wasm", hostile::ignores_drops(None, None));
    let of_bundle = ["--bundle", "twelve", "--all-profiles", "--config", "host.toml"];
    let compare = |after: &str, more: &[&str]| {
        place.yoi(&[&["resolver", "compare", "builtin", after], &of_bundle[..], more].concat())
    };
    let grows = compare("grows.wasm", &["--html", "page.html"]);
    assert_eq!(grows.code, 4, "{}", grows.stderr);
    snapshot!("resolver_compare", grows.stdout);
    let page = std::fs::read_to_string(place.path().join("page.html")).expect("a page");
    assert!(page.contains("Workers could do more") && page.contains("/granted/secret:token"), "{page}");
    assert!(page.contains("Cases with a change"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "{page}");
    let same = compare("same.wasm", &[]);
    assert_eq!(same.code, 0, "{}", same.stderr);
    assert!(same.stdout.contains("The resolvers give the same resolutions."), "{}", same.stdout);

    // The way back, in JSON. The digest names exactly these changes.
    let arguments = [&["resolver", "compare", "grows.wasm", "builtin"], &of_bundle[..]].concat();
    let (document, code) = place.json(&arguments);
    let changes = document["comparison"]["changes"].as_array().expect("changes");
    let effects: Vec<_> = changes.iter().map(|change| (&change["effect"], &change["field"])).collect();
    let (narrowed, granted, wish) = (json!("narrowed"), json!("/granted/secret:token"), json!("/wishes/secret:token"));
    assert_eq!((code, effects), (4, vec![(&narrowed, &granted), (&narrowed, &wish)]), "{document}");
    // The shipped resolver looks everything up, which the other one does not.
    assert_eq!(document["objections"], json!(["cost"]));
}

#[test]
fn comparison_and_replay_take_folders_of_records_and_data_folders() {
    let place = Place::new();
    write_twelve(&place);
    place.write("grows.wasm", hostile::ignores_drops(Some(7), None));
    std::fs::create_dir(place.path().join("records")).expect("a folder");
    for profile in ["p06", "p07"] {
        let record = format!("records/{profile}.json");
        let resolved = place.yoi(&["resolve", "twelve", "--profile", profile, "--record", &record]);
        assert_eq!(resolved.code, 0, "{}", resolved.stderr);
    }
    let replayed = place.yoi(&["resolver", "replay", "records", "--bundle", "twelve"]);
    assert_eq!((replayed.code, replayed.stdout.matches("identical").count()), (0, 2), "{}", replayed.stderr);
    // A record whose answer does not give its resolution.
    let genuine = std::fs::read_to_string(place.path().join("records/p06.json")).expect("a record");
    place.write("altered.json", genuine.replace(r#""instructions":["hello"]"#, r#""instructions":[]"#));
    let (altered, code) = place.json(&["resolver", "replay", "altered.json", "--bundle", "twelve"]);
    assert_eq!((code, &altered["records"][0]["outcome"]), (3, &json!("altered")), "{altered}");
    // One whose read set is not that of the resolver.
    let reads = genuine.replace(r#",{"kind":"prompt","name":"hello"}"#, "");
    assert_ne!(reads, genuine);
    place.write("reads.json", reads);
    let (altered, code) = place.json(&["resolver", "replay", "reads.json", "--bundle", "twelve"]);
    assert_eq!((code, &altered["records"][0]["outcome"]), (3, &json!("differs")), "{altered}");
    let on_records = ["resolver", "compare", "builtin", "grows.wasm", "--records", "records", "--bundle", "twelve"];
    let (document, code) = place.json(&on_records);
    let cases = &document["comparison"]["cases"];
    assert_eq!((code, &cases["same"], &cases["different"]), (4, &json!(1), &json!(1)), "{document}");

    let none = place.json(&["resolver", "compare", "builtin", "grows.wasm", "--records", "empty"]);
    assert_eq!((none.1, &none.0["code"]), (5, &json!("not_found")), "{}", none.0);
    std::fs::create_dir(place.path().join("empty")).expect("a folder");
    let none = place.json(&["resolver", "compare", "builtin", "grows.wasm", "--records", "empty"]);
    assert_eq!((none.1, &none.0["code"]), (4, &json!("nothing_to_compare")), "{}", none.0);
    let none = place.json(&["resolver", "replay", "empty"]);
    assert_eq!((none.1, &none.0["code"]), (4, &json!("nothing_to_compare")), "{}", none.0);
    let active = place.json(&["resolver", "compare", "active", "grows.wasm", "--records", "records"]);
    assert_eq!((active.1, &active.0["code"]), (2, &json!("usage")), "{}", active.0);
}
