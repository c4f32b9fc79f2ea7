//! The settings: JSON Merge Patches (RFC 7396), one a layer, and for each leaf the layer that wrote it.
//!
//! A leaf is any value that is not an object with members; the settings themselves are never one. A patch writes a leaf
//! when it names it, even with the value it already has. An object in a patch writes nothing of its own, except where
//! it leaves an empty object: that is then a leaf, and this patch wrote it. So `{}` onto an object with members changes
//! nothing, onto anything else gives an empty object, and the patch that removes an object's last member owns what is
//! left. Numbers keep their value, not their spelling; the host canonicalises the text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Origin;
use crate::origins::{Place, push_key};

/// What the patches so far made.
#[derive(Default)]
pub(crate) struct Settings<'a> {
    members: Members<'a>,
}

type Members<'a> = BTreeMap<String, Setting<'a>>;

enum Setting<'a> {
    Leaf(Value, Place<'a>),
    /// Never empty.
    Object(Members<'a>),
}

impl<'a> Settings<'a> {
    /// Applies one layer's patch.
    ///
    /// # Errors
    ///
    /// When `patch` is not the JSON text of an object.
    pub(crate) fn patch(&mut self, patch: &str, place: Place<'a>) -> serde_json::Result<()> {
        // Most layers have no settings, and need no parser to say so.
        if patch != "{}" {
            merge(&mut self.members, serde_json::from_str(patch)?, place);
        }
        Ok(())
    }

    /// The settings as JSON text; the origins of their leaves are added to `origins`.
    ///
    /// # Errors
    ///
    /// None that is known: what was parsed can be written.
    pub(crate) fn into_json(self, origins: &mut Vec<Origin>) -> serde_json::Result<String> {
        if self.members.is_empty() {
            return Ok("{}".to_owned());
        }
        serde_json::to_string(&into_object(self.members, &mut "/settings".to_owned(), origins))
    }
}

/// As deep as the patch, whose depth the JSON parser bounds.
fn merge<'a>(target: &mut Members<'a>, patch: Map<String, Value>, place: Place<'a>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let mut members = match target.remove(&key) {
                    Some(Setting::Object(members)) => members,
                    Some(Setting::Leaf(..)) | None => Members::new(),
                };
                merge(&mut members, patch, place);
                let setting = if members.is_empty() {
                    Setting::Leaf(Value::Object(Map::new()), place)
                } else {
                    Setting::Object(members)
                };
                target.insert(key, setting);
            }
            leaf => {
                target.insert(key, Setting::Leaf(leaf, place));
            }
        }
    }
}

fn into_object(members: Members<'_>, pointer: &mut String, origins: &mut Vec<Origin>) -> Map<String, Value> {
    let mut object = Map::new();
    for (key, setting) in members {
        let parent = pointer.len();
        push_key(pointer, &key);
        let value = match setting {
            Setting::Leaf(value, place) => {
                origins.push(place.origin_of(pointer.clone()));
                value
            }
            Setting::Object(members) => Value::Object(into_object(members, pointer, origins)),
        };
        pointer.truncate(parent);
        object.insert(key, value);
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Settings;
    use crate::origins::Place;

    /// The settings after these patches, and each leaf's pointer with the index of the patch that wrote it.
    fn patched(patches: &[Value]) -> (Value, Vec<(String, u32)>) {
        let mut settings = Settings::default();
        for (layer, patch) in (0..).zip(patches) {
            settings.patch(&patch.to_string(), Place { profile: "p", layer }).unwrap();
        }
        let mut origins = Vec::new();
        let json = settings.into_json(&mut origins).unwrap();
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
    fn writing_the_same_value_again_is_writing_it() {
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
    fn an_empty_patch_object_onto_anything_else_is_an_empty_object() {
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
    fn an_object_onto_a_scalar_or_an_array_makes_new_leaves() {
        let (settings, from) = patched(&[json!({"a": 1, "b": [2]}), json!({"a": {"x": 1}, "b": {"y": {"z": 2}}})]);
        assert_eq!(settings, json!({"a": {"x": 1}, "b": {"y": {"z": 2}}}));
        assert_eq!(from, origins(&[("/settings/a/x", 1), ("/settings/b/y/z", 1)]));
    }

    #[test]
    fn a_leaf_onto_an_object_takes_the_origins_below_away() {
        let (settings, from) = patched(&[json!({"a": {"b": {"c": 1}}}), json!({"a": {"b": false}})]);
        assert_eq!(settings, json!({"a": {"b": false}}));
        assert_eq!(from, origins(&[("/settings/a/b", 1)]));
    }

    #[test]
    fn settings_that_are_emptied_have_no_origin() {
        assert_eq!(patched(&[json!({"a": 1}), json!({"a": null})]), (json!({}), vec![]));
        assert_eq!(patched(&[]), (json!({}), vec![]));
    }

    #[test]
    fn large_integers_and_fractions_keep_their_value() {
        let numbers = json!({"a": u64::MAX, "b": i64::MIN, "c": 0.1, "d": 1e300});
        assert_eq!(patched(std::slice::from_ref(&numbers)).0, numbers);
    }

    #[test]
    fn what_is_not_the_text_of_an_object_is_refused() {
        for text in ["", "[]", "null", "1", "\"{}\"", "{", "{} {}", "{\"a\":1,}"] {
            let patched = Settings::default().patch(text, Place { profile: "p", layer: 0 });
            assert!(patched.is_err(), "{text}");
        }
        for text in ["{}", " { } "] {
            Settings::default().patch(text, Place { profile: "p", layer: 0 }).unwrap();
        }
    }

    #[test]
    fn nesting_beyond_the_parsers_bound_is_refused() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let place = Place { profile: "p", layer: 0 };
        Settings::default().patch(&nested(100), place).unwrap();
        assert!(Settings::default().patch(&nested(1_000), place).is_err());
    }
}
