//! Reduction of a scenario to the smallest one that still violates a property.
//!
//! Parts of the JSON are removed as long as the rest is a scenario and the property stays violated. Cases of the corpus and
//! large scenarios are reduced by the same code as generated ones, which a strategy of a generator could not do.

use serde_json::{Map, Value, json};

use super::error::KitError;
use super::property::{Property, Violation};
use super::run::{Session, Trial};
use super::scenario::Scenario;

/// Maximum number of smaller scenarios to try.
const MAX_ATTEMPTS: usize = 400;

/// The same number if a call exceeds a limit, because such a call takes as long as the limit allows.
const MAX_EXPENSIVE_ATTEMPTS: usize = 4;

/// A removal from a scenario.
#[derive(Debug)]
enum Edit {
    /// Removes items `start..start + count` of a list or an object.
    Remove { pointer: String, start: usize, count: usize },
    /// Removes a profile. Profiles that extend it extend its parents instead.
    Bypass { profile: String },
}

/// Returns the smallest scenario that was found, and its violation.
pub(super) async fn smallest(
    session: &mut Session<'_>,
    property: Property,
    scenario: &Scenario,
    violation: Violation,
) -> Result<(Scenario, Violation), KitError> {
    let is_expensive = matches!(property, Property::Fuel | Property::Memory | Property::OtherLimits);
    let mut left = if is_expensive { MAX_EXPENSIVE_ATTEMPTS } else { MAX_ATTEMPTS };
    let mut smallest = (scenario.clone(), violation);
    let mut from = 0;
    loop {
        let edits = edits(smallest.0.to_json());
        let mut reduced = None;
        for step in 0..edits.len() {
            let index = (from + step) % edits.len();
            let smaller = edits.get(index).and_then(|edit| apply(smallest.0.to_json(), edit));
            let Some(Ok(smaller)) = smaller.map(|json| Scenario::from_json(&json)) else { continue };
            if left == 0 {
                return Ok(smallest);
            }
            left -= 1;
            let trial = Trial::of(session, &smaller).await?;
            if let Err(violation) = property.judge(session, &trial).await? {
                reduced = Some((smaller, violation));
                from = index;
                break;
            }
        }
        match reduced {
            Some(reduced) => smallest = reduced,
            None => return Ok(smallest),
        }
    }
}

/// Returns all removals, the largest of each part first.
fn edits(case: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    for pointer in ["/bundle/profiles", "/request/required_capabilities"] {
        removals(pointer.to_owned(), case.pointer(pointer), &mut edits);
    }
    for (key, list) in case.get("facts").and_then(Value::as_object).into_iter().flatten() {
        removals(format!("/facts/{key}"), Some(list), &mut edits);
    }
    let profiles = case.pointer("/bundle/profiles").and_then(Value::as_object).into_iter().flatten();
    edits.extend(profiles.map(|(profile, _)| Edit::Bypass { profile: profile.clone() }));
    edits
}

fn removals(pointer: String, value: Option<&Value>, edits: &mut Vec<Edit>) {
    let inner: Vec<(String, &Value)> = match value {
        Some(Value::Array(list)) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        Some(Value::Object(map)) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        _ => return,
    };
    let mut count = inner.len();
    while count > 0 {
        let starts = (0..inner.len()).step_by(count);
        edits.extend(starts.map(|start| Edit::Remove { pointer: pointer.clone(), start, count }));
        count /= 2;
    }
    for (key, value) in inner {
        removals(format!("{pointer}/{key}"), Some(value), edits);
    }
}

/// Returns the reduced JSON. Declared names are left out, because they follow from the profiles.
fn apply(case: &Value, edit: &Edit) -> Option<Value> {
    let mut case = case.clone();
    case.get_mut("bundle")?.as_object_mut()?.retain(|key, _| key == "profiles");
    match edit {
        Edit::Remove { pointer, start, count } => {
            let removed = *start..*start + *count;
            match case.pointer_mut(pointer)? {
                Value::Array(list) => {
                    let end = removed.end.min(list.len());
                    list.drain(*start..end);
                }
                Value::Object(map) => {
                    let kept =
                        std::mem::take(map).into_iter().enumerate().filter(|(index, _)| !removed.contains(index));
                    *map = kept.map(|(_, entry)| entry).collect();
                }
                _ => return None,
            }
        }
        Edit::Bypass { profile } => {
            let profiles = case.pointer_mut("/bundle/profiles")?.as_object_mut()?;
            let parents = extends(&profiles.remove(profile)?);
            for (_, other) in profiles.iter_mut() {
                let mut changed: Vec<Value> = Vec::new();
                for parent in extends(other) {
                    let replaced = if parent == *profile { parents.clone() } else { vec![parent] };
                    changed.extend(replaced.into_iter().filter(|name| !changed.contains(name)).collect::<Vec<_>>());
                }
                if let Some(fields) = other.as_object_mut() {
                    fields.insert("extends".to_owned(), json!(changed));
                }
            }
        }
    }
    Some(case)
}

fn extends(profile: &Value) -> Vec<Value> {
    let fields: Option<&Map<String, Value>> = profile.as_object();
    fields.and_then(|fields| fields.get("extends")).and_then(Value::as_array).cloned().unwrap_or_default()
}
