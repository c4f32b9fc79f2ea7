//! `yoi plugin run`: one tool of a plugin in the sandbox, with honest and hostile plugins.

use std::path::Path;

use serde_json::{Value, json};

use crate::plugins::{self, Plugin};
use crate::root;
use crate::support::{Place, snapshot};

/// Writes the folder `NAME` of a plugin with the tool `act`.
fn plugin(place: &Place, name: &str, world: &str, component: &[u8], output: &str) {
    let (surfaces, config) = match world {
        "service" => {
            ("\"service\", \"tools\"", "[config]\nrequired = [\"size\"]\nproperties.size = { type = \"integer\" }\n")
        }
        _ => ("\"tools\"", ""),
    };
    let manifest = format!(
        "schema = \"yoi.plugin/1\"\nname = \"{}\"\nversion = \"1.0.0\"\nworld = \"yoi:runtime/{world}@1.0.0\"\n\
         description = \"Acts.\"\nsurfaces = [{surfaces}]\n[tools.act]\ndescription = \"Act.\"\neffect = \"none\"\n\
         input = {{ type = \"object\", properties = {{ a = {{ type = \"integer\" }} }} }}\noutput = {output}\n{config}",
        name.replace('_', "-")
    );
    place.write(&format!("{name}/plugin.toml"), manifest);
    place.write(&format!("{name}/component.wasm"), component);
}

fn run(place: &Place, name: &str, more: &[&str]) -> (Value, i32) {
    place.json(&[&["plugin", "run", name, "act"], more].concat())
}

#[test]
fn tool_is_run_and_its_output_is_printed() {
    let place = Place::new();
    plugin(&place, "echo", "tool", &Plugin::tool().bytes(), "{}");
    let said = place.yoi(&["plugin", "run", "echo", "act", "--input", "{\"a\":1}"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "{\n  \"a\": 1\n}\n"), "{}", said.stderr);
    assert!(said.stderr.contains("cost: ") && said.stderr.contains(" fuel, "), "{}", said.stderr);
    place.write("input.json", "{\"a\":2}");
    let (document, code) = run(&place, "echo", &["--input", "@input.json"]);
    assert_eq!((code, &document["schema"], &document["output"]), (0, &json!("yoi.plugin-run/1"), &json!({ "a": 2 })));
    assert!(document["cost"]["fuel"].as_u64() > Some(0) && document["cost"]["memory_bytes"].as_u64() > Some(0));
    let (packed, _) = place.json(&["plugin", "pack", "echo", "-o", "echo.tar"]);
    assert_eq!(run(&place, "echo.tar", &[]).0["package"], packed["digest"]);
}

#[test]
fn service_is_started_with_its_config_called_and_stopped() {
    let place = Place::new();
    // The service counts its turns, and traps in `stop` unless it had exactly two before.
    let stop = "(if (i32.ne (global.get $count) (i32.const 1)) (then unreachable))";
    plugin(&place, "service", "service", &Plugin::service().with("stop", stop).bytes(), "{ type = \"integer\" }");
    let (document, code) = run(&place, "service", &["--config", "{\"size\":1}"]);
    assert_eq!((code, &document["output"]), (0, &json!(1)), "{document}");
    for (config, reason) in [(&[][..], "size"), (&["--config", "{\"size\":\"x\"}"], "`/size`")] {
        let (refused, code) = run(&place, "service", config);
        assert_eq!((code, &refused["code"]), (3, &json!("plugin_config_invalid")));
        assert!(refused["message"].as_str().is_some_and(|text| text.contains(reason)), "{refused}");
    }
    let report = "(call $report (i32.const 4096) (i32.const 7))";
    let failing = Plugin::service().with("start", report).with("data", "(data (i32.const 4096) \"no\\0apeer\")");
    plugin(&place, "failing", "service", &failing.bytes(), "{}");
    let (refused, code) = run(&place, "failing", &["--config", "{\"size\":1}"]);
    assert_eq!((code, &refused["code"]), (6, &json!("service_failed")), "{refused}");
    assert!(refused["message"].as_str().is_some_and(|text| text.ends_with("no\\npeer")), "{refused}");
    plugin(&place, "broken", "service", &Plugin::service().with("stop", "unreachable").bytes(), "{}");
    assert_eq!(run(&place, "broken", &["--config", "{\"size\":1}"]).0["code"], "plugin_trapped");
}

