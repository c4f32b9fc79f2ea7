//! The impact of a new bundle, compared with resolving everything with both bundles.

use std::sync::Arc;

use bundles::{Bundle, Digest};
use component_host::{BundleView, Resolver};
use host_policy::{Facts, HostPolicy, Request, RuntimeConfig, enforce};
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_runtime::impact::{BundleSide, Impact};
use worker_runtime::report::ReportedValues;
use worker_runtime::{Inputs, Record, Resolutions};
use yoi_tests::{fixtures, sandboxes};

/// Names of each kind of declaration. Each bundle declares some of them.
const NAMES: [&str; 3] = ["a", "b", "c"];
const KINDS: [&str; 5] = ["prompts", "tools", "plugins", "workflows", "models"];
const MAX_PROFILES: usize = 5;

/// A choice of the content of a bundle. Every list has a value for each item, so that one change is one other number.
#[derive(Debug, Clone)]
struct Draft {
    /// By profile: `None` if the bundle does not have it, or the seed of its content.
    profiles: Vec<Option<u32>>,
    /// By kind and name: 0 if the bundle does not have it, or the version of its content.
    declared: Vec<u32>,
    language: u32,
    policy: u32,
}

fn draft() -> impl Strategy<Value = Draft> {
    let profiles = proptest::collection::vec(proptest::option::weighted(0.9, any::<u32>()), MAX_PROFILES);
    let declared = proptest::collection::vec(prop_oneof![1 => Just(0u32), 6 => 1..3u32], KINDS.len() * NAMES.len());
    (profiles, declared).prop_map(|(profiles, declared)| Draft { profiles, declared, language: 0, policy: 0 })
}

/// A change of one part of a draft.
fn change() -> impl Strategy<Value = (usize, Option<u32>)> {
    (0..MAX_PROFILES + KINDS.len() * NAMES.len() + 2, proptest::option::weighted(0.8, any::<u32>()))
}

impl Draft {
    fn changed(mut self, changes: &[(usize, Option<u32>)]) -> Self {
        for (at, to) in changes {
            let declared = at.checked_sub(MAX_PROFILES);
            match declared {
                None => self.profiles[*at] = *to,
                Some(at) if at < self.declared.len() => self.declared[at] = to.map_or(0, |version| 1 + version % 2),
                Some(at) if at == self.declared.len() => self.language = to.unwrap_or(0) % 2,
                Some(_) => self.policy = to.unwrap_or(0) % 2,
            }
        }
        self
    }

    fn version(&self, kind: usize, name: usize) -> u32 {
        self.declared[kind * NAMES.len() + name]
    }

