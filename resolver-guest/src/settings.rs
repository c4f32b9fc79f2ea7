//! Merging of settings: one JSON Merge Patch (RFC 7396) per layer, and the origin of each leaf.
//!
//! A leaf is any value that is not an object with members. The settings as a whole are never a leaf. A patch that names a
//! leaf becomes its origin, even if the value does not change. An object in a patch sets only its members, except if the
//! result is an empty object: this is a leaf, and the patch is its origin. Therefore `{}` does not change an object with
//! members, replaces any other value by an empty object, and the patch that removes the last member of an object is the
//! origin of the empty object. The output is compact except inside arrays, whose text is kept. The host canonicalises it.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Origin;
use crate::json::{self, Object, Value, push_string};
use crate::origins::{Place, push_key};

/// The settings after the patches that were applied so far.
#[derive(Default)]
pub(crate) struct Settings<'a> {
    members: Members<'a>,
}

type Members<'a> = BTreeMap<Cow<'a, str>, Setting<'a>>;

enum Setting<'a> {
    /// The JSON text of a leaf, and its origin.
    Leaf(&'a str, Place<'a>),
    /// An object with at least one member.
    Object(Members<'a>),
}

/// Settings that are not the JSON text of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct NotAnObject;

impl<'a> Settings<'a> {
    /// Applies one layer's patch.
    ///
    /// # Errors
    ///
    /// [`NotAnObject`] if `patch` is not the JSON text of an object.
    pub(crate) fn patch(&mut self, patch: &'a str, place: Place<'a>) -> Result<(), NotAnObject> {
        // Most layers have no settings, so this comparison saves the parser.
        if patch != "{}" {
            merge(&mut self.members, json::object(patch).ok_or(NotAnObject)?, place);
        }
        Ok(())
    }

    /// Returns the settings as JSON text and adds the origins of their leaves to `origins`.
    pub(crate) fn into_json(self, origins: &mut Vec<Origin>) -> String {
        let mut json = String::new();
        write(&self.members, &mut json, &mut String::from("/settings"), origins);
        json
    }
}

/// Applies a patch recursively. The parser bounds the depth of a patch.
fn merge<'a>(target: &mut Members<'a>, patch: Object<'a>, place: Place<'a>) {
    for (name, value) in patch {
        let setting = match value {
            Value::Null => {
                target.remove(&name);
                continue;
            }
            Value::Other(text) => Setting::Leaf(text, place),
            Value::Object(patch) => {
                let mut members = match target.remove(&name) {
                    Some(Setting::Object(members)) => members,
                    Some(Setting::Leaf(..)) | None => Members::new(),
                };
                merge(&mut members, patch, place);
                if members.is_empty() { Setting::Leaf("{}", place) } else { Setting::Object(members) }
            }
        };
        target.insert(name, setting);
    }
}

