//! A resolution depends only on its inputs: it is the same for fresh instances, engines, threads and allocation
//! strategies, and does not depend on the order of sets.

use component_host::compile::Compiler;
use component_host::{Allocation, BundleView, Sandbox, SandboxConfig};
use host_policy::{Facts, Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use worker_runtime::{ComputedResolution, Inputs, Resolutions, shipped};
use yoi_tests::{cases, fixtures, sandboxes};

fn digest(resolved: &ComputedResolution) -> (String, u64) {
    (resolved.resolution().digest().to_string(), resolved.cost().fuel)
}

#[test]
fn resolution_and_fuel_are_the_same_for_every_allocation_and_compiler() {
    let bundle = BundleView::new(worker_runtime::shipped::bundle().expect("a bundle"));
    let facts = fixtures::facts(
        &json!({ "os": "linux", "arch": "x86_64", "capabilities": ["models", "shell", "git"], "models": ["small"] }),
    );
    let inputs = Inputs::new(facts, fixtures::request("coder"));
    let mut seen = Vec::new();
    for allocation in [Allocation::OnDemand, Allocation::Pooled, Allocation::PooledResident] {
        for compiler in [sandboxes::child(), Compiler::InProcess] {
            let config = SandboxConfig { allocation, compiler, ..SandboxConfig::default() };
            let sandbox = Sandbox::new(config).expect("a sandbox");
            let resolver = sandboxes::wait(sandbox.load(shipped::RESOLVER)).expect("the shipped resolver");
            for _ in 0..3 {
                let resolved = sandboxes::wait(Resolutions::with_capacity(0).resolve(&resolver, &bundle, &inputs))
                    .expect("a resolution");
                seen.push(digest(&resolved));
            }
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn concurrent_resolutions_give_the_same_answers_as_sequential_ones() {
    let resolver = sandboxes::shipped();
    let all = cases::all();
    let one_by_one: Vec<Value> = sandboxes::wait(async {
        let mut answers = Vec::new();
        for case in all {
            answers.push(cases::answer(&resolver, case).await);
        }
        answers
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    sandboxes::wait(async {
                        for (case, expected) in all.iter().zip(&one_by_one) {
                            assert_eq!(cases::answer(&resolver, case).await, *expected, "{}", case.name);
                        }
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

#[test]
fn repeated_request_is_answered_from_the_cache() {
    let resolver = sandboxes::shipped();
    let resolutions = Resolutions::default();
    let (view, inputs) = (fixtures::simple_view(), fixtures::simple_inputs());
    sandboxes::wait(async {
        let one = resolutions.resolve(&resolver, &view, &inputs).await.expect("a resolution");
        let two = resolutions.resolve(&resolver, &view, &inputs).await.expect("a resolution");
        assert!(std::sync::Arc::ptr_eq(&one, &two));
        let other = Inputs::new(
            fixtures::simple_facts(),
            Request::new("main".parse().expect("a name"), ["canary-capability".parse().expect("a name")]),
        );
        let three = resolutions.resolve(&resolver, &view, &other).await.expect("a resolution");
        assert_ne!(one.digests().request, three.digests().request);
    });
}

#[test]
fn read_set_contains_the_profiles_and_names_of_the_resolution() {
    let bundle = BundleView::new(worker_runtime::shipped::bundle().expect("a bundle"));
    let inputs = Inputs::new(
        Facts::bare("linux".parse().expect("a name"), "x86_64".parse().expect("a name")),
        fixtures::request("reviewer"),
    );
    let resolved =
        sandboxes::wait(Resolutions::default().resolve(&sandboxes::shipped(), &bundle, &inputs)).expect("a resolution");
    let read = |kind: &str| -> Vec<String> {
        resolved.reads().found.iter().filter(|read| read.kind == kind).map(|read| read.name.to_string()).collect()
    };
    let sorted = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names
    };
    let resolution = resolved.resolution();
    assert_eq!(read("profile"), sorted(resolution.lineage().iter().map(ToString::to_string).collect()));
    assert_eq!(read("tool"), sorted(resolution.tools().iter().map(ToString::to_string).collect()));
    assert_eq!(
        read("prompt"),
        sorted(resolution.instructions().iter().map(|prompt| prompt.name.to_string()).collect())
    );
    assert_eq!(resolved.reads().missing, []);
}

fn patch() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(1)),
        Just(json!("x")),
        Just(json!([1, null])),
        Just(json!({})),
        Just(Value::Null),
        Just(json!(0.5))
    ];
    let tree = leaf
        .prop_recursive(3, 16, 4, |inner| prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map)));
    prop::collection::btree_map("[abc]", tree, 0..4).prop_map(|map| json!(map))
}

/// Applies a JSON merge patch exactly as written in RFC 7396, for comparison with the resolver.
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let old = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merge(old, value));
        }
    }
    Value::Object(target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn settings_are_merged_as_in_rfc_7396(patches in prop::collection::vec(patch(), 1..5)) {
        let layers: Vec<Value> = patches.iter().map(|patch| json!({ "settings": patch })).collect();
        let bundle = fixtures::bundle(&json!({ "main": { "layers": layers } }), &json!({}));
        let view = BundleView::new(bundle);
        let resolved = sandboxes::wait(Resolutions::with_capacity(0).resolve(&sandboxes::shipped(), &view, &fixtures::simple_inputs()));
        let resolved = resolved.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let expected = patches.iter().fold(json!({}), merge);
        prop_assert_eq!(Value::Object(resolved.resolution().settings().clone()), expected);
    }

    #[test]
    fn order_of_facts_and_wishes_does_not_change_the_resolution(seed in prop::collection::vec(any::<prop::sample::Index>(), 6)) {
        // Facts are sets, and a wish is identified by its authority.
        let wishes = ["shell", "git:read", "git:write", "mount:repo:read", "secret:token", "egress:https://a.example.com/"];
        let mut shuffled: Vec<&str> = wishes.to_vec();
        for (place, index) in seed.iter().enumerate() {
            let other = index.index(shuffled.len());
            shuffled.swap(place, other);
        }
        let resolve = |wishes: &[&str], capabilities: Vec<&str>| {
            let wishes: Vec<Value> = wishes.iter().map(|wish| json!({ "authority": wish, "need": "optional" })).collect();
            let bundle = fixtures::bundle(&json!({ "main": { "layers": [{ "wishes": wishes }] } }), &json!({}));
            let facts = fixtures::facts(&json!({ "os": "linux", "arch": "x86_64", "capabilities": capabilities }));
            let inputs = Inputs::new(facts, fixtures::request("main"));
            sandboxes::wait(Resolutions::with_capacity(0).resolve(&sandboxes::shipped(), &BundleView::new(bundle), &inputs)).map(|resolved| resolved.digests().resolution)
        };
        prop_assert_eq!(resolve(&wishes, vec!["a", "b", "c"]).ok(), resolve(&shuffled, vec!["c", "a", "b"]).ok());
    }
}
