//! Differences between two JSON values.

use std::collections::BTreeSet;

use bundles::one_line;
use serde::Serialize;
use serde_json::{Map, Value};

/// A place at which two values differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// JSON pointer of the place.
    pub(crate) pointer: String,
    /// Value before. Absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    /// Value after. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
}

/// Maximum number of differences of one comparison.
const MAX_DIFFERENCES: usize = 50;

/// Compares two values. Descends into objects, and into lists of the same length.
pub(crate) fn differences(before: Option<&Value>, after: Option<&Value>) -> Vec<Difference> {
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
    pub(crate) fn line(&self) -> String {
        let value = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(MAX_SHOWN_CHARS) {
                    Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                    None => text,
                }
            }
        };
        let place = if self.pointer.is_empty() { String::new() } else { format!("{}: ", self.pointer) };
        one_line(&format!("{place}{} -> {}", value(&self.before), value(&self.after)))
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
