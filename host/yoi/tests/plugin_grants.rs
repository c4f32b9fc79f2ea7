//! Reviewing a package, and granting it in a config.

use serde_json::{Value, json};

use crate::support::{Place, examples, snapshot};

/// A config with comments, and tables of every kind before and after the grants.
const CONFIG: &str = "# The host of the team.\n[host]\ncapabilities = [\"tool:fs.read\"] # More follow.\n\n\
                      [workspaces.acme]\nsignatures = { posture = \"none\" }\n\n# The other workspace has no plugins.\n\
                      [workspaces.other]\nsignatures = { posture = \"none\" }\nshell = true\n\n\
                      [limits]\nworkers = 7\n";

fn sample() -> String {
    std::fs::read_to_string(examples().join("../src/plugin/sample.toml")).expect("read")
}

fn package(place: &Place, folder: &str, text: &str) {
    place.write(&format!("{folder}/plugin.toml"), text);
    place.write(&format!("{folder}/component.wasm"), b"\0asm\x0d\0\x01\0");
}

/// Writes the packages `tracker` and `newer` of one plugin, and a config.
fn place() -> Place {
    let place = Place::new();
    package(&place, "tracker", &sample());
    let newer = sample()
        .replace("1.4.0", "1.5.0")
        .replace("methods = [\"POST\"]", "methods = [\"POST\", \"PUT\"]")
        .replace("\"/live\"", "\"/live/tickets\"");
    package(&place, "newer", &newer);
    place.write("runtime.toml", CONFIG);
    place
}

fn text(place: &Place) -> String {
    std::fs::read_to_string(place.path().join("runtime.toml")).expect("read")
}

fn digest(place: &Place, folder: &str) -> String {
    place.json(&["plugin", "show", folder]).0["digest"].as_str().expect("a digest").to_owned()
}

const ACME: [&str; 4] = ["--config", "runtime.toml", "--workspace", "acme"];

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &ACME].concat()
}

#[test]
fn plugin_is_reviewed_enabled_listed_and_disabled_and_the_config_is_as_before() {
    let place = place();
    let mut said = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let ended = place.yoi(&with(arguments));
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
        said.push_str(&format!("$ yoi {}\n{}{}\n", arguments.join(" "), ended.stdout, ended.stderr));
    };
    run(&["plugin", "review", "tracker"], 4);
    run(&["plugin", "enable", "tracker", "--tool", "issues.search"], 0);
    run(&["plugin", "show", "tracker"], 0);
    run(&["plugin", "list"], 0);
    run(&["plugin", "enable", "tracker", "--all"], 4);
    run(&["plugin", "enable", "tracker", "--all", "--accept-widening"], 0);
    run(&["plugin", "review", "tracker"], 0);
    run(&["plugin", "review", "newer", "--against", "tracker"], 4);
    run(&["plugin", "enable", "newer"], 4);
    run(&["plugin", "enable", "newer", "--accept-widening"], 0);
    run(&["plugin", "enable", "newer"], 0);
    run(&["plugin", "disable", "issue-tracker"], 0);
    run(&["plugin", "list"], 0);
    run(&["plugin", "disable", "issue-tracker"], 5);
    snapshot!("plugin_grants", said);
    assert_eq!(text(&place), CONFIG);
}

#[test]
fn enabling_a_new_version_keeps_place_comments_and_config_of_the_grant() {
    let place = place();
    let old = digest(&place, "tracker");
    place.yoi(&with(&["plugin", "enable", "tracker", "--all"]));
    let before = text(&place);
    let header = format!("[workspaces.acme.plugins.\"{old}\"]");
    assert!(before.contains(&header), "{before}");
    snapshot!("plugin_enabled_config", &before);
    let commented = before
        .replace(&header, &format!("# Approved by the tracker's team.\n{header}"))
        .replace("\neffects", "\nconfig = { project = \"ACME\" } # Of the team.\neffects");
    place.write("runtime.toml", &commented);
    let (enabled, code) = place.json(&with(&["plugin", "enable", "newer", "--accept-widening"]));
    assert_eq!((code, &enabled["replaced"], &enabled["changed"]), (0, &json!([old]), &json!(true)));
    assert_eq!((&enabled["grant"]["config"], &enabled["needs_config"]), (&json!({"project": "ACME"}), &json!(false)));
    let after = text(&place);
    let expected = commented
        .replace(&old, &digest(&place, "newer"))
        .replace("methods = [\"POST\"]", "methods = [\"POST\", \"PUT\"]")
        .replace("\"/live\"", "\"/live/tickets\"");
    assert_eq!(after, expected);
}

