//! Faults of schemas.

use std::fmt;

/// One fault of a schema. Messages name places and keywords, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The JSON pointer of the faulty value in the schema.
    pub pointer: String,
    /// The fault.
    pub problem: Problem,
}

/// Bytes of a pointer that a message shows.
const SHOWN_BYTES: usize = 256;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.pointer.floor_char_boundary(SHOWN_BYTES);
        let (shown, rest) = self.pointer.split_at(end);
        let more = if rest.is_empty() { "" } else { "…" };
        // Keys are the author's own text, and a message is one line.
        let shown = shown.replace(char::is_control, "\u{fffd}");
        let place = if shown.is_empty() { "its root".to_owned() } else { format!("`{shown}{more}`") };
        write!(f, "at {place}: {}", self.problem)
    }
}

impl std::error::Error for Fault {}

/// The kind of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A schema is an object or a boolean.
    #[error("a schema is an object or a boolean")]
    NotASchema,
    /// A keyword has a value of another shape.
    #[error("`{keyword}` expects {expected}")]
    Shape {
        /// The keyword.
        keyword: &'static str,
        /// The shape that it has.
        expected: &'static str,
    },
    /// `$schema` names a dialect that is not known.
    #[error("unknown dialect: write JSON Schema 2020-12, 2019-09 or draft 7")]
    Dialect,
    /// A type that JSON Schema does not have.
    #[error("unknown type: expected `null`, `boolean`, `object`, `array`, `number`, `string` or `integer`")]
    UnknownType,
    /// A reference leads out of the document.
    #[error("the reference leads out of the schema; nothing is fetched")]
    RemoteReference,
    /// A reference leads to nothing in the document.
    #[error("the reference leads to nothing in the schema")]
    DanglingReference,
    /// A reference leads to a value that is not a schema.
    #[error("the reference leads to a value that is not a schema")]
    ReferenceToNoSchema,
    /// Two anchors or two identifiers of one name.
    #[error("this name stands twice in the schema")]
    DuplicateName,
    /// A schema applies itself to the same value.
    #[error("the schema applies itself to the same value without end")]
    EndlessRecursion,
    /// A pattern is not one that matches in linear time.
    #[error("invalid pattern: {reason}")]
    Pattern {
        /// The reason, in the words of the parser.
        reason: String,
    },
    /// The patterns take too much memory when compiled.
    #[error("the patterns of the schema exceed limit `pattern_bytes` ({allowed}) when compiled")]
    PatternBytes {
        /// Estimated bytes that are allowed.
        allowed: usize,
    },
    /// The schema is nested too deeply.
    #[error("schemas are nested deeper than {allowed}")]
    TooDeep {
        /// Levels that are allowed.
        allowed: usize,
    },
}

impl Problem {
    /// An imperative sentence that says how to remove the fault.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotASchema | Self::Shape { .. } => "write the keyword as JSON Schema 2020-12 has it",
            Self::Dialect => "take `$schema` out, or write `https://json-schema.org/draft/2020-12/schema`",
            Self::UnknownType => "write one of the seven types",
            Self::RemoteReference => "copy the schema below `$defs` and refer to it by `#/$defs/NAME`",
            Self::DanglingReference | Self::ReferenceToNoSchema => {
                "declare the schema below `$defs`, or correct the name"
            }
            Self::DuplicateName => "rename one of the two",
            Self::EndlessRecursion => "let the schema recur below `properties` or `items` only",
            Self::Pattern { .. } => "correct the regular expression; look-around and back-references are not supported",
            Self::PatternBytes { .. } => {
                "shorten the patterns; what `{60}` repeats is compiled sixty times, and a Unicode class is large"
            }
            Self::TooDeep { .. } => "flatten the schema",
        }
    }
}
