//! Free values: TOML read as JSON, and keys to unset, which TOML has no word for.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::section::Section;
use super::{FileReader, Place, Unset};
use crate::canonical::MAX_SAFE_INTEGER;
use crate::pointer::Pointer;

impl FileReader<'_, '_> {
    /// A table as a JSON object; an absent one is empty.
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
            // What is below is named by it; `key_bytes` is smaller, and told where it stands.
            const MOST_KEY_BYTES: usize = 4096;
            if key.get_ref().len() > MOST_KEY_BYTES {
                self.tell(
                    key.span(),
                    "too_large",
                    "this key is longer than any place should be".to_owned(),
                    "shorten it",
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
                // JSON has one spelling for a whole number; past 2^53 it is not kept by everyone.
                let safe = parsed.filter(|number| number.fract() != 0.0 || number.abs() <= MAX_SAFE_INTEGER as f64);
                if safe.is_none() {
                    self.unsafe_number(value);
                }
                safe.and_then(Number::from_f64).map(Value::Number)
            }
            DeValue::Datetime(_) => {
                self.tell(
                    value.span(),
                    "invalid_type",
                    "JSON has no times, so a setting can hold none".to_owned(),
                    "write it as a string",
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
        let message = "not every JSON reader keeps this number".to_owned();
        self.tell(value.span(), "unsafe_number", message, "write a finite number of at most 2^53 - 1, or a string");
    }

    /// `unset = ["/a/b"]`: keys that a merge patch takes away.
    pub(super) fn unset(&mut self, section: &mut Section<'_>, settings: &mut Map<String, Value>, layer: &Pointer) {
        let written = settings.clone();
        let Some(value) = self.value(section, "unset") else { return };
        let Some(list) = value.get_ref().as_array() else {
            self.tell(
                value.span(),
                "invalid_type",
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
                // The pointer is where these keys were written; the layer sets those before them.
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
                let message = "this is no JSON pointer to something that the same layer does not set".to_owned();
                self.tell(
                    item.span(),
                    "invalid_pointer",
                    message,
                    "write `/key` or `/key/inner`, and set and unset different keys",
                );
            }
        }
    }
}

/// Most keys of one pointer. A manifest is less deep, and what walks the settings recurses.
const MOST_KEYS: usize = 32;

fn pointer_keys(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/').filter(|rest| rest.split('/').count() <= MOST_KEYS)?;
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
