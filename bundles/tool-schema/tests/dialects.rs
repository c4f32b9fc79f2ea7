//! Common rules and differences of the dialects.

use serde_json::json;

use crate::fits;

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
const DRAFT_2019: &str = "https://json-schema.org/draft/2019-09/schema";

#[test]
fn two_point_zero_is_an_integer() {
    let schema = json!({"type": "integer", "minimum": 2, "enum": [2]});
    assert!(fits(&schema, &json!(2.0)) && fits(&schema, &json!(2)) && !fits(&schema, &json!(2.5)));
}

#[test]
fn items_may_be_an_array_before_2020_12() {
    for dialect in [DRAFT_7, DRAFT_2019] {
        let schema = json!({"$schema": dialect, "items": [{"type": "string"}], "additionalItems": false});
        assert!(fits(&schema, &json!(["a"])) && !fits(&schema, &json!([1])) && !fits(&schema, &json!(["a", "b"])));
    }
}

#[test]
fn draft_7_ignores_keywords_beside_a_reference() {
    let members = json!({"definitions": {"s": {"type": "string"}}, "properties": {"a": {"$ref": "#/definitions/s", "minLength": 2}}});
    let mut older = members.clone();
    older["$schema"] = DRAFT_7.into();
    let value = json!({"a": "x"});
    assert!(fits(&older, &value) && !fits(&members, &value) && !fits(&older, &json!({"a": 1})));
}

#[test]
fn dependencies_of_draft_7_are_applied() {
    let schema = json!({"$schema": DRAFT_7, "dependencies": {"a": ["b"], "c": {"required": ["d"]}}});
    assert!(
        fits(&schema, &json!({"a": 1, "b": 1})) && !fits(&schema, &json!({"a": 1})) && !fits(&schema, &json!({"c": 1}))
    );
}

#[test]
fn dynamic_reference_resolves_to_the_outermost_resource() {
    let schema = json!({
        "$id": "https://example.com/strict-tree",
        "$dynamicAnchor": "node",
        "$ref": "tree",
        "unevaluatedProperties": false,
        "$defs": {
            "tree": {
                "$id": "https://example.com/tree",
                "$dynamicAnchor": "node",
                "type": "object",
                "properties": { "data": true, "children": { "type": "array", "items": { "$dynamicRef": "#node" } } }
            }
        }
    });
    assert!(fits(&schema, &json!({"children": [{"data": 1}]})));
    assert!(!fits(&schema, &json!({"children": [{"daat": 1}]})));
}

#[test]
fn recursive_reference_of_2019_resolves_to_the_outermost_resource() {
    let schema = json!({
        "$schema": DRAFT_2019,
        "$id": "https://example.com/strict-tree",
        "$recursiveAnchor": true,
        "$ref": "tree",
        "unevaluatedProperties": false,
        "$defs": {
            "tree": {
                "$id": "https://example.com/tree",
                "$recursiveAnchor": true,
                "type": "object",
                "properties": { "data": true, "children": { "type": "array", "items": { "$recursiveRef": "#" } } }
            }
        }
    });
    assert!(fits(&schema, &json!({"children": [{"data": 1}]})));
    assert!(!fits(&schema, &json!({"children": [{"daat": 1}]})));
}

#[test]
fn unevaluated_keywords_apply_to_the_parts_that_no_other_keyword_evaluated() {
    let schema = json!({
        "allOf": [{"properties": {"a": true}}],
        "anyOf": [{"properties": {"b": {"type": "string"}}, "required": ["b"]}, {"properties": {"c": true}}],
        "if": {"required": ["d"], "properties": {"d": {"const": 1}}}, "then": {"properties": {"e": true}},
        "not": {"properties": {"z": true}, "required": ["z"]},
        "unevaluatedProperties": false
    });
    assert!(fits(&schema, &json!({"a": 1, "b": "x", "c": 1, "d": 1, "e": 1})));
    assert!(!fits(&schema, &json!({"b": 1})) && !fits(&schema, &json!({"e": 1})) && !fits(&schema, &json!({"d": 2})));
    let schema = json!({"prefixItems": [true], "contains": {"type": "string"}, "unevaluatedItems": false});
    assert!(fits(&schema, &json!([1, "a", "b"])) && !fits(&schema, &json!([1, "a", 2])));
}

#[test]
fn pointers_are_unescaped() {
    let schema = json!({"$ref": "#/$defs/a~1b%20c~0d", "$defs": {"a/b c~d": {"type": "string"}}});
    assert!(fits(&schema, &json!("x")) && !fits(&schema, &json!(1)));
}

#[test]
fn reference_resolves_to_an_anchor_in_an_embedded_resource() {
    let schema = json!({
        "$id": "https://example.com/root.json",
        "$ref": "part#inner",
        "$defs": {"p": {"$id": "part", "$defs": {"i": {"$anchor": "inner", "type": "string"}}}}
    });
    assert!(fits(&schema, &json!("x")) && !fits(&schema, &json!(1)));
}
