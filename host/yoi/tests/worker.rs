use std::ffi::OsStr;
use std::path::Path;

use serde_json::json;
use worker_runtime::token::Scope;

use crate::plugins::acts;
use crate::served::{CONFIG, TestService, team};
use crate::support::{Place, examples, snapshot};

#[test]
fn worker_is_created_called_watched_and_stopped() {
    let served = TestService::new();
    let digest = served.put();
    served.place.write("hello.json", "{ \"text\": \"from a file\" }\n");
    let mut said = String::new();
    let mut yoi = |arguments: &[&str]| said.push_str(&served.transcript(arguments));
    yoi(&["worker", "list"]);
    let create = [
        "worker",
        "create",
        "desk",
        "--profile",
        "plain",
        "--bundle",
        &digest,
        "--name",
        "The front desk",
        "--intent",
        "Greets people.\nSays no more.",
        "--require",
        "tool:echo",
    ];
    yoi(&create);
    yoi(&create);
    yoi(&["worker", "create", "desk", "--profile", "plain", "--bundle", &digest]);
    yoi(&["worker", "create", "helper", "--profile", "plain", "--bundle", &digest]);
    yoi(&["worker", "list"]);
    yoi(&["worker", "history", "desk"]);
    yoi(&["worker", "call", "desk", "echo", r#"{"text":"hello"}"#]);
    yoi(&["worker", "call", "desk", "echo", "@hello.json"]);
    yoi(&["worker", "call", "desk", "echo", r#"{"text":"refuse"}"#]);
    yoi(&["worker", "call", "desk", "echo", r#"{"words":"hello"}"#]);
    yoi(&["worker", "call", "desk", "shout"]);
    yoi(&["worker", "call", "desk", "echo", "hello"]);
    yoi(&["worker", "call", "desk", "echo", "@nothing.json"]);
    yoi(&["worker", "history", "desk"]);
    yoi(&["worker", "history", "desk", "--after", "2", "--limit", "1"]);
    yoi(&["worker", "history", "desk", "--after", "900"]);
    yoi(&["worker", "stop", "desk"]);
    yoi(&["worker", "stop", "desk"]);
    yoi(&["worker", "show", "desk"]);
    yoi(&["worker", "call", "desk", "echo"]);
    yoi(&["worker", "show", "nobody"]);
    yoi(&["worker", "create", "coder", "--profile", "coder"]);
    yoi(&["worker", "create", "old", "--profile", "nobody", "--bundle", &digest]);
    yoi(&["worker", "remove", "helper"]);
    yoi(&["worker", "remove", "desk"]);
    yoi(&["worker", "remove", "desk"]);
    yoi(&["worker", "history", "desk"]);
    yoi(&["worker", "create", "desk", "--profile", "plain", "--bundle", &digest]);
    yoi(&["worker", "history", "desk"]);
    yoi(&["worker", "list"]);
    snapshot!("worker", said);
}

/// Packs a plugin into the folder `team`, whose profile `plugged` selects one of its tools. Grants everything that the plugin
/// requests, sends the bundle, and creates a worker. `folder` has the name of the plugin.
fn create_plugged(served: &TestService, folder: &Path, tool: &str, worker: &str) {
    let (place, plugin) = (&served.place, folder.file_name().and_then(OsStr::to_str).expect("a name"));
    let package = format!("team/plugins/{plugin}.tar");
    place.write(&format!("team/plugins/{plugin}.toml"), format!("package = \"{plugin}.tar\"\n"));
    let packed = place.yoi(&["plugin", "pack", folder.to_str().expect("UTF-8"), "-o", &package]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    let bundle = std::fs::read_to_string(place.path().join("team/bundle.toml")).expect("a bundle");
    place.write("team/bundle.toml", format!("{bundle}[tools.\"{tool}\"]\nsource = \"plugin:{plugin}\"\n"));
    let profile = format!("plugins = [\"{plugin}\"]\ntools_allow = [\"{tool}\"]\n");
    place.write("team/profiles/plugged.toml", profile);
    place.write("runtime.toml", CONFIG);
    let enable = ["plugin", "enable", &package, "--config", "runtime.toml", "--workspace", "team", "--all"];
    let enabled = place.yoi(&enable);
    assert_eq!(enabled.code, 0, "{}", enabled.stderr);
    served.reload(&std::fs::read_to_string(place.path().join("runtime.toml")).expect("a config"));
    let digest = served.put();
    let (created, code) = served.json(&["worker", "create", worker, "-p", "plugged", "-b", &digest]);
    assert_eq!(code, 0, "{created}");
}

#[test]
fn log_lines_of_plugins_are_shown_to_operators() {
    let served = TestService::new();
    let manifest = "schema = \"yoi.plugin/1\"\nname = \"talker\"\nversion = \"1.0.0\"\nworld = \"yoi:runtime/tool@1.0.0\"\n\
                    description = \"Logs.\"\nsurfaces = [\"tools\"]\n[tools.talk]\ndescription = \"Log.\"\neffect = \"none\"\n\
                    input = { type = \"object\" }\noutput = { type = \"object\" }\n";
    served.place.write("talker/plugin.toml", manifest);
    served.place.write("talker/component.wasm", acts::logging(2, 9).bytes());
    create_plugged(&served, &served.place.path().join("talker"), "talk", "desk");
    let said = served.yoi(&["worker", "logs", "desk"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "no log lines\n"), "{}", said.stderr);
    let (called, code) = served.json(&["worker", "call", "desk", "talk"]);
    assert_eq!(code, 0, "{called}");

    let said = served.yoi(&["worker", "logs", "desk"]);
    let line = "2026-06-21T00:00:00Z warn  talker: a\u{e9}\u{e9}\u{e9}\u{e9}\n";
    assert_eq!((said.code, said.stdout), (0, line.repeat(2)), "{}", said.stderr);
    let (document, code) = served.json(&["worker", "logs", "desk", "--after", "1"]);
    assert_eq!((code, &document["schema"], &document["worker"]), (0, &json!("yoi.worker-logs/1"), &json!("desk")));
    let lines = document["lines"].as_array().expect("lines");
    assert_eq!(
        (lines.len(), &lines[0]["number"], &lines[0]["text"]),
        (1, &json!(2), &json!("a\u{e9}\u{e9}\u{e9}\u{e9}"))
    );

    let (unknown, code) = served.json(&["worker", "logs", "other"]);
    assert_eq!((code, &unknown["code"]), (5, &json!("worker_not_found")), "{unknown}");
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Operator).collect();
    let token = served.token(&scopes, &["team"]);
    let refused = served.with_env(&["worker", "logs", "desk"], &[("YOI_TOKEN", &token)]);
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""), "{}", refused.stderr);
    assert!(refused.stderr.starts_with("error[scope_missing]"), "{}", refused.stderr);
}

#[test]
fn event_is_sent_to_a_service_and_a_repeated_one_has_no_effect() {
    let served = TestService::new();
    let counter = examples().join("../../tests/guests/plugins/examples/counter");
    create_plugged(&served, &counter, "counter.add", "tally");

    let send = ["worker", "send", "tally", "increment", "event-1", r#"{"from":"outside"}"#];
    for _ in 0..2 {
        let said = served.yoi(&send);
        assert_eq!((said.code, said.stdout.as_str()), (0, "entry 1\n"), "{}", said.stderr);
    }
    let (sent, _) = served.json(&["worker", "send", "tally", "increment", "event-2"]);
    assert_eq!((&sent["event"], &sent["entry"]), (&json!("event-2"), &json!(3)));
    let (called, code) = served.json(&["worker", "call", "tally", "counter.add"]);
    assert_eq!(code, 0, "{called}");
    let (unknown, code) = served.json(&["worker", "send", "tally", "decrement", "event-1"]);
    assert_eq!((code, &unknown["code"]), (5, &json!("ingress_not_found")), "{unknown}");
    let (invalid, code) = served.json(&["worker", "send", "tally", "increment", "event-3", "{"]);
    assert_eq!((code, &invalid["code"]), (3, &json!("invalid_json")), "{invalid}");
}

#[test]
fn call_input_is_read_from_standard_input() {
    let served = TestService::new();
    let digest = served.put();
    served.json(&["worker", "create", "desk", "-p", "plain", "-b", &digest]);
    served.place.write("given", "{\"text\":\"piped\"}");
    let given = std::fs::File::open(served.place.path().join("given")).expect("there");
    let mut command = served.place.command();
    command.args(["worker", "call", "desk", "echo", "-"]).stdin(given);
    let said = Place::said(command.env("YOI_URL", &served.url).env("YOI_TOKEN", &served.token));
    assert_eq!((said.code, said.stdout.as_str()), (0, "{\n  \"said\": \"piped\"\n}\n"), "{}", said.stderr);
}

#[test]
fn stopped_worker_is_not_created_again_by_the_same_request() {
    let served = TestService::new();
    let digest = served.put();
    let create = ["worker", "create", "desk", "-p", "plain", "-b", &digest];
    served.yoi(&create);
    assert_eq!(served.yoi(&create).code, 0);
    assert_eq!(served.yoi(&["worker", "stop", "desk"]).code, 0);
    let again = served.yoi(&create);
    let expected = "error[worker_stopped]: worker `desk` already exists and is stopped";
    assert_eq!((again.code, again.stdout.as_str()), (1, ""), "{}", again.stderr);
    assert!(again.stderr.starts_with(expected) && again.stderr.contains("choose another id"), "{}", again.stderr);
    let (error, code) = served.json(&create);
    assert_eq!(
        (code, &error["code"], &error["details"]["worker"]["id"]),
        (1, &json!("worker_stopped"), &json!("desk"))
    );
}

#[test]
fn bundle_can_be_named_by_folder_file_digest_prefix_or_newest() {
    let served = TestService::new();
    let first = served.put();
    assert_eq!(served.place.yoi(&["bundle", "build", "team", "-o", "first.yoi"]).code, 0);
    team(&served.place, 2);
    let second = served.put();
    let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
    let made = |id: &str, bundle: &str, more: &[&str]| {
        let (made, code) = served.json(&[&["worker", "create", id, "-p", "plain", "-b", bundle], more].concat());
        assert_eq!(code, 0, "{bundle}: {made}");
        made["worker"]["bundle"].as_str().expect("a digest").to_owned()
    };
    assert_eq!(made("a", "newest", &[]), second);
    assert_eq!(made("b", "team", &[]), second);
    assert_eq!(made("c", "first.yoi", &["--allow-older"]), first);
    assert_eq!(made("d", &hex(&second)[..12], &[]), second);
    assert_eq!(made("e", &format!("sha256:{}", &hex(&second)[..8]), &[]), second);
    let refused = |bundle: &str| {
        let (error, code) = served.json(&["worker", "create", "x", "-p", "plain", "-b", bundle]);
        (code, error["code"].as_str().unwrap_or_default().to_owned())
    };
    let none = if hex(&first).starts_with("0000") || hex(&second).starts_with("0000") { "ffff" } else { "0000" };
    for bundle in [none, "abc", "nothing.yoi", "sha256:", "no/such/folder"] {
        assert_eq!(refused(bundle), (5, "bundle_not_found".to_owned()), "{bundle}");
    }
    // A folder that has changed since the upload is another bundle, which the Runtime lacks.
    team(&served.place, 3);
    assert_eq!(refused("team"), (5, "bundle_not_found".to_owned()));
    // The token serves several workspaces. The workspace of the folder is used.
    team(&served.place, 2);
    let both = served.token(&Scope::ALL, &["team", "other"]);
    let said = served.with_env(&["worker", "create", "f", "-p", "plain", "-b", "team"], &[("YOI_TOKEN", &both)]);
    assert_eq!(said.code, 0, "{}", said.stderr);
}

#[test]
fn list_of_a_workspace_outside_the_token_is_refused() {
    let served = TestService::new();
    for workspace in ["other", "nobody"] {
        for command in ["worker list", "runtime bundles"] {
            let arguments: Vec<&str> = command.split(' ').chain(["--workspace", workspace]).collect();
            let said = served.yoi(&arguments);
            assert_eq!((said.code, said.stdout.as_str()), (4, ""), "{command}");
            assert!(said.stderr.starts_with("error[workspace_denied]"), "{}", said.stderr);
        }
    }
    assert_eq!(served.yoi(&["worker", "list", "--workspace", "team"]).code, 0);
}

#[test]
fn a_suspended_worker_names_the_grant_and_the_line_of_the_config() {
    let served = TestService::new();
    let digest = served.put();
    let grants = "secrets = [\"github-token\"]\nmounts.repo = { path = \"/nowhere\", access = \"write\" }";
    served.reload(&CONFIG.replace("[workspaces.team]", &format!("[workspaces.team]\n{grants}")));
    let create = ["worker", "create", "desk", "-p", "trusted", "-b", &digest];
    assert_eq!(served.yoi(&create).code, 0);
    let show = ["worker", "show", "desk"];
    // An optional wish that is not granted is shown with its remedy.
    let shown = served.yoi(&show).stdout;
    assert!(shown.contains("shell") && shown.contains("write `shell = true` under [workspaces.team]"), "{shown}");
    served
        .reload(&CONFIG.replace("[workspaces.team]", &format!("[workspaces.team]\n{grants}")).replace("write", "read"));
    let list = ["worker", "list"];
    let told =
        [&show[..], &list, &["worker", "call", "desk", "echo"], &create].map(|command| served.transcript(command));
    snapshot!("worker_suspended", told.concat());
    let (shown, code) = served.json(&show);
    assert_eq!((&shown["worker"]["state"], &shown["spec"], code), (&json!("suspended"), &json!(null), 0));
    let (listed, _) = served.json(&list);
    assert_eq!(listed["workers"][0], shown["worker"]);
    let (error, code) = served.json(&["worker", "call", "desk", "echo"]);
    assert_eq!(
        (code, &error["code"], &error["details"]["reason"]),
        (1, &json!("worker_suspended"), &json!("policy_denied"))
    );
    served.reload(&CONFIG.replace("[workspaces.team]", &format!("[workspaces.team]\n{grants}")));
    assert_eq!(served.yoi(&["worker", "call", "desk", "echo"]).code, 0);
}

#[test]
fn documents_name_their_schema() {
    let served = TestService::new();
    let digest = served.put();
    let (created, _) = served.json(&["worker", "create", "desk", "-p", "plain", "-b", &digest]);
    assert_eq!((&created["schema"], &created["created"]), (&json!("yoi.worker-create/1"), &json!(true)));
    let worker = &created["worker"];
    assert_eq!(
        (&worker["id"], &worker["state"], &worker["bundle"]),
        (&json!("desk"), &json!("running"), &json!(digest))
    );
    let (again, code) = served.json(&["worker", "create", "desk", "-p", "plain", "-b", &digest]);
    assert_eq!((code, &again["created"], &again["worker"]), (0, &json!(false), worker));
    let (shown, _) = served.json(&["worker", "show", "desk"]);
    assert_eq!((&shown["schema"], &shown["worker"]), (&json!("yoi.worker/1"), worker));
    assert_eq!((&shown["spec"]["tools"][0]["name"], &shown["spec"]["shell"]), (&json!("echo"), &json!(false)));
    let text = served.yoi(&["worker", "show", "desk"]).stdout;
    assert!(text.lines().any(|line| line.starts_with("tools") && line.contains("echo")), "{text}");
    let (list, _) = served.json(&["worker", "list"]);
    assert_eq!(list, json!({ "schema": "yoi.workers/1", "workers": [worker] }));
    let (called, _) = served.json(&["worker", "call", "desk", "echo", r#"{"text":"hello"}"#]);
    assert_eq!(
        called,
        json!({ "schema": "yoi.worker-call/1", "worker": "desk", "tool": "echo", "entry": 2, "output": { "said": "hello" } })
    );
    let (history, _) = served.json(&["worker", "history", "desk"]);
    assert_eq!((&history["schema"], &history["worker"]), (&json!("yoi.worker-history/1"), &json!("desk")));
    let entries: Vec<_> = history["entries"].as_array().expect("a list").iter().map(|entry| &entry["entry"]).collect();
    assert_eq!(entries, ["call_began", "call_ended"]);
    let (stopped, _) = served.json(&["worker", "stop", "desk"]);
    assert_eq!((&stopped["schema"], &stopped["worker"]["reason"]), (&json!("yoi.worker-stop/1"), &json!("requested")));
    let (shown, code) = served.json(&["worker", "show", "desk"]);
    assert_eq!((&shown["worker"]["state"], &shown["spec"], code), (&json!("stopped"), &json!(null), 0));
    let (error, code) = served.json(&["worker", "call", "desk", "echo"]);
    assert_eq!(
        (code, &error["code"], &error["details"]),
        (1, &json!("worker_stopped"), &json!({ "reason": "requested" }))
    );
    let (removed, code) = served.json(&["worker", "remove", "desk"]);
    assert_eq!((code, removed), (0, json!({ "schema": "yoi.worker-remove/1", "worker": "desk" })));
    let (error, code) = served.json(&["worker", "remove", "desk"]);
    assert_eq!((code, &error["code"]), (5, &json!("worker_not_found")));
    let (error, code) = served.json(&["worker", "show", "nobody"]);
    assert_eq!((code, &error["schema"], &error["code"]), (5, &json!("yoi.error/1"), &json!("worker_not_found")));
}

#[test]
fn denied_worker_is_reported_with_every_refusal() {
    let served = TestService::new();
    let digest = served.put();
    let create = ["worker", "create", "desk", "--profile", "trusted", "--bundle", &digest];
    let said = served.yoi(&create);
    assert_eq!((said.code, said.stdout.as_str()), (4, ""));
    snapshot!("worker_denied", said.stderr);
    let (error, code) = served.json(&create);
    assert_eq!((code, &error["code"]), (4, &json!("denied")));
    let refusals = error["details"]["refusals"].as_array().expect("a list");
    assert_eq!(refusals.iter().filter(|refusal| refusal["need"] == "required").count(), 2, "{error}");
    assert!(refusals.iter().all(|refusal| refusal["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty())));
}

#[test]
fn older_bundle_requires_allow_older() {
    let served = TestService::new();
    let older = served.put();
    team(&served.place, 2);
    served.put();
    let create = ["worker", "create", "desk", "--profile", "plain", "--bundle", &older];
    let said = served.yoi(&create);
    assert!(said.code == 3 && said.stderr.starts_with("error[revision_older]"), "{}", said.stderr);
    assert!(said.stderr.contains("--allow-older"), "{}", said.stderr);
    assert_eq!(served.yoi(&[&create[..], &["--allow-older"]].concat()).code, 0);
}
