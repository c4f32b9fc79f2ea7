//! Decisions about plugins: for each rule a refused plugin, and a similar one that becomes part of the worker.

use bundles::{Bundle, Digest, PluginName};
use component_host::BundleView;
use host_policy::{
    HostPolicy, PackageFault, PackageFaults, Refusal, Request, ResolvedWorkerSpec, RuntimeConfig, enforce,
    verify_answer,
};
use serde_json::{Value, json};
use yoi_tests::{fixtures, sandboxes};

/// A bundle with the plugin `issues`, which offers a tool that reads and one with an external effect. `change` edits its
/// manifest.
fn bundle(change: impl Fn(&mut Value)) -> Bundle {
    let mut manifest = fixtures::bare_manifest();
    let plugin = json!({
        "version": "1.0.0", "package": { "digest": Digest::of("issues"), "size": 1 }, "world": "yoi:runtime/tool@1.0.0",
        "surfaces": ["tools"], "tools": { "issues.list": "read", "issues.open": "external" },
    });
    manifest["plugins"] = json!({ "issues": plugin });
    manifest["tools"] = json!({
        "issues.list": { "source": "plugin:issues", "effect": "read" },
        "issues.open": { "source": "plugin:issues", "effect": "external" },
    });
    let layer = json!({
        "plugins": { "append": ["issues"] }, "tools_allow": { "append": ["issues.list", "issues.open"] },
    });
    manifest["profiles"] = json!({ "main": { "layers": [layer] } });
    change(&mut manifest);
    fixtures::open(&manifest, Vec::new()).expect("a bundle")
}

fn grant() -> String {
    format!(
        r#"
        [workspaces.acme.plugins."{}"]
        name = "issues"
        surfaces = ["tools"]
        tools = ["issues.list", "issues.open"]
        effects = ["external", "read"]
        "#,
        Digest::of("issues")
    )
}

fn enforced(bundle: &Bundle, config: &str, faults: Option<&PackageFaults>) -> ResolvedWorkerSpec {
    let config = RuntimeConfig::from_toml(config).expect("a config");
    let (facts, request) = (fixtures::simple_facts(), Request::new("main".parse().expect("a name"), []));
    let view = BundleView::new(bundle.clone());
    let run = sandboxes::wait(sandboxes::shipped().resolve(&view, &facts, &request));
    let limits = bundles::BundleLimits::default();
    let answer = run.answer.expect("an answer");
    let resolution = verify_answer(bundle.manifest(), &facts, &request, &limits, answer).expect("honest");
    let workspace = &bundle.manifest().workspace.id;
    let policy = HostPolicy { config: &config, workspace, builtin: false, package_faults: faults };
    enforce(bundle.manifest(), &resolution.expect("a resolution"), policy).expect("a plugin is never required")
}

/// Returns the codes of the refusals of plugins, after checking that the tools of a refused plugin are gone too.
fn refused(spec: &ResolvedWorkerSpec) -> Vec<&'static str> {
    let of = |kind: &'static str| move |refusal: &&Refusal| refusal.subject.starts_with(kind);
    let refusals: Vec<&Refusal> = spec.narrowed().iter().filter(of("plugin:")).collect();
    for refusal in spec.narrowed() {
        assert!(!refusal.reason.is_empty() && !refusal.remedy.is_empty());
    }
    for tool in spec.narrowed().iter().filter(of("tool:")) {
        assert_eq!(tool.rule.code(), "tool_without_plugin");
        // The tool names the rule and the remedy of its plugin.
        let names =
            |plugin: &&Refusal| tool.reason.contains(plugin.rule.code().as_str()) && tool.remedy == plugin.remedy;
        assert!(refusals.iter().any(names), "{tool:?}");
    }
    let granted = spec.plugins().len();
    assert!(spec.tools().is_empty() || granted > 0, "{:?}", spec.tools());
    refusals.iter().map(|refusal| refusal.rule.code().as_str()).collect()
}

fn code(config: &str) -> Vec<&'static str> {
    refused(&enforced(&bundle(|_| {}), config, None))
}

#[test]
fn granted_plugin_is_part_of_the_worker_with_its_tools() {
    let spec = enforced(&bundle(|_| {}), &grant(), Some(&PackageFaults::new()));
    assert_eq!(refused(&spec), [""; 0]);
    assert_eq!(spec.plugins().iter().map(PluginName::as_ref).collect::<Vec<_>>(), ["issues"]);
    assert_eq!(spec.tools().len(), 2);
}