#[test]
fn config_of_the_earlier_grant_that_the_new_schema_refuses_is_reported() {
    let place = place();
    place.yoi(&with(&["plugin", "enable", "tracker", "--all"]));
    place.write("runtime.toml", text(&place).replace("\neffects", "\nconfig = { project = 7 }\neffects"));
    let said = place.yoi(&with(&["plugin", "enable", "newer", "--accept-widening"]));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let next = "next       the config of the earlier grant does not match the schema of this package at `/project`: ";
    assert!(said.stdout.contains(next), "{}", said.stdout);

    // A package without a config schema refuses every config, so none is carried over.
    let lines: Vec<String> = sample().lines().map(str::to_owned).collect();
    let start = lines.iter().position(|line| line == "[config]").expect("a config");
    let end = lines[start + 1..].iter().position(|line| line.starts_with('[')).map_or(lines.len(), |at| start + 1 + at);
    package(&place, "plain", &[&lines[..start], &lines[end..]].concat().join("\n"));
    let (enabled, code) = place.json(&with(&["plugin", "enable", "plain", "--accept-widening"]));
    assert_eq!(code, 0, "{enabled}");
    assert_eq!((code, &enabled["needs_config"], &enabled["grant"]["config"]), (0, &json!(false), &Value::Null));
}

#[test]
fn grants_are_written_into_every_form_of_a_config() {
    let place = place();
    for config in [
        "[workspaces]\nacme = { shell = true }\n",
        "workspaces.acme.shell = true\n",
        "[workspaces.acme]\nplugins = {}\n",
        "[workspaces.acme.plugins]\n# None yet.\n",
        "[workspaces]\nacme.git = \"read\" # Dotted.\n",
        "[workspaces.acme] # End of the file",
    ] {
        place.write("runtime.toml", config);
        let said = place.yoi(&with(&["plugin", "enable", "tracker", "--all"]));
        assert_eq!(said.code, 0, "{config}: {}", said.stderr);
        // Again, with another version in the same form.
        let said = place.yoi(&with(&["plugin", "enable", "newer", "--accept-widening"]));
        assert_eq!(said.code, 0, "{config}: {}", said.stderr);
        let (listed, _) = place.json(&["plugin", "list", "--config", "runtime.toml"]);
        assert_eq!(listed["plugins"].as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed["plugins"][0]["digest"], json!(digest(&place, "newer")));
        if let Some((_, comment)) = config.split_once('#') {
            assert!(text(&place).contains(comment.trim()), "{}", text(&place));
        }
        assert_eq!(place.yoi(&with(&["plugin", "disable", "issue-tracker"])).code, 0, "{config}");
    }
}

#[test]
fn refused_change_leaves_the_config_as_it_is() {
    let place = place();
    let is = |arguments: &[&str], expected: &str, exit: i32| {
        let before = text(&place);
        let (error, code) = place.json(arguments);
        assert_eq!((error["code"].as_str(), code), (Some(expected), exit), "{error}");
        assert!(error["help"].as_str().is_some_and(|help| !help.is_empty()), "{error}");
        assert_eq!(text(&place), before);
    };
    is(&with(&["plugin", "enable", "tracker"]), "usage", 2);
    is(&with(&["plugin", "enable", "tracker", "--tool", "issues.delete"]), "not_found", 5);
    is(&["plugin", "enable", "tracker", "--all", "--config", "runtime.toml"], "usage", 2);
    is(&["plugin", "enable", "tracker", "--all", "--config", "runtime.toml", "--workspace", "nobody"], "not_found", 5);
    is(&with(&["plugin", "disable", "sha256:0000"]), "not_found", 5);
    place.yoi(&with(&["plugin", "enable", "tracker", "--tool", "issues.search"]));
    is(&with(&["plugin", "enable", "tracker", "--all"]), "grant_widens", 4);
    is(&with(&["plugin", "enable", "newer"]), "grant_widens", 4);
    place.write("runtime.toml", "[workspaces.acme]\nshel = true\n");
    is(&with(&["plugin", "enable", "tracker", "--all"]), "invalid_config", 3);
}

