//! JSON Schemas of tools.
//!
//! A schema comes from a tenant, and validating against it is computation that the tenant wrote. A [`Schema`] is
//! parsed once and has no faults: every keyword has its shape, every reference leads to a schema of the same document,
//! every pattern is one that matches in linear time. [`Schema::validate`] counts its own work and ends at a limit.
//! The modules `parse` and `validate` are the two halves; `keyword` is the model between them.
//!
//! The supported dialects are 2020-12 (the default), 2019-09 and draft 7; draft 6 is read as draft 7. `format` and the
//! `content…` keywords are annotations. Nothing is fetched.
//!
//! ```
//! use serde_json::json;
//! use tool_schema::{DEFAULT_PATTERN_BYTES, Schema, Work};
//!
//! let schema = json!({ "type": "object", "required": ["mount"], "properties": { "depth": { "type": "integer" } } });
//! let schema = Schema::parse(&schema, DEFAULT_PATTERN_BYTES).unwrap();
//! assert!(schema.validate(&json!({ "mount": "repo", "depth": 2.0 }), &mut Work::new(1000)).is_ok());
//! let error = schema.validate(&json!({ "depth": 1 }), &mut Work::new(1000)).unwrap_err();
//! assert_eq!(error.to_string(), "property `mount` is missing");
//! ```

mod fault;
mod keyword;
mod number;
mod parse;
mod pattern;
mod reference;
mod validate;
mod value;
mod work;

pub use fault::{Fault, Problem};
pub use keyword::Schema;
pub use pattern::DEFAULT_PATTERN_BYTES;
pub use validate::{Invalid, Mismatch};
pub use work::{Exhausted, Work};
