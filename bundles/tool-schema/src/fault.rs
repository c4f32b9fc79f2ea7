//! Faults of schemas.

use std::fmt;

/// A fault of a schema. Messages contain places and keywords, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer to the faulty value in the schema.
    pub pointer: String,
    /// The kind of the fault.
    pub problem: SchemaProblem,
}

/// Limit on the bytes of a pointer in a message.
const MAX_SHOWN_BYTES: usize = 256;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.pointer.floor_char_boundary(MAX_SHOWN_BYTES);
        let (shown, rest) = self.pointer.split_at(end);
        let more = if rest.is_empty() { "" } else { "…" };
        // Keys may contain line breaks, and a message must be one line.
        let shown = shown.replace(char::is_control, "\u{fffd}");
        let place = if shown.is_empty() { "its root".to_owned() } else { format!("`{shown}{more}`") };
        write!(f, "at {place}: {}", self.problem)
    }
}

impl std::error::Error for Fault {}

/// The kind of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// The value is neither an object nor a boolean.
    #[error("expected a schema: an object or a boolean")]
    NotASchema,
    /// A keyword has an invalid value.
    #[error("`{keyword}` expects {expected}")]
    Shape {
        /// The keyword.
        keyword: &'static str,
        /// The expected kind of value.
        expected: &'static str,
    },
    /// `$schema` names an unknown dialect.
    #[error("unknown dialect: expected JSON Schema 2020-12, 2019-09 or draft 7")]
    Dialect,
    /// `type` contains an unknown type.
    #[error("unknown type: expected `null`, `boolean`, `object`, `array`, `number`, `string` or `integer`")]
    UnknownType,
    /// A reference points outside the document.
    #[error("the reference points outside the schema, and remote schemas are not fetched")]
    RemoteReference,
    /// The target of a reference does not exist in the document.
    #[error("reference target not found in the schema")]
    DanglingReference,
    /// A reference points to a value that is not a schema.
    #[error("the reference target is not a schema")]
    ReferenceToNoSchema,
    /// Two anchors or two identifiers have the same name.
    #[error("duplicate anchor or identifier in the schema")]
    DuplicateName,
    /// A schema applies itself to the same value.
    #[error("the schema applies itself to the same value endlessly")]
    EndlessRecursion,
    /// A pattern is invalid or does not match in linear time.
    #[error("invalid pattern: {reason}")]
    Pattern {
        /// The reason, as reported by the pattern parser.
        reason: String,
    },
    /// The compiled patterns would use too much memory.
    #[error("the compiled patterns of the schema exceed limit `pattern_bytes` ({allowed})")]
    PatternBytes {
        /// Value of the limit, in estimated bytes.
        allowed: usize,
    },
    /// The schema is nested too deeply.
    #[error("schemas are nested deeper than {allowed} levels")]
    TooDeep {
        /// Allowed number of levels.
        allowed: usize,
    },
}

impl SchemaProblem {
    /// Returns a help line for the author of the schema.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotASchema | Self::Shape { .. } => "write the keyword as specified by JSON Schema 2020-12",
            Self::Dialect => "remove `$schema`, or write `https://json-schema.org/draft/2020-12/schema`",
            Self::UnknownType => "write one of the seven types",
            Self::RemoteReference => "copy the remote schema below `$defs` and refer to it by `#/$defs/NAME`",
            Self::DanglingReference | Self::ReferenceToNoSchema => {
                "declare the schema below `$defs`, or correct the reference"
            }
            Self::DuplicateName => "rename one of the two",
            Self::EndlessRecursion => "use recursive references only below `properties` or `items`",
            Self::Pattern { .. } => "correct the regular expression; look-around and back-references are not supported",
            Self::PatternBytes { .. } => {
                "shorten the patterns: `{60}` compiles its operand sixty times, and a Unicode class is large"
            }
            Self::TooDeep { .. } => "flatten the schema",
        }
    }
}
