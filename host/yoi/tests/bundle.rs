use serde_json::json;

use crate::support::{Place, example, snapshot};

#[test]
fn new_check_bump_build_show_go_together() {
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
fn building_twice_gives_the_same_file_wherever_it_is_done() {
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
fn a_mistake_is_told_with_file_line_caret_reason_and_remedy() {
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
fn a_leaked_token_is_pointed_at_and_never_printed() {
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
fn an_accepted_finding_counts_only_where_the_host_says_so() {
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
fn diff_says_which_profiles_resolve_differently() {
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
