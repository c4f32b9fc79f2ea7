//! Enforcement of the host's grants and of the bundle's ceiling on real resolutions: for each rule a refused
//! request and a similar one that passes.

use bundles::{Bundle, Need};
use component_host::BundleView;
use host_policy::{
    Facts, HostPolicy, Refusal, Request, Resolution, ResolvedWorkerSpec, RuntimeConfig, enforce, verify_answer,
};
use serde_json::{Value, json};
use yoi_tests::{fixtures, sandboxes};

fn bundle(layer: &Value, policy: &Value) -> Bundle {
    let mut manifest = fixtures::bare_manifest();
    manifest["profiles"] = json!({ "main": { "layers": [layer] } });
    manifest["tools"] = json!({
        "fs.read": { "source": "host", "effect": "read" },
        "issue.list": { "source": "plugin:issues", "effect": "external" },
    });
    let package = json!({ "digest": bundles::Digest::of("p"), "size": 1 });
    manifest["plugins"] =
        json!({ "issues": { "version": "1.0.0", "package": package, "world": "yoi:runtime/tool@1.0.0" } });
    manifest["models"] = json!({ "large": { "provider": "somebody", "model": "something", "secret": "model-key" } });
    if *policy != json!({}) {
        manifest["policy"] = policy.clone();
    }
    fixtures::open(&manifest, Vec::new()).expect("a bundle")
}

fn resolve(bundle: &Bundle, facts: &Facts) -> Resolution {
    let (view, request) = (BundleView::new(bundle.clone()), Request::new("main".parse().expect("a name"), []));
    let run = sandboxes::wait(sandboxes::shipped().resolve(&view, facts, &request));
    verify_answer(bundle.manifest(), facts, &request, &bundles::BundleLimits::default(), run.answer.expect("an answer"))
        .expect("honest")
        .expect("a resolution")
}

fn enforced(layer: &Value, policy: &Value, config: &str) -> Result<ResolvedWorkerSpec, Vec<Refusal>> {
    let bundle = bundle(layer, policy);
    let config = RuntimeConfig::from_toml(config).expect("a config");
    let platform = |text: &str| text.parse().expect("a platform");
    let facts =
        config.facts(&bundle.manifest().workspace.id, platform("linux"), platform("x86_64"), &component_host::WORLDS);
    enforce(
        bundle.manifest(),
        &resolve(&bundle, &facts),
        HostPolicy {
            config: &config,
            workspace: &bundle.manifest().workspace.id,
            builtin: false,
            package_faults: None,
        },
    )
}

fn wishes(required: &[&str], optional: &[&str]) -> Value {
    let wish = |need: &'static str| move |authority: &&str| json!({ "authority": authority, "need": need });
    json!({ "wishes": required.iter().map(wish("required")).chain(optional.iter().map(wish("optional"))).collect::<Vec<_>>() })
}

/// Returns the code of the rule that refuses one wish, required and optional.
fn rule_of(authority: &str, policy: &Value, config: &str) -> Option<&'static str> {
    let required = enforced(&wishes(&[authority], &[]), policy, config);
    let optional = enforced(&wishes(&[], &[authority]), policy, config).expect("an optional wish refuses no worker");
    let narrowed = optional.narrowed().iter().map(|refusal| refusal.rule.code().as_str()).next();
    match required {
        Ok(spec) => {
            assert_eq!((spec.narrowed().len(), narrowed), (0, None), "{authority}");
            None
        }
        Err(refusals) => {
            let [refusal] = refusals.as_slice() else { panic!("one refusal: {refusals:?}") };
            assert_eq!((refusal.subject.as_str(), Some(refusal.rule.code().as_str())), (authority, narrowed));
            assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty());
            Some(refusal.rule.code().as_str())
        }
    }
}

