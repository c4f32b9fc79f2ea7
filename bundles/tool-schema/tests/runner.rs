//! Behaviour of schemas, one file for each topic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod agreement;
mod bounds;
mod dialects;
mod faults;
mod messages;

use serde_json::Value;
use tool_schema::{DEFAULT_PATTERN_BYTES, Schema, ValidationError, Work};

fn parse(schema: &Value) -> Schema {
    Schema::parse(schema, DEFAULT_PATTERN_BYTES).unwrap_or_else(|faults| panic!("{schema}: {faults:?}"))
}

fn fits(schema: &Value, value: &Value) -> bool {
    match parse(schema).validate(value, &mut Work::new(1 << 24)) {
        Ok(()) => true,
        Err(ValidationError::Mismatch(_)) => false,
        Err(other) => panic!("{schema}: {other}"),
    }
}
