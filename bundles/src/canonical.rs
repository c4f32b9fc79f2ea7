//! The canonical form: JSON whose bytes are exactly those of RFC 8785.
//!
//! Depth and size are bounded before anything is built. Duplicate keys, integers that JSON loses
//! and any other spelling than the canonical one are errors, because two texts with one meaning
//! would be two digests of one thing.

mod plain;

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::digest::Digest;
use crate::encoding;

/// The largest integer that every JSON reader keeps: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Why bytes are not the JSON they should be. Messages never repeat the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("too large: {actual} bytes are more than the {limit} allowed (`{name}`)")]
    TooLarge {
        /// The limit's name.
        name: &'static str,
        /// Bytes that are there.
        actual: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// Nested deeper than allowed.
    #[error("too deep: arrays and objects are nested deeper than {limit} (`{name}`)")]
    TooDeep {
        /// The limit's name.
        name: &'static str,
        /// Levels that are allowed.
        limit: usize,
    },
    /// No JSON.
    #[error("not JSON: line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A byte order mark before the JSON.
    #[error("not JSON: it begins with a byte order mark")]
    ByteOrderMark,
    /// A text in UTF-16 or UTF-32.
    #[error("not JSON in UTF-8: it is UTF-16 or UTF-32")]
    WideText,
    /// A key stands twice in one object.
    #[error("ambiguous: an object holds one key twice: line {line}, column {column}")]
    DuplicateKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An integer that JSON readers do not all keep.
    #[error("not portable: a number is not kept by every JSON reader: line {line}, column {column}")]
    UnsafeNumber {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but not spelled canonically.
    #[error("not in canonical form (RFC 8785): the first difference is at byte {offset}")]
    NotCanonical {
        /// Offset of the first byte that differs.
        offset: usize,
    },
    /// Canonical JSON, but not of the expected shape.
    #[error("not of the expected shape: {problem}")]
    Shape {
        /// What serde found, without content of the input.
        problem: String,
        /// Whether a field is unknown.
        unknown_field: bool,
    },
}

impl JsonError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::TooDeep { .. } => "too_deep",
            Self::Syntax { .. } | Self::ByteOrderMark | Self::WideText => "invalid_json",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnsafeNumber { .. } => "unsafe_number",
            Self::NotCanonical { .. } => "not_canonical",
            Self::Shape { unknown_field: true, .. } => "unknown_field",
            Self::Shape { .. } => "invalid_field",
        }
    }

    /// Line and column in bytes, both from 1, where one place of the text is meant.
    pub fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Syntax { line, column }
            | Self::DuplicateKey { line, column }
            | Self::UnsafeNumber { line, column } => Some((*line, *column)),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name",
            Self::TooDeep { .. } => "flatten the value",
            Self::ByteOrderMark => "take the mark away: JSON is UTF-8 without one",
            Self::WideText => "save it as UTF-8",
            Self::Syntax { .. } => "write JSON as RFC 8259 has it, in UTF-8",
            Self::DuplicateKey { .. } => "keep one of the two",
            Self::UnsafeNumber { .. } => "write numbers past 2^53 - 1 as strings",
            Self::NotCanonical { .. } => "build the bundle from its folder, or write it through a canonicaliser",
            Self::Shape { unknown_field: true, .. } => "take the field out, or use a version that knows it",
            Self::Shape { .. } => "write what is expected there, or build the bundle from its folder",
        }
    }
}

