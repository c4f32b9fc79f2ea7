//! Bundles, facts and requests built by code.

use bundles::canonical::to_canonical;
use bundles::{Acceptances, Bundle, BundleLimits, Digest};
use component_host::BundleView;
use host_policy::{Facts, Request};
use serde_json::{Value, json};
use worker_runtime::Inputs;

/// Returns a manifest with only the required fields.
pub fn bare_manifest() -> Value {
    json!({
        "schema": "yoi.config-bundle/1",
        "workspace": { "id": "acme" },
        "revision": "1",
        "created_at": "2026-06-25T15:49:30Z",
        "language": "en",
    })
}

/// Returns a bundle with the given profiles and declarations. The text of every prompt is its name.
pub fn bundle(profiles: &Value, declared: &Value) -> Bundle {
    let names = |kind: &str| {
        let list = declared[kind].as_array().cloned().unwrap_or_default();
        list.into_iter().map(|name| name.as_str().expect("a name").to_owned())
    };
    let mut manifest = bare_manifest();
    manifest["profiles"] = profiles.clone();
    for (name, profile) in manifest["profiles"].as_object_mut().expect("profiles") {
        let profile = profile.as_object_mut().unwrap_or_else(|| panic!("profile {name}"));
        normal(profile);
    }
    let mut blobs: Vec<std::sync::Arc<[u8]>> = Vec::new();
    for name in names("prompts") {
        manifest["prompts"][&name] = json!({ "text": { "digest": Digest::of(&name), "size": name.len() } });
        blobs.push(name.into_bytes().into());
    }
    for name in names("tools") {
        manifest["tools"][&name] = json!({ "source": "host", "effect": "read" });
    }
    for name in names("plugins") {
        let package = json!({ "digest": Digest::of("package"), "size": 7 });
        manifest["plugins"][&name] =
            json!({ "version": "1.0.0", "package": package, "world": "yoi:runtime/tool@1.0.0" });
    }
    for name in names("workflows") {
        manifest["workflows"][&name] = json!({ "reference": "workflow://some/where" });
    }
    for name in names("models") {
        manifest["models"][&name] = json!({ "provider": "somebody", "model": "something" });
    }
    open(&manifest, blobs).unwrap_or_else(|error| panic!("the fixture is no bundle: {error}"))
}

/// Opens a manifest like a Runtime.
pub fn open(manifest: &Value, blobs: Vec<std::sync::Arc<[u8]>>) -> Result<Bundle, bundles::BundleError> {
    let bytes = to_canonical(manifest).expect("JSON");
    Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Honour)
}

/// Removes empty values, which a manifest must not contain.
fn normal(object: &mut serde_json::Map<String, Value>) {
    object.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    for layer in object.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
        let layer = layer.as_object_mut().expect("a layer");
        let keep: Vec<String> = layer
            .iter()
            .filter(|(_, value)| !matches!(value, Value::Null) && *value != &json!([]) && *value != &json!({}))
            .map(|(key, _)| key.clone())
            .collect();
        layer.retain(|key, _| keep.contains(key));
    }
}

/// Returns the bundle for the hostile resolvers: one profile with a value of each kind.
pub fn simple() -> Bundle {
    let layer = json!({
        "models": { "append": ["m"] }, "instructions": { "append": ["hello"] }, "settings": { "a": 1 },
        "wishes": [{ "authority": "mount:repo:read", "need": "optional" }],
    });
    bundle(&json!({ "main": { "layers": [layer] } }), &json!({ "prompts": ["hello"], "models": ["m"] }))
}

/// Parses facts from JSON.
pub fn facts(facts: &Value) -> Facts {
    Facts::from_json(facts.to_string().as_bytes()).expect("facts")
}

/// Returns the facts of a host that offers everything that [`simple`] needs.
pub fn simple_facts() -> Facts {
    facts(
        &json!({ "os": "linux", "arch": "x86_64", "models": ["m"], "mounts": ["repo"], "secrets": ["canary-secret"], "capabilities": ["canary-capability"] }),
    )
}

/// Returns a request for a profile.
pub fn request(profile: &str) -> Request {
    Request::new(profile.parse().expect("a profile name"), [])
}

/// Returns the inputs for resolving [`simple`].
pub fn simple_inputs() -> Inputs {
    Inputs::new(simple_facts(), request("main"))
}

/// Returns the view of [`simple`].
pub fn simple_view() -> BundleView {
    BundleView::new(simple())
}
