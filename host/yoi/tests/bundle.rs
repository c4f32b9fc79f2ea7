use serde_json::json;

use crate::support::{Place, example, snapshot};

#[test]
fn new_bundle_can_be_checked_bumped_built_and_shown() {
    let place = Place::new();
    let (new, code) = place.json(&["bundle", "new", "mine", "--workspace", "my-shop"]);
    assert_eq!((code, new["workspace"].as_str()), (0, Some("my-shop")));
    let (check, code) = place.json(&["bundle", "check", "mine"]);
    assert_eq!((code, &check["ok"], check["workspace"].as_str()), (0, &json!(true), Some("my-shop")));
    let (before, _) = place.json(&["bundle", "show", "mine", "--digest"]);
    let text = || std::fs::read_to_string(place.path().join("mine/bundle.toml")).expect("read");
    let comments = |text: &str| text.lines().filter(|line| line.contains('#')).count();
    let commented = comments(&text());
    let (bump, code) = place.json(&["bundle", "bump", "mine", "--created-at", "2026-12-01T00:00:00Z"]);
    assert_eq!((code, &bump["revision"]), (0, &json!("2")));
    assert_eq!(comments(&text()), commented, "bump has lost comments");
    let (built, code) = place.json(&["bundle", "build", "mine"]);
    assert_eq!((code, built["path"].as_str()), (0, Some("my-shop-2.yoi")));
    let (shown, _) = place.json(&["bundle", "show", "my-shop-2.yoi"]);
    assert_eq!(shown["digest"], built["digest"]);
    assert_ne!(shown["digest"], before["digest"]);
    let (error, code) = place.json(&["bundle", "new", "mine"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("already_there")));
}

#[test]
fn builds_in_different_folders_give_identical_files() {
    let (one, two) = (Place::new(), Place::new());
    let mut files = Vec::new();
    for place in [&one, &two] {
        place.example("acme");
        assert_eq!(place.yoi(&["bundle", "build", "acme", "-o", "out.yoi"]).code, 0);
        files.push(std::fs::read(place.path().join("out.yoi")).expect("built"));
    }
    assert_eq!(files[0], files[1]);
}

#[test]
fn mistake_is_reported_with_file_line_caret_reason_and_remedy() {
    let place = Place::new();
    place.example("minimal");
    place.write(
        "minimal/profiles/broken.toml",
        "extends = [\"helpr\"]\ninstruction = [\"hello\"]\nrequires = [\"mount:repo\"]\n\n[[layer]]\nwhen = [\"has:Shell\"]\n",
    );
    let said = place.yoi(&["bundle", "check", "minimal"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""));
    snapshot!("bundle_check_mistakes", said.stderr);
    let (error, _) = place.json(&["bundle", "check", "minimal"]);
    let first = &error["details"]["diagnostics"][0];
    assert_eq!((first["file"].as_str(), first["line"].as_u64()), (Some("profiles/broken.toml"), Some(1)));
}

#[test]
fn leaked_token_is_located_and_never_printed() {
    let place = Place::new();
    place.example("minimal");
    let token = format!("{}{}", "ghp_", "9x8W7v6U5t4S3r2Q1p0O9n8M7l6K5j4I3h2G");
    place.write("minimal/prompts/leaky.md", format!("Use this:\n\n    token {token} please\n"));
    place.write("minimal/profiles/leaky.toml", format!("description = \"{token}\"\n[settings]\n\"{token}\" = 1\n"));
    for format in ["text", "json"] {
        let said = place.yoi(&["bundle", "check", "minimal", "--format", format]);
        assert_eq!(said.code, 3);
        let all = format!("{}{}", said.stdout, said.stderr);
        for start in 0..token.len() - 8 {
            assert!(!all.contains(&token[start..start + 8]), "{all}");
        }
        assert!(
            all.contains("prompts/leaky.md") && all.contains("profiles/leaky.toml") && all.contains("secret_in_bundle"),
            "{all}"
        );
    }
    snapshot!("bundle_check_leak", place.yoi(&["bundle", "check", "minimal"]).stderr);
}