    /// Returns the declared names of a kind that the bits of a seed select.
    fn names(&self, kind: usize, seed: u32) -> Vec<&'static str> {
        let is_named = |name: &usize| self.version(kind, *name) > 0 && seed >> (kind * 3 + name) & 1 == 1;
        (0..NAMES.len()).filter(is_named).map(|name| NAMES[name]).collect()
    }

    fn profile(&self, number: usize, seed: u32) -> Value {
        let parents: Vec<String> = (0..number)
            .rev()
            .filter(|parent| self.profiles[*parent].is_some() && seed >> (20 + parent) & 1 == 1)
            .map(|parent| format!("p{parent}"))
            .take(1)
            .collect();
        let list = |kind| json!({ "append": self.names(kind, seed) });
        let mut layer =
            json!({ "settings": { "seed": seed % 3 }, "wishes": [{ "authority": "shell", "need": "optional" }] });
        for (kind, key) in ["instructions", "tools_allow", "plugins", "workflows", "models"].into_iter().enumerate() {
            if !self.names(kind, seed).is_empty() {
                layer[key] = list(kind);
            }
        }
        if seed.is_multiple_of(5) {
            layer["language"] = json!("de");
        }
        let mut layers = vec![layer];
        if seed.is_multiple_of(2) {
            layers.push(json!({ "when": ["has:git"], "settings": { "git": true } }));
        }
        if parents.is_empty() { json!({ "layers": layers }) } else { json!({ "extends": parents, "layers": layers }) }
    }

    fn bundle(&self) -> Bundle {
        let mut manifest = fixtures::bare_manifest();
        let mut blobs: Vec<Arc<[u8]>> = Vec::new();
        for (number, seed) in self.profiles.iter().enumerate() {
            if let Some(seed) = seed {
                manifest["profiles"][format!("p{number}")] = self.profile(number, *seed);
            }
        }
        for (kind, field) in KINDS.into_iter().enumerate() {
            for (name, text) in NAMES.into_iter().enumerate() {
                let version = self.version(kind, name);
                if version == 0 {
                    continue;
                }
                let content = format!("{text} {version}");
                manifest[field][text] = match field {
                    "prompts" => {
                        let prompt = json!({ "text": { "digest": Digest::of(&content), "size": content.len() } });
                        blobs.push(content.into_bytes().into());
                        prompt
                    }
                    "tools" => json!({ "source": "host", "effect": if version == 1 { "read" } else { "write" } }),
                    "plugins" => json!({
                        "version": format!("{version}.0.0"), "package": { "digest": Digest::of("package"), "size": 7 },
                        "world": "yoi:runtime/tool@1.0.0",
                    }),
                    "workflows" => json!({ "reference": format!("workflow://some/v{version}") }),
                    _ => json!({ "provider": "somebody", "model": content }),
                };
            }
        }
        manifest["language"] = json!(if self.language == 0 { "en" } else { "fr" });
        if self.policy == 1 {
            manifest["policy"] = json!({ "authorities": { "deny": ["shell"] } });
        }
        fixtures::open(&manifest, blobs).unwrap_or_else(|error| panic!("{error}: {manifest}"))
    }
}

fn hosts() -> [Facts; 2] {
    [
        json!({ "os": "linux", "arch": "x86_64" }),
        json!({ "os": "linux", "arch": "x86_64", "models": ["a", "b"], "capabilities": ["git", "tool:a", "tool:b", "tool:c"] }),
    ]
    .map(|facts| fixtures::facts(&facts))
}

fn config() -> RuntimeConfig {
    let text = "[host]\ncapabilities = ['git', 'tool:a', 'tool:b', 'tool:c']\nmodels = ['a', 'b']\n[workspaces.acme]\nshell = true\n";
    RuntimeConfig::from_toml(text).expect("a config")
}

/// Resolves a request and returns everything that a worker gets from it, with the declarations.
async fn oracle(resolver: &Resolver, side: &BundleSide, inputs: &Inputs, config: Option<&RuntimeConfig>) -> Value {
    let resolved = match Resolutions::with_capacity(0).resolve(resolver, &side.view, inputs).await {
        Ok(resolved) => resolved,
        Err(error) => return json!(error.to_string()),
    };
    let (manifest, resolution) = (side.view.bundle().manifest(), resolved.resolution());
    let enforced = config.map(|config| {
        let policy = HostPolicy { config, workspace: &manifest.workspace.id, builtin: false, package_faults: None };
        enforce(manifest, resolution, policy)
    });
    let (spec, refused) = match enforced {
        Some(Ok(spec)) => (Some(spec), None),
        Some(Err(refused)) => (None, Some(refused)),
        None => (None, None),
    };
    let values = serde_json::to_value(ReportedValues::new(manifest, resolution, spec.as_ref())).expect("JSON");
    let names = |field: &str| -> Vec<String> {
        let names = values[field].as_array().expect("a list").iter();
        names.map(|one| one["name"].as_str().or(one.as_str()).expect("a name").to_owned()).collect()
    };
    let tools: Vec<_> = names("tools").iter().map(|name| json!(manifest.tools.get(name.as_str()))).collect();
    let plugins: Vec<_> = names("plugins").iter().map(|name| json!(manifest.plugins.get(name.as_str()))).collect();
    let workflows: Vec<_> =
        names("workflows").iter().map(|name| json!(manifest.workflows.get(name.as_str()))).collect();
    json!([values, tools, plugins, workflows, refused])
}