/// Bounds for one JSON text, with the names under which errors speak of them.
#[derive(Debug, Clone, Copy)]
pub struct JsonBounds {
    /// Most bytes.
    pub bytes: (&'static str, usize),
    /// Most levels of nesting.
    pub depth: (&'static str, usize),
}

/// Levels of nesting, found without building anything. Brackets inside strings do not count.
pub fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads JSON within bounds, refusing duplicate keys and numbers that are lost. Any spelling.
pub fn parse(bytes: &[u8], bounds: JsonBounds) -> Result<Value, JsonError> {
    let (name, limit) = bounds.bytes;
    if bytes.len() > limit {
        return Err(JsonError::TooLarge { name, actual: bytes.len(), limit });
    }
    let (name, limit) = bounds.depth;
    if depth(bytes) > limit {
        return Err(JsonError::TooDeep { name, limit });
    }
    match serde_json::from_slice::<Strict<true>>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(_) if bytes.starts_with(encoding::MARK) => Err(JsonError::ByteOrderMark),
        Err(_) if encoding::is_wide(bytes) => Err(JsonError::WideText),
        Err(error) => Err(classify(&error)),
    }
}

/// Reads JSON, refusing duplicate keys. The caller bounds the bytes; depth is bounded at 128 levels.
pub fn parse_unique(bytes: &[u8]) -> Result<Value, JsonError> {
    serde_json::from_slice::<Strict<false>>(bytes).map(|Strict(value)| value).map_err(|error| classify(&error))
}

/// Reads JSON that must be canonical, to the byte.
pub fn parse_canonical(bytes: &[u8], bounds: JsonBounds) -> Result<Value, JsonError> {
    let value = parse(bytes, bounds)?;
    same_bytes(bytes, &to_canonical(&value)?)?;
    Ok(value)
}

/// Reads a `T` from canonical JSON, and demands that `T` writes itself as the same bytes: one
/// meaning has one spelling.
pub fn read_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8], bounds: JsonBounds) -> Result<T, JsonError> {
    let value: T = from_value(parse_canonical(bytes, bounds)?)?;
    same_bytes(bytes, &to_canonical(&value)?)?;
    Ok(value)
}

/// A `T` from a JSON value; the error does not repeat the value.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JsonError> {
    serde_json::from_value(value).map_err(|error| {
        let text = error.to_string();
        JsonError::Shape { unknown_field: text.starts_with("unknown field"), problem: without_content(&text) }
    })
}

/// serde quotes the value it met (`invalid type: string "..."`) and our own names quote theirs
/// shortened; only what is known to be free of content may pass. A value may hold serde's own words,
/// so what counts is where they stand last.
fn without_content(text: &str) -> String {
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    if text.starts_with("unknown field") {
        match expected {
            Some(expected) => format!("a field that is none of: {expected}"),
            None => "a field that is not known here".to_owned(),
        }
    } else if text.starts_with("missing field") {
        text.to_owned()
    } else if text.starts_with('`') {
        match text.rsplit_once("` is no ") {
            Some((_, grammar)) => format!("not a {grammar}"),
            None => "a value is not in its grammar".to_owned(),
        }
    } else if let Some(expected) = expected {
        format!("expected {expected}")
    } else {
        "a value is not in its grammar".to_owned()
    }
}

fn same_bytes(bytes: &[u8], canonical: &[u8]) -> Result<(), JsonError> {
    if bytes == canonical {
        return Ok(());
    }
    let same = bytes.iter().zip(canonical).take_while(|(one, two)| one == two).count();
    Err(JsonError::NotCanonical { offset: same })
}

/// Returns the reason for which `serde_json` did not read a text, as the end of a sentence. It repeats nothing of the
/// text.
pub fn reason(text: &[u8], error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let reason = match (error.classify(), message) {
        (Category::Data, message) => return without_content(message),
        _ if text.starts_with(encoding::MARK) => "the text begins with a byte order mark",
        _ if encoding::is_wide(text) => "the text is UTF-16 or UTF-32, and UTF-8 is expected",
        _ if text.trim_ascii().is_empty() => "the text is empty",
        (Category::Eof, _) => "the text ends too early",
        (_, "recursion limit exceeded") => "arrays and objects are nested deeper than 127 levels",
        (_, "number out of range") => "a number is outside the range of JSON readers, at most 1.7976931348623157e308",
        (_, "trailing characters") => "more text follows the value",
        // The words of the reader's grammar.
        (_, message) => message,
    };
    reason.to_owned()
}