/// Writes an object recursively. Its depth is that of the deepest patch.
fn write(members: &Members<'_>, json: &mut String, pointer: &mut String, origins: &mut Vec<Origin>) {
    let parent = pointer.len();
    let mut separator = '{';
    for (name, setting) in members {
        json.push(separator);
        separator = ',';
        push_string(json, name);
        json.push(':');
        push_key(pointer, name);
        match setting {
            Setting::Leaf(text, place) => {
                origins.push(place.origin_of(pointer.clone()));
                json.push_str(text);
            }
            Setting::Object(members) => write(members, json, pointer, origins),
        }
        pointer.truncate(parent);
    }
    if members.is_empty() {
        json.push('{');
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use alloc::vec::Vec;

    use serde_json::{Value, json};

    use super::{NotAnObject, Settings};
    use crate::origins::Place;

    /// Returns the settings after these patches, and the pointer of each leaf with the index of its patch.
    fn patched(patches: &[Value]) -> (Value, Vec<(String, u32)>) {
        let patches: Vec<String> = patches.iter().map(Value::to_string).collect();
        let mut settings = Settings::default();
        for (layer, patch) in (0..).zip(&patches) {
            settings.patch(patch, Place { profile: "p", layer }).unwrap();
        }
        let mut origins = Vec::new();
        let json = settings.into_json(&mut origins);
        let origins = origins.into_iter().map(|origin| (origin.field, origin.layer)).collect();
        (serde_json::from_str(&json).unwrap(), origins)
    }

    fn origins(of: &[(&str, u32)]) -> Vec<(String, u32)> {
        of.iter().map(|(field, layer)| ((*field).to_owned(), *layer)).collect()
    }

    #[test]
    fn objects_merge_and_everything_else_replaces() {
        let (settings, from) = patched(&[json!({"a": {"b": 1, "c": [1, 2]}}), json!({"a": {"c": [3]}, "d": "x"})]);
        assert_eq!(settings, json!({"a": {"b": 1, "c": [3]}, "d": "x"}));
        assert_eq!(from, origins(&[("/settings/a/b", 0), ("/settings/a/c", 1), ("/settings/d", 1)]));
    }

    #[test]
    fn null_removes_a_leaf_or_a_subtree_with_its_origins() {
        let (settings, from) = patched(&[json!({"a": {"b": 1}, "c": 2, "d": 3}), json!({"a": null, "c": null})]);
        assert_eq!(settings, json!({"d": 3}));
        assert_eq!(from, origins(&[("/settings/d", 0)]));
    }

    #[test]
    fn nulls_in_a_new_subtree_are_dropped_and_nulls_in_arrays_stay() {
        let (settings, from) = patched(&[json!({"a": {"b": null, "c": {"d": null}}, "e": [null, {"f": null}]})]);
        assert_eq!(settings, json!({"a": {"c": {}}, "e": [null, {"f": null}]}));
        assert_eq!(from, origins(&[("/settings/a/c", 0), ("/settings/e", 0)]));
    }

    #[test]
    fn equal_value_of_a_later_layer_takes_over_the_origin() {
        let (_, from) = patched(&[json!({"a": 1}), json!({"a": 1})]);
        assert_eq!(from, origins(&[("/settings/a", 1)]));
    }

    #[test]
    fn an_empty_patch_object_changes_no_object_with_members() {
        let (settings, from) = patched(&[json!({"a": {"b": 1}}), json!({"a": {}})]);
        assert_eq!(settings, json!({"a": {"b": 1}}));
        assert_eq!(from, origins(&[("/settings/a/b", 0)]));
    }

    #[test]
    fn empty_patch_object_replaces_a_scalar_or_an_empty_object() {
        let (settings, from) = patched(&[json!({"a": 1, "b": {}}), json!({"a": {}, "b": {}, "c": {}})]);
        assert_eq!(settings, json!({"a": {}, "b": {}, "c": {}}));
        assert_eq!(from, origins(&[("/settings/a", 1), ("/settings/b", 1), ("/settings/c", 1)]));
    }

    #[test]
    fn the_patch_that_removes_the_last_member_owns_the_empty_object() {
        let (settings, from) = patched(&[json!({"a": {"b": 1}}), json!({"a": {"b": null}})]);
        assert_eq!(settings, json!({"a": {}}));
        assert_eq!(from, origins(&[("/settings/a", 1)]));
    }

    #[test]
    fn object_that_replaces_a_scalar_or_an_array_makes_new_leaves() {
        let (settings, from) = patched(&[json!({"a": 1, "b": [2]}), json!({"a": {"x": 1}, "b": {"y": {"z": 2}}})]);
        assert_eq!(settings, json!({"a": {"x": 1}, "b": {"y": {"z": 2}}}));
        assert_eq!(from, origins(&[("/settings/a/x", 1), ("/settings/b/y/z", 1)]));
    }

    #[test]
    fn leaf_that_replaces_an_object_removes_the_origins_below_it() {
        let (settings, from) = patched(&[json!({"a": {"b": {"c": 1}}}), json!({"a": {"b": false}})]);
        assert_eq!(settings, json!({"a": {"b": false}}));
        assert_eq!(from, origins(&[("/settings/a/b", 1)]));
    }

    #[test]
    fn emptied_settings_have_no_origin() {
        assert_eq!(patched(&[json!({"a": 1}), json!({"a": null})]), (json!({}), vec![]));
        assert_eq!(patched(&[]), (json!({}), vec![]));
    }

    #[test]
    fn numbers_keep_every_digit() {
        let mut settings = Settings::default();
        let patch = r#"{"a":18446744073709551616,"b":0.1000000000000000055511151231257827}"#;
        settings.patch(patch, Place { profile: "p", layer: 0 }).unwrap();
        assert_eq!(settings.into_json(&mut Vec::new()), patch);
    }

    #[test]
    fn two_spellings_of_a_key_are_the_same_key() {
        let mut settings = Settings::default();
        settings.patch(r#"{"a\u0062":1}"#, Place { profile: "p", layer: 0 }).unwrap();
        settings.patch(r#"{"ab":2}"#, Place { profile: "p", layer: 1 }).unwrap();
        assert_eq!(settings.into_json(&mut Vec::new()), r#"{"ab":2}"#);
    }

    #[test]
    fn text_that_is_not_an_object_is_refused() {
        for text in ["", "[]", "null", "{"] {
            assert_eq!(Settings::default().patch(text, Place { profile: "p", layer: 0 }), Err(NotAnObject), "{text}");
        }
        for text in ["{}", " { } "] {
            assert_eq!(Settings::default().patch(text, Place { profile: "p", layer: 0 }), Ok(()), "{text}");
        }
    }
}
