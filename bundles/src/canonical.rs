//! Canonical JSON, byte for byte as in RFC 8785.
//!
//! Depth and size are checked before anything is allocated. Duplicate keys, integers beyond the range of JSON and
//! non-canonical spellings are errors, because two texts with one meaning would have two digests.

mod plain;

use std::fmt;

use error_code::Code;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};

use crate::digest::Digest;
use crate::encoding;
use crate::names::InvalidName;

/// Largest integer that every JSON reader preserves: 2^53 - 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Error returned when bytes are not the expected JSON. Messages never repeat the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is larger than allowed.
    #[error("size exceeds limit `{name}` ({actual} > {limit} bytes)")]
    TooLarge {
        /// Name of the limit.
        name: &'static str,
        /// Size in bytes.
        actual: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The text is nested deeper than allowed.
    #[error("nesting exceeds limit `{name}` ({limit} levels)")]
    TooDeep {
        /// Name of the limit.
        name: &'static str,
        /// Maximum number of levels.
        limit: usize,
    },
    /// The text is not JSON.
    #[error("not JSON at line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The text starts with a byte order mark.
    #[error("not JSON: starts with a byte order mark")]
    ByteOrderMark,
    /// The text is UTF-16 or UTF-32.
    #[error("not JSON in UTF-8: encoded in UTF-16 or UTF-32")]
    WideText,
    /// An object has a duplicate key.
    #[error("duplicate key in an object at line {line}, column {column}")]
    DuplicateKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A number is outside the range that all JSON readers preserve.
    #[error("number exceeds the range that every JSON reader preserves at line {line}, column {column}")]
    UnsafeNumber {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The JSON is not in canonical form.
    #[error("not in canonical form (RFC 8785): first difference at byte {offset}")]
    NotCanonical {
        /// Offset of the first byte that differs.
        offset: usize,
    },
    /// The JSON does not have the expected structure.
    #[error("unexpected content: {problem}")]
    Shape {
        /// Reason from serde, without content of the input.
        problem: String,
        /// `true` if a field is unknown.
        unknown_field: bool,
    },
}

impl JsonError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::TooDeep { .. } => Code::TooDeep,
            Self::Syntax { .. } | Self::ByteOrderMark | Self::WideText => Code::InvalidJson,
            Self::DuplicateKey { .. } => Code::DuplicateKey,
            Self::UnsafeNumber { .. } => Code::UnsafeNumber,
            Self::NotCanonical { .. } => Code::NotCanonical,
            Self::Shape { unknown_field: true, .. } => Code::UnknownField,
            Self::Shape { .. } => Code::InvalidField,
        }
    }

    /// Returns line and column in bytes, both from 1, if the error has a place.
    pub fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Syntax { line, column }
            | Self::DuplicateKey { line, column }
            | Self::UnsafeNumber { line, column } => Some((*line, *column)),
            _ => None,
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "make the text smaller, or raise the limit",
            Self::TooDeep { .. } => "flatten the value",
            Self::ByteOrderMark => "remove the byte order mark: JSON is UTF-8 without one",
            Self::WideText => "save the file as UTF-8",
            Self::Syntax { .. } => "write JSON according to RFC 8259, in UTF-8",
            Self::DuplicateKey { .. } => "remove one of the two",
            Self::UnsafeNumber { .. } => "write numbers above 2^53 - 1 as strings",
            Self::NotCanonical { .. } => "build the bundle from its folder, or use a canonicaliser",
            Self::Shape { unknown_field: true, .. } => "remove the field, or use a version that supports it",
            Self::Shape { .. } => "write the expected content, or build the bundle from its folder",
        }
    }
}

/// Limits for one JSON text, with the names that errors use.
#[derive(Debug, Clone, Copy)]
pub struct JsonBounds {
    /// Name and value of the limit on bytes.
    pub bytes: (&'static str, usize),
    /// Name and value of the limit on levels of nesting.
    pub depth: (&'static str, usize),
}

impl JsonBounds {
    fn check(self, bytes: &[u8]) -> Result<(), JsonError> {
        let (name, limit) = self.bytes;
        if bytes.len() > limit {
            return Err(JsonError::TooLarge { name, actual: bytes.len(), limit });
        }
        let (name, limit) = self.depth;
        if depth(bytes) > limit {
            return Err(JsonError::TooDeep { name, limit });
        }
        Ok(())
    }
}

/// Returns the levels of nesting without allocating. Brackets inside strings do not count.
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

/// Parses JSON within limits. Refuses duplicate keys and numbers that lose precision. Accepts any spelling.
pub fn parse(bytes: &[u8], bounds: JsonBounds) -> Result<Value, JsonError> {
    bounds.check(bytes)?;
    match serde_json::from_slice::<Strict<true>>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(_) if bytes.starts_with(encoding::MARK) => Err(JsonError::ByteOrderMark),
        Err(_) if encoding::is_wide(bytes) => Err(JsonError::WideText),
        Err(error) => Err(classify(&error)),
    }
}

/// Parses JSON and refuses duplicate keys. The caller limits the size. The depth is limited to 128 levels.
pub fn parse_unique(bytes: &[u8]) -> Result<Value, JsonError> {
    serde_json::from_slice::<Strict<false>>(bytes).map(|Strict(value)| value).map_err(|error| classify(&error))
}

/// Parses JSON that must be canonical, byte for byte.
pub fn parse_canonical(bytes: &[u8], bounds: JsonBounds) -> Result<Value, JsonError> {
    let value = parse(bytes, bounds)?;
    same_bytes(bytes, &to_canonical(&value)?)?;
    Ok(value)
}

/// Deserializes a `T` from canonical JSON and checks that `T` serializes to the same bytes, so that one meaning has one
/// spelling.
pub fn read_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8], bounds: JsonBounds) -> Result<T, JsonError> {
    bounds.check(bytes)?;
    // What is written as the same bytes was canonical, and had no key twice. Otherwise, the parser names the fault.
    if let Ok(value) = serde_json::from_slice::<T>(bytes)
        && plain::write(&value).is_ok_and(|written| written == bytes)
    {
        return Ok(value);
    }
    let value: T = from_value(parse_canonical(bytes, bounds)?)?;
    same_bytes(bytes, &to_canonical(&value)?)?;
    Ok(value)
}

