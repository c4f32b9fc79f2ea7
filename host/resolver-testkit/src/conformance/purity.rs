//! Properties that compare a run with further runs: of the same scenario, or of one that must give the same resolution.

use std::collections::{BTreeMap, BTreeSet};

use component_host::Run;
use host_policy::Facts;
use serde_json::{Map, Value, json};

use super::error::KitError;
use super::outcome::Outcome;
use super::property::Violation;
use super::run::{Session, Trial};
use super::scenario::{LISTS, Scenario};

/// Further runs of the same call. A resolver that counts its calls may answer the second one like the first.
const REPETITIONS: usize = 2;

type Judgement = Result<Result<(), Violation>, KitError>;

pub(super) async fn repetition(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    for _ in 0..REPETITIONS {
        let again = session.run(trial.scenario).await?;
        if let Err(violation) = same_run(trial, &again) {
            return Ok(Err(violation));
        }
    }
    Ok(Ok(()))
}

/// Runs the call on the other hosts, whose facts are written in another order, with repetitions and white space.
pub(super) async fn hosts(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    let mut json = serde_json::to_value(trial.scenario.facts()).unwrap_or_default();
    for (_, list) in json.as_object_mut().into_iter().flatten() {
        if let Some(list) = list.as_array_mut() {
            let reversed: Vec<Value> = list.iter().rev().cloned().collect();
            list.splice(0..0, reversed);
        }
    }
    let text = serde_json::to_string_pretty(&json).unwrap_or_default();
    let Ok(facts) = Facts::from_json(text.as_bytes()) else { return Ok(Ok(())) };
    for run in session.run_on_other_hosts(&trial.scenario.with_facts(facts)).await? {
        if let Err(violation) = same_run(trial, &run) {
            return Ok(Err(violation));
        }
    }
    Ok(Ok(()))
}

pub(super) async fn unused_facts(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    let mut without = trial.scenario.facts().clone();
    without.mounts.clear();
    without.secrets.clear();
    let mut with = trial.scenario.facts().clone();
    with.capabilities.extend("unused.capability".parse());
    with.models.extend("unused.model".parse());
    with.mounts.extend("unused-mount".parse());
    with.secrets.extend("unused-secret".parse());
    for facts in [without, with] {
        let other = trial.scenario.with_facts(facts);
        let run = session.run(&other).await?;
        if let Err(violation) = same_outcome(trial, &Outcome::of(&other, &run).to_json(), "with other unused facts") {
            return Ok(Err(violation));
        }
    }
    Ok(Ok(()))
}

pub(super) async fn unused_entries(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    let mut json = trial.scenario.to_json().clone();
    let layer = json!({
        "models": { "replace": ["a-unused"] }, "instructions": { "append": ["a-unused"] },
        "tools_deny": { "append": ["fs.read", "a-unused"] }, "plugins": { "replace": ["zz-unused"] },
        "workflows": { "append": ["zz-unused"] }, "language": "fr",
        "wishes": [{ "authority": "shell", "need": "required" }], "settings": { "a": "unused" },
    });
    let selected = trial.scenario.request().profile();
    let known = trial.scenario.view().bundle().manifest().profiles.contains_key(selected);
    if let Some(profiles) = json.pointer_mut("/bundle/profiles").and_then(Value::as_object_mut) {
        let extends = if known { vec![selected] } else { Vec::new() };
        profiles.insert("a-unused".to_owned(), json!({ "extends": extends, "layers": [layer] }));
        profiles.insert("zz-unused".to_owned(), json!({ "layers": [layer] }));
    }
    // The longest lineage has no room for another descendant.
    let Ok(other) = Scenario::from_json(&json) else { return Ok(Ok(())) };
    let run = session.run(&other).await?;
    if run.reads != trial.run.reads {
        return Ok(Err(reads_differ(trial, &run)));
    }
    Ok(same_outcome(trial, &Outcome::of(&other, &run).to_json(), "with other entries in the bundle"))
}

pub(super) fn look_ups(trial: &Trial<'_>) -> Result<(), Violation> {
    let Outcome::Resolved(resolution) = &trial.outcome else { return Ok(()) };
    let mut expected = BTreeSet::new();
    expected.extend(resolution.lineage().iter().map(|name| ("profile", name.as_str())));
    expected.extend(resolution.model().map(|name| ("model", name.as_str())));
    expected.extend(resolution.instructions().iter().map(|prompt| ("prompt", prompt.name.as_str())));
    expected.extend(resolution.tools().iter().map(|name| ("tool", name.as_str())));
    expected.extend(resolution.plugins().iter().map(|name| ("plugin", name.as_str())));
    expected.extend(resolution.workflows().iter().map(|name| ("workflow", name.as_str())));
    let found: BTreeSet<_> = trial.run.reads.iter().map(|read| (read.kind, &*read.name)).collect();
    if expected == found {
        return Ok(());
    }
    let only = |one: &BTreeSet<(&str, &str)>, other: &BTreeSet<_>| -> Vec<String> {
        one.difference(other).map(|(kind, name)| format!("{kind} {name}")).collect()
    };
    let (missing, foreign) = (only(&expected, &found), only(&found, &expected));
    Err(Violation::of(
        "other names are looked up",
        json!({ "missing": [], "unexpected": [] }),
        json!({ "missing": missing, "unexpected": foreign }),
    ))
}

