//! Limits of a validation against a hostile schema.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value, json};
use tool_schema::{DEFAULT_PATTERN_BYTES, IncompleteValidation, Schema, SchemaProblem, ValidationError, Work};

use crate::parse;

const LIMIT: u64 = 100_000;

fn validate(schema: &Value, value: &Value) -> Result<(), ValidationError> {
    // The stack size of a thread of the tokio pool.
    let (schema, value) = (schema.clone(), value.clone());
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(move || parse(&schema).validate(&value, &mut Work::new(LIMIT))).unwrap().join().unwrap()
}

fn is_exhausted(schema: &Value, value: &Value) -> bool {
    validate(schema, value) == Err(IncompleteValidation::Work { limit: LIMIT }.into())
}

/// Returns a schema with `levels` definitions, each of which applies the previous one twice.
fn doubling(levels: usize, leaf: Value, twice: impl Fn(Value) -> Value) -> Value {
    let mut defs = Map::new();
    defs.insert("a0".to_owned(), leaf);
    for level in 1..=levels {
        defs.insert(format!("a{level}"), twice(json!({"$ref": format!("#/$defs/a{}", level - 1)})));
    }
    json!({"$ref": format!("#/$defs/a{levels}"), "$defs": defs})
}

#[test]
fn doubling_references_are_refused_above_the_limit_and_pass_below() {
    type Twice = fn(Value) -> Value;
    let kinds: [(&str, Twice); 8] = [
        ("allOf", |below| json!({"allOf": [below, below]})),
        ("anyOf", |below| json!({"anyOf": [{"allOf": [below, false]}, below]})),
        ("oneOf", |below| json!({"oneOf": [{"not": below}, below]})),
        ("not", |below| json!({"not": {"anyOf": [{"not": below}, {"not": below}]}})),
        ("if", |below| json!({"if": below, "then": below})),
        ("dependentSchemas", |below| json!({"dependentSchemas": {"a": below, "b": below}})),
        ("unevaluated", |below| json!({"anyOf": [below, below], "unevaluatedProperties": true})),
        ("ref", |below| json!({"$ref": below["$ref"], "allOf": [below]})),
    ];
    let value = json!({"a": 1, "b": 2});
    for (name, twice) in kinds {
        let schema = |levels| doubling(levels, json!({"not": {"type": "string"}}), twice);
        assert!(is_exhausted(&schema(40), &value), "{name}");
        assert_eq!(validate(&schema(6), &value), Ok(()), "{name}");
    }
}

