//! Free values: TOML read as JSON, and keys to unset, because TOML has no null.

use error_code::Code;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::Section;
use super::{FileReader, Place, Unset};
use crate::canonical::MAX_SAFE_INTEGER;
use crate::pointer::Pointer;

impl FileReader<'_, '_> {
    /// Reads a table as a JSON object. An absent table is empty.
    pub(super) fn object(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Map<String, Value> {
        let Some(value) = self.value(section, key) else { return Map::new() };
        self.place(at.key(key), value.span());
        match value.get_ref().as_table() {
            Some(table) => self.table(table, &at.key(key)),
            None => {
                self.section_of(value, key.to_owned());
                Map::new()
            }
        }
    }

    fn table(&mut self, table: &DeTable<'_>, at: &Pointer) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in table.iter() {
            // Longer keys are reported at their place, because everything below them is named by them. `key_bytes` is
            // smaller.
            const MAX_KEY_BYTES: usize = 4096;
            if key.get_ref().len() > MAX_KEY_BYTES {
                self.report(
                    key.span(),
                    Code::TooLarge,
                    format!("key exceeds {MAX_KEY_BYTES} bytes"),
                    "shorten the key",
                );
                continue;
            }
            let at = at.key(key.get_ref());
            self.place_key(at.clone(), key.span());
            if let Some(value) = self.json(value, &at) {
                map.insert(key.get_ref().to_string(), value);
            }
        }
        map
    }

    pub(super) fn json(&mut self, value: &Spanned<DeValue<'_>>, at: &Pointer) -> Option<Value> {
        self.place(at.clone(), value.span());
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok();
                let safe = parsed.filter(|number| number.unsigned_abs() <= MAX_SAFE_INTEGER);
                if safe.is_none() {
                    self.unsafe_number(value);
                }
                safe.map(Value::from)
            }
            DeValue::Float(number) => {
                let parsed = number.as_str().replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite());
                // Whole numbers have one spelling in JSON. Above 2^53, not every reader preserves them.
                let safe = parsed.filter(|number| number.fract() != 0.0 || number.abs() <= MAX_SAFE_INTEGER as f64);
                if safe.is_none() {
                    self.unsafe_number(value);
                }
                safe.and_then(Number::from_f64).map(Value::Number)
            }
            DeValue::Datetime(_) => {
                self.report(
                    value.span(),
                    Code::InvalidType,
                    "a time has no form in JSON".to_owned(),
                    "write the time as a string",
                );
                None
            }
            DeValue::Array(list) => {
                let read = list.iter().enumerate().filter_map(|(index, item)| self.json(item, &at.index(index)));
                Some(Value::Array(read.collect()))
            }
            DeValue::Table(table) => Some(Value::Object(self.table(table, at))),
        }
    }

    fn unsafe_number(&mut self, value: &Spanned<DeValue<'_>>) {
        let message = "number exceeds the range that every JSON reader preserves".to_owned();
        self.report(
            value.span(),
            Code::UnsafeNumber,
            message,
            "write a finite number of at most 2^53 - 1, or a string",
        );
    }

    /// Reads `unset = ["/a/b"]`: keys that a merge patch removes.
    pub(super) fn unset(&mut self, section: &mut Section<'_>, settings: &mut Map<String, Value>, layer: &Pointer) {
        let written = settings.clone();
        let Some(value) = self.value(section, "unset") else { return };
        let Some(list) = value.get_ref().as_array() else {
            self.report(
                value.span(),
                Code::InvalidType,
                "expected a list of JSON pointers".to_owned(),
                "write `unset = [\"/key\"]`",
            );
            return;
        };
        for item in list.iter() {
            let keys = item.get_ref().as_str().and_then(pointer_keys);
            let done = keys.filter(|keys| remove(settings, keys));
            if let Some(keys) = done {
                let own = objects_along(&written, &keys);
                // Start of the pointer's keys in the manifest. The layer itself sets the keys before it.
                let mut at = layer.key("settings");
                for (index, key) in keys.iter().enumerate() {
                    at = at.key(key);
                    if index >= own {
                        self.place_key(at.clone(), item.span());
                    }
                }
                let place = Place { file: self.file.to_owned(), span: Some(item.span()) };
                self.author.unsets.push(Unset { layer: layer.clone(), keys, own, place });
            } else {
                let message =
                    "invalid pointer: expected a JSON pointer to a key that this layer does not set".to_owned();
                self.report(
                    item.span(),
                    Code::InvalidPointer,
                    message,
                    "write `/key` or `/key/inner`, and set and unset different keys",
                );
            }
        }
    }
}

/// Maximum number of keys of one pointer. Manifests are less deep, and functions over settings recurse.
const MAX_POINTER_KEYS: usize = 32;

fn pointer_keys(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/').filter(|rest| rest.split('/').count() <= MAX_POINTER_KEYS)?;
    Some(rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

/// Returns the number of leading keys that lead from object to object.
fn objects_along(settings: &Map<String, Value>, keys: &[String]) -> usize {
    let mut inside = Some(settings);
    let objects = keys.iter().map_while(|key| {
        inside = inside.and_then(|settings| settings.get(key)).and_then(Value::as_object);
        inside.map(|_| ())
    });
    objects.count()
}

fn remove(settings: &mut Map<String, Value>, keys: &[String]) -> bool {
    match keys {
        [] => false,
        [last] => settings.insert(last.clone(), Value::Null).is_none(),
        [first, rest @ ..] => {
            let inner = settings.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            inner.as_object_mut().is_some_and(|inner| remove(inner, rest))
        }
    }
}
