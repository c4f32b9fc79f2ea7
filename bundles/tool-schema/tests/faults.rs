//! Faults that `Schema::parse` reports, each with a similar schema that it accepts.

use serde_json::{Value, json};
use tool_schema::{DEFAULT_PATTERN_BYTES, Schema};

fn faults(schema: &Value) -> Vec<String> {
    match Schema::parse(schema, DEFAULT_PATTERN_BYTES) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn each_fault_is_reported_with_its_place_and_a_similar_schema_passes() {
    let cases = [
        (json!({"type": "objekt"}), "at `/type`: unknown type", json!({"type": "object"})),
        (json!({"type": ["string", "nul"]}), "at `/type/1`: unknown type", json!({"type": ["string", "null"]})),
        (json!({"type": []}), "at `/type`: `type` expects", json!({"type": ["string"]})),
        (json!({"type": ["string", "string"]}), "at `/type`: `type` expects", json!({"type": ["string", "null"]})),
        (json!({"required": "path"}), "at `/required`: `required` expects", json!({"required": ["path"]})),
        (json!({"required": ["a", "a"]}), "at `/required`: `required` expects", json!({"required": []})),
        (json!({"required": [1]}), "at `/required`: `required` expects", json!({"required": ["1"]})),
        (
            json!({"properties": {"a/b": {"pattern": "(?=x)"}}}),
            "at `/properties/a~1b/pattern`: invalid pattern: look-around",
            json!({"properties": {"a/b": {"pattern": "(?:x)"}}}),
        ),
        (json!({"pattern": r"(a)\1"}), "at `/pattern`: invalid pattern: backreferences", json!({"pattern": "(a)b"})),
        (json!({"pattern": "["}), "at `/pattern`: invalid pattern: unclosed", json!({"pattern": "[a]"})),
        (json!({"pattern": 1}), "at `/pattern`: `pattern` expects", json!({"pattern": "1"})),
        (
            json!({"patternProperties": {"(?<!a)": {}}}),
            "at `/patternProperties/(?<!a)`: invalid pattern",
            json!({"patternProperties": {"a": {}}}),
        ),
        (
            json!({"$ref": "#/$defs/x"}),
            "at `/$ref`: reference target not found",
            json!({"$ref": "#/$defs/x", "$defs": {"x": {}}}),
        ),
        (
            json!({"$ref": "#x"}),
            "at `/$ref`: reference target not found",
            json!({"$ref": "#x", "$defs": {"a": {"$anchor": "x"}}}),
        ),
        (
            json!({"$dynamicRef": "#x"}),
            "at `/$dynamicRef`: reference target not found",
            json!({"$dynamicRef": "#x", "$defs": {"a": {"$dynamicAnchor": "x"}}}),
        ),
        (
            json!({"items": {"$ref": "https://example.com/x.json"}}),
            "at `/items/$ref`: the reference points outside",
            json!({"$id": "https://example.com/x.json", "items": {"$ref": "https://example.com/x.json"}}),
        ),
        (
            json!({"$ref": "file:///etc/passwd"}),
            "at `/$ref`: the reference points outside",
            json!({"items": {"$ref": "#"}}),
        ),
        (
            json!({"$ref": "other.json#/a"}),
            "at `/$ref`: the reference points outside",
            json!({"$id": "other.json", "a": {}, "$ref": "other.json#/a"}),
        ),
        (
            json!({"$ref": "#/required", "required": []}),
            "at `/$ref`: the reference target is not a schema",
            json!({"$ref": "#/x-own", "x-own": {"type": "string"}}),
        ),
        (
            json!({"$ref": "#/x-own", "x-own": {"type": "strin"}}),
            "at `/x-own/type`: unknown type",
            json!({"x-own": {"type": "strin"}}),
        ),
        (json!({"$ref": "#"}), "at its root: the schema applies itself", json!({"properties": {"a": {"$ref": "#"}}})),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"not": {"$ref": "#/$defs/a"}}]}}}),
            "the schema applies itself",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}),
        ),
        (json!({"properties": []}), "at `/properties`: `properties` expects", json!({"properties": {}})),
        (
            json!({"properties": {"a": 1}}),
            "at `/properties/a`: expected a schema: an object or a boolean",
            json!({"properties": {"a": false}}),
        ),
        (
            json!({"items": [{}]}),
            "at `/items`: expected a schema: an object or a boolean",
            json!({"prefixItems": [{}]}),
        ),
        (json!({"allOf": []}), "at `/allOf`: `allOf` expects", json!({"allOf": [{}]})),
        (json!({"oneOf": {}}), "at `/oneOf`: `oneOf` expects", json!({"oneOf": [true]})),
        (json!({"minLength": -1}), "at `/minLength`: `minLength` expects", json!({"minLength": 0})),
        (json!({"maxItems": 1.5}), "at `/maxItems`: `maxItems` expects", json!({"maxItems": 2.0})),
        (json!({"minimum": "1"}), "at `/minimum`: `minimum` expects a number", json!({"minimum": -1.5})),
        (json!({"multipleOf": 0}), "at `/multipleOf`: `multipleOf` expects", json!({"multipleOf": 0.01})),
        (
            json!({"exclusiveMinimum": true}),
            "at `/exclusiveMinimum`: `exclusiveMinimum` expects",
            json!({"exclusiveMinimum": 1}),
        ),
        (json!({"uniqueItems": 1}), "at `/uniqueItems`: `uniqueItems` expects", json!({"uniqueItems": true})),
        (json!({"enum": "a"}), "at `/enum`: `enum` expects an array", json!({"enum": ["a"]})),
        (
            json!({"dependentRequired": {"a": "b"}}),
            "at `/dependentRequired/a`: `dependentRequired` expects",
            json!({"dependentRequired": {"a": ["b"]}}),
        ),
        (json!({"description": 1}), "at `/description`: `description` expects a string", json!({"description": "1"})),
        (
            json!({"$defs": {"unused": {"pattern": "*"}}}),
            "at `/$defs/unused/pattern`: invalid pattern",
            json!({"$defs": {"unused": {"pattern": ".*"}}}),
        ),
        (
            json!({"$schema": "https://example.com/own"}),
            "at `/$schema`: unknown dialect",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema"}),
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            "at `/$schema`: unknown dialect",
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
        ),
        (json!({"$anchor": "1 x"}), "at `/$anchor`: `$anchor` expects", json!({"$anchor": "x1"})),
        (
            json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}),
            "duplicate anchor or identifier",
            json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "y"}}}),
        ),
        (json!({"if": 1}), "at `/if`: expected a schema", json!({"if": {}, "then": {}, "else": false})),
        (json!([]), "at its root: expected a schema", json!(true)),
    ];
    for (faulty, message, neighbour) in cases {
        let reported = faults(&faulty);
        assert!(reported.len() == 1 && reported[0].contains(message), "{faulty}: {reported:?}");
        assert_eq!(faults(&neighbour), Vec::<String>::new(), "{neighbour}");
    }
}