async fn record(resolver: &Resolver, side: &BundleSide, inputs: &Inputs) -> Record {
    match Resolutions::with_capacity(0).run(resolver, &side.view, inputs).await {
        Ok(resolved) => Record::new(inputs, &resolved, *resolved.digests()),
        Err(failed) => Record::of_failure(inputs, &failed),
    }
}

fn side(bundle: Bundle) -> BundleSide {
    let workspace = bundle.manifest().workspace.id.clone();
    BundleSide { view: BundleView::new(bundle), builtin: false, workspace }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn impact_is_what_resolving_everything_with_both_bundles_finds(
        before in draft(),
        changes in proptest::collection::vec(change(), 0..4),
        enforced in any::<bool>(),
    ) {
        let resolver = sandboxes::shipped();
        let after = before.clone().changed(&changes);
        let (before, after) = (side(before.bundle()), side(after.bundle()));
        let config = enforced.then(config);
        let config = config.as_ref();
        let impact = Impact::new(&resolver, &before, &after, config);
        sandboxes::wait(async {
            for facts in &hosts() {
                for number in 0..=MAX_PROFILES {
                    let request = Request::new(format!("p{number}").parse().expect("a name"), []);
                    let inputs = Inputs::new(facts.clone(), request.clone());
                    let old = oracle(&resolver, &before, &inputs, config).await;
                    let new = oracle(&resolver, &after, &inputs, config).await;
                    let recorded = record(&resolver, &before, &inputs).await;
                    for known in [None, Some(&recorded)] {
                        let effect = impact.of_request([facts, facts], &request, known).await.expect("an effect");
                        prop_assert_eq!(effect.fields.is_empty(), old == new, "p{} {:?}: {} {}", number, effect, old, new);
                        let most = if known.is_some() { 1 } else { 2 };
                        prop_assert!(effect.computed <= most);
                        let fails = old == new && recorded.failure().is_some();
                        prop_assert_eq!(effect.failure.is_some(), fails);
                        prop_assert!(!effect.fields.is_empty() || effect.values.is_empty());
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn resolution_that_uses_nothing_that_differs_is_not_computed() {
    let resolver = sandboxes::shipped();
    let layer =
        |value: u32| json!({ "layers": [{ "settings": { "a": value }, "instructions": { "append": ["hello"] } }] });
    let bundle = |changed: u32, more: Option<&str>| {
        let mut profiles = json!({ "base": layer(1), "child": { "extends": ["base"] }, "other": layer(changed) });
        if let Some(name) = more {
            profiles[name] = layer(1);
        }
        side(fixtures::bundle(&profiles, &json!({ "prompts": ["hello"] })))
    };
    let facts = fixtures::simple_facts();
    let computed = |before: &BundleSide, after: &BundleSide, profile: &str| {
        let inputs = Inputs::new(facts.clone(), fixtures::request(profile));
        sandboxes::wait(async {
            let known = record(&resolver, before, &inputs).await;
            let impact = Impact::new(&resolver, before, after, None);
            let effect = impact.of_request([&facts, &facts], inputs.request(), Some(&known)).await.expect("an effect");
            let unknown = impact.of_request([&facts, &facts], inputs.request(), None).await.expect("an effect");
            (effect.computed, unknown.computed, effect.fields)
        })
    };
    let (before, after) = (bundle(1, None), bundle(2, None));
    assert_eq!(computed(&before, &after, "child"), (0, 1, vec![]));
    assert_eq!(computed(&before, &after, "base"), (0, 1, vec![]));
    assert_eq!(computed(&before, &after, "other"), (1, 2, vec!["settings".to_owned()]));
    // A name that was looked up and not found is in the read set too.
    let after = bundle(1, Some("wanted"));
    assert_eq!(computed(&before, &after, "child"), (0, 1, vec![]));
    let (known, unknown, fields) = computed(&before, &after, "wanted");
    assert!((known, unknown) == (1, 2) && fields.contains(&"error".to_owned()), "{fields:?}");
}
