//! The canonical form of arbitrary values: a written value is read back, and any other text is refused.

use bundles::canonical::{JsonBounds, JsonError, MAX_SAFE_INTEGER, depth, parse, parse_canonical, to_canonical};
use proptest::prelude::*;
use serde_json::{Map, Number, Value};

const BOUNDS: JsonBounds = JsonBounds { bytes: ("bytes", 1 << 20), depth: ("depth", 64) };

fn numbers() -> impl Strategy<Value = Value> {
    let most = i64::try_from(MAX_SAFE_INTEGER).expect("fits");
    prop_oneof![
        (-most..=most).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON keeps it", |number| {
            // A whole number below 1e21 is written as an integer. Above 2^53, an integer is refused.
            let kept = number.fract() != 0.0 || number.abs() <= MAX_SAFE_INTEGER as f64 || number.abs() >= 1e21;
            Number::from_f64(number).filter(|_| kept).map(Value::Number)
        }),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers(), ".*".prop_map(Value::from)];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(".*", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns the value in its canonical form, in which a whole float is an integer.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() <= MAX_SAFE_INTEGER as f64 =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
                Value::from(whole as i64)
            }
            _ => value.clone(),
        },
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>().into(),
        _ => value.clone(),
    }
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(levels).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_value_is_read_back(value in values()) {
        let bytes = to_canonical(&value).expect("json");
        prop_assert_eq!(parse_canonical(&bytes, BOUNDS), Ok(plain(&value)));
        prop_assert_eq!(to_canonical(&plain(&value)), Ok(bytes.clone()));
        prop_assert_eq!(depth(&bytes), levels(&value));
    }

    #[test]
    fn other_spelling_is_the_same_value_and_not_canonical(value in values()) {
        let canonical = to_canonical(&value).expect("json");
        let pretty = serde_json::to_vec_pretty(&plain(&value)).expect("json");
        prop_assert_eq!(parse(&pretty, BOUNDS), Ok(plain(&value)));
        if pretty != canonical {
            let refused = matches!(parse_canonical(&pretty, BOUNDS), Err(JsonError::NotCanonical { .. }));
            prop_assert!(refused);
        }
        for spaced in [[b" ", &canonical[..]].concat(), [&canonical[..], b"\n"].concat()] {
            let refused = matches!(parse_canonical(&spaced, BOUNDS), Err(JsonError::NotCanonical { .. }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn a_changed_byte_is_another_value_or_an_error(value in values(), at in any::<prop::sample::Index>(), byte: u8) {
        let bytes = to_canonical(&value).expect("json");
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = byte;
        if let Ok(other) = parse_canonical(&changed, BOUNDS) {
            prop_assert_eq!(to_canonical(&other), Ok(changed.clone()));
            prop_assert_eq!(changed == bytes, other == plain(&value));
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        match parse(&bytes, BOUNDS) {
            Ok(value) => prop_assert!(levels(&value) <= depth(&bytes)),
            Err(error) => prop_assert!(!error.help().is_empty()),
        }
    }

    #[test]
    fn limits_of_bytes_and_depth_are_exact(value in values()) {
        let bytes = to_canonical(&value).expect("json");
        let bounds = |bytes: usize, depth: usize| JsonBounds { bytes: ("b", bytes), depth: ("d", depth) };
        prop_assert!(parse(&bytes, bounds(bytes.len(), levels(&value))).is_ok());
        let smaller = parse(&bytes, bounds(bytes.len() - 1, 64));
        let too_large = matches!(smaller, Err(JsonError::TooLarge { name: "b", .. }));
        prop_assert!(too_large);
        if let Some(depth) = levels(&value).checked_sub(1) {
            prop_assert_eq!(parse(&bytes, bounds(bytes.len(), depth)), Err(JsonError::TooDeep { name: "d", limit: depth }));
        }
    }
}
