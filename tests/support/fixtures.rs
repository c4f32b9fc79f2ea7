//! Bundles, facts and requests built by code.

use bundles::canonical::to_canonical;
use bundles::{Acceptances, Bundle, BundleLimits};
use component_host::BundleView;
use host_policy::{Facts, Request};
use resolver_testkit::conformance::open_bundle;
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
    open_bundle(profiles, declared).unwrap_or_else(|error| panic!("invalid fixture: {error}"))
}

/// Opens a manifest like a Runtime.
pub fn open(manifest: &Value, blobs: Vec<std::sync::Arc<[u8]>>) -> Result<Bundle, bundles::BundleError> {
    let bytes = to_canonical(manifest).expect("JSON");
    Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Honour)
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