/// The canonical bytes of a value.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JsonError> {
    // Most values are written the same by everybody. Building such a one as JSON and sorting it costs many
    // times what writing it does.
    if let Ok(bytes) = plain::write(value) {
        return Ok(bytes);
    }
    let unfit = |_| JsonError::Shape { problem: "a value that JSON cannot hold".to_owned(), unknown_field: false };
    let value = serde_json::to_value(value).map_err(unfit)?;
    serde_json_canonicalizer::to_vec(&value).map_err(unfit)
}

/// Bytes that are canonical because they were written here: to be digested, and to stand in others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canonical(Box<[u8]>);

impl Canonical {
    /// A value's canonical form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, JsonError> {
        to_canonical(value).map(|bytes| Self(bytes.into()))
    }

    /// An object of members that are canonical; of one key's, the first. What they hold is not written anew.
    pub fn object(members: &[(&str, &Self)]) -> Self {
        let mut members = members.to_vec();
        members.sort_by(|(one, _), (two, _)| one.encode_utf16().cmp(two.encode_utf16()));
        members.dedup_by_key(|(key, _)| *key);
        let length: usize = members.iter().map(|(key, value)| key.len() + value.0.len() + 4).sum();
        let mut bytes = Vec::with_capacity(length + 2);
        bytes.push(b'{');
        for (number, (key, value)) in members.into_iter().enumerate() {
            if number > 0 {
                bytes.push(b',');
            }
            plain::string(&mut bytes, key);
            bytes.push(b':');
            bytes.extend_from_slice(&value.0);
        }
        bytes.push(b'}');
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to keep.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into()
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

const DUPLICATE: &str = "duplicate key";
const UNSAFE: &str = "unsafe number";

fn classify(error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    if text.starts_with(DUPLICATE) {
        JsonError::DuplicateKey { line, column }
    } else if text.starts_with(UNSAFE) || text.starts_with("number out of range") {
        JsonError::UnsafeNumber { line, column }
    } else {
        JsonError::Syntax { line, column }
    }
}

/// A JSON value without duplicate keys and, where `SAFE` is true, without lost numbers.
struct Strict<const SAFE: bool>(Value);

impl<'de, const SAFE: bool> Deserialize<'de> for Strict<SAFE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor<const SAFE: bool>;

impl<'de, const SAFE: bool> Visitor<'de> for StrictVisitor<SAFE> {
    type Value = Strict<SAFE>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict<SAFE>, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict<SAFE>, E> {
        Ok(Strict(Value::Bool(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Strict<SAFE>, E> {
        if SAFE && value > MAX_SAFE_INTEGER { Err(E::custom(UNSAFE)) } else { Ok(Strict(value.into())) }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Strict<SAFE>, E> {
        if SAFE && value.unsigned_abs() > MAX_SAFE_INTEGER { Err(E::custom(UNSAFE)) } else { Ok(Strict(value.into())) }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Strict<SAFE>, E> {
        // A fraction that is whole and huge is the same trap in another spelling: RFC 8785 writes
        // it as an integer below 1e21.
        let huge = value.fract() == 0.0 && value.abs() > MAX_SAFE_INTEGER as f64 && value.abs() < 1e21;
        match Number::from_f64(value) {
            Some(number) if !(SAFE && huge) => Ok(Strict(Value::Number(number))),
            _ => Err(E::custom(UNSAFE)),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict<SAFE>, E> {
        Ok(Strict(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Strict<SAFE>, E> {
        Ok(Strict(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Strict<SAFE>, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = access.next_element::<Strict<SAFE>>()? {
            list.push(value);
        }
        Ok(Strict(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict<SAFE>, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(DUPLICATE));
            }
            let Strict(value) = access.next_value::<Strict<SAFE>>()?;
            map.insert(key, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: JsonBounds = JsonBounds { bytes: ("bytes", 1000), depth: ("depth", 4) };

    fn code(text: &str) -> &'static str {
        parse_canonical(text.as_bytes(), BOUNDS).map_or_else(|error| error.code(), |_| "ok")
    }

    #[test]
    fn only_one_spelling_is_canonical() {
        assert_eq!(code(r#"{"a":1,"b":[true,null,"é"]}"#), "ok");
        for other in [
            r#"{"b":1,"a":1}"#,
            r#"{ "a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"\u00e9"}"#,
            "{\"a\":1}\n",
            r#"{"a":1e2}"#,
            "-0",
        ] {
            assert_eq!(code(other), "not_canonical", "{other}");
        }
    }

    fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| Value::from(number >> 11)),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            ".{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map(".{0,6}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn what_is_plain_is_written_as_the_canonicalizer_writes_it(value in any_value()) {
            let canonical = serde_json_canonicalizer::to_vec(&value).expect("JSON");
            assert_eq!(to_canonical(&value).expect("JSON"), canonical);
        }
    }

    #[test]
    fn an_object_of_what_is_canonical_is_canonical() {
        let of = |value: Value| Canonical::of(&value).expect("JSON");
        let (one, two) = (of(serde_json::json!({"b": [1.5], "a": null})), of(Value::from("é\n")));
        let whole =
            serde_json::json!({"z": "é\n", "a\"": {"a": null, "b": [1.5]}, "\u{10000}": "é\n", "\u{ffff}": "é\n"});
        let object = Canonical::object(&[("\u{ffff}", &two), ("z", &two), ("\u{10000}", &two), ("a\"", &one)]);
        assert_eq!(object, of(whole));
        assert_eq!(object.digest(), Digest::of(object.clone().into_bytes()));
        assert_eq!(Canonical::object(&[]), of(serde_json::json!({})));
        assert_eq!(Canonical::object(&[("a", &one), ("a", &two)]), Canonical::object(&[("a", &one)]));
    }

    #[test]
    fn what_json_readers_disagree_on_is_refused() {
        assert_eq!(code(r#"{"a":1,"a":1}"#), "duplicate_key");
        assert_eq!(code(r#"{"a":{"b":1,"b":2}}"#), "duplicate_key");
        assert_eq!(code("9007199254740991"), "ok");
        assert_eq!(code("9007199254740992"), "unsafe_number");
        assert_eq!(code("-9007199254740993"), "unsafe_number");
        assert_eq!(code("1e999"), "unsafe_number");
        assert_eq!(code("9007199254740994.0"), "unsafe_number");
        assert_eq!(code("[1,]"), "invalid_json");
        assert_eq!(code("\"\\ud800\""), "invalid_json");
    }

    #[test]
    fn depth_and_size_are_bounded_before_parsing() {
        assert_eq!(code("[[[[1]]]]"), "ok");
        assert_eq!(code("[[[[[1]]]]]"), "too_deep");
        assert_eq!(code(r#"{"a":"[[[[[[[\"[[[["}"#), "ok");
        assert_eq!(code(&"[".repeat(1000)), "too_deep");
        assert_eq!(code(&format!("\"{}\"", "x".repeat(1000))), "too_large");
    }

    #[test]
    fn an_error_of_shape_does_not_repeat_the_value() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            _a: crate::ProfileName,
        }
        for text in
            [r#"{"_a":"CANARY VALUE"}"#, r#"{"_a":{"CANARY":1}}"#, r#"{"CANARY":1}"#, r#"["CANARY"]"#, r#""CANARY""#]
                .into_iter()
                .chain([r#"{"_a":", expected CANARY"}"#, r#"", expected CANARY""#, r#"{", expected CANARY":1}"#])
                .chain([r#"{"_a":"x` is no CANARY"}"#, r#""unknown field `a`, expected CANARY""#])
        {
            let value = parse(text.as_bytes(), BOUNDS).expect("json");
            let error = from_value::<Shape>(value).expect_err("another shape");
            assert!(!error.to_string().contains("CANARY"), "{error}");
        }
    }
}
