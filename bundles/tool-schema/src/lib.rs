//! JSON Schemas of tools, parsed once and validated within a limit.
//!
//! Schemas come from tenants, so validation runs untrusted logic. A parsed [`Schema`] has no faults: every keyword has
//! a valid value, every reference points to a schema in the same document, and every pattern matches in linear time.
//! [`Schema::validate`] counts its work and stops at a limit. The modules `parse` and `validate` contain the two halves;
//! `keyword` contains the model between them.
//!
//! The supported dialects are 2020-12 (the default), 2019-09 and draft 7; draft 6 is read as draft 7. `format` and the
//! `content…` keywords are annotations. Remote schemas are not fetched.
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

pub use fault::{Fault, SchemaProblem};
pub use keyword::Schema;
pub use pattern::DEFAULT_PATTERN_BYTES;
pub use validate::{Mismatch, ValidationError};
pub use work::{IncompleteValidation, Work};
