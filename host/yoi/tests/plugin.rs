use serde_json::json;

use crate::support::{Place, examples, snapshot};

/// Bytes that begin as a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn sample() -> String {
    std::fs::read_to_string(examples().join("../src/plugin/sample.toml")).expect("read")
}

/// Writes the folder `tracker` of a plugin.
fn place() -> Place {
    let place = Place::new();
    place.write("tracker/plugin.toml", sample());
    place.write("tracker/component.wasm", COMPONENT);
    place.write("tracker/src/lib.rs", "// Not packed.");
    place
}

#[test]
fn plugin_is_checked_packed_and_shown_and_folder_and_file_are_the_same() {
    let place = place();
    let said = place.yoi(&["plugin", "check", "tracker"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    snapshot!("plugin_check", said.stdout);
    let said = place.yoi(&["plugin", "pack", "tracker"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("plugin_pack", said.stdout);
    let (packed, code) = place.json(&["plugin", "pack", "tracker", "-o", "one.tar"]);
    assert_eq!((code, packed["path"].as_str(), packed["name"].as_str()), (0, Some("one.tar"), Some("issue-tracker")));
    let bytes = |name: &str| std::fs::read(place.path().join(name)).expect("read");
    assert!(bytes("one.tar") == bytes("issue-tracker-1.4.0.tar"));
    assert_eq!(packed["digest"], json!(bundles::Digest::of(bytes("one.tar"))));
    let said = place.yoi(&["plugin", "show", "tracker"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    snapshot!("plugin_show", said.stdout);
    assert_eq!(place.yoi(&["plugin", "show", "one.tar"]).stdout, said.stdout);
    let (folder, code) = place.json(&["plugin", "show", "tracker"]);
    assert_eq!(code, 0);
    snapshot!("plugin_show_json", serde_json::to_string_pretty(&folder).expect("JSON"));
    assert_eq!(place.json(&["plugin", "show", "one.tar"]).0, folder);
    let (checked, code) = place.json(&["plugin", "check", "one.tar"]);
    assert_eq!((code, &checked["ok"], &checked["digest"]), (0, &json!(true), &packed["digest"]));
}

#[test]
fn plugin_that_requests_nothing_is_shown_with_empty_lists() {
    let place = Place::new();
    let text = "schema = \"yoi.plugin/1\"\nname = \"rounding\"\nversion = \"0.1.0\"\nworld = \"yoi:runtime/tool@1.0.0\"\n\
                description = \"Rounds numbers.\"\nsurfaces = [\"tools\"]\n[tools.round]\ndescription = \"Round a number.\"\n\
                effect = \"none\"\ninput = { type = \"number\" }\noutput = { type = \"integer\" }\n";
    place.write("rounding/plugin.toml", text);
    place.write("rounding/component.wasm", COMPONENT);
    snapshot!("plugin_show_small", place.yoi(&["plugin", "show", "rounding"]).stdout);
}

#[test]
fn mistakes_in_a_manifest_are_reported_with_file_line_caret_and_remedy() {
    let place = place();
    let wrong = sample()
        .replace("effect = \"read\"", "effect = \"reads\"")
        .replace("header = \"authorization\"\n", "")
        .replace("\"Finds tickets.\"", "\"\"")
        .replace("items = { type = \"string\" }", "items = { type = \"text\" }");
    place.write("tracker/plugin.toml", &wrong);
    let said = place.yoi(&["plugin", "check", "tracker"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""));
    snapshot!("plugin_check_mistakes", said.stderr);
    let (error, code) = place.json(&["plugin", "pack", "tracker"]);
    assert_eq!((code, error["details"]["diagnostics"][0]["file"].as_str()), (3, Some("plugin.toml")));
    assert!(!place.path().join("issue-tracker-1.4.0.tar").exists());
}

#[test]
fn token_in_a_comment_of_a_manifest_is_pointed_at_and_never_printed() {
    let place = place();
    let token = format!("{}{}", "ghp_", "9x8W7v6U5t4S3r2Q1p0O9n8M7l6K5j4I3h2G");
    place.write("tracker/plugin.toml", sample().replace("# Ticket", &format!("# {token} Ticket")));
    for format in ["text", "json"] {
        let said = place.yoi(&["plugin", "check", "tracker", "--format", format]);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == 3 && all.contains("secret_in_bundle") && !all.contains(&token[4..20]), "{all}");
    }
}

#[test]
fn every_refusal_of_a_package_has_its_code_and_exit_code() {
    let place = place();
    let code = |arguments: &[&str]| {
        let (error, exit) = place.json(arguments);
        assert!(error["help"].as_str().is_some_and(|help| !help.is_empty()), "{error}");
        assert!(!error.to_string().contains(&*place.path().to_string_lossy()), "{error}");
        (error["code"].as_str().unwrap_or_default().to_owned(), exit)
    };
    let is = |code: (String, i32), expected: &str, exit: i32| assert_eq!(code, (expected.to_owned(), exit));
    is(code(&["plugin", "check", "nowhere"]), "not_found", 5);
    place.write("text.tar", "not a tar");
    is(code(&["plugin", "show", "text.tar"]), "not_a_package", 3);
    place.write("limits.toml", "[bundle]\ncomponent_bytes = 7\n");
    is(code(&["plugin", "check", "tracker", "--limits", "limits.toml"]), "too_large", 3);
    place.write("limits.toml", "[bundle]\npackage_bytes = 8\n");
    is(code(&["plugin", "check", "text.tar", "--limits", "limits.toml"]), "too_large", 3);
    place.write("tracker/component.wasm", b"\0asm\x01\0\0\0");
    is(code(&["plugin", "pack", "tracker"]), "core_module", 3);
    place.write("tracker/component.wasm", b"(component)");
    is(code(&["plugin", "pack", "tracker"]), "not_wasm", 3);
    std::fs::remove_file(place.path().join("tracker/component.wasm")).expect("removed");
    is(code(&["plugin", "check", "tracker"]), "missing_file", 3);
    place.write("tracker/plugin.toml", sample().replace("service@1.0.0", "services@1.0.0"));
    is(code(&["plugin", "check", "tracker"]), "unsupported_world", 3);
    std::fs::create_dir(place.path().join("empty")).expect("made");
    is(code(&["plugin", "check", "empty"]), "missing_file", 3);
}

#[test]
fn bundle_takes_the_descriptor_of_a_plugin_from_the_package_beside_it() {
    let place = place();
    place.example("minimal");
    let text = std::fs::read_to_string(place.path().join("minimal/bundle.toml")).expect("read");
    place.write(
        "minimal/bundle.toml",
        format!("{text}\n[tools.\"issues.search\"]\nsource = \"plugin:issue-tracker\"\n"),
    );
    place.write("minimal/plugins/issue-tracker.toml", "package = \"issue-tracker.tar\"\n");
    place.write("minimal/profiles/reporter.toml", "plugins = [\"issue-tracker\"]\ntools_allow = [\"issues.search\"]\n");
    let (packed, _) = place.json(&["plugin", "pack", "tracker", "-o", "minimal/plugins/issue-tracker.tar"]);
    let said = place.yoi(&["bundle", "build", "minimal", "--strict", "-o", "one.yoi"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    snapshot!("plugin_bundle_build", said.stdout);
    let (built, _) = place.json(&["bundle", "build", "minimal", "-o", "two.yoi"]);
    assert_eq!(built["packages"][0]["digest"], packed["digest"]);
    let (shown, _) = place.json(&["bundle", "show", "one.yoi"]);
    let plugin = &shown["manifest"]["plugins"]["issue-tracker"];
    assert_eq!((&plugin["package"]["digest"], &plugin["version"]), (&packed["digest"], &json!("1.4.0")));

    place.write(
        "minimal/plugins/issue-tracker.toml",
        "package = \"issue-tracker.tar\"\nversion = \"1.3.0\"\n\n[[secrets]]\nname = \"issue-tracker-token\"\n\
         header = \"x-token\"\nreason = \"Identifies the workspace to the tracker.\"\n",
    );
    let said = place.yoi(&["bundle", "check", "minimal"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""));
    snapshot!("plugin_bundle_mismatch", said.stderr);
}

#[test]
fn new_writes_a_template_that_passes_check_once_its_component_is_there() {
    let place = Place::new();
    for language in ["rust", "js", "python"] {
        let folder = format!("word-{language}");
        let said = place.yoi(&["plugin", "new", language, &folder]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        let (refused, code) = place.json(&["plugin", "check", &folder]);
        assert_eq!((code, &refused["code"]), (3, &json!("missing_file")), "{refused}");
        place.write(&format!("{folder}/component.wasm"), COMPONENT);
        let (checked, code) = place.json(&["plugin", "check", &folder]);
        assert_eq!((code, &checked["name"]), (0, &json!(folder)), "{checked}");
        for file in std::fs::read_dir(place.path().join(&folder)).expect("read").flatten() {
            if file.path().is_file() && file.file_name() != "component.wasm" {
                let text = std::fs::read_to_string(file.path()).expect("text");
                let has_blank = ["{name}", "{crate}", "{crate-name}"].iter().any(|blank| text.contains(blank));
                assert!(!has_blank && text.ends_with('\n'), "{text}");
            }
        }
        let contract = std::fs::read(place.path().join(folder).join("wit/deps/yoi-host@1.0.0/host.wit")).expect("read");
        let published = examples().join("../../wit/deps/yoi-host@1.0.0/host.wit");
        assert!(contract == std::fs::read(published).expect("read"));
    }
    snapshot!("plugin_new", place.yoi(&["plugin", "new", "rust", "prices"]).stdout);
}

#[test]
fn new_refuses_an_existing_folder_and_a_bad_name_and_writes_nothing() {
    let place = Place::new();
    place.write("there/file", "kept");
    let (refused, code) = place.json(&["plugin", "new", "rust", "there"]);
    assert_eq!((code, &refused["code"]), (1, &json!("already_there")));
    assert_eq!(std::fs::read_dir(place.path().join("there")).expect("read").count(), 1);
    for arguments in [&["Bad_Name"][..], &["good", "--name", "no/name"], &[".."], &["a{name}"]] {
        let said = place.yoi(&[&["plugin", "new", "js"], arguments].concat());
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.stderr);
    }
    assert_eq!(std::fs::read_dir(place.path()).expect("read").count(), 1);
    let (made, code) = place.json(&["plugin", "new", "js", "Any_Folder", "--name", "test"]);
    assert_eq!((code, &made["name"]), (0, &json!("test")));
}