/// Deserializes a `T` from a JSON value. The error does not repeat the value.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JsonError> {
    serde_json::from_value(value).map_err(|error| {
        let text = error.to_string();
        JsonError::Shape { unknown_field: text.starts_with("unknown field"), problem: without_content(&text) }
    })
}

/// Removes content of the input from an error message of serde. Messages of serde quote the value (`invalid type:
/// string "..."`), and those of names quote a shortened one. Only known parts without content are kept. A value may
/// contain the same words as a message, so the last occurrence counts.
fn without_content(text: &str) -> String {
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    if text.starts_with("unknown field") {
        match expected {
            Some(expected) => format!("unknown field, expected {expected}"),
            None => "unknown field".to_owned(),
        }
    } else if text.starts_with("missing field") {
        text.to_owned()
    } else if let Some(redacted) = InvalidName::redact(text) {
        redacted
    } else if let Some(expected) = expected {
        format!("expected {expected}")
    } else {
        "invalid value".to_owned()
    }
}

fn same_bytes(bytes: &[u8], canonical: &[u8]) -> Result<(), JsonError> {
    if bytes == canonical {
        return Ok(());
    }
    let same = bytes.iter().zip(canonical).take_while(|(one, two)| one == two).count();
    Err(JsonError::NotCanonical { offset: same })
}

/// Returns the reason why `serde_json` failed to read a text, without content of the text.
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
        // Messages of the parser about syntax.
        (_, message) => message,
    };
    reason.to_owned()
}

/// Serializes a value in canonical form.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JsonError> {
    // Most values have only one spelling. Writing such a value directly is many times faster than building and sorting
    // a JSON value.
    if let Ok(bytes) = plain::write(value) {
        return Ok(bytes);
    }
    let unfit =
        |_| JsonError::Shape { problem: "the value cannot be represented in JSON".to_owned(), unknown_field: false };
    let value = serde_json::to_value(value).map_err(unfit)?;
    serde_json_canonicalizer::to_vec(&value).map_err(unfit)
}

/// Canonical bytes that were written here, ready to be hashed or embedded in other canonical JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canonical(Box<[u8]>);

impl Canonical {
    /// Serializes a value in canonical form.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, JsonError> {
        to_canonical(value).map(|bytes| Self(bytes.into()))
    }

    /// Returns an object of canonical members without serializing them again. For duplicate keys, the first member
    /// counts.
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

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes as a vector.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into()
    }

    /// Returns the digest of the bytes.
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

/// A JSON value without duplicate keys and, if `SAFE` is `true`, without numbers that lose precision.
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
        // RFC 8785 writes a large whole float as an integer below 1e21, which readers do not preserve either.
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

    /// Returns the code for a text, from both ways to read it.
    fn code(text: &str) -> &'static str {
        let parsed = parse_canonical(text.as_bytes(), BOUNDS);
        assert_eq!(parsed, read_canonical::<Value>(text.as_bytes(), BOUNDS), "{text}");
        parsed.map_or_else(|error| error.code().as_str(), |_| "ok")
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
        fn plain_value_is_written_like_the_canonicalizer_does(value in any_value()) {
            let canonical = serde_json_canonicalizer::to_vec(&value).expect("JSON");
            assert_eq!(to_canonical(&value).expect("JSON"), canonical);
        }
    }

    #[test]
    fn object_of_canonical_members_is_canonical() {
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
    fn input_on_which_json_readers_disagree_is_refused() {
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
                .chain([r#"{"_a":"x`: expected CANARY"}"#, r#""unknown field `a`, expected CANARY""#])
        {
            let value = parse(text.as_bytes(), BOUNDS).expect("json");
            let error = from_value::<Shape>(value).expect_err("another shape");
            assert!(!error.to_string().contains("CANARY"), "{error}");
        }
    }
}
