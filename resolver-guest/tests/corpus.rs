//! Runs the case corpus in `tests/cases`, which specifies the exact result of a resolution, on the native resolver.

#![allow(clippy::panic, clippy::unwrap_used)] // a case that cannot be read is a failed test

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use resolver_guest::{
    Access, Amend, Authority, Bundle, Condition, Facts, Failure, Kind, Layer, Need, Origin, Profile, Request,
    Resolution, Wish, resolve,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// A file of the corpus.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Theme {
    #[allow(dead_code)] // for the reader
    about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Expectation for hosts, which refuse such a bundle before a resolver runs.
    #[allow(dead_code)]
    #[serde(default)]
    unverifiable: bool,
    bundle: BundleCase,
    facts: FactsCase,
    request: RequestCase,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleCase {
    profiles: BTreeMap<String, ProfileCase>,
    prompts: BTreeSet<String>,
    tools: BTreeSet<String>,
    plugins: BTreeSet<String>,
    workflows: BTreeSet<String>,
    models: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileCase {
    #[serde(default)]
    extends: Vec<String>,
    #[serde(default)]
    layers: Vec<LayerCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerCase {
    #[serde(default)]
    when: Vec<String>,
    models: Option<AmendCase>,
    instructions: Option<AmendCase>,
    tools_allow: Option<AmendCase>,
    tools_deny: Option<AmendCase>,
    plugins: Option<AmendCase>,
    workflows: Option<AmendCase>,
    language: Option<String>,
    #[serde(default)]
    wishes: Vec<WishCase>,
    #[serde(default)]
    drops: Vec<String>,
    #[serde(default = "no_settings")]
    settings: Value,
}

fn no_settings() -> Value {
    json!({})
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AmendCase {
    Append(Vec<String>),
    Replace(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishCase {
    authority: String,
    need: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsCase {
    os: String,
    arch: String,
    capabilities: Vec<String>,
    models: Vec<String>,
    mounts: Vec<String>,
    secrets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    profile: String,
    required_capabilities: Vec<String>,
}

impl ProfileCase {
    fn to_profile(&self) -> Profile {
        Profile { extends: self.extends.clone(), layers: self.layers.iter().map(LayerCase::to_layer).collect() }
    }
}

impl LayerCase {
    fn to_layer(&self) -> Layer {
        let amend = |amend: &Option<AmendCase>| {
            amend.as_ref().map(|amend| match amend {
                AmendCase::Append(names) => Amend::Append(names.clone()),
                AmendCase::Replace(names) => Amend::Replace(names.clone()),
            })
        };
        Layer {
            when: self.when.iter().map(|text| condition(text)).collect(),
            models: amend(&self.models),
            instructions: amend(&self.instructions),
            tools_allow: amend(&self.tools_allow),
            tools_deny: amend(&self.tools_deny),
            plugins: amend(&self.plugins),
            workflows: amend(&self.workflows),
            language: self.language.clone(),
            wishes: self.wishes.iter().map(WishCase::to_wish).collect(),
            drops: self.drops.iter().map(|text| authority(text)).collect(),
            settings: self.settings.to_string(),
        }
    }
}

impl WishCase {
    fn to_wish(&self) -> Wish {
        let need = match self.need.as_str() {
            "required" => Need::Required,
            "optional" => Need::Optional,
            other => panic!("`{other}` is no need"),
        };
        Wish { authority: authority(&self.authority), need }
    }
}

fn condition(text: &str) -> Condition {
    let (kind, name) = text.split_once(':').unwrap();
    let name = name.to_owned();
    match kind {
        "has" => Condition::Has(name),
        "lacks" => Condition::Lacks(name),
        "os" => Condition::Os(name),
        "arch" => Condition::Arch(name),
        other => panic!("`{other}` is no condition"),
    }
}

fn authority(text: &str) -> Authority {
    let access = |word: &str| match word {
        "read" => Access::Read,
        "write" => Access::Write,
        other => panic!("`{other}` is no access"),
    };
    match text.split_once(':') {
        None if text == "shell" => Authority::Shell,
        Some(("secret", name)) => Authority::Secret(name.to_owned()),
        Some(("egress", url)) => Authority::Egress(url.to_owned()),
        Some(("git", word)) => Authority::Git(access(word)),
        Some(("mount", rest)) => {
            let (label, word) = rest.rsplit_once(':').unwrap();
            Authority::Mount((label.to_owned(), access(word)))
        }
        _ => panic!("`{text}` is no authority"),
    }
}

fn text_of(authority: &Authority) -> String {
    let access = |access: &Access| match access {
        Access::Read => "read",
        Access::Write => "write",
    };
    match authority {
        Authority::Secret(name) => format!("secret:{name}"),
        Authority::Mount((label, word)) => format!("mount:{label}:{}", access(word)),
        Authority::Egress(url) => format!("egress:{url}"),
        Authority::Shell => "shell".to_owned(),
        Authority::Git(word) => format!("git:{}", access(word)),
    }
}

fn text_of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Prompt => "prompt",
        Kind::Tool => "tool",
        Kind::Plugin => "plugin",
        Kind::Workflow => "workflow",
        Kind::Model => "model",
    }
}

/// The bundle of a case. It records all requests.
struct RecordingBundle<'a> {
    bundle: &'a BundleCase,
    profiles: RefCell<Vec<String>>,
    declared: RefCell<Vec<(Kind, Vec<String>)>>,
}

impl Bundle for RecordingBundle<'_> {
    fn profiles(&self, names: &[String]) -> Vec<Option<Profile>> {
        assert!(!names.is_empty(), "a look-up of nothing");
        self.profiles.borrow_mut().extend(names.iter().cloned());
        names.iter().map(|name| self.bundle.profiles.get(name).map(ProfileCase::to_profile)).collect()
    }

    fn declares(&self, kind: Kind, names: &[String]) -> Vec<bool> {
        assert!(!names.is_empty(), "a look-up of nothing");
        self.declared.borrow_mut().push((kind, names.to_vec()));
        let declared = match kind {
            Kind::Prompt => &self.bundle.prompts,
            Kind::Tool => &self.bundle.tools,
            Kind::Plugin => &self.bundle.plugins,
            Kind::Workflow => &self.bundle.workflows,
            Kind::Model => &self.bundle.models,
        };
        names.iter().map(|name| declared.contains(name)).collect()
    }
}

impl RecordingBundle<'_> {
    /// Asserts that each profile of the lineage and each name of the result was requested exactly once, and nothing else.
    fn check_reads(&self, resolution: &Resolution) {
        let mut lineage = resolution.lineage.clone();
        let mut profiles = self.profiles.borrow().clone();
        lineage.sort_unstable();
        profiles.sort_unstable();
        assert_eq!(profiles, lineage, "profiles that were asked for");
        let model: Vec<String> = resolution.model.iter().cloned().collect();
        let names = [
            (Kind::Model, &model),
            (Kind::Prompt, &resolution.instructions),
            (Kind::Tool, &resolution.tools),
            (Kind::Plugin, &resolution.plugins),
            (Kind::Workflow, &resolution.workflows),
        ];
        let names = names.into_iter().filter(|(_, names)| !names.is_empty());
        let names: Vec<_> = names.map(|(kind, names)| (kind, names.clone())).collect();
        assert_eq!(*self.declared.borrow(), names, "names that were asked for");
    }
}

/// Converts a resolution to the form of the corpus, with wishes and origins in canonical order.
fn resolved(resolution: Resolution) -> Value {
    let mut wishes: Vec<(usize, Wish)> = resolution.wishes.into_iter().enumerate().collect();
    // The order of the contract's types is the canonical order.
    wishes.sort_by(|(_, one), (_, other)| one.authority.cmp(&other.authority));
    let moved = |field: String| match field.strip_prefix("/wishes/") {
        Some(index) => {
            let index: usize = index.parse().unwrap();
            let now = wishes.iter().position(|(before, _)| *before == index).unwrap();
            format!("/wishes/{now}")
        }
        None => field,
    };
    let origins = resolution.origins.into_iter();
    let mut origins: Vec<Origin> = origins.map(|origin| Origin { field: moved(origin.field), ..origin }).collect();
    origins.sort_by(|one, other| one.field.cmp(&other.field));
    let need = |need| match need {
        Need::Required => "required",
        Need::Optional => "optional",
    };
    json!({
        "lineage": resolution.lineage,
        "model": resolution.model,
        "instructions": resolution.instructions,
        "tools": resolution.tools,
        "plugins": resolution.plugins,
        "workflows": resolution.workflows,
        "language": resolution.language,
        "wishes": wishes.iter().map(|(_, wish)| {
            json!({ "authority": text_of(&wish.authority), "need": need(wish.need) })
        }).collect::<Vec<_>>(),
        "settings": serde_json::from_str::<Value>(&resolution.settings).unwrap(),
        "origins": origins.iter().map(|origin| {
            json!({ "field": origin.field, "profile": origin.profile, "layer": origin.layer })
        }).collect::<Vec<_>>(),
    })
}

fn failed(failure: Failure) -> Value {
    let (code, detail) = match failure {
        Failure::UnknownProfile(name) => ("unknown_profile", json!(name)),
        Failure::InheritanceCycle(names) => ("inheritance_cycle", json!(names)),
        Failure::InheritanceConflict(name) => ("inheritance_conflict", json!(name)),
        Failure::UnsupportedDeclaration(what) => ("unsupported_declaration", json!(what)),
        Failure::UnmetCapability(names) => ("unmet_capability", json!(names)),
        Failure::NoModel(names) => ("no_model", json!(names)),
        Failure::DanglingReference((kind, name)) => {
            ("dangling_reference", json!({ "kind": text_of_kind(kind), "name": name }))
        }
    };
    json!({ "code": code, "detail": detail })
}

fn run(case: &Case) -> Value {
    let facts = Facts {
        os: case.facts.os.clone(),
        arch: case.facts.arch.clone(),
        capabilities: case.facts.capabilities.clone(),
        models: case.facts.models.clone(),
        mounts: case.facts.mounts.clone(),
        secrets: case.facts.secrets.clone(),
    };
    let request = Request {
        profile: case.request.profile.clone(),
        required_capabilities: case.request.required_capabilities.clone(),
    };
    let bundle = RecordingBundle { bundle: &case.bundle, profiles: RefCell::default(), declared: RefCell::default() };
    match resolve(&request, &bundle, &facts) {
        Ok(resolution) => {
            bundle.check_reads(&resolution);
            json!({ "resolved": resolved(resolution) })
        }
        Err(failure) => json!({ "failed": failed(failure) }),
    }
}

fn corpus() -> Vec<(String, Theme)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut themes: Vec<(String, Theme)> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let theme = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let read = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{theme}: {error}"));
            (theme, read)
        })
        .collect();
    themes.sort_by(|(one, _), (other, _)| one.cmp(other));
    themes
}

#[test]
fn every_case_of_the_corpus_gives_its_expected_result() {
    let mut wrong = Vec::new();
    for (theme, Theme { cases, .. }) in corpus() {
        for case in cases {
            let found = run(&case);
            if found != case.expect {
                wrong.push(format!("{theme}: {}\n  expected {}\n  found    {found}", case.name, case.expect));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    let mut themes = 0;
    for (theme, Theme { cases, .. }) in corpus() {
        assert!(!cases.is_empty(), "{theme} has no case");
        themes += 1;
        for case in cases {
            assert!(names.insert(case.name.clone()), "{theme}: `{}` stands twice", case.name);
        }
    }
    assert!(themes > 0, "the corpus is empty");
}
