use serde_json::{Value, json};

use crate::support::{Place, example, snapshot};

fn acme(place: &Place, arguments: &[&str]) -> (Value, i32) {
    let (bundle, config) = (example("acme"), example("acme.runtime.toml"));
    place.json(&[&["resolve", &bundle, "--config", &config], arguments].concat())
}

#[test]
fn built_in_profile_resolves_without_config_or_facts() {
    let place = Place::new();
    for profile in ["companion", "coder", "reviewer", "builtin:coder"] {
        let (report, code) = place.json(&["resolve", "builtin", "--profile", profile]);
        assert_eq!((code, &report["enforced"]), (0, &json!(false)), "{report}");
    }
    snapshot!("resolve_builtin", place.yoi(&["resolve", "builtin", "--profile", "coder"]).stdout);
}

#[test]
fn without_a_config_nothing_is_granted() {
    let (report, _) = Place::new().json(&[
        "resolve",
        &example("acme"),
        "--profile",
        "backend-dev",
        "--facts",
        &example("acme.facts.json"),
    ]);
    assert_eq!(report["enforced"], json!(false));
    assert!(!report["wishes"].as_array().expect("a list").is_empty());
    for empty in ["mounts", "secrets", "egress", "narrowed"] {
        assert_eq!(report[empty], json!([]), "{empty}");
    }
    assert_eq!(
        (&report["shell"], &report["git"], &report["digests"]["policy"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert_eq!(report["model"]["name"], "local-small");
}

#[test]
fn policy_of_a_config_is_enforced() {
    let (report, code) = acme(&Place::new(), &["--profile", "backend-dev"]);
    assert_eq!((code, &report["enforced"]), (0, &json!(true)));
    assert_eq!(report["git"], "read");
    let narrowed: Vec<_> = report["narrowed"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refusal| (refusal["subject"].as_str(), refusal["rule"].as_str()))
        .collect();
    assert!(narrowed.contains(&(Some("git:write"), Some("bundle_policy_denied"))), "{narrowed:?}");
    assert!(report["digests"]["policy"].is_string());
    let text = report.to_string();
    assert!(!text.contains("/srv"), "a host path has left the process");
    snapshot!("resolve_enforced_json", serde_json::to_string_pretty(&report).expect("JSON"));
}

#[test]
fn worker_without_its_required_grants_is_refused_with_every_remedy() {
    let place = Place::new();
    let (error, code) = acme(&place, &["--profile", "oncall"]);
    assert_eq!((code, error["code"].as_str()), (4, Some("denied")));
    let refusals = error["details"]["refusals"].as_array().expect("a list");
    assert!(refusals.iter().filter(|refusal| refusal["need"] == "required").count() >= 2);
    assert!(refusals.iter().all(|refusal| refusal["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty())));
    let said =
        place.yoi(&["resolve", &example("acme"), "--config", &example("acme.runtime.toml"), "--profile", "oncall"]);
    assert_eq!(said.stdout, "");
    snapshot!("resolve_denied", said.stderr);
}

#[test]
fn explain_all_explains_every_field() {
    let place = Place::new();
    let said = place.yoi(&[
        "resolve",
        &example("acme"),
        "-p",
        "infra-dev",
        "--config",
        &example("acme.runtime.toml"),
        "--explain",
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("resolve_explain", said.stdout);
}

#[test]
fn absent_subjects_are_explained() {
    let place = Place::new();
    let ask = |field: &str| {
        let (report, code) = acme(&place, &["--profile", "backend-dev", "--explain", field]);
        assert_eq!(code, 0, "{report}");
        report["explanations"][0].clone()
    };
    let mut text = String::new();
    for field in [
        "tool:git.commit",
        "plugin:issue-tracker",
        "git:write",
        "model:small",
        "tool:no-such-tool",
        "settings.no.such",
        "/tools/0",
        "shell",
        "language",
    ] {
        let explanation = ask(field);
        text.push_str(&format!("{field}: {}\n", explanation["verdict"].as_str().expect("a verdict")));
    }
    snapshot!("resolve_explain_fields", text);
    let (error, code) = acme(&place, &["--profile", "backend-dev", "--explain", "/tools/99"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("unknown_field_asked")));
}

#[test]
fn each_kind_of_error_has_its_exit_code() {
    let place = Place::new();
    let acme = example("acme");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["resolve", &acme, "-p", "backend-dve"], 5, "unknown_profile"),
        (&["resolve", &acme, "-p", "backend-dev", "--require", "teleport"], 4, "unmet_capability"),
        (&["resolve", "no-such-folder", "-p", "x"], 5, "not_found"),
        (&["resolve", &acme], 2, "usage"),
        (&["resolve", &acme, "-p", "../x"], 2, "usage"),
        (&["resolve", &acme, "-p", "builtin:coder"], 2, "usage"),
        (&["resolve", &acme, "-p", "backend-dev", "--facts", "no-such-file"], 5, "not_found"),
        (&["resolve", &acme, "-p", "backend-dev", "--resolver", "no-such-file"], 5, "not_found"),
    ];
    for (arguments, exit, word) in cases {
        let (error, code) = place.json(arguments);
        assert_eq!((code, error["code"].as_str()), (*exit, Some(*word)), "{arguments:?}: {error}");
        assert!(error["message"].is_string() && error["help"].is_string() && error["details"].is_object());
    }
}

#[test]
fn profile_whose_models_the_host_does_not_offer_is_refused() {
    let place = Place::new();
    let facts =
        place.write("facts.json", r#"{"os":"linux","arch":"x86_64","capabilities":["models"],"models":["other"]}"#);
    let (error, code) = place.json(&["resolve", "builtin", "-p", "coder", "--facts", facts.to_str().expect("UTF-8")]);
    assert_eq!((code, error["code"].as_str()), (4, Some("no_model")), "{error}");
}

#[test]
fn host_tools_without_a_provider_are_marked() {
    let place = Place::new();
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\nlanguage = \"en\"\ncreated_at = \"2026-06-25T15:49:30Z\"\n[workspace]\nid = \"acme\"\n";
    let tools = "[tools.\"fs.read\"]\nsource = \"host\"\neffect = \"read\"\n[tools.\"git.log\"]\nsource = \"host\"\neffect = \"read\"\n";
    place.write("acme/bundle.toml", format!("{manifest}{tools}"));
    place.write("acme/profiles/plain.toml", "tools_allow = [\"fs.read\", \"git.log\"]\n");
    let config = "[host]\ncapabilities = [\"tool:fs.read\", \"tool:git.log\"]\n[workspaces.acme]\n";
    place.write("runtime.toml", config);
    let resolve = ["resolve", "acme", "--profile", "plain", "--config", "runtime.toml"];
    let said = place.yoi(&resolve);
    let marked: Vec<&str> = said.stdout.lines().filter(|line| line.contains("has no provider")).collect();
    assert!(marked.len() == 1 && marked[0].contains("git.log"), "{}{}", said.stdout, said.stderr);
    let (told, _) = place.json(&resolve);
    assert_eq!(told["unanswered_tools"], json!(["git.log"]));
    let (told, _) = place.json(&["resolve", "acme", "--profile", "plain"]);
    assert!(told.get("unanswered_tools").is_none(), "{told}");
}

#[test]
fn builtin_bundle_uses_the_named_workspace_or_the_only_one() {
    let place = Place::new();
    let config = |text: &str| place.write("runtime.toml", text).to_str().expect("UTF-8").to_owned();
    let resolve = |config: &str, more: &[&str]| {
        place.json(&[&["resolve", "builtin", "-p", "coder", "--config", config], more].concat())
    };
    let grants = "[host]\ncapabilities = [\"tool:fs.list\", \"tool:fs.read\", \"tool:fs.write\"]\n\
        [workspaces.acme]\nmounts.repo = { path = \"/srv/acme\", access = \"write\" }\n";
    let one = config(grants);
    let (report, code) = resolve(&one, &[]);
    assert_eq!((code, report["mounts"][0]["label"].as_str()), (0, Some("repo")), "{report}");
    assert_eq!(resolve(&one, &["--workspace", "acme"]).0["digests"], report["digests"]);
    // Another workspace has no grants, and the remedy names the workspace.
    let (error, code) = resolve(&one, &["--workspace", "other"]);
    assert_eq!((code, error["code"].as_str()), (4, Some("denied")));
    assert!(error["details"].to_string().contains("under [workspaces.other]"), "{error}");

    let two = config(&format!("{grants}[workspaces.beta]\n"));
    let (error, code) = resolve(&two, &[]);
    assert_eq!((code, error["code"].as_str()), (2, Some("usage")));
    assert_eq!(error["help"], "name one with `--workspace`: `acme`, `beta`");
    assert_eq!(resolve(&two, &["--workspace", "acme"]).1, 0);

    let (error, code) = acme(&place, &["--profile", "backend-dev", "--workspace", "beta"]);
    assert_eq!((code, error["code"].as_str()), (2, Some("usage")), "{error}");
    assert_eq!(acme(&place, &["--profile", "backend-dev", "--workspace", "acme"]).1, 0);
}

#[test]
fn built_in_profile_is_refused_if_the_workspace_requires_a_bundle() {
    let place = Place::new();
    let refused = |config: &str, workspace: &[&str]| {
        let (error, code) =
            place.json(&[&["resolve", "builtin", "-p", "companion", "--config", config], workspace].concat());
        let required = |refusal: &Value| refusal["rule"] == "bundle_required";
        (code, error["details"]["refusals"].as_array().is_some_and(|list| list.iter().any(required)))
    };
    // The config of the example requires a bundle.
    assert_eq!(refused(&example("acme.runtime.toml"), &[]), (4, true));
    let text = "[workspaces.acme]\nrequire_bundle = true\n[workspaces.beta]\n";
    let config = place.write("runtime.toml", text).to_str().expect("UTF-8").to_owned();
    assert_eq!(refused(&config, &["--workspace", "acme"]), (4, true));
    assert!(!refused(&config, &["--workspace", "beta"]).1);
    assert_eq!(acme(&place, &["--profile", "backend-dev"]).1, 0, "a bundle is what is required");
}

#[test]
fn config_with_a_mistake_is_refused_as_a_whole() {
    let place = Place::new();
    let config = place.write("runtime.toml", "[workspaces.builtin]\nshell = true\nshel = true\n");
    let (error, code) =
        place.json(&["resolve", "builtin", "-p", "companion", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!((code, error["code"].as_str()), (3, Some("invalid_config")));
    assert!(error["message"].as_str().expect("a message").contains("line 3"), "{error}");
}

#[test]
fn resolver_with_another_digest_is_not_run() {
    let place = Place::new();
    let resolver = place.write("resolver.wasm", worker_runtime::shipped::RESOLVER);
    let path = resolver.to_str().expect("UTF-8");
    let (error, code) =
        place.json(&["resolve", "builtin", "-p", "coder", "--resolver", &format!("{path}@sha256:{}", "0".repeat(64))]);
    assert_eq!((code, error["code"].as_str()), (3, Some("digest_mismatch")));
    let right = bundles::Digest::of(worker_runtime::shipped::RESOLVER);
    let (report, code) = place.json(&["resolve", "builtin", "-p", "coder", "--resolver", &format!("{path}@{right}")]);
    assert_eq!((code, report["digests"]["resolver"].as_str()), (0, Some(right.to_string().as_str())));
}

#[test]
fn record_has_the_digest_of_every_input_and_is_reproducible() {
    let place = Place::new();
    for name in ["one.json", "two.json"] {
        let said = place.yoi(&["resolve", "builtin", "-p", "coder", "--record", name]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    let read = |name: &str| std::fs::read(place.path().join(name)).expect("written");
    assert_eq!(read("one.json"), read("two.json"));
    let record: Value = serde_json::from_slice(&read("one.json")).expect("JSON");
    for digest in ["bundle", "resolver", "facts", "request", "resolution"] {
        assert!(record["digests"][digest].as_str().is_some_and(|text| text.starts_with("sha256:")), "{digest}");
    }
    assert_eq!(record["request"]["profile"], "coder");
}

#[test]
fn folder_and_its_built_bundle_resolve_to_the_same() {
    let place = Place::new();
    let folder = example("acme");
    assert_eq!(place.yoi(&["bundle", "build", &folder, "-o", "acme.yoi"]).code, 0);
    assert_eq!(place.yoi(&["bundle", "build", &folder, "--layout", "-o", "acme"]).code, 0);
    let resolution = |bundle: &str| {
        let (report, code) =
            place.json(&["resolve", bundle, "-p", "docs-writer", "--facts", &example("acme.facts.json")]);
        assert_eq!(code, 0, "{report}");
        report["digests"].clone()
    };
    let from_folder = resolution(&folder);
    assert_eq!(resolution("acme.yoi"), from_folder);
    assert_eq!(resolution("acme"), from_folder);
}

#[test]
fn refused_worker_has_a_record() {
    let place = Place::new();
    let (_, code) = acme(&place, &["--profile", "oncall", "--record", "denied.json"]);
    assert_eq!(code, 4);
    let denied: Value =
        serde_json::from_slice(&std::fs::read(place.path().join("denied.json")).expect("written")).expect("JSON");
    assert_eq!(denied["request"]["profile"], "oncall");
    let (granted, code) = acme(&place, &["--profile", "backend-dev"]);
    assert_eq!((code, &denied["digests"]["policy"]), (0, &granted["digests"]["policy"]));
}

#[test]
fn explanation_of_a_wish_names_the_wish_that_includes_it() {
    let place = Place::new();
    let (report, code) = acme(&place, &["--profile", "backend-dev", "--explain", "mount:repo:read"]);
    assert_eq!(code, 0, "{report}");
    let verdict = report["explanations"][0]["verdict"].as_str().expect("a verdict");
    assert!(verdict.starts_with("included in `mount:repo:write`, which is from `"), "{verdict}");
    let (report, _) = acme(&place, &["--profile", "docs-writer", "--explain", "mount:no-such:read"]);
    let verdict = report["explanations"][0]["verdict"].as_str().expect("a verdict");
    assert_eq!(verdict, "absent: no layer of any profile mentions it");
}

#[test]
fn explain_that_consumed_the_bundle_argument_is_reported_as_such() {
    let place = Place::new();
    let (error, code) = place.json(&["resolve", "-p", "coder", "--explain", "builtin"]);
    assert_eq!((code, error["code"].as_str()), (2, Some("usage")));
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains(": if this is BUNDLE, write it before `--explain`; invalid subject `builtin`"),
        "{message}"
    );
    let said = place.yoi(&["resolve", "-p", "coder", "--explain", "model"]);
    assert!(said.stderr.contains("Usage: yoi resolve BUNDLE --profile PROFILE [OPTIONS]"), "{}", said.stderr);
    for arguments in
        [["resolve", "builtin", "-p", "coder", "--explain"], ["resolve", "-p", "coder", "builtin", "--explain"]]
    {
        assert_eq!(place.json(&arguments).1, 0);
    }
}

#[test]
fn environment_variables_replace_flags() {
    let place = Place::new();
    let with = |arguments: &[&str], environment: &[(&str, &str)]| {
        let said = place.with_env(arguments, environment);
        assert_eq!(said.code, 0, "{environment:?}: {}", said.stderr);
        said.stdout
    };
    let resolve = ["resolve", "builtin", "-p", "coder"];
    assert_eq!(
        with(&resolve, &[("YOI_EXPLAIN", "language")]),
        with(&[&resolve[..], &["--explain", "language"]].concat(), &[])
    );
    assert!(with(&resolve, &[("YOI_EXPLAIN", "all")]).contains("\nwhy\n"));
    with(&resolve, &[("YOI_RECORD", "record.json")]);
    assert!(place.path().join("record.json").exists());
    for switch in ["1", "true", "yes", "on", "0", "false", "no", "off"] {
        with(&["bundle", "check", "builtin"], &[("YOI_RULES", switch)]);
        let digest = with(&["bundle", "show", "builtin"], &[("YOI_DIGEST", switch)]);
        assert_eq!(digest.lines().count() == 1, ["1", "true", "yes", "on"].contains(&switch), "{switch}");
    }
    with(&resolve, &[("YOI_NO_CACHE", "0")]);
    let run = ["resolver", "run", "builtin", "-b", "builtin"];
    assert!(with(&run, &[("YOI_PROFILE", "builtin:coder")]).contains("resolved"));
    assert!(with(&["bundle", "show", "builtin"], &[("YOI_SHOW_PROFILE", "coder")]).starts_with("profile"));
    place.example("minimal");
    let build = ["bundle", "build", "minimal", "--format", "json"];
    with(&build, &[("YOI_LAYOUT", "1"), ("YOI_OUTPUT", "layout")]);
    assert!(place.path().join("layout/manifest.json").exists());
    let commit = "0123456789abcdef0123456789abcdef01234567";
    with(&build, &[("YOI_OUTPUT", "b.yoi"), ("YOI_REPOSITORY", "a"), ("YOI_COMMIT", commit), ("YOI_BUILDER", "b")]);
    let (shown, _) = place.json(&["bundle", "show", "b.yoi"]);
    let provenance = &shown["manifest"]["provenance"];
    assert_eq!([&provenance["repository"], &provenance["commit"], &provenance["builder"]], ["a", commit, "b"]);
}
