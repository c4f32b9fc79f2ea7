//! `yoi bundle test` and `yoi resolver test`.

use serde_json::json;

use crate::support::{Place, snapshot};

/// A bundle with one profile for each tone, and its cases.
fn new_bundle(cases: &str) -> Place {
    let place = Place::new();
    assert_eq!(place.yoi(&["bundle", "new", "mine"]).code, 0);
    place.write("mine/tests/profiles.toml", cases);
    place
}

const GOOD: &str = "[[case]]\nname = \"reads\"\nprofile = \"assistant\"\nexpect.tools = [\"fs.read\"] # only this\n";
const BAD: &str =
    "[[case]]\nname = \"writes\"\nprofile = \"assistant\"\nexpect = { tools = [\"fs.write\"], language = \"en\" }\n";

fn read(place: &Place, name: &str) -> String {
    std::fs::read_to_string(place.path().join(name)).expect("read")
}

#[test]
fn cases_of_the_examples_and_of_a_new_bundle_pass() {
    let place = Place::new();
    for example in ["minimal", "acme"] {
        place.example(example);
    }
    for file in ["acme.facts.json", "acme.runtime.toml"] {
        std::fs::copy(crate::support::examples().join(file), place.path().join(file)).expect("copied");
    }
    assert_eq!(place.yoi(&["bundle", "new", "mine", "--workspace", "my-shop"]).code, 0);
    for (folder, least) in [("minimal", 3), ("acme", 5), ("mine", 3)] {
        let (result, code) = place.json(&["bundle", "test", folder]);
        assert_eq!((code, &result["ok"], &result["failed"]), (0, &json!(true), &json!(0)), "{result:#}");
        assert!(result["passed"].as_u64() >= Some(least), "{result:#}");
    }
}

#[test]
fn test_folder_is_not_part_of_the_bundle() {
    let place = new_bundle(GOOD);
    let digest = || place.json(&["bundle", "show", "mine", "--digest"]).0["digest"].clone();
    let with = digest();
    assert_eq!(place.yoi(&["bundle", "check", "mine", "--strict"]).code, 0);
    std::fs::remove_dir_all(place.path().join("mine/tests")).expect("removed");
    assert_eq!(digest(), with);
    let (error, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("not_found")), "{error}");
}

#[test]
fn failed_case_shows_expected_and_actual_values_with_file_and_line() {
    let place = new_bundle(&format!("{GOOD}{BAD}"));
    let said = place.yoi(&["bundle", "test", "mine"]);
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
    snapshot!("bundle_test_failed", said.stdout);
    let said = place.yoi(&["bundle", "test", "mine", "--format", "json"]);
    assert_eq!(said.code, 1);
    snapshot!("bundle_test_failed_json", said.stdout);
    let said = place.yoi(&["bundle", "test", "mine", "--format", "junit"]);
    assert_eq!(said.code, 1);
    snapshot!("bundle_test_failed_junit", said.stdout);
}

#[test]
fn filter_selects_cases_by_name_or_file() {
    let place = new_bundle(GOOD);
    place.write("mine/tests/other.toml", BAD);
    let test = |filter: &str| place.json(&["bundle", "test", "mine", "--filter", filter]);
    for (filter, passed, failed) in [("reads", 1, 0), ("other.toml", 0, 1), ("", 1, 1)] {
        let (result, code) = test(filter);
        assert_eq!((&result["passed"], &result["failed"], code), (&json!(passed), &json!(failed), failed), "{result}");
    }
    // The folder, which all files have in common, selects nothing.
    for filter in ["nothing like this", "mine"] {
        let (error, code) = test(filter);
        assert_eq!((code, error["code"].as_str()), (5, Some("not_found")), "{filter}");
    }
}

