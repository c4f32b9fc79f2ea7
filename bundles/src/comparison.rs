//! Comparison of two manifests, and of any two JSON values.
//!
//! [`changes`] names the items that differ, and [`differences`] the places inside a value.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::manifest::Manifest;
use crate::one_line;

/// A declaration or field of a manifest that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ManifestChange {
    /// `profile`, `prompt` and so on, or a field of the manifest.
    pub kind: String,
    /// Name of the declaration. Empty for a field.
    pub name: String,
    /// Kind of the change.
    pub change: ChangeKind,
    /// Different values, if both manifests have the item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Difference>,
}

/// Kind of a change of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only the new manifest has the item.
    Added,
    /// Only the old manifest has the item.
    Removed,
    /// Both have the item, with different values.
    Changed,
}

impl ChangeKind {
    /// Returns the word for people and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// Returns the different declarations and fields, ordered by field and name.
pub fn changes(before: &Manifest, after: &Manifest) -> Vec<ManifestChange> {
    let object = |manifest: &Manifest| match serde_json::to_value(manifest) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (one, two) = (object(before), object(after));
    let mut changes = Vec::new();
    for field in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        let kind = match field.as_str() {
            "profiles" | "prompts" | "workflows" | "tools" | "plugins" | "models" => field.trim_end_matches('s'),
            other => {
                changes.extend(change_of(other, "", one.get(field), two.get(field)));
                continue;
            }
        };
        let entries = |map: &Map<String, Value>| map.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let (one, two) = (entries(&one), entries(&two));
        for name in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
            changes.extend(change_of(kind, name, one.get(name), two.get(name)));
        }
    }
    changes
}

fn change_of(kind: &str, name: &str, before: Option<&Value>, after: Option<&Value>) -> Option<ManifestChange> {
    let change = match (before, after) {
        (None, Some(_)) => ChangeKind::Added,
        (Some(_), None) => ChangeKind::Removed,
        (one, two) if one != two => ChangeKind::Changed,
        _ => return None,
    };
    let values = if change == ChangeKind::Changed { differences(before, after) } else { Vec::new() };
    Some(ManifestChange { kind: kind.to_owned(), name: name.to_owned(), change, values })
}

/// A place at which two values differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// JSON pointer of the place.
    pub pointer: String,
    /// Value before. Absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Value after. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Maximum number of differences of one comparison.
const MAX_DIFFERENCES: usize = 50;

/// Compares two values. Descends into objects, and into lists of the same length.
pub fn differences(before: Option<&Value>, after: Option<&Value>) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(pointer: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    if before == after || found.len() >= MAX_DIFFERENCES {
        return;
    }
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(two))) => compare_objects(pointer, one, two, found),
        (Some(Value::Array(one)), Some(Value::Array(two))) if one.len() == two.len() => {
            for (index, (one, two)) in one.iter().zip(two).enumerate() {
                compare(&format!("{pointer}/{index}"), Some(one), Some(two), found);
            }
        }
        _ => found.push(Difference { pointer: pointer.to_owned(), before: before.cloned(), after: after.cloned() }),
    }
}

fn compare_objects(pointer: &str, one: &Map<String, Value>, two: &Map<String, Value>, found: &mut Vec<Difference>) {
    for key in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        compare(&format!("{pointer}/{escaped}"), one.get(key), two.get(key), found);
    }
}

/// Maximum length of a value in text output. JSON output has the whole value.
const MAX_SHOWN_CHARS: usize = 160;

impl Difference {
    /// Formats the difference as one line, such as `/settings/tone: "plain" -> "exact"`.
    pub fn line(&self) -> String {
        let [before, after] = self.texts();
        let place = if self.pointer.is_empty() { String::new() } else { format!("{}: ", one_line(&self.pointer)) };
        format!("{place}{before} -> {after}")
    }

    /// Returns the value before and after, each shortened to one line.
    pub fn texts(&self) -> [String; 2] {
        [&self.before, &self.after].map(|value| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(MAX_SHOWN_CHARS) {
                    Some((end, _)) => one_line(&format!("{}…", text.get(..end).unwrap_or_default())),
                    None => one_line(&text),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_has_its_place_and_both_values() {
        let lines = |one: Value, two: Value| {
            differences(Some(&one), Some(&two)).iter().map(Difference::line).collect::<Vec<_>>()
        };
        assert_eq!(lines(json!({"a": 1}), json!({"a": 1})), Vec::<String>::new());
        assert_eq!(
            lines(json!({"a": {"b/c": 1}, "x": 1}), json!({"a": {"b/c": "two"}, "y": [1]})),
            ["/a/b~1c: 1 -> \"two\"", "/x: 1 -> nothing", "/y: nothing -> [1]"]
        );
        assert_eq!(lines(json!([1, 2]), json!([1, 3])), ["/1: 2 -> 3"]);
        assert_eq!(lines(json!([1]), json!([1, null])), ["[1] -> [1,null]"]);
        assert_eq!(lines(json!("a\u{1b}"), json!(null)), ["\"a\\u001b\" -> null"]);
        assert!(lines(json!("x".repeat(400)), json!(1))[0].chars().count() < 180);
    }
}
