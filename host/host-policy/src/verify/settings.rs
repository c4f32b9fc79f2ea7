//! Verification of the settings that a resolver merged.
//!
//! The settings are untrusted JSON text. Every leaf must be written by the layer that is its origin.

use bundles::canonical::{JsonBounds, JsonError, MAX_SAFE_INTEGER, parse};
use bundles::{BundleLimits, Pointer};
use serde_json::{Map, Value};

use super::{Check, InvalidAnswer};

/// Factor by which a guest's text may be longer than the same settings in a manifest. Some JSON writers
/// add spaces, and write six bytes (`\u00e9`) for a character of two.
const MAX_TEXT_EXPANSION: usize = 4;

/// Parses the settings as an object and normalises its numbers.
pub(super) fn read(text: &str, limits: &BundleLimits) -> Result<Map<String, Value>, InvalidAnswer> {
    if text == "{}" {
        return Ok(Map::new());
    }
    let bounds = JsonBounds {
        bytes: ("settings_bytes", limits.settings_bytes.saturating_mul(MAX_TEXT_EXPANSION)),
        depth: ("json_depth", limits.json_depth),
    };
    let mut value = parse(text.as_bytes(), bounds).map_err(|error| InvalidAnswer::new("/settings", problem(&error)))?;
    normalise(&mut value);
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(InvalidAnswer::new("/settings", "not a JSON object")),
    }
}

/// Describes a parse error without its length, line or column: the guest chose those numbers.
fn problem(error: &JsonError) -> String {
    match error {
        JsonError::TooLarge { name, limit, .. } => format!("longer than {limit} bytes (limit `{name}`)"),
        JsonError::TooDeep { name, limit } => format!("nested deeper than {limit} levels (limit `{name}`)"),
        JsonError::DuplicateKey { .. } => "duplicate key".to_owned(),
        JsonError::UnsafeNumber { .. } => "a number has no exact value in every JSON parser".to_owned(),
        JsonError::Syntax { .. }
        | JsonError::ByteOrderMark
        | JsonError::WideText
        | JsonError::NotCanonical { .. }
        | JsonError::Shape { .. } => "not valid JSON".to_owned(),
    }
}

/// Turns each float that RFC 8785 writes as an integer into an integer, so that equal numbers compare equal.
fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() <= MAX_SAFE_INTEGER as f64 => {
                *value = (float as i64).into();
            }
            _ => {}
        },
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Object(map) => map.values_mut().for_each(normalise),
        _ => {}
    }
}

/// Checks that every leaf is written by its origin.
pub(super) fn check(check: &mut Check<'_>, settings: &Map<String, Value>) -> Result<(), InvalidAnswer> {
    let mut pointer = "/settings".to_owned();
    let mut path = Vec::new();
    for (key, value) in settings {
        check_value(check, &mut pointer, &mut path, key, value)?;
    }
    Ok(())
}

/// Checks the value of one key, or recursively the values below it.
fn check_value<'v>(
    check: &mut Check<'_>,
    pointer: &mut String,
    path: &mut Vec<&'v str>,
    key: &'v str,
    value: &'v Value,
) -> Result<(), InvalidAnswer> {
    let length = pointer.len();
    pointer.push('/');
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
    path.push(key);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                check_value(check, pointer, path, key, value)?;
            }
        }
        value => {
            let shown = |check: &Check<'_>| shown_pointer(check, path);
            let origin = match check.origin(pointer) {
                Ok(origin) => origin,
                Err(error) => return Err(InvalidAnswer { field: shown(check), ..error }),
            };
            if !is_written(&origin.layer.settings, path, value) {
                return Err(InvalidAnswer::new(shown(check), "its origin does not write this value"));
            }
        }
    }
    path.pop();
    pointer.truncate(length);
    Ok(())
}

/// Returns the pointer for messages. It ends with `…` before the first key that no active layer contains,
/// because the guest chose that key.
fn shown_pointer(check: &Check<'_>, path: &[&str]) -> String {
    let mut maps: Vec<&Map<String, Value>> = check.reach.layers().iter().map(|layer| &layer.layer.settings).collect();
    let mut pointer = Pointer::root().key("settings");
    for key in path {
        let inside: Vec<&Value> = maps.iter().filter_map(|map| map.get(*key)).collect();
        if inside.is_empty() {
            return format!("{pointer}/…");
        }
        pointer = pointer.key(key);
        maps = inside.into_iter().filter_map(Value::as_object).collect();
    }
    pointer.to_string()
}

/// `true` if a layer's merge patch writes `value` at `path`. An empty object matches every object of the
/// patch, because a later patch may have removed its members.
fn is_written(settings: &Map<String, Value>, path: &[&str], value: &Value) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut map = settings;
    for key in parents {
        match map.get(*key) {
            Some(Value::Object(inner)) => map = inner,
            _ => return false,
        }
    }
    match (map.get(*last), value) {
        (Some(Value::Object(_)), Value::Object(empty)) => empty.is_empty(),
        (Some(Value::Null), _) | (None, _) => false,
        (Some(written), value) => written == value,
    }
}