#[test]
fn bless_writes_the_actual_values_and_keeps_comments() {
    let place = new_bundle(&format!("# head\n{GOOD}{BAD}\n[[case]]\nname = \"new\"\nprofile = \"editor\"\n# tail\n"));
    let (result, code) = place.json(&["bundle", "test", "mine", "--bless", "--filter", "writes"]);
    assert_eq!((code, &result["blessed"]), (0, &json!(1)), "{result}");
    let text = read(&place, "mine/tests/profiles.toml");
    assert!(text.contains("expect = { tools = [\"fs.read\"], language = \"en\" }"), "{text}");
    let (result, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, &result["failed"]), (1, &json!(1)), "a case without expectations fails: {result}");
    let said = place.yoi(&["bundle", "test", "mine", "--bless"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("bundle_test_blessed", read(&place, "mine/tests/profiles.toml"));
    let before = read(&place, "mine/tests/profiles.toml");
    assert_eq!(place.yoi(&["bundle", "test", "mine"]).code, 0);
    assert_eq!(place.yoi(&["bundle", "test", "mine", "--bless"]).code, 0);
    assert_eq!(read(&place, "mine/tests/profiles.toml"), before);
}

#[test]
fn policy_of_a_config_is_enforced_and_refusals_have_their_rules() {
    let cases = r#"
        [[case]]
        name = "granted"
        profile = "editor"
        config = "hosts/one.toml"
        expect = { grants = ["mount:files:write"], narrowed = { "git:read" = "git_not_granted" }, language = "en" }

        [[case]]
        name = "read-only"
        profile = "editor"
        config = "hosts/two.toml"
        expect = { refused = { "mount:files:write" = "mount_read_only" }, failure = "denied" }
    "#;
    let place = new_bundle(cases);
    let write = |name: &str, access: &str| {
        let config = format!(
            "[host]\ncapabilities = [\"tool:fs.read\", \"tool:fs.write\"]\n[workspaces.my-team]\nmounts.files = {{ path = \"/files\", access = \"{access}\" }}\n"
        );
        place.write(&format!("mine/tests/hosts/{name}.toml"), config);
    };
    write("one", "write");
    write("two", "read");
    let (result, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, &result["passed"]), (0, &json!(2)), "{result:#}");
    // The neighbouring config refuses the first case, and allows the second one.
    write("one", "read");
    write("two", "write");
    let (result, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, &result["failed"]), (1, &json!(2)), "{result:#}");
    assert_eq!(result["cases"][0]["mismatches"][0]["field"], json!("refused"), "{result:#}");
}

#[test]
fn mistake_in_a_case_file_is_reported_with_its_place() {
    let place = new_bundle(&GOOD.replace("expect.tools", "expect.tool"));
    let said = place.yoi(&["bundle", "test", "mine"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""));
    snapshot!("bundle_test_mistake", said.stderr);
    place.write("mine/tests/profiles.toml", GOOD.replace("expect", "facts = \"missing.json\"\nexpect"));
    let (error, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("not_found")));
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with("case `reads` in `")), "{error}");
}

#[cfg(unix)]
#[test]
fn input_that_is_not_a_file_does_not_block_the_command() {
    let place = new_bundle(&GOOD.replace("expect", "facts = \"pipe\"\nexpect"));
    let pipe = place.path().join("mine/tests/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let (error, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("not_a_file")), "{error}");
}

#[test]
fn resolver_is_named_by_a_case_or_by_the_command() {
    let place = new_bundle(GOOD);
    place.write("resolver.wasm", worker_runtime::shipped::RESOLVER);
    let digest = bundles::Digest::of(worker_runtime::shipped::RESOLVER).to_string();
    for named in [digest.as_str(), "../../resolver.wasm"] {
        place.write("mine/tests/profiles.toml", GOOD.replace("expect", &format!("resolver = \"{named}\"\nexpect")));
        assert_eq!(place.yoi(&["bundle", "test", "mine"]).code, 0, "{named}");
    }
    let other = bundles::Digest::of("another").to_string();
    place.write("mine/tests/profiles.toml", GOOD.replace("expect", &format!("resolver = \"{other}\"\nexpect")));
    let (error, code) = place.json(&["bundle", "test", "mine"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("not_found")), "{error}");
}

#[test]
fn resolver_test_runs_cases_that_name_their_bundle() {
    let place = new_bundle(GOOD);
    place.write("cases/mine.toml", GOOD.replace("expect", "bundle = \"../mine\"\nexpect"));
    place.write("cases/builtin.toml", "[[case]]\nname = \"built in\"\nbundle = \"builtin\"\nprofile = \"coder\"\n");
    let (result, code) = place.json(&["resolver", "test", "builtin", "cases"]);
    assert_eq!((code, &result["passed"], &result["failed"]), (1, &json!(1), &json!(1)), "{result}");
    assert_eq!(place.yoi(&["resolver", "test", "builtin", "cases", "--bless"]).code, 0);
    let said = place.yoi(&["resolver", "test", "builtin", "cases"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    snapshot!("resolver_test", said.stdout);
    let said = place.yoi(&["resolver", "test", "builtin", "cases/mine.toml", "--format", "junit"]);
    assert!(said.code == 0 && said.stdout.contains("<testsuite name=\"sha256:"), "{}", said.stdout);
    // A case of a bundle does not name its bundle.
    let (error, code) = place.json(&["resolver", "test", "builtin", "mine/tests"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("missing_field")), "{error}");
}

#[test]
fn failure_of_a_component_is_an_outcome_of_the_case() {
    let place = new_bundle(GOOD);
    place.write("limits.toml", "[resolution]\nfuel = 1000\n");
    let (result, code) = place.json(&["bundle", "test", "mine", "--limits", "limits.toml"]);
    assert_eq!(code, 1, "{result}");
    assert_eq!(result["cases"][0]["mismatches"][0]["field"], json!("failure"), "{result}");
}

#[test]
fn other_commands_have_no_junit_format() {
    let place = Place::new();
    let said = place.yoi(&["bundle", "show", "builtin", "--format", "junit"]);
    assert_eq!((said.code, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.contains("only `yoi bundle test` and `yoi resolver test`"), "{}", said.stderr);
}