#[test]
fn dynamic_references_are_counted() {
    let twice = |below: Value| {
        let name = below["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        json!({"allOf": [{"$dynamicRef": format!("#{name}")}, {"$dynamicRef": format!("#{name}")}]})
    };
    let schema = |levels| {
        let mut schema = doubling(levels, json!({"type": "object"}), twice);
        for (name, value) in schema["$defs"].as_object_mut().unwrap() {
            value["$dynamicAnchor"] = name.as_str().into();
        }
        schema
    };
    assert!(is_exhausted(&schema(40), &json!({})));
    assert_eq!(validate(&schema(6), &json!({})), Ok(()));
}

#[test]
fn many_keywords_against_many_items_are_counted_without_any_reference() {
    let schema = |count: usize| {
        let each: Vec<Value> = (0..count).map(|number| json!({"not": {"const": format!("x{number}")}})).collect();
        json!({"items": {"allOf": each}})
    };
    assert!(is_exhausted(&schema(10_000), &json!(vec![1; 30_000])));
    assert_eq!(validate(&schema(20), &json!(vec![1; 300])), Ok(()));
}

#[test]
fn comparisons_are_counted_by_size() {
    let large = json!(vec![json!({"a": [1, 2, 3]}); 1000]);
    let schema = json!({"items": {"enum": [vec![large.clone(); 10]]}});
    assert_eq!(
        validate(&schema, &json!(vec![1; 1000])),
        Err(ValidationError::Mismatch(mismatch_of(&schema, &json!([1]))))
    );
    let schema = json!({"items": {"not": {"const": [large, 1]}}});
    assert!(is_exhausted(&schema, &json!(vec![json!([vec![json!({"a": [1, 2, 3]}); 1000], 2]); 100])));
    let text = "x".repeat(100_000);
    let schema = json!({"items": {"not": {"enum": vec![format!("{text}y"); 100]}}});
    assert!(is_exhausted(&schema, &json!(vec![format!("{text}z"); 100])));
}

fn mismatch_of(schema: &Value, value: &Value) -> tool_schema::Mismatch {
    match validate(schema, value) {
        Err(ValidationError::Mismatch(mismatch)) => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unique_items_are_not_quadratic() {
    let values: Vec<Value> = (0..5000).map(|number| json!([number])).collect();
    assert_eq!(validate(&json!({"uniqueItems": true}), &json!(values)), Ok(()));
}

#[test]
fn properties_and_names_are_counted() {
    let members: Map<String, Value> = (0..1000).map(|number| (format!("k{number}"), json!(1))).collect();
    let patterns: Map<String, Value> = (0..1000).map(|number| (format!("^k{number}$"), json!(true))).collect();
    assert!(is_exhausted(&json!({"patternProperties": patterns}), &json!(members)));
    let names: Vec<Value> = (0..1000).map(|number| json!({"not": {"const": format!("x{number}")}})).collect();
    assert!(is_exhausted(&json!({"propertyNames": {"allOf": names}}), &json!(members)));
    let contains: Vec<Value> = (0..1000).map(|number| json!({"contains": {"const": number}})).collect();
    assert!(is_exhausted(&json!({"anyOf": contains}), &json!(vec!["x"; 1000])));
}

#[test]
fn matching_is_counted_by_pattern_and_text() {
    let schema = json!({"pattern": r"[\p{L}]{60}x0"});
    assert!(is_exhausted(&schema, &json!("a".repeat(10_000))));
    assert_eq!(validate(&json!({"pattern": "^[a-z]+$"}), &json!("a".repeat(10_000))), Ok(()));
}

#[test]
fn recursive_trees_pass() {
    let schema = json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": false
    });
    let mut tree = json!({"name": "leaf"});
    for _ in 0..60 {
        tree = json!({"name": "inner", "children": [tree, {"name": "leaf"}]});
    }
    assert_eq!(validate(&schema, &tree), Ok(()));
    // A binary tree of a thousand nodes.
    let mut tree = json!({"name": "leaf"});
    for _ in 0..9 {
        tree = json!({"name": "inner", "children": [tree, tree]});
    }
    assert_eq!(validate(&schema, &tree), Ok(()));
}

#[test]
fn long_chain_is_an_error_and_not_a_stack_overflow() {
    let chain = |length| doubling(length, json!(true), |below| json!({"allOf": [below]}));
    assert_eq!(validate(&chain(200), &json!(1)), Ok(()));
    assert!(matches!(
        validate(&chain(20_000), &json!(1)),
        Err(ValidationError::Incomplete(IncompleteValidation::Depth { .. }))
    ));
    let mut deep = json!(1);
    for _ in 0..2000 {
        deep = json!([deep]);
    }
    let items = json!({"items": {"$ref": "#"}});
    assert!(matches!(validate(&items, &deep), Err(ValidationError::Incomplete(IncompleteValidation::Depth { .. }))));
}

#[test]
fn deepest_validation_does_not_overflow_the_stack_for_any_keyword() {
    let kinds: [fn(Value) -> Value; 7] = [
        |below| json!({"oneOf": [below]}),
        |below| json!({"not": {"not": below}}),
        |below| json!({"if": below, "then": below}),
        |below| json!({"dependentSchemas": {"a": below}}),
        |below| json!({"anyOf": [below], "unevaluatedProperties": false}),
        |below| json!({"properties": {"a": below}}),
        |below| json!({"contains": below}),
    ];
    for kind in kinds {
        let schema = doubling(2000, json!(true), kind);
        let mut value = json!({"a": 1});
        for _ in 0..100 {
            value = json!({"a": value, "b": [value]});
            if value.to_string().len() > 10_000 {
                break;
            }
        }
        let _ = validate(&schema, &value);
    }
}

#[test]
fn patterns_of_a_schema_share_one_limit() {
    let schema = |count: usize| {
        let each: Vec<Value> = (0..count).map(|number| json!({"pattern": format!(r"[\pL]{{60}}x{number}")})).collect();
        json!({"allOf": each})
    };
    let refused = Schema::parse(&schema(480), DEFAULT_PATTERN_BYTES).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].problem, SchemaProblem::PatternBytes { allowed: DEFAULT_PATTERN_BYTES });
    assert!(Schema::parse(&schema(2), DEFAULT_PATTERN_BYTES).is_ok());
    let names: Map<String, Value> = (0..480).map(|number| (format!(r"[\pL]{{60}}x{number}"), json!({}))).collect();
    assert!(Schema::parse(&json!({"patternProperties": names}), DEFAULT_PATTERN_BYTES).is_err());
    let same = json!({"allOf": vec![json!({"pattern": r"[\pL]{60}"}); 480]});
    assert!(Schema::parse(&same, DEFAULT_PATTERN_BYTES).is_ok(), "one pattern counts once");
    let honest: Vec<Value> =
        (0..200).map(|number| json!({"pattern": format!("^[a-z0-9_-]{{1,{}}}$", number + 1)})).collect();
    assert!(Schema::parse(&json!({"allOf": honest}), DEFAULT_PATTERN_BYTES).is_ok());
}

#[test]
fn stopped_validation_ends() {
    let schema = parse(&doubling(40, json!(true), |below| json!({"allOf": [below, below]})));
    let stop = Arc::new(AtomicBool::new(true));
    let mut work = Work::new(u64::MAX).stopped_by(stop);
    assert_eq!(schema.validate(&json!(1), &mut work), Err(IncompleteValidation::Stopped.into()));
    assert!(work.spent() < 10_000);
}
