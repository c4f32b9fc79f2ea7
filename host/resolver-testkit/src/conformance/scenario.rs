//! Scenarios: the inputs of one resolution, built from the JSON form of the case corpus.
//!
//! A scenario can only be created from a bundle that every host accepts. Names that its profiles mention are declared, so a
//! part of a scenario is a scenario again. `shrink` relies on this.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::canonical::{JsonError, to_canonical};
use bundles::{Acceptances, Bundle, BundleError, BundleLimits, Digest, InvalidName};
use component_host::BundleView;
use error_code::Code;
use host_policy::{Facts, Request};
use serde_json::{Map, Value, json};

/// Lists of a layer, each with the kind of the names in it.
pub(crate) const LISTS: [(&str, &str); 6] = [
    ("models", "models"),
    ("instructions", "prompts"),
    ("tools_allow", "tools"),
    ("tools_deny", "tools"),
    ("plugins", "plugins"),
    ("workflows", "workflows"),
];

/// Kinds of names that a bundle declares.
const KINDS: [&str; 5] = ["prompts", "tools", "plugins", "workflows", "models"];

/// Inputs of one resolution.
#[derive(Debug, Clone)]
pub struct Scenario {
    json: Value,
    view: BundleView,
    facts: Facts,
    request: Request,
}

/// Error returned for JSON that is not a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A field is missing or has another type.
    #[error("invalid scenario: `{0}` is missing or has another type")]
    Shape(&'static str),
    /// A name does not match its grammar.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The facts are invalid.
    #[error("invalid facts: {0}")]
    Facts(#[from] JsonError),
    /// A host does not accept the bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl ScenarioError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Shape(_) => Code::InvalidField,
            Self::Name(_) => Code::InvalidName,
            Self::Facts(error) => error.code(),
            Self::Bundle(error) => error.code(),
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> String {
        match self {
            Self::Shape(_) => "write the scenario in the form of `tests/cases`".to_owned(),
            Self::Name(error) => error.remedy(),
            Self::Facts(error) => error.help().to_owned(),
            Self::Bundle(error) => error.help(),
        }
    }
}

impl Scenario {
    /// Creates a scenario from the fields `bundle`, `facts` and `request` of a case. Other fields are ignored.
    pub fn from_json(case: &Value) -> Result<Self, ScenarioError> {
        let field = |name| case.get(name).ok_or(ScenarioError::Shape(name));
        let (bundle, facts, request) = (field("bundle")?, field("facts")?, field("request")?);
        let profile = request.get("profile").and_then(Value::as_str).ok_or(ScenarioError::Shape("profile"))?.parse()?;
        let required = texts(request.get("required_capabilities"));
        let required = required.map(str::parse).collect::<Result<Vec<_>, InvalidName>>()?;
        let mut bundle = bundle.clone();
        let entries = bundle.as_object_mut().ok_or(ScenarioError::Shape("bundle"))?;
        let mut profiles = entries.get("profiles").cloned().ok_or(ScenarioError::Shape("profiles"))?;
        tidy(&mut profiles);
        for kind in KINDS {
            let mut names: BTreeSet<String> = texts(entries.get(kind)).map(str::to_owned).collect();
            names.extend(mentioned(&profiles, kind));
            entries.insert(kind.to_owned(), json!(names));
        }
        let opened = open_bundle(&profiles, &Value::Object(entries.clone()))?;
        entries.insert("profiles".to_owned(), profiles);
        Ok(Self {
            json: json!({ "bundle": bundle, "facts": facts, "request": request }),
            view: BundleView::new(opened),
            facts: Facts::from_json(facts.to_string().as_bytes())?,
            request: Request::new(profile, required),
        })
    }

    /// Returns the scenario in the form of the case corpus.
    pub fn to_json(&self) -> &Value {
        &self.json
    }

    /// Returns the bundle.
    pub fn view(&self) -> &BundleView {
        &self.view
    }

    /// Returns the facts.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the same scenario with other facts.
    pub(crate) fn with_facts(&self, facts: Facts) -> Self {
        Self { facts, ..self.clone() }
    }
}

/// Returns a bundle with the given profiles and the declared names of the kinds `prompts`, `tools`, `plugins`, `workflows` and
/// `models`. The text of every prompt is its name. Empty values are left out, as in every manifest.
pub fn open_bundle(profiles: &Value, declared: &Value) -> Result<Bundle, ScenarioError> {
    let mut profiles = profiles.clone();
    tidy(&mut profiles);
    let declare = |kind: &str, entry: &dyn Fn(&str) -> Value| -> Value {
        let entries: Map<String, Value> =
            texts(declared.get(kind)).map(|name| (name.to_owned(), entry(name))).collect();
        entries.into()
    };
    let mut manifest = json!({
        "schema": bundles::manifest::SCHEMA,
        "workspace": { "id": "acme" },
        "revision": "1",
        "created_at": "2026-06-25T15:49:30Z",
        "language": "en",
        "profiles": profiles,
        "prompts": declare("prompts", &|name| json!({ "text": { "digest": Digest::of(name), "size": name.len() } })),
        "tools": declare("tools", &|_| json!({ "source": "host", "effect": "read" })),
        "plugins": declare("plugins", &|_| {
            let package = json!({ "digest": Digest::of("package"), "size": 7 });
            json!({ "version": "1.0.0", "package": package, "world": "yoi:runtime/tool@1.0.0" })
        }),
        "workflows": declare("workflows", &|_| json!({ "reference": "workflow://some/where" })),
        "models": declare("models", &|_| json!({ "provider": "provider", "model": "something" })),
    });
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.retain(|_, value| !is_empty(value));
    }
    let blobs = texts(declared.get("prompts")).map(|name| name.as_bytes().into()).collect::<Vec<Arc<[u8]>>>();
    let bytes = to_canonical(&manifest)?;
    Ok(Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Honour)?)
}

/// Returns the texts of a list. Other values have none.
fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Returns the layers of all profiles.
fn layers(profiles: &Value) -> impl Iterator<Item = &Value> {
    let profiles = profiles.as_object().into_iter().flatten();
    profiles.filter_map(|(_, profile)| profile.get("layers").and_then(Value::as_array)).flatten()
}

/// Returns the names of a kind that the profiles mention.
fn mentioned(profiles: &Value, kind: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for layer in layers(profiles) {
        for (field, _) in LISTS.iter().filter(|(_, of)| *of == kind) {
            let amends = layer.get(field).and_then(Value::as_object).into_iter().flatten();
            names.extend(amends.flat_map(|(_, list)| texts(Some(list))).map(str::to_owned));
        }
    }
    names
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Removes empty values of profiles and layers, which a manifest must not contain.
fn tidy(profiles: &mut Value) {
    for (_, profile) in profiles.as_object_mut().into_iter().flatten() {
        let Some(profile) = profile.as_object_mut() else { continue };
        for layer in profile.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(layer) = layer.as_object_mut() {
                layer.retain(|_, value| !is_empty(value));
            }
        }
        profile.retain(|_, value| !is_empty(value));
    }
}
