//! `yoi backend`: a Backend with an embedded Runtime and one that cannot be reached, on the command line.

use std::time::Instant;

use serde_json::{Value, json};

use crate::runtime::{DEADLINE, ServiceProcess};
use crate::support::{CommandOutput, Place, snapshot};

/// A running Backend, and a token of each scope for the workspace `my-team`.
struct Site {
    place: Place,
    backend: ServiceProcess,
}

impl Site {
    fn new() -> Self {
        let place = Place::new();
        assert_eq!(place.yoi(&["backend", "init"]).code, 0);
        assert_eq!(place.yoi(&["runtime", "init"]).code, 0);
        let config = std::fs::read_to_string(place.path().join("backend.toml")).expect("a config");
        let runtimes = "[runtimes.here]\nconfig = \"runtime.toml\"\nlabels = { ring = \"canary\" }\nworkspaces = [\"*\"]\n\
                        [runtimes.far]\nurl = \"http://127.0.0.1:1\"\ntoken = \"far\"\nworkspaces = [\"my-team\"]\n\
                        [runtimes.closed]\npolls = true\nworkspaces = []\n";
        place.write("backend.toml", config.replace("127.0.0.1:7080", "127.0.0.1:0") + "\n" + runtimes);
        assert_eq!(place.yoi_given("yoi_0123456789abcdef_secret", &["secret", "set", "far"]).code, 0);
        let new =
            ["--name", "ops", "--workspace", "my-team", "--scope", "read,publish,workers,admin", "--out", "token"];
        let issued = place.yoi(&[&["backend", "token", "new", "--config", "backend.toml"], &new[..]].concat());
        assert_eq!(issued.code, 0, "{}", issued.stderr);
        let mut command = place.command();
        command.args(["backend", "serve", "--config", "backend.toml", "--log-format", "json"]);
        let log = place.path().join("log");
        command.stderr(std::fs::File::create(&log).expect("a log"));
        let backend = ServiceProcess::of(&mut command, || std::fs::read_to_string(&log).unwrap_or_default());
        Self { place, backend }
    }

    fn arguments<'a>(&'a self, url: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--url", url, "--token-file", "token"]].concat()
    }

    fn yoi(&self, arguments: &[&str]) -> CommandOutput {
        let url = self.backend.url();
        self.place.yoi(&self.arguments(&url, arguments))
    }

    fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let url = self.backend.url();
        self.place.json(&self.arguments(&url, arguments))
    }

    /// Publishes the bundle of the folder with another prompt.
    fn publish(&self, revision: u64, prompt: &str, more: &[&str]) -> Value {
        if revision == 1 {
            assert_eq!(self.place.yoi(&["bundle", "new", "my-team"]).code, 0);
        } else {
            assert_eq!(self.place.yoi(&["bundle", "bump", "my-team"]).code, 0);
        }
        self.place.write("my-team/prompts/more.md", prompt);
        let (document, code) = self.json(&[&["backend", "publish", "my-team"], more].concat());
        assert_eq!(code, 0, "{document}");
        document
    }
}

#[test]
fn fleet_is_managed_on_the_command_line() {
    let site = Site::new();
    let first = site.publish(1, "One.", &["--use"]);
    assert_eq!((&first["outcome"], &first["desired"]["target"]["generation"]), (&json!("published"), &json!(1)));
    let same = site.publish(2, "One.", &[]);
    assert_eq!((&same["outcome"], &same["bundle"]["digest"]), (&json!("unchanged"), &first["bundle"]["digest"]));

    // `far` cannot be reached, which delays `here` not at all.
    let (synced, code) = site.json(&["backend", "sync", "--require-all"]);
    assert_eq!(code, 4, "{synced}");
    assert_eq!((&synced["in_sync"], &synced["failed"], &synced["waiting"]), (&json!(1), &json!(1), &json!(0)));
    let text = site.yoi(&["backend", "sync", "--require-all"]);
    assert_eq!((text.code, text.stderr.as_str()), (4, "error: 1 of 2 Runtimes are not in sync\n"));

    // A stage: only `here` has the label.
    let second = site.publish(3, "Two.", &["--use", "--stage", "ring=canary"]);
    assert_ne!(second["bundle"]["digest"], first["bundle"]["digest"]);
    let (_, code) = site.json(&["backend", "sync", "--wait"]);
    assert_eq!(code, 0);
    let (status, _) = site.json(&["backend", "status"]);
    let desired = |name: &str| {
        let runtimes = status["runtimes"].as_array().expect("a list");
        let runtime = runtimes.iter().find(|runtime| runtime["name"] == name).expect("a Runtime");
        runtime["workspaces"]["my-team"]["desired"]["bundle"].clone()
    };
    assert_eq!(
        (desired("here"), desired("far")),
        (second["bundle"]["digest"].clone(), first["bundle"]["digest"].clone())
    );
    let (advanced, code) = site.json(&["backend", "advance"]);
    assert_eq!((code, &advanced["workspace"]["desired"]["rollout"]), (0, &Value::Null));
    assert_eq!(site.json(&["backend", "advance"]).0["code"], "no_rollout");
    let (back, code) = site.json(&["backend", "rollback"]);
    assert_eq!((code, &back["workspace"]["desired"]["target"]["bundle"]), (0, &first["bundle"]["digest"]));
    let (compared, _) = site.json(&["backend", "compare", first["bundle"]["digest"].as_str().expect("a digest")]);
    assert!(compared["changes"].to_string().contains("prompt"), "{compared}");
    let digest = second["bundle"]["digest"].as_str().expect("a digest");
    let prefix = &digest["sha256:".len()..][..8];
    assert_eq!(site.yoi(&["backend", "use", prefix]).code, 0);

    let (explained, code) = site.json(&["backend", "explain", "closed", "my-team"]);
    assert_eq!((code, &explained["explanation"]["allowed"]), (4, &json!(false)));
    assert!(explained.to_string().contains("add `my-team` to `workspaces` of [runtimes.closed]"), "{explained}");
    assert_eq!(site.yoi(&["backend", "explain", "here", "my-team"]).code, 0);

    let (runtimes, _) = site.json(&["backend", "runtimes"]);
    assert!(!runtimes.to_string().contains("127.0.0.1"), "{runtimes}");
    let added = ["backend", "runtimes", "add", "far", "--runtime-url", "https://far.example.com"];
    assert_eq!(site.json(&added).0["code"], "runtime_in_config");
    assert_eq!(site.yoi(&["backend", "runtimes", "token", "closed", "--out", "pull.token"]).code, 0);
    let (audit, _) = site.json(&["backend", "audit"]);
    let actions: Vec<_> = audit["entries"].as_array().expect("entries").iter().map(|entry| &entry["action"]).collect();
    for action in
        ["publish", "set_desired", "sync", "advance_rollout", "roll_back", "register_runtime", "issue_pull_token"]
    {
        assert!(actions.contains(&&json!(action)), "{action}: {audit}");
    }
    assert_eq!(site.backend.stop(), Some(0));
}

