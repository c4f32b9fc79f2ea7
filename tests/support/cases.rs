//! The case corpus in `tests/cases`, which defines resolution exactly. Every resolver must pass it.

use bundles::Bundle;
use component_host::{BundleView, Resolver};
use host_policy::{Facts, Request, verify_answer};
use serde_json::{Value, json};

use crate::{fixtures, root};

/// A case of the corpus.
pub struct Case {
    pub name: String,
    pub bundle: Bundle,
    pub facts: Facts,
    pub request: Request,
    pub expect: Value,
}

/// Returns the cases whose bundle a host accepts. The others test resolvers without a host.
pub fn all() -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("tests/cases"))
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let theme = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let file: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        for case in file["cases"].as_array().expect("cases") {
            if case["unverifiable"] != json!(true) {
                cases.push(read(&theme, case));
            }
        }
    }
    cases
}

fn read(theme: &str, case: &Value) -> Case {
    let required = case["request"]["required_capabilities"].as_array().cloned().unwrap_or_default();
    let required = required.iter().map(|name| name.as_str().expect("a name").parse().expect("a capability"));
    let profile = case["request"]["profile"].as_str().expect("a profile");
    Case {
        name: format!("{theme}: {}", case["name"].as_str().expect("a name")),
        bundle: fixtures::bundle(&case["bundle"]["profiles"], &case["bundle"]),
        facts: fixtures::facts(&case["facts"]),
        request: Request::new(profile.parse().expect("a profile name"), required),
        expect: case["expect"].clone(),
    }
}

/// Runs a resolver, verifies its answer like a host, and converts it to the corpus's form.
pub async fn answer(resolver: &Resolver, case: &Case) -> Value {
    let view = BundleView::new(case.bundle.clone());
    let run = resolver.resolve(&view, &case.facts, &case.request).await;
    let answer = run.answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    match verify_answer(case.bundle.manifest(), &case.facts, &case.request, &bundles::BundleLimits::default(), answer) {
        Ok(Ok(resolution)) => {
            let mut value = serde_json::to_value(resolution).expect("JSON");
            let names =
                value["instructions"].as_array().expect("a list").iter().map(|prompt| prompt["name"].clone()).collect();
            value["instructions"] = Value::Array(names);
            json!({ "resolved": value })
        }
        Ok(Err(failure)) => {
            let value = serde_json::to_value(&failure).expect("JSON");
            let detail =
                ["profile", "capabilities", "models", "declaration"].iter().find_map(|key| value.get(*key)).cloned();
            json!({ "failed": { "code": failure.code(), "detail": detail } })
        }
        Err(misbehaved) => panic!("{}: {misbehaved}", case.name),
    }
}

/// Returns the expected answer of a host: the corpus's, with the bundle's language if no layer sets one.
pub fn expected(case: &Case) -> Value {
    let mut expect = case.expect.clone();
    if let Some(resolved) = expect.get_mut("resolved")
        && resolved["language"].is_null()
    {
        resolved["language"] = json!(case.bundle.manifest().language);
    }
    expect
}
