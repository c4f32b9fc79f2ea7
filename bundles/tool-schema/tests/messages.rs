//! Messages of mismatches.

use serde_json::{Value, json};
use tool_schema::{ValidationError, Work};

use crate::parse;

fn mismatch(schema: Value, value: Value) -> (String, String) {
    match parse(&schema).validate(&value, &mut Work::new(10_000)) {
        Err(ValidationError::Mismatch(mismatch)) => (mismatch.pointer, mismatch.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mismatch_names_the_place_and_the_reason_and_no_value() {
    let secret = "hunter2hunter2";
    for (schema, value, pointer, reason) in [
        (json!({"required": ["mount"]}), json!({"path": "a"}), "", "property `mount` is missing"),
        (
            json!({"properties": {"a/b": {"items": {"required": ["x"]}}}}),
            json!({"a/b": [{"x": 1}, {}]}),
            "/a~1b/1",
            "property `x` is missing",
        ),
        (json!({"type": ["integer", "null"]}), json!(secret), "", "expected null or integer, found string"),
        (
            json!({"additionalProperties": false, "properties": {}}),
            json!({"x": secret}),
            "/x",
            "property `x` is not allowed",
        ),
        (json!({"enum": ["a"]}), json!(secret), "", "the value is not one of the values in `enum`"),
        (json!({"const": "a"}), json!(secret), "", "the value differs from `const`"),
        (json!({"maxLength": 3}), json!(secret), "", "found 14 characters, expected at most 3"),
        (json!({"pattern": "^a"}), json!(secret), "", "the string does not match `pattern`"),
        (json!({"minimum": 3}), json!(2), "", "expected a number of at least 3"),
        (json!({"uniqueItems": true}), json!([1, secret, 1.0]), "", "items 0 and 2 are equal"),
        (json!({"anyOf": [{"type": "null"}]}), json!(secret), "", "the value matches none of the schemas in `anyOf`"),
        (
            json!({"oneOf": [true, true]}),
            json!(secret),
            "",
            "the value matches more than one of the schemas in `oneOf`",
        ),
        (
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"required": ["b"]}}}),
            json!({}),
            "",
            "property `b` is missing",
        ),
        (
            json!({"contains": {"type": "null"}, "maxContains": 2}),
            json!([1]),
            "",
            "0 items match `contains`, expected at least 1 and at most 2",
        ),
    ] {
        assert_eq!(mismatch(schema, value), (pointer.to_owned(), reason.to_owned()));
    }
}