const CONFIG: &str = r#"
    [workspaces.acme]
    secrets = ["token"]
    git = "read"
    mounts.docs = { path = "/canary/docs", access = "read" }
    mounts.repo = { path = "/canary/repo", access = "write" }
    egress = [{ scheme = "https", host = "api.example.com", methods = ["GET"], path_prefixes = ["/v1"] }]
"#;

#[test]
fn each_rule_refuses_its_request_and_a_similar_one_passes() {
    let none = json!({});
    for (authority, rule) in [
        ("secret:token", None),
        ("secret:other", Some("secret_not_granted")),
        ("mount:repo:read", None),
        ("mount:repo:write", None),
        ("mount:docs:read", None),
        ("mount:docs:write", Some("mount_read_only")),
        ("mount:other:read", Some("mount_not_granted")),
        ("egress:https://api.example.com/v1", None),
        ("egress:https://api.example.com/v1/users", None),
        ("egress:https://api.example.com/v10", Some("egress_not_granted")),
        ("egress:https://api.example.com/", Some("egress_not_granted")),
        ("egress:http://api.example.com/v1", Some("egress_not_granted")),
        ("egress:https://api.example.com:8443/v1", Some("egress_not_granted")),
        ("shell", Some("shell_not_granted")),
        ("git:read", None),
        ("git:write", Some("git_read_only")),
    ] {
        assert_eq!(rule_of(authority, &none, CONFIG), rule, "{authority}");
    }
    assert_eq!(rule_of("shell", &none, "[workspaces.acme]\nshell = true"), None);
    assert_eq!(rule_of("git:read", &none, "[workspaces.acme]"), Some("git_not_granted"));
    assert_eq!(rule_of("git:write", &none, "[workspaces.acme]\ngit = \"write\""), None);
}

#[test]
fn workspace_that_the_config_does_not_name_is_granted_nothing() {
    for authority in ["secret:token", "mount:repo:read", "egress:https://api.example.com/v1", "shell", "git:read"] {
        assert!(rule_of(authority, &json!({}), &CONFIG.replace("acme", "other")).is_some(), "{authority}");
    }
    let tool = json!({ "tools_allow": { "append": ["fs.read"] } });
    let config = |workspace: &str| format!("[host]\ncapabilities = [\"tool:fs.read\"]\n[workspaces.{workspace}]\n");
    let refusals = enforced(&tool, &json!({}), &config("other")).expect_err("refused");
    assert_eq!(refusals[0].rule.code().as_str(), "unsupported_declaration");
    assert!(enforced(&tool, &json!({}), &config("acme")).is_ok());
}

#[test]
fn model_is_checked_against_the_config_and_not_only_the_facts() {
    let bundle = bundle(&json!({ "models": { "append": ["large"] } }), &json!({}));
    let mut facts = fixtures::simple_facts();
    facts.models = std::iter::once("large".parse().expect("a name")).collect();
    let resolution = resolve(&bundle, &facts);
    let rule = |config: &str| {
        let config = RuntimeConfig::from_toml(config).expect("a config");
        let policy = HostPolicy {
            config: &config,
            workspace: &bundle.manifest().workspace.id,
            builtin: false,
            package_faults: None,
        };
        enforce(bundle.manifest(), &resolution, policy).map_err(|refusals| refusals[0].rule.code())
    };
    let granted = "[host]\nmodels = [\"large\", \"small\"]\n[workspaces.acme]\nsecrets = [\"model-key\"]\n";
    let spec = rule(granted).expect("a spec");
    assert_eq!(spec.model().map(|model| model.name.as_str()), Some("large"));
    assert_eq!(rule(&format!("{granted}models = [\"small\"]")).map_err(|code| code.as_str()), Err("model_not_granted"));
    assert_eq!(rule(&granted.replace("\"large\", ", "")).map_err(|code| code.as_str()), Err("model_not_granted"));
    assert!(rule(&format!("{granted}models = [\"large\"]")).is_ok());
    // The remedy names each list that lacks it, and adds to the lists that exist.
    for (config, remedy) in [
        (granted.replace("\"large\", ", ""), "add `\"large\"` to `models` under [host] in the host's config"),
        (
            granted.replace("models = [\"large\", \"small\"]", ""),
            "write `models = [\"large\"]` under [host] in the host's config",
        ),
        (
            format!("{granted}models = [\"small\"]"),
            "add `\"large\"` to `models` under [workspaces.acme] in the host's config",
        ),
        (
            format!("{}models = []", granted.replace("\"large\", ", "")),
            "add `\"large\"` to `models` under [host] and write `models = [\"large\"]` under [workspaces.acme] in the host's config",
        ),
        ("[host]\nmodels = [\"large\"]".to_owned(), "write the section [workspaces.acme] in the host's config"),
    ] {
        let config = RuntimeConfig::from_toml(&config).expect("a config");
        let policy = HostPolicy {
            config: &config,
            workspace: &bundle.manifest().workspace.id,
            builtin: false,
            package_faults: None,
        };
        let refusals = enforce(bundle.manifest(), &resolution, policy).expect_err("refused");
        let told = refusals.iter().find(|refusal| refusal.subject == "model:large").expect("a refusal");
        assert_eq!(told.remedy, remedy);
    }
}