#[cfg(unix)]
#[test]
fn config_keeps_its_mode_and_a_link_or_the_file_of_another_user_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let path = place.path().join("runtime.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    assert_eq!(place.yoi(&with(&["plugin", "enable", "tracker", "--all"])).code, 0);
    assert_eq!(std::fs::metadata(&path).expect("read").permissions().mode() & 0o777, 0o640);
    std::os::unix::fs::symlink(&path, place.path().join("link.toml")).expect("linked");
    let arguments = ["plugin", "disable", "issue-tracker", "--config", "link.toml", "--workspace", "acme"];
    let (error, code) = place.json(&arguments);
    assert_eq!((error["code"].as_str(), code), (Some("unwritable"), 1), "{error}");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
        let (error, code) = place.json(&with(&["plugin", "disable", "issue-tracker"]));
        assert_eq!((error["code"].as_str(), code), (Some("unwritable"), 1), "{error}");
    }
    assert!(text(&place).contains("issue-tracker"));
}

#[test]
fn json_of_a_review_has_its_lists_by_name_and_no_path() {
    let place = place();
    let (review, code) = place.json(&["plugin", "review", "tracker"]);
    assert_eq!((code, &review["code"], &review["granted"]), (0, &Value::Null, &Value::Null));
    place.yoi(&with(&["plugin", "enable", "tracker", "--tool", "issues.search"]));
    let (review, code) = place.json(&with(&["plugin", "review", "tracker"]));
    assert_eq!((code, review["code"].as_str()), (4, Some("denied")));
    for list in ["requested", "granted", "missing", "grant_only", "broad"] {
        for kind in ["tools", "effects", "requests", "websockets", "secrets", "surfaces"] {
            assert!(review[list][kind].is_array(), "{list} {kind}");
        }
    }
    assert_eq!(review["missing"]["tools"], json!(["issues.create"]));
    assert_eq!(review["configured_request_grants"].as_array().map(Vec::len), Some(2));
    assert_eq!(review["configured_websocket_grants"].as_array().map(Vec::len), Some(1));
    assert!(!review.to_string().contains(&*place.path().to_string_lossy()));
    let (shown, code) = place.json(&with(&["plugin", "show", "tracker"]));
    assert_eq!((code, &shown["missing"], &shown["granted"]), (0, &review["missing"], &review["granted"]));
    assert_eq!(shown["requested"]["effects"], json!(["read", "external"]));
    assert_eq!(shown["requested"]["effects"], review["requested"]["effects"]);
    snapshot!("plugin_review_json", serde_json::to_string_pretty(&review).expect("JSON"));
    // A digest stands for the grant of an earlier version.
    let old = digest(&place, "tracker");
    let (newer, code) = place.json(&with(&["plugin", "review", "newer", "--against", &old[..14]]));
    assert_eq!((code, newer["code"].as_str()), (4, Some("plugin_grant_outdated")));
    assert_eq!(newer["against"]["widened"]["tools"], json!(["issues.create"]));
    assert_eq!(newer["against"]["widened"]["requests"][0]["methods"], json!(["PUT"]));
    assert_eq!(newer["against"]["narrowed"]["websockets"][0]["path_prefixes"], json!(["/live"]));
    let (error, code) = place.json(&["plugin", "review", "newer", "--against", &old]);
    assert_eq!((error["code"].as_str(), code), (Some("usage"), 2));
}

#[test]
fn explanation_of_a_missing_tool_names_the_refusal_of_its_plugin() {
    let place = place();
    place.example("minimal");
    let bundle = std::fs::read_to_string(place.path().join("minimal/bundle.toml")).expect("read");
    place.write(
        "minimal/bundle.toml",
        format!("{bundle}\n[tools.\"issues.search\"]\nsource = \"plugin:issue-tracker\"\n"),
    );
    place.write("minimal/plugins/issue-tracker.toml", "package = \"issue-tracker.tar\"\n");
    place.write("minimal/profiles/reporter.toml", "plugins = [\"issue-tracker\"]\ntools_allow = [\"issues.search\"]\n");
    place.json(&["plugin", "pack", "tracker", "-o", "minimal/plugins/issue-tracker.tar"]);
    place.write("runtime.toml", "[workspaces.minimal]\n");
    let explain =
        ["resolve", "minimal", "-p", "reporter", "--config", "runtime.toml", "--explain", "tool:issues.search"];
    let said = place.yoi(&explain);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("plugin_tool_explained", said.stdout);
    place.yoi(&["plugin", "enable", "tracker", "--all", "--config", "runtime.toml"]);
    let said = place.yoi(&explain);
    assert!(!said.stdout.contains("refused"), "{}", said.stdout);
}
