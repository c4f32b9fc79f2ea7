//! Settings that a resolver merged: JSON text from outside, of which every leaf must have been
//! written by the layer that is its origin.

use bundles::canonical::{JsonBounds, JsonError, MAX_SAFE_INTEGER, parse};
use bundles::{BundleLimits, Pointer};
use serde_json::{Map, Value};

use super::{Check, Misbehaved};

/// A guest's text may be longer than the same settings in a manifest: some languages' writers put
/// spaces, and six bytes for a character of two.
const SPELLING: usize = 4;

/// Reads the settings as an object in its normal form.
pub(super) fn read(text: &str, limits: &BundleLimits) -> Result<Map<String, Value>, Misbehaved> {
    if text == "{}" {
        return Ok(Map::new());
    }
    let bounds = JsonBounds {
        bytes: ("settings_bytes", limits.settings_bytes.saturating_mul(SPELLING)),
        depth: ("json_depth", limits.json_depth),
    };
    let mut value = parse(text.as_bytes(), bounds).map_err(|error| Misbehaved::new("/settings", problem(&error)))?;
    normalise(&mut value);
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Misbehaved::new("/settings", "are no object")),
    }
}

/// Describes why a text is no settings. Lengths, lines and columns are numbers that the guest chose, so
/// none of them is repeated.
fn problem(error: &JsonError) -> String {
    match error {
        JsonError::TooLarge { name, limit, .. } => format!("are longer than {limit} bytes (`{name}`)"),
        JsonError::TooDeep { name, limit } => format!("are nested deeper than {limit} (`{name}`)"),
        JsonError::DuplicateKey { .. } => "hold a key twice".to_owned(),
        JsonError::UnsafeNumber { .. } => "hold a number that not every JSON reader keeps".to_owned(),
        JsonError::Syntax { .. }
        | JsonError::ByteOrderMark
        | JsonError::WideText
        | JsonError::NotCanonical { .. }
        | JsonError::Shape { .. } => "are not JSON".to_owned(),
    }
}

/// One number, one form: what RFC 8785 writes as an integer is one, whatever the guest wrote.
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

/// Checks every leaf against the layer that is its origin.
pub(super) fn check(check: &mut Check<'_>, settings: &Map<String, Value>) -> Result<(), Misbehaved> {
    let mut pointer = "/settings".to_owned();
    let mut path = Vec::new();
    for (key, value) in settings {
        leaf(check, &mut pointer, &mut path, key, value)?;
    }
    Ok(())
}

fn leaf<'v>(
    check: &mut Check<'_>,
    pointer: &mut String,
    path: &mut Vec<&'v str>,
    key: &'v str,
    value: &'v Value,
) -> Result<(), Misbehaved> {
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
                leaf(check, pointer, path, key, value)?;
            }
        }
        value => {
            let shown = |check: &Check<'_>| shown(check, path);
            let origin = match check.origin(pointer) {
                Ok(origin) => origin,
                Err(error) => return Err(Misbehaved { field: shown(check), ..error }),
            };
            if !written(&origin.layer.settings, path, value) {
                return Err(Misbehaved::new(shown(check), "is not written by its origin"));
            }
        }
    }
    path.pop();
    pointer.truncate(length);
    Ok(())
}

/// The pointer as far as its keys are the bundle's; what a guest made up is not repeated.
fn shown(check: &Check<'_>, path: &[&str]) -> String {
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

/// Whether a layer's merge patch writes `value` at `path`. An empty object stands wherever the patch
/// has an object: its members may have been taken away by a later one.
fn written(settings: &Map<String, Value>, path: &[&str], value: &Value) -> bool {
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
        (Some(there), value) => there == value,
    }
}