#[test]
fn workers_are_used_through_the_backend() {
    let site = Site::new();
    site.publish(1, "One.", &["--use"]);
    assert_eq!(site.yoi(&["backend", "sync", "--wait"]).code, 0);
    // The Backend passes on what is not granted, and no text of the Runtime.
    let denied = site.yoi(&["worker", "create", "notes", "--profile", "assistant"]);
    assert_eq!(denied.code, 4, "{}", denied.stderr);
    assert!(denied.stderr.contains("mount:files:read (required) [mount_not_granted]"), "{}", denied.stderr);
    let (table, code) = site.json(&["backend", "placements", "assistant"]);
    assert_eq!(code, 4, "{table}");
    let text = site.yoi(&["backend", "placements", "assistant"]);
    snapshot!("backend_placements", text.stdout);
    let config = std::fs::read_to_string(site.place.path().join("runtime.toml")).expect("a config");
    let mount =
        format!("[workspaces.my-team.mounts.files]\npath = \"{}\"\naccess = \"read\"\n", site.place.path().display());
    site.place.write("runtime.toml", config + "\n" + &mount);
    // The embedded Runtime follows its config.
    let deadline = Instant::now() + DEADLINE;
    while site.yoi(&["worker", "create", "notes", "--profile", "assistant"]).code != 0 {
        assert!(
            Instant::now() < deadline,
            "{}",
            std::fs::read_to_string(site.place.path().join("log")).expect("a log")
        );
    }
    let (list, _) = site.json(&["worker", "list"]);
    assert_eq!(list["workers"][0]["id"], "notes", "{list}");
    assert_eq!(site.yoi(&["worker", "show", "notes"]).code, 0);
    let (refused, code) = site.json(&["worker", "call", "notes", "none.such", "{}"]);
    assert_eq!((code, &refused["code"]), (5, &json!("tool_not_found")), "{refused}");
    assert_eq!(site.yoi(&["worker", "history", "notes"]).code, 0);
    assert_eq!(site.yoi(&["worker", "stop", "notes"]).code, 0);
    let (missing, code) = site.json(&["worker", "show", "none"]);
    assert_eq!((code, &missing["code"]), (5, &json!("worker_not_found")));
}

#[test]
fn config_with_a_mistake_is_refused_with_its_place() {
    let place = Place::new();
    let new = |text: &str| {
        place.write("backend.toml", text);
        place.json(&["backend", "serve", "--config", "backend.toml"])
    };
    for (text, expected) in [
        ("[workspaces.acme]\nruntimes = [\"*\", \"eu-1\"]\n", "`*` stands for all names"),
        ("[workspaces.acme]\nruntimes = [\"*\"]\n", "missing field `signatures`"),
        ("[workspace.acme]\n", "unknown field `workspace`"),
        ("[runtimes.eu-1]\nworkspaces = [\"*\"]\n", "it has no `url`, `config` or `polls`"),
        ("[runtimes.eu-1]\nworkspaces = [\"*\"]\npolls = true\nurl = \"https://x\"\n", "more than one of"),
        ("[runtimes.eu-1]\nworkspaces = [\"*\"]\nurl = \"https://x.example.com\"\n", "`token` is missing"),
    ] {
        let (refused, code) = new(text);
        assert_eq!(code, 3, "{refused}");
        assert!(refused.to_string().contains(expected), "{expected}: {refused}");
    }
}
