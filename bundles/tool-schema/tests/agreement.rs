//! Comparison with an independent implementation on random schemas and values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tool_schema::{DEFAULT_PATTERN_BYTES, Schema, ValidationError, Work};

const NAMES: [&str; 4] = ["a", "b", "ab", "c"];

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        (-6i64..7).prop_map(|halves| json!(halves as f64 / 2.0)),
        proptest::sample::select(vec!["", "a", "ab", "b", "ü", "a1"]).prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name(), inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn types() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["null", "boolean", "object", "array", "number", "string", "integer"])
}

fn simple() -> impl Strategy<Value = Value> {
    let small = 0u64..4;
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        types().prop_map(|name| json!({"type": name})),
        proptest::collection::vec(value(), 1..4).prop_map(|values| json!({"enum": values})),
        value().prop_map(|value| json!({"const": value})),
        (-3i64..4).prop_map(|bound| json!({"minimum": bound})),
        (-6i64..7).prop_map(|halves| json!({"exclusiveMaximum": halves as f64 / 2.0})),
        (1i64..4).prop_map(|halves| json!({"multipleOf": halves as f64 / 2.0})),
        (small.clone(), small.clone()).prop_map(|(one, two)| json!({"minLength": one, "maxLength": two})),
        proptest::sample::select(vec!["^a", "b$", r"\d", r"^\w+$", "ü", "^[^a]*$"])
            .prop_map(|text| json!({"pattern": text})),
        (small.clone(), small.clone()).prop_map(|(one, two)| json!({"minItems": one, "maxItems": two})),
        (small.clone(), small).prop_map(|(one, two)| json!({"minProperties": one, "maxProperties": two})),
        Just(json!({"uniqueItems": true})),
        proptest::collection::btree_set(name(), 0..3).prop_map(|names| json!({"required": names})),
        proptest::collection::btree_set(name(), 0..3).prop_map(|names| json!({"dependentRequired": {"a": names}})),
        proptest::sample::select(vec!["x", "y", "z"]).prop_map(|name| json!({"$ref": format!("#/$defs/{name}")})),
        Just(json!({"$ref": "#"})),
    ]
}

fn merged(all: Vec<Value>) -> Value {
    let mut members = Map::new();
    for one in all {
        match one {
            Value::Object(more) => members.extend(more),
            other => return other,
        }
    }
    Value::Object(members)
}

fn schema() -> impl Strategy<Value = Value> {
    simple().prop_recursive(4, 40, 4, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 1..4);
        let named = || proptest::collection::btree_map(name(), inner.clone(), 0..3);
        let one = || inner.clone();
        let keyword = prop_oneof![
            one(),
            some().prop_map(|all| json!({"allOf": all})),
            some().prop_map(|all| json!({"anyOf": all})),
            some().prop_map(|all| json!({"oneOf": all})),
            one().prop_map(|one| json!({"not": one})),
            (one(), one(), one()).prop_map(|(one, two, three)| json!({"if": one, "then": two, "else": three})),
            named().prop_map(|named| json!({"properties": named})),
            (one(), one())
                .prop_map(|(one, two)| json!({"patternProperties": {"^a": one}, "additionalProperties": two})),
            one().prop_map(|one| json!({"propertyNames": one})),
            named().prop_map(|named| json!({"dependentSchemas": named})),
            some().prop_map(|all| json!({"prefixItems": all})),
            one().prop_map(|one| json!({"items": one})),
            (one(), 0u64..3, 0u64..3)
                .prop_map(|(one, least, most)| json!({"contains": one, "minContains": least, "maxContains": most})),
            one().prop_map(|one| json!({"unevaluatedProperties": one})),
            one().prop_map(|one| json!({"unevaluatedItems": one})),
        ];
        proptest::collection::vec(keyword, 1..4).prop_map(merged)
    })
}

fn document() -> impl Strategy<Value = Value> {
    (schema(), schema(), schema(), schema()).prop_map(|(root, x, y, z)| {
        let mut root = match root {
            Value::Object(members) => members,
            other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
        };
        root.insert("$defs".to_owned(), json!({"x": x, "y": y, "z": z}));
        Value::Object(root)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn result_equals_that_of_an_independent_implementation(document in document(), values in proptest::collection::vec(value(), 8)) {
        // This parser refuses endless recursion, for which the other implementation has no result.
        let Ok(schema) = Schema::parse(&document, DEFAULT_PATTERN_BYTES) else { return Ok(()) };
        let other = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex()).build(&document).unwrap();
        for value in values {
            let fits = match schema.validate(&value, &mut Work::new(1 << 22)) {
                Ok(()) => true,
                Err(ValidationError::Mismatch(_)) => false,
                Err(ValidationError::Incomplete(_)) => continue,
            };
            prop_assert_eq!(fits, other.is_valid(&value), "{}\n{}", document, value);
        }
    }

    #[test]
    fn refused_schema_has_at_least_one_fault(document in value()) {
        if let Err(faults) = Schema::parse(&document, DEFAULT_PATTERN_BYTES) {
            prop_assert!(!faults.is_empty());
        }
    }
}