#[test]
fn ceiling_of_the_bundle_narrows_the_grants_of_the_host() {
    let all = "[workspaces.acme]\nshell = true\ngit = \"write\"\nsecrets = [\"token\"]\negress = [{ scheme = \"https\", host = \"api.example.com\", methods = [\"GET\"], path_prefixes = [\"/\"] }]";
    let deny = json!({ "authorities": { "deny": ["git:write", "egress:https://api.example.com/admin"] } });
    for (authority, rule) in [
        ("git:write", Some("bundle_policy_denied")),
        ("git:read", None),
        ("shell", None),
        ("egress:https://api.example.com/admin", Some("bundle_policy_denied")),
        ("egress:https://api.example.com/admin/users", Some("bundle_policy_denied")),
        // A prefix that includes the denied path would reach it.
        ("egress:https://api.example.com/", Some("bundle_policy_denied")),
        ("egress:https://api.example.com/public", None),
    ] {
        assert_eq!(rule_of(authority, &deny, all), rule, "{authority}");
    }
    let allow = json!({ "authorities": { "allow": ["shell", "git:write"] } });
    for (authority, rule) in
        [("shell", None), ("git:read", None), ("git:write", None), ("secret:token", Some("bundle_policy_denied"))]
    {
        assert_eq!(rule_of(authority, &allow, all), rule, "{authority}");
    }
    let both = json!({ "authorities": { "allow": ["shell"], "deny": ["shell"] } });
    assert_eq!(rule_of("shell", &both, all), Some("bundle_policy_denied"), "deny wins");
    let nothing = json!({ "authorities": { "allow": [] } });
    assert_eq!(rule_of("shell", &nothing, all), Some("bundle_policy_denied"), "an empty list allows nothing");
}

#[test]
fn ceiling_of_the_bundle_does_not_grant_access() {
    let allow = json!({ "authorities": { "allow": ["shell"] } });
    assert_eq!(rule_of("shell", &allow, CONFIG), Some("shell_not_granted"));
}

#[test]
fn all_refusals_are_reported_together() {
    let refusals = enforced(&wishes(&["secret:a", "shell"], &["git:write", "mount:repo:read"]), &json!({}), CONFIG)
        .expect_err("refused");
    let found: Vec<_> = refusals.iter().map(|refusal| (refusal.subject.as_str(), refusal.need)).collect();
    assert_eq!(found, [("secret:a", Need::Required), ("shell", Need::Required), ("git:write", Need::Optional)]);
}