#[test]
fn all_faults_are_reported_together_up_to_32() {
    let faulty = json!({"type": "objekt", "properties": {"a": {"pattern": "["}, "b": {"$ref": "#/c"}}});
    assert_eq!(faults(&faulty).len(), 3);
    let many: Vec<Value> = (0..1000).map(|_| json!({"type": "x"})).collect();
    assert_eq!(faults(&json!({ "allOf": many })).len(), 32);
}

#[test]
fn number_and_length_of_identifiers_are_limited() {
    let parts = |count: usize, id: &str| {
        let parts = (0..count).map(|number| (format!("p{number}"), json!({"$id": format!("{id}{number}")})));
        json!({"$defs": Value::Object(parts.collect())})
    };
    assert_eq!(faults(&parts(200, "x")), Vec::<String>::new());
    assert!(faults(&parts(300, "x"))[0].contains("`$id` expects"));
    assert!(faults(&parts(1, &"x".repeat(5000)))[0].contains("`$id` expects"));
}

#[test]
fn long_key_is_cut_in_the_message_and_whole_in_the_pointer() {
    let key = "ä".repeat(100_000);
    let faulty = Schema::parse(&json!({"properties": {key.clone(): {"type": 1}}}), DEFAULT_PATTERN_BYTES).unwrap_err();
    assert_eq!(faulty[0].pointer, format!("/properties/{key}/type"));
    assert!(faulty[0].to_string().len() < 500);
    let faulty = Schema::parse(&json!({"properties": {"a\nb": {"type": 1}}}), DEFAULT_PATTERN_BYTES).unwrap_err();
    assert!(!faulty[0].to_string().contains('\n'));
}