#[test]
fn each_part_of_a_grant_is_needed() {
    let with = |from: &str, to: &str| {
        let config = grant().replace(from, to);
        assert_ne!(config, grant());
        code(&config)
    };
    assert_eq!(code("[workspaces.acme]\n"), ["plugin_not_granted"]);
    assert_eq!(with("workspaces.acme", "workspaces.other"), ["plugin_not_granted"]);
    assert_eq!(with("name = \"issues\"", "name = \"other\""), ["plugin_not_granted"]);
    assert_eq!(
        with(&Digest::of("issues").to_string(), &Digest::of("another version").to_string()),
        ["plugin_grant_outdated"]
    );
    assert_eq!(with("surfaces = [\"tools\"]", "surfaces = [\"service\"]"), ["surface_not_granted"]);
    assert_eq!(with(", \"issues.open\"", ""), ["tool_not_granted"]);
    assert_eq!(with("\"external\", ", ""), ["external_effect_not_granted"]);
    assert_eq!(with(", \"read\"", ""), ["effect_not_granted"]);
}

#[test]
fn tools_that_a_profile_does_not_select_need_no_grant() {
    let reads_only = bundle(|manifest| {
        manifest["profiles"]["main"]["layers"][0]["tools_allow"] = json!({ "append": ["issues.list"] });
    });
    let config = grant().replace(", \"issues.open\"", "").replace("\"external\", ", "");
    let spec = enforced(&reads_only, &config, None);
    assert_eq!((refused(&spec), spec.tools().len()), (vec![], 1));
}

#[test]
fn ceiling_of_the_bundle_counts_beside_the_grant() {
    let denied = bundle(|manifest| manifest["policy"] = json!({ "plugins": { "deny": ["issues"] } }));
    assert_eq!(refused(&enforced(&denied, &grant(), None)), ["bundle_policy_denied"]);
    let allowed = bundle(|manifest| manifest["policy"] = json!({ "plugins": { "allow": ["issues"] } }));
    assert_eq!(refused(&enforced(&allowed, &grant(), None)), [""; 0]);
}

#[test]
fn plugins_with_a_tool_of_the_same_name_are_both_refused() {
    let two = |selected: bool| {
        bundle(move |manifest| {
            let mut other = manifest["plugins"]["issues"].clone();
            other["package"]["digest"] = json!(Digest::of("other"));
            manifest["plugins"]["other"] = other;
            if selected {
                manifest["profiles"]["main"]["layers"][0]["plugins"] = json!({ "append": ["issues", "other"] });
            }
        })
    };
    let config = grant()
        + &grant()
            .replace("\"issues\"", "\"other\"")
            .replace(&Digest::of("issues").to_string(), &Digest::of("other").to_string());
    assert_eq!(refused(&enforced(&two(true), &config, None)), ["duplicate_tool", "duplicate_tool"]);
    assert_eq!(refused(&enforced(&two(false), &config, None)), [""; 0]);

    let clash = bundle(|manifest| {
        manifest["plugins"]["issues"]["tools"]["fs.read"] = json!("read");
        manifest["tools"]["fs.read"] = json!({ "source": "host", "effect": "read" });
    });
    assert_eq!(refused(&enforced(&clash, &grant(), None)), ["duplicate_tool"]);
}

#[test]
fn fault_of_the_package_refuses_a_granted_plugin() {
    let text = || "a reason".to_owned();
    for (fault, code) in [
        (PackageFault::Missing, "package_missing"),
        (PackageFault::Damaged, "package_damaged"),
        (PackageFault::Invalid(text()), "package_invalid"),
        (PackageFault::Mismatch(text()), "descriptor_mismatch"),
        (PackageFault::UnsupportedWorld(text()), "unsupported_world"),
        (PackageFault::InvalidSchema(text()), "invalid_schema"),
        (PackageFault::ForeignImport(vec![text()]), "import_not_allowed"),
        (PackageFault::Unloadable(text()), "component_refused"),
        (PackageFault::NotLoaded { reason: text(), remedy: text() }, "component_not_loaded"),
        (PackageFault::InvalidConfig(text()), "plugin_config_invalid"),
        (PackageFault::HostTool("issues.list".parse().expect("a name")), "duplicate_tool"),
    ] {
        let faults = PackageFaults::from([("issues".parse().expect("a name"), fault)]);
        assert_eq!(refused(&enforced(&bundle(|_| {}), &grant(), Some(&faults))), [code]);
    }
}

#[test]
fn grant_is_part_of_the_policy_digest_and_no_grant_leaves_it_as_it_was() {
    let digest = |config: &str| {
        let config = RuntimeConfig::from_toml(config).expect("a config");
        config.digest(&"acme".parse().expect("an id"))
    };
    assert_ne!(digest(&grant()), digest("[workspaces.acme]\n"));
    assert_ne!(digest(&grant()), digest(&grant().replace(", \"read\"", "")));
    assert_eq!(digest("[workspaces.acme.plugins]\n"), digest("[workspaces.acme]\n"));
    let unknown = grant() + "methods = []\n";
    assert!(RuntimeConfig::from_toml(&unknown).expect_err("an unknown key").to_string().contains("methods"));
}