#[test]
fn spec_contains_exactly_the_granted_wishes() {
    let layer = wishes(
        &["mount:repo:read"],
        &["mount:repo:write", "secret:token", "secret:other", "git:read", "egress:https://api.example.com/v1/users"],
    );
    let spec = enforced(&layer, &json!({}), CONFIG).expect("a spec");
    let mounts: Vec<_> = spec.mounts().iter().map(|mount| (mount.label.as_str(), mount.access.as_str())).collect();
    assert_eq!(mounts, [("repo", "write")]);
    assert_eq!(spec.secrets().iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["token"]);
    assert_eq!(spec.egress().iter().map(ToString::to_string).collect::<Vec<_>>(), ["https://api.example.com/v1/users"]);
    assert_eq!((spec.shell(), spec.git().map(|git| git.access.as_str())), (false, Some("read")));
    let text = format!("{spec:?}{}", serde_json::to_string(&spec).expect("JSON"));
    assert!(!text.contains("canary"), "a host path has left the policy");
}

#[test]
fn secret_of_the_chosen_model_is_a_required_wish() {
    let layer = json!({ "models": { "append": ["large"] } });
    let config = |secrets: &str| format!("[host]\nmodels = [\"large\"]\n[workspaces.acme]\nsecrets = [{secrets}]");
    let spec = enforced(&layer, &json!({}), &config("\"model-key\"")).expect("a spec");
    assert_eq!(spec.model().map(|model| model.name.as_str()), Some("large"));
    assert_eq!(spec.secrets().iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["model-key"]);
    let refusals = enforced(&layer, &json!({}), &config("")).expect_err("refused");
    assert_eq!((refusals[0].subject.as_str(), refusals[0].need), ("secret:model-key", Need::Required));
}

#[test]
fn selected_host_tool_that_the_runtime_lacks_is_refused() {
    let layer = json!({ "tools_allow": { "append": ["fs.read"] } });
    let refusals = enforced(&layer, &json!({}), "[workspaces.acme]").expect_err("refused");
    assert_eq!(refusals[0].rule.code().as_str(), "unsupported_declaration");
    let remedy = |config: &str| enforced(&layer, &json!({}), config).expect_err("refused")[0].remedy.clone();
    assert!(refusals[0].remedy.starts_with("write `capabilities = [\"tool:fs.read\"]` under [host]"), "{refusals:?}");
    // An existing list is extended, because a new one would remove its other entries.
    let others = remedy("[host]\ncapabilities = [\"gpu\"]\n[workspaces.acme]");
    assert!(others.starts_with("add `\"tool:fs.read\"` to `capabilities` under [host]"), "{others}");
    let unnamed = remedy("[host]\ncapabilities = [\"tool:fs.read\"]");
    assert!(unnamed.starts_with("write the section [workspaces.acme] in the host's config"), "{unnamed}");
    let has = "[host]\ncapabilities = [\"tool:fs.read\"]\n[workspaces.acme]";
    let spec = enforced(&layer, &json!({}), has).expect("a spec");
    assert_eq!(spec.tools().iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["fs.read"]);
    assert!(enforced(&json!({ "language": "en" }), &json!({}), "[workspaces.acme]").is_ok());
}

#[test]
fn denied_or_ungranted_tools_and_plugins_narrow_the_worker() {
    let layer = json!({ "tools_allow": { "append": ["fs.read", "issue.list"] }, "plugins": { "append": ["issues"] } });
    let has = "[host]\ncapabilities = [\"tool:fs.read\"]\n[workspaces.acme]";
    let spec = enforced(&layer, &json!({}), has).expect("a spec");
    let narrowed: Vec<_> =
        spec.narrowed().iter().map(|refusal| (refusal.subject.as_str(), refusal.rule.code().as_str())).collect();
    assert_eq!(narrowed, [("plugin:issues", "plugin_not_granted"), ("tool:issue.list", "tool_without_plugin")]);
    assert!(spec.plugins().is_empty());
    let policy = json!({ "tools": { "deny": ["fs.read"] }, "plugins": { "allow": [] } });
    let spec = enforced(&layer, &policy, has).expect("a spec");
    assert!(spec.tools().is_empty());
    assert!(
        spec.narrowed()
            .iter()
            .any(|refusal| refusal.subject == "tool:fs.read" && refusal.rule.code().as_str() == "bundle_policy_denied")
    );
    assert!(
        spec.narrowed()
            .iter()
            .any(|refusal| refusal.subject == "plugin:issues" && refusal.rule.code().as_str() == "bundle_policy_denied")
    );
}