pub(super) async fn names(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    let json = trial.scenario.to_json();
    let mut known = BTreeSet::new();
    each_name(&mut json.clone(), &mut |name| {
        known.insert(name.clone());
    });
    // The last name in the order of bytes becomes the first one.
    let count = known.len();
    let renamed: BTreeMap<String, String> =
        known.into_iter().enumerate().map(|(index, name)| (name, format!("n{:05}", count - index))).collect();
    let rename = |name: &mut String| {
        if let Some(new) = renamed.get(name) {
            name.clone_from(new);
        }
    };
    let mut other = json.clone();
    each_name(&mut other, &mut |name| rename(name));
    // The declared names follow from the profiles.
    if let Some(bundle) = other.get_mut("bundle").and_then(Value::as_object_mut) {
        bundle.retain(|key, _| key == "profiles");
    }
    let Ok(other) = Scenario::from_json(&other) else { return Ok(Ok(())) };
    let run = session.run(&other).await?;
    let mut expected = trial.outcome.to_json();
    each_name_of_answer(&mut expected, &rename);
    let found = Outcome::of(&other, &run).to_json();
    if expected == found {
        return Ok(Ok(()));
    }
    Ok(Err(Violation::of("the answer depends on how names sort", expected, found)))
}

pub(super) async fn conditions(session: &mut Session<'_>, trial: &Trial<'_>) -> Judgement {
    let (facts, manifest) = (trial.scenario.facts(), trial.scenario.view().bundle().manifest());
    let mut json = trial.scenario.to_json().clone();
    let Some(profiles) = json.pointer_mut("/bundle/profiles").and_then(Value::as_object_mut) else { return Ok(Ok(())) };
    for (name, profile) in &manifest.profiles {
        let layers = profiles.get_mut(name.as_str()).and_then(|profile| profile.get_mut("layers"));
        let layers = layers.and_then(Value::as_array_mut).into_iter().flatten();
        for (layer, written) in profile.layers.iter().zip(layers) {
            if !layer.when.iter().all(|condition| facts.holds(condition)) {
                *written = Map::new().into();
            } else if let Some(fields) = written.as_object_mut() {
                fields.remove("when");
            }
        }
    }
    let Ok(other) = Scenario::from_json(&json) else { return Ok(Ok(())) };
    let run = session.run(&other).await?;
    let expected = Outcome::of(&other, &run).to_json();
    let found = trial.outcome.to_json();
    if expected == found {
        return Ok(Ok(()));
    }
    let problem =
        "the answer differs from that of the bundle without conditions, in which only the active layers are left";
    Ok(Err(Violation::of(problem, expected, found)))
}

/// Compares two runs of one call.
fn same_run(trial: &Trial<'_>, again: &Run) -> Result<(), Violation> {
    if again.answer != trial.run.answer {
        let found = Outcome::of(trial.scenario, again).to_json();
        return Err(Violation::of("the same call has another answer", trial.outcome.to_json(), found));
    }
    if again.reads != trial.run.reads {
        return Err(reads_differ(trial, again));
    }
    if again.cost.fuel != trial.run.cost.fuel {
        let (expected, found) = (json!({ "fuel": trial.run.cost.fuel }), json!({ "fuel": again.cost.fuel }));
        return Err(Violation::of("the same call uses other fuel", expected, found));
    }
    Ok(())
}

fn same_outcome(trial: &Trial<'_>, found: &Value, when: &str) -> Result<(), Violation> {
    let expected = trial.outcome.to_json();
    if expected == *found {
        return Ok(());
    }
    Err(Violation::of(format!("the answer differs {when}"), expected, found.clone()))
}

fn reads_differ(trial: &Trial<'_>, run: &Run) -> Violation {
    let names = |run: &Run| run.reads.iter().map(|read| format!("{} {}", read.kind, read.name)).collect::<Vec<_>>();
    Violation::of("other names are looked up", json!(names(&trial.run)), json!(names(run)))
}

/// Passes every name of a scenario to `change`: profiles, and the names in lists.
fn each_name(case: &mut Value, change: &mut dyn FnMut(&mut String)) {
    if let Some(profiles) = case.pointer_mut("/bundle/profiles").and_then(Value::as_object_mut) {
        let mut changed = Map::new();
        for (mut name, mut profile) in std::mem::take(profiles) {
            change(&mut name);
            each_text(profile.get_mut("extends"), change);
            for layer in profile.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
                for (list, _) in LISTS {
                    for (_, names) in layer.get_mut(list).and_then(Value::as_object_mut).into_iter().flatten() {
                        each_text(Some(names), change);
                    }
                }
            }
            changed.insert(name, profile);
        }
        *profiles = changed;
    }
    each_text(case.pointer_mut("/facts/models"), change);
    each_text(case.pointer_mut("/request/profile"), change);
}

/// Passes every name of an outcome to `change`.
fn each_name_of_answer(outcome: &mut Value, change: &dyn Fn(&mut String)) {
    for field in ["lineage", "model", "instructions", "tools", "plugins", "workflows"] {
        each_text(outcome.pointer_mut(&format!("/resolved/{field}")), &mut |name| change(name));
    }
    for origin in outcome.pointer_mut("/resolved/origins").and_then(Value::as_array_mut).into_iter().flatten() {
        each_text(origin.get_mut("profile"), &mut |name| change(name));
    }
    if ["unknown_profile", "no_model"].iter().any(|code| outcome.pointer("/failed/code") == Some(&json!(code))) {
        each_text(outcome.pointer_mut("/failed/detail"), &mut |name| change(name));
    }
}

/// Passes a text, or each text of a list, to `change`.
fn each_text(value: Option<&mut Value>, change: &mut dyn FnMut(&mut String)) {
    match value {
        Some(Value::String(text)) => change(text),
        Some(Value::Array(list)) => list.iter_mut().for_each(|value| each_text(Some(value), change)),
        _ => {}
    }
}