#[test]
fn each_fault_of_a_plugin_has_its_code_and_the_exit_code_of_guests() {
    let place = Place::new();
    place.write("limits.toml", "[plugin]\nfuel = 50000000\n");
    let mut seen = 0;
    for hostile in plugins::all() {
        let (code, exit) = match hostile.name {
            "loop_in_call" | "loop_in_realloc" | "grow_memory" | "recursion" => ("limit_exceeded", 6),
            "unreachable" => ("plugin_trapped", 6),
            "output_not_json" => ("plugin_malformed", 6),
            // The plugin reports the refusal of its request as a failure.
            "request_without_network" => ("tool_refused", 1),
            _ => continue,
        };
        seen += 1;
        plugin(&place, hostile.name, "tool", &hostile.bytes, "{}");
        let (refused, actual) = run(&place, hostile.name, &["--limits", "limits.toml"]);
        assert_eq!((&refused["code"], actual), (&json!(code), exit), "{}: {refused}", hostile.name);
        assert!(refused["help"].as_str().is_some_and(|help| !help.is_empty()), "{refused}");
        if code == "tool_refused" {
            assert_eq!(refused["details"]["tool_code"], "egress_unavailable");
        }
    }
    assert_eq!(seen, 7);
    plugin(&place, "lying", "tool", &Plugin::tool().bytes(), "{ type = \"object\", required = [\"b\"] }");
    let (refused, code) = run(&place, "lying", &["-i", "{\"a\":1}"]);
    assert_eq!(
        (code, &refused["code"], &refused["details"]["output"]),
        (6, &json!("plugin_malformed"), &json!({ "a": 1 }))
    );
}

#[test]
fn invalid_call_is_reported_without_running_the_plugin() {
    let place = Place::new();
    plugin(&place, "echo", "tool", &Plugin::tool().bytes(), "{}");
    plugin(&place, "other", "tool", b"\0asm\x0d\0\x01\0", "{}");
    let mut said = String::new();
    for arguments in [
        &["echo", "act", "--input", "{\"a\":\"x\"}"][..],
        &["echo", "act", "--input", "{a:1}"],
        &["echo", "act", "--input", "@nowhere.json"],
        &["echo", "act", "--config", "{}"],
        &["echo", "other"],
        &["other", "act"],
        &["nowhere", "act"],
    ] {
        let result = place.yoi(&[&["plugin", "run"], arguments].concat());
        let error = result.stderr;
        said.push_str(&format!(
            "$ yoi plugin run {}\n{}{error}[{}]\n\n",
            arguments.join(" "),
            result.stdout,
            result.code
        ));
    }
    snapshot!("plugin_run_refused", said);
}

/// The templates are built by `tests/guests/plugins/build`, with the commands of their READMEs.
#[test]
fn template_of_each_language_passes_check_and_runs_once_it_is_built() {
    let place = Place::new();
    for language in ["rust", "js", "python"] {
        let folder = root().join(format!("target/plugins/template-{language}"));
        if !Path::new(&folder).join("component.wasm").is_file() {
            assert!(std::env::var_os("CI").is_none(), "the template in {language} is not built");
            eprintln!("skipped: the template in {language} is not built; run `tests/guests/plugins/build`");
            continue;
        }
        let folder = folder.to_str().expect("UTF-8");
        let (checked, code) = place.json(&["plugin", "check", folder]);
        assert_eq!(code, 0, "{checked}");
        let tool = format!("template-{language}.count");
        let input = "{\"text\":\"to be or not to be\"}";
        let (document, code) = place.json(&["plugin", "run", folder, &tool, "--input", input]);
        assert_eq!((code, &document["output"]), (0, &json!({ "be": 2, "not": 1, "or": 1, "to": 2 })), "{document}");
    }
}