#[test]
fn line_in_a_remedy_grants_the_refused_wish() {
    for authority in [
        "secret:other",
        "mount:other:write",
        "egress:https://other.example.com/a",
        "egress:https://other.example.com:8443/v2",
        "egress:http://192.0.2.7:81/",
        "egress:https://[2001:db8::1]:8443/",
        "egress:https://[2001:db8::1]/",
        "egress:wss://other.example.com/feed",
        "shell",
        "git:write",
    ] {
        let refusals = enforced(&wishes(&[authority], &[]), &json!({}), "[workspaces.acme]").expect_err("refused");
        assert!(refusals[0].remedy.starts_with("write `"), "{}", refusals[0].remedy);
        let line = refusals[0].remedy.split('`').nth(1).expect("a line").replace('…', "/somewhere");
        let config = format!("[workspaces.acme]\n{line}\n");
        let granted = enforced(&wishes(&[authority], &[]), &json!({}), &config);
        assert!(granted.is_ok(), "{config}{granted:?}");
    }
}

#[test]
fn remedy_extends_an_existing_list_and_changes_an_existing_value() {
    let item = |remedy: &str| remedy.split('`').nth(1).expect("an item").to_owned();
    let written = |lines: &str| format!("[workspaces.acme]\n{lines}\n");
    let (one, two) = (
        "secrets = [\"one\"]",
        "egress = [{ scheme = \"https\", host = \"a.example.com\", methods = [\"GET\"], path_prefixes = [\"/\"] }]",
    );
    for (authority, lines, list) in
        [("secret:other", one, "secrets"), ("egress:https://b.example.com:8443/v2", two, "egress")]
    {
        let refusals = enforced(&wishes(&[authority], &[]), &json!({}), &written(lines)).expect_err("refused");
        let remedy = &refusals[0].remedy;
        assert!(remedy.starts_with("add `") && remedy.contains(&format!("to `{list}`")), "{remedy}");
        let lines = lines.replacen('[', &format!("[{}, ", item(remedy)), 1);
        assert!(enforced(&wishes(&[authority], &[]), &json!({}), &written(&lines)).is_ok(), "{lines}");
    }
    for (authority, lines) in [
        ("git:write", "git = \"read\""),
        ("mount:repo:write", "mounts.repo = { path = \"/somewhere\", access = \"read\" }"),
    ] {
        let refusals = enforced(&wishes(&[authority], &[]), &json!({}), &written(lines)).expect_err("refused");
        assert!(refusals[0].remedy.starts_with("change "), "{}", refusals[0].remedy);
    }
}

#[test]
fn built_in_profile_is_refused_if_the_workspace_requires_a_bundle() {
    let bundle = bundle(&json!({ "language": "en" }), &json!({}));
    let facts = fixtures::simple_facts();
    let resolution = resolve(&bundle, &facts);
    let config = RuntimeConfig::from_toml("[workspaces.acme]\nrequire_bundle = true").expect("a config");
    let policy = |builtin| HostPolicy {
        config: &config,
        workspace: &bundle.manifest().workspace.id,
        builtin,
        package_faults: None,
    };
    assert!(enforce(bundle.manifest(), &resolution, policy(false)).is_ok());
    let refusals = enforce(bundle.manifest(), &resolution, policy(true)).expect_err("refused");
    assert_eq!(refusals[0].rule.code().as_str(), "bundle_required");
}