#[test]
fn accepted_finding_is_honoured_only_if_the_host_allows_it() {
    let place = Place::new();
    place.example("minimal");
    place.write("minimal/prompts/paths.md", "Logs of this product are kept in /var/log/product on every machine.\n");
    let (error, code) = place.json(&["bundle", "check", "minimal"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("host_path_in_bundle")));
    let message = error["message"].as_str().expect("a message");
    let rule = message.split("rule `").nth(1).and_then(|rest| rest.split('`').next()).expect("a rule");
    let toml = std::fs::read_to_string(place.path().join("minimal/bundle.toml")).expect("read");
    let accept = format!(
        "{toml}\n[[accept]]\nrule = \"{rule}\"\nfield = \"/prompts/paths/text\"\nreason = \"the product's documented place\"\n"
    );
    place.write("minimal/bundle.toml", accept);
    let (check, code) = place.json(&["bundle", "check", "minimal"]);
    assert_eq!((code, check["accepted"].as_array().map(Vec::len)), (0, Some(1)), "{check}");
    let id = check["workspace"].as_str().expect("an id");
    let resolve = |config: &str| {
        let path = place.write("runtime.toml", config);
        place.json(&["resolve", "minimal", "-p", "assistant", "--config", path.to_str().expect("UTF-8")])
    };
    let (error, code) = resolve(&format!("[workspaces.{id}]\n"));
    assert_eq!((code, error["code"].as_str()), (3, Some("host_path_in_bundle")), "{error}");
    let (report, code) = resolve(&format!(
        "[host]\ncapabilities = [\"tool:fs.read\"]\n[workspaces.{id}]\naccept_leak_findings = true\nmounts.files = {{ path = \"/files\", access = \"read\" }}\n"
    ));
    assert_eq!(code, 0, "{report}");
}

