//! A data folder that version 0.1.0 wrote, before some rules existed that its bundle violates. It was left by a process
//! that was killed, so its last commits are in the write-ahead log alone.
//!
//! The bundle has a credential in settings, in a prompt and in a model's parameters, a plugin surface that does not
//! exist, a schema that costs too much and one that is invalid. Workers: `reader`, `lister` (whose only tool has the
//! costly schema) and `builtin`.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::runtime::{ServiceProcess, change};
use crate::support::Place;

const DATA_FOLDER: &[u8] = include_bytes!("fixtures/data-folder-0.1.0.tar");
const BUNDLE: &str = "sha256:f74170f8bd5d0c9314563fb0e575a5b37eef46d5528f1f5e794aad20e2054ff3";

/// Unpacks the data folder, beside a config with the same grants as at the time of its creation.
fn stored() -> Place {
    let place = Place::new();
    assert_eq!(place.yoi(&["runtime", "init"]).code, 0);
    std::fs::create_dir(place.path().join("files")).expect("made");
    std::fs::write(place.path().join("files/plan.md"), "Ship on Friday.\n").expect("written");
    let grants = format!("[workspaces.my-team.mounts.files]\npath = '{}'\n", place.path().join("files").display());
    let config = std::fs::read_to_string(place.path().join("runtime.toml")).expect("a config");
    std::fs::write(place.path().join("runtime.toml"), format!("{config}\n{grants}access = \"read\"\n"))
        .expect("written");
    change(&place, "listen = \"127.0.0.1:7070\"", "listen = \"127.0.0.1:0\"");
    let data = place.path().join("yoi-data");
    tar::Archive::new(DATA_FOLDER).unpack(&data).expect("unpacked");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("private");
    place
}

#[test]
fn stored_bundle_that_newer_rules_refuse_opens_and_is_reported() {
    let place = stored();
    let (checked, code) = place.json(&["runtime", "check", "yoi-data"]);
    assert_eq!(
        (code, &checked["metadata"], &checked["damaged"], &checked["missing"]),
        (0, &json!("sound"), &json!([]), &json!([])),
        "{checked}"
    );
    let reported = &checked["bundles"][0];
    assert_eq!((&reported["workspace"], &reported["digest"]), (&json!("my-team"), &json!(BUNDLE)), "{checked}");
    let findings = |document: &serde_json::Value| -> Vec<(String, String)> {
        let text = |finding: &serde_json::Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let findings = document.as_array().expect("a list").iter();
        findings.map(|finding| (text(finding, "code"), text(finding, "pointer"))).collect()
    };
    let found = findings(&reported["findings"]);
    for expected in [
        ("secret_in_bundle", "/profiles/reader/layers/0/settings/api_key"),
        ("secret_in_bundle", "/models/small/parameters/client_secret"),
        ("secret_in_bundle", "/prompts/hello/text"),
        ("unknown_surface", "/plugins/notes/surfaces/1"),
        ("invalid_schema", "/tools/fs.write/input"),
    ] {
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert!(found.contains(&expected), "{expected:?} is not in {found:#?}");
    }

    let token = place.yoi(&[
        "runtime",
        "token",
        "new",
        "--config",
        "runtime.toml",
        "--name",
        "t",
        "--workspace",
        "my-team",
        "--scope",
        "read,bundles,workers,call",
    ]);
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let url = serving.url();
    let ask = |arguments: &[&str]| {
        place.json_with(arguments, &[("YOI_URL", url.as_str()), ("YOI_TOKEN", token.stdout.trim())])
    };
    let (shown, code) = ask(&["worker", "show", "reader"]);
    assert_eq!((code, &shown["worker"]["state"]), (0, &json!("running")), "{shown}");
    assert_eq!(findings(&shown["bundle_findings"]), found);
    let (history, _) = ask(&["worker", "history", "reader"]);
    assert_eq!(history["entries"].as_array().map(Vec::len), Some(2), "{history}");
    let (answer, code) = ask(&["worker", "call", "reader", "fs.read", r#"{"mount":"files","path":"plan.md"}"#]);
    assert_eq!((code, &answer["output"]["text"]), (0, &json!("Ship on Friday.\n")), "{answer}");
    let costly = r#"{"mount":"files","path":"plan.md"}"#;
    let (refused, code) = ask(&["worker", "call", "lister", "fs.list", costly]);
    assert_eq!((code, &refused["code"]), (6, &json!("limit_exceeded")), "{refused}");
    assert_eq!(refused["details"]["limit"], json!("schema_work"), "{refused}");
    let create = ["worker", "create", "writer", "--profile", "writer", "--bundle", BUNDLE];
    let (created, code) = ask(&create);
    assert_eq!((code, &created["created"]), (0, &json!(true)), "{created}");
    assert_eq!(findings(&created["bundle_findings"]), found);
    // In text output, the findings are warnings, even if the worker existed before.
    let said = place.with_env(&create, &[("YOI_URL", url.as_str()), ("YOI_TOKEN", token.stdout.trim())]);
    let warned = said
        .stderr
        .lines()
        .any(|line| line.starts_with("warning[invalid_schema]: invalid schema `/tools/fs.write/input`"));
    assert!(said.code == 0 && warned, "{}{}", said.stdout, said.stderr);
    let (refused, code) = ask(&["worker", "call", "writer", "fs.write", r#"{"mount":"files","path":"x","text":""}"#]);
    assert_eq!((code, &refused["code"]), (3, &json!("invalid_schema")), "{refused}");
    let (builtin, _) = ask(&["worker", "show", "builtin"]);
    assert_eq!(builtin["worker"]["state"], json!("running"), "{builtin}");
}
