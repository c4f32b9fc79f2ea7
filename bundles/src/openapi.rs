//! OpenAPI schemas of names and digests: strings with their grammar in the description.

/// Implements the schema of a type with one text form.
macro_rules! text_schema {
    ($name:ty, $words:expr, $grammar:expr) => {
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let grammar = $grammar;
                $crate::openapi::text($words, Some(&grammar.pattern()), Some(grammar.most_bytes()))
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}
pub(crate) use text_schema;

use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};

use crate::{Digest, Revision};

/// Returns the schema of a string of 1 to `max_bytes` bytes.
pub fn text(words: &str, pattern: Option<&str>, most: Option<usize>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(words))
        .pattern(pattern)
        .min_length(Some(1))
        .max_length(most)
        .build()
        .into()
}

/// Returns the schema of a point in time in UTC.
pub fn instant() -> RefOr<Schema> {
    use utoipa::openapi::KnownFormat::DateTime;
    let format = SchemaFormat::KnownFormat(DateTime);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
}

impl utoipa::PartialSchema for Revision {
    fn schema() -> RefOr<Schema> {
        text("a whole number below 2^64, in decimal", Some("^(0|[1-9][0-9]{0,19})$"), Some(20))
    }
}

impl utoipa::ToSchema for Revision {}

impl utoipa::PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        text("SHA-256 of the exact bytes", Some("^sha256:[0-9a-f]{64}$"), Some(71))
    }
}

impl utoipa::ToSchema for Digest {}