#[test]
fn diff_lists_the_profiles_that_resolve_differently() {
    let place = Place::new();
    place.example("acme");
    let before = example("acme");
    let (same, code) = place.json(&["bundle", "diff", &before, "acme"]);
    assert_eq!((code, &same["same"], &same["profiles"]), (0, &json!(true), &json!({})));
    let profile = place.path().join("acme/profiles/docs-writer.toml");
    let text = std::fs::read_to_string(&profile).expect("read");
    std::fs::write(&profile, text.replacen("en-GB", "de", 1)).expect("written");
    let (diff, code) = place.json(&["bundle", "diff", &before, "acme"]);
    assert_eq!(code, 0);
    assert_eq!(diff["profiles"], json!({ "docs-writer": { "differs": ["language"] } }), "{diff}");
    assert_eq!(diff["changes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_built_bundle_with_a_flipped_byte_is_refused() {
    let place = Place::new();
    place.example("minimal");
    assert_eq!(place.yoi(&["bundle", "build", "minimal", "-o", "out.yoi"]).code, 0);
    let good = std::fs::read(place.path().join("out.yoi")).expect("built");
    for index in [0, 300, 700, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[index] ^= 1;
        place.write("bad.yoi", bad);
        let (error, code) = place.json(&["bundle", "check", "bad.yoi"]);
        assert_eq!(code, 3, "byte {index}: {error}");
    }
}

#[test]
fn diff_compares_the_definitions_behind_names() {
    let before = example("acme");
    let changed = |file: &str, from: &str, to: &str, more: &[&str]| {
        let place = Place::new();
        let path = place.example("acme").join(file);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
        let (diff, code) = place.json(&[&["bundle", "diff", &before, "acme"], more].concat());
        assert_eq!(code, 0, "{diff}");
        diff["profiles"].clone()
    };
    let facts = example("acme.facts.json");
    let facts = ["--facts", facts.as_str()];
    let config = example("acme.runtime.toml");
    let config = ["--config", config.as_str()];
    let bundle = std::fs::read_to_string(std::path::Path::new(&before).join("bundle.toml")).expect("read");
    let line = |start: &str| bundle.lines().find(|line| line.starts_with(start)).expect("a line").to_owned();
    let model = bundle
        .split("[models.local-small]")
        .nth(1)
        .and_then(|rest| rest.lines().find(|line| line.starts_with("model = ")));
    let profiles = changed("bundle.toml", model.expect("a model"), "model = \"another-model\"", &facts);
    assert_eq!(profiles["backend-dev"], json!({ "differs": ["model"] }), "{profiles}");
    let profiles = changed("bundle.toml", "effect = \"write\"", "effect = \"external\"", &facts);
    assert!(profiles.to_string().contains("\"tools\""), "{profiles}");
    let profiles = changed("prompts/shared/conduct.md", "\n", "\n\n", &facts);
    assert_eq!(profiles["docs-writer"], json!({ "differs": ["instructions"] }), "{profiles}");
    let profiles = changed("workflows/change.md", "\n", "\n\n", &facts);
    assert_eq!(profiles["backend-dev"], json!({ "differs": ["workflows"] }), "{profiles}");
    // A resolver does not see the ceiling. Only the enforcement of a host's policy uses it.
    let deny = line("deny = ");
    assert_eq!(changed("bundle.toml", &deny, "deny = []", &facts), json!({}));
    let profiles = changed("bundle.toml", &deny, "deny = []", &config);
    assert!(
        profiles["backend-dev"]["differs"].as_array().is_some_and(|fields| fields.contains(&json!("git"))),
        "{profiles}"
    );
}

#[test]
fn diff_honours_accepted_findings_like_the_host() {
    let place = Place::new();
    place.example("minimal");
    place.write("minimal/prompts/paths.md", "Logs of this product are kept in /var/log/product on every machine.\n");
    let toml = std::fs::read_to_string(place.path().join("minimal/bundle.toml")).expect("read");
    let (error, _) = place.json(&["bundle", "check", "minimal"]);
    let message = error["message"].as_str().expect("a message");
    let rule = message.split("rule `").nth(1).and_then(|rest| rest.split('`').next()).expect("a rule");
    let accept = format!("[[accept]]\nrule = \"{rule}\"\nfield = \"/prompts/paths/text\"\nreason = \"documented\"\n");
    place.write("minimal/bundle.toml", format!("{toml}\n{accept}"));
    let (check, code) = place.json(&["bundle", "check", "minimal"]);
    assert_eq!(code, 0, "{check}");
    let said = place.yoi(&["bundle", "check", "minimal"]).stdout;
    assert!(said.contains("; no findings except those that the author accepts\n"), "{said}");
    let said = place.yoi(&["bundle", "check", &example("acme")]).stdout;
    assert!(said.contains("; no findings\n") && said.contains("not scanned  2 plugin packages; "), "{said}");
    let id = check["workspace"].as_str().expect("an id");
    for (accepts, wanted) in [(false, 3), (true, 0)] {
        place.write("runtime.toml", format!("[workspaces.{id}]\naccept_leak_findings = {accepts}\n"));
        let (diff, code) = place.json(&["bundle", "diff", "minimal", "minimal", "--config", "runtime.toml"]);
        assert_eq!(code, wanted, "{diff}");
    }
}

#[test]
fn warnings_are_reported_and_fail_with_strict() {
    let place = Place::new();
    place.example("minimal");
    for bundle in ["minimal", "builtin", &example("minimal"), &example("acme")] {
        let said = place.yoi(&["bundle", "check", bundle, "--strict"]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{bundle}");
    }
    let profile = place.path().join("minimal/profiles/editor.toml");
    let text = std::fs::read_to_string(&profile).expect("read").replace("has:git", "has:gitt");
    std::fs::write(&profile, text).expect("written");
    let said = place.yoi(&["bundle", "check", "minimal"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("bundle_check_warning", said.stderr);
    let (check, code) = place.json(&["bundle", "check", "minimal"]);
    let warning = &check["warnings"][0];
    assert_eq!((code, &warning["code"], &warning["severity"]), (0, &json!("unknown_condition"), &json!("warning")));
    assert_eq!((&warning["file"], &warning["line"]), (&json!("profiles/editor.toml"), &json!(13)));
    let said = place.yoi(&["bundle", "check", "minimal", "--strict"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{}", said.stderr);
    assert!(said.stderr.starts_with("error[unknown_condition]") && said.stderr.contains("did you mean `git`?"));
    let (error, code) = place.json(&["bundle", "check", "minimal", "--strict"]);
    assert_eq!((code, &error["code"]), (3, &json!("unknown_condition")));
    // With `--strict`, a build with warnings writes nothing, and one without warnings succeeds.
    let (error, code) = place.json(&["bundle", "build", "minimal", "-o", "strict.yoi", "--strict"]);
    assert_eq!((code, &error["code"]), (3, &json!("unknown_condition")));
    assert!(!place.path().join("strict.yoi").exists());
    assert_eq!(place.yoi(&["bundle", "build", &example("minimal"), "-o", "strict.yoi", "--strict"]).code, 0);
    // A built bundle has the same warning, with its place in the manifest. Without `--strict`, it can be built and uploaded.
    let (built, code) = place.json(&["bundle", "build", "minimal", "-o", "out.yoi"]);
    assert_eq!((code, built["warnings"].as_array().map(Vec::len)), (0, Some(1)));
    let said = place.yoi(&["bundle", "check", "out.yoi"]);
    assert!(said.code == 0 && said.stderr.contains("warning[unknown_condition]"), "{}", said.stderr);
    let pointer = "/profiles/editor/layers/1/when/0";
    assert!(said.stderr.contains(&format!("in `manifest.json` at `{pointer}`")), "{}", said.stderr);
    let (check, _) = place.json(&["bundle", "check", "out.yoi"]);
    assert_eq!(check["warnings"][0]["pointer"], json!(pointer), "{check}");
    assert_eq!(place.yoi(&["bundle", "check", "out.yoi", "--strict"]).code, 3);
}

#[test]
fn refused_built_bundle_is_reported_with_every_place_in_its_manifest() {
    let place = Place::new();
    assert_eq!(place.yoi(&["bundle", "build", &example("acme"), "--layout", "-o", "built"]).code, 0);
    assert_eq!(place.yoi(&["bundle", "check", "built"]).code, 0);
    let manifest = place.path().join("built/manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, text.replace("\"surfaces\":[\"tools\"", "\"surfaces\":[\"kernel\"")).expect("written");
    let (error, code) = place.json(&["bundle", "check", "built"]);
    assert_eq!((code, &error["code"]), (3, &json!("unknown_surface")), "{error}");
    let told = error["details"]["diagnostics"].as_array().expect("a list").iter();
    let pointers: Vec<_> = told.map(|one| one["pointer"].as_str().expect("a pointer").to_owned()).collect();
    assert_eq!(pointers, ["/plugins/incident-feed/surfaces/0", "/plugins/issue-tracker/surfaces/0"]);
    assert_eq!(error["details"]["pointer"], json!(pointers[0]));
    let said = place.yoi(&["bundle", "check", "built"]).stderr;
    assert!(pointers.iter().all(|pointer| said.contains(&format!("in `manifest.json` at `{pointer}`"))), "{said}");
}

#[test]
fn a_mistyped_plugin_gets_a_suggestion() {
    let place = Place::new();
    let path = place.example("acme").join("bundle.toml");
    let text = std::fs::read_to_string(&path).expect("read");
    for wrong in ["plugin:incident-fed", "plugn:incident-feed", "incident-feed", "plugin:Incident-feed"] {
        std::fs::write(&path, text.replacen("plugin:incident-feed", wrong, 1)).expect("written");
        let said = place.yoi(&["bundle", "check", "acme"]);
        assert_eq!(said.code, 3, "{wrong}");
        assert!(said.stderr.contains("incident-feed`?"), "{wrong}: {}", said.stderr);
    }
}

#[test]
fn diff_shows_the_values_that_differ() {
    let place = Place::new();
    place.example("minimal");
    let profile = place.path().join("minimal/profiles/editor.toml");
    let text = std::fs::read_to_string(&profile).expect("read");
    std::fs::write(&profile, text.replacen("tone = \"exact\"", "tone = \"warm\"", 1)).expect("written");
    let before = example("minimal");
    let said = place.yoi(&["bundle", "diff", &before, "minimal"]);
    assert!(said.stdout.contains("/layers/0/settings/tone: \"exact\" -> \"warm\""), "{}", said.stdout);
    assert!(said.stdout.contains("/settings/tone: \"exact\" -> \"warm\""), "{}", said.stdout);
    let (diff, _) = place.json(&["bundle", "diff", &before, "minimal"]);
    let value = json!({ "pointer": "/settings/tone", "before": "exact", "after": "warm" });
    assert_eq!(diff["values"], json!({ "editor": [value] }), "{diff}");
    assert_eq!(diff["changes"][0]["values"][0]["after"], json!("warm"), "{diff}");
}

#[test]
fn every_spelling_of_the_output_flag_works_and_help_shows_one() {
    let place = Place::new();
    place.example("minimal");
    for flag in ["--out", "-o", "--output"] {
        assert_eq!(place.yoi(&["bundle", "build", "minimal", flag, "out.yoi"]).code, 0, "{flag}");
    }
    let help = place.yoi(&["bundle", "build", "--help"]).stdout;
    assert!(help.contains("--out <PATH>") && !help.contains("--output"), "{help}");
}

#[cfg(unix)]
#[test]
fn link_in_a_folder_is_reported_with_the_other_mistakes() {
    let place = Place::new();
    place.example("minimal");
    std::os::unix::fs::symlink("nowhere", place.path().join("minimal/prompts/link.md")).expect("a link");
    place.write("minimal/workflows/change.md.orig", "x");
    let said = place.yoi(&["bundle", "check", "minimal"]);
    assert_eq!(said.code, 3);
    assert!(
        said.stderr.contains("error[not_a_file]") && said.stderr.contains("error[unexpected_file]"),
        "{}",
        said.stderr
    );
}
