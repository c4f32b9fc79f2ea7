//! Equality of JSON values, with a limit on the work.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use crate::number::Numeric;
use crate::work::{IncompleteValidation, Work};

/// `true` if two values are equal by the rules of JSON Schema: numbers by value, objects in any order.
pub(crate) fn equal(one: &Value, two: &Value, work: &mut Work) -> Result<bool, IncompleteValidation> {
    work.charge(1)?;
    Ok(match (one, two) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Number(one), Value::Number(two)) => Numeric::from(one).compare(two.into()).is_eq(),
        (Value::String(one), Value::String(two)) if one.len() == two.len() => {
            work.charge_text(one.len())?;
            one == two
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (one, two) in one.iter().zip(two) {
                if !equal(one, two, work)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(one), Value::Object(two)) if one.len() == two.len() => {
            for (key, one) in one {
                work.charge_text(key.len())?;
                let Some(two) = two.get(key) else { return Ok(false) };
                if !equal(one, two, work)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}

/// Returns the indices of the first two equal values of a list.
pub(crate) fn duplicate(values: &[Value], work: &mut Work) -> Result<Option<(usize, usize)>, IncompleteValidation> {
    // A random key, so that a caller cannot construct values with colliding hashes.
    let state = RandomState::new();
    let mut by_hash: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, value) in values.iter().enumerate() {
        let before = by_hash.entry(hash(value, &state, work)?).or_default();
        for other in before.iter() {
            if let Some(earlier) = values.get(*other)
                && equal(earlier, value, work)?
            {
                return Ok(Some((*other, index)));
            }
        }
        before.push(index);
    }
    Ok(None)
}

/// Returns a hash that is the same for equal values.
fn hash(value: &Value, state: &RandomState, work: &mut Work) -> Result<u64, IncompleteValidation> {
    work.charge(4)?;
    Ok(match value {
        Value::Null => state.hash_one(0u8),
        Value::Bool(value) => state.hash_one((1u8, value)),
        Value::Number(number) => state.hash_one((2u8, Numeric::from(number).bits())),
        Value::String(text) => {
            work.charge_text(text.len())?;
            state.hash_one((3u8, text))
        }
        Value::Array(values) => {
            let mut all = state.hash_one((4u8, values.len()));
            for value in values {
                all = state.hash_one((all, hash(value, state, work)?));
            }
            all
        }
        Value::Object(members) => {
            let mut all = state.hash_one((5u8, members.len()));
            for (key, value) in members {
                work.charge_text(key.len())?;
                // Addition is commutative, so the hash does not depend on the order of the members.
                all = all.wrapping_add(state.hash_one((key, hash(value, state, work)?)));
            }
            all
        }
    })
}
