//! Parser of JSON text (RFC 8259) for merge patches.
//!
//! An object is parsed into its members. Every other value is validated and kept as text, so a number cannot lose digits.
//! Nesting is bounded, which protects the parser and every recursive function over its result. Of duplicate keys, the
//! last value is used, as in most parsers. Hosts refuse text with duplicate keys before it gets here.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;

/// Maximum number of nested objects and arrays.
const DEPTH: u32 = 128;

/// The members of an object by unescaped key.
pub(crate) type Object<'a> = BTreeMap<Cow<'a, str>, Value<'a>>;

/// A JSON value.
pub(crate) enum Value<'a> {
    Null,
    Object(Object<'a>),
    /// The text of any other value.
    Other(&'a str),
}

/// Parses the text of an object. Returns `None` if the text is not JSON or another value.
pub(crate) fn object(text: &str) -> Option<Object<'_>> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH)?;
    match value {
        Value::Object(object) if reader.at == text.len() => Some(object),
        _ => None,
    }
}

/// Appends a string as JSON, with quotes and escapes.
pub(crate) fn push_string(json: &mut String, string: &str) {
    json.push('"');
    for character in string.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\0'..' ' => {
                json.push_str("\\u00");
                for digit in [u32::from(character) / 16, u32::from(character) % 16] {
                    json.extend(char::from_digit(digit, 16));
                }
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// A parser. `at` is the index of the next byte.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u32) -> Option<Value<'a>> {
        self.skip_space();
        let start = self.at;
        let value = match self.peek()? {
            b'{' => Value::Object(self.members(depth.checked_sub(1)?)?),
            b'n' => {
                self.word("null")?;
                Value::Null
            }
            first => {
                match first {
                    b'[' => self.elements(depth.checked_sub(1)?)?,
                    b'"' => drop(self.string()?),
                    b't' => self.word("true")?,
                    b'f' => self.word("false")?,
                    _ => self.number()?,
                }
                Value::Other(self.text.get(start..self.at)?)
            }
        };
        self.skip_space();
        Some(value)
    }

    fn members(&mut self, depth: u32) -> Option<Object<'a>> {
        let mut members = Object::new();
        self.word("{")?;
        self.skip_space();
        if self.eat(b'}') {
            return Some(members);
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.word(":")?;
            members.insert(name, self.value(depth)?);
            if self.eat(b'}') {
                return Some(members);
            }
            self.word(",")?;
        }
    }

    fn elements(&mut self, depth: u32) -> Option<()> {
        self.word("[")?;
        self.skip_space();
        if self.eat(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.eat(b']') {
                return Some(());
            }
            self.word(",")?;
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.word("\"")?;
        let mut start = self.at;
        let mut unescaped = String::new();
        loop {
            match self.next()? {
                b'"' => {
                    let rest = self.text.get(start..self.at - 1)?;
                    if unescaped.is_empty() {
                        return Some(Cow::Borrowed(rest));
                    }
                    unescaped.push_str(rest);
                    return Some(Cow::Owned(unescaped));
                }
                b'\\' => {
                    unescaped.push_str(self.text.get(start..self.at - 1)?);
                    unescaped.push(self.escaped()?);
                    start = self.at;
                }
                0..b' ' => return None,
                _ => {}
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                // A character above U+FFFF is written as a surrogate pair. A lone surrogate is an error.
                let low = if matches!(unit, 0xD800..0xDC00) {
                    self.word("\\u")?;
                    Some(self.code_unit()?)
                } else {
                    None
                };
                char::decode_utf16([Some(unit), low].into_iter().flatten()).next()?.ok()?
            }
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u16> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + char::from(self.next()?).to_digit(16)?;
        }
        u16::try_from(unit).ok()
    }

    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(())
    }

    /// Skips one or more digits.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::{Value, object, push_string};

    /// Parses `text` and converts the result to a value of `serde_json`. Returns `None` if the text is refused.
    fn read(text: &str) -> Option<serde_json::Value> {
        fn plain(value: Value<'_>) -> serde_json::Value {
            match value {
                Value::Null => serde_json::Value::Null,
                Value::Other(text) => serde_json::from_str(text).unwrap(),
                Value::Object(members) => {
                    members.into_iter().map(|(name, value)| (name.into_owned(), plain(value))).collect()
                }
            }
        }
        object(text).map(|members| plain(Value::Object(members)))
    }

    #[test]
    fn parsed_value_equals_that_of_serde_json() {
        for text in [
            "{}",
            " {\t}\r\n",
            r#"{"a":1,"b":-0,"c":-0.5e+10,"d":1E-2,"e":120}"#,
            r#"{ "a" : [ ] , "b" : [ 1 , [ true , false , null ] , { } , {"x":"y"} ] }"#,
            r#"{"a":{"b":{"c":null}},"d":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00é"}"#,
            r#"{"\u0061\n":1,"":2,"é\ud83d\ude00":3}"#,
            r#"{"a":1,"a":{"b":2},"a":3}"#,
            r#"{"a":"]},:"}"#,
        ] {
            assert_eq!(read(text), Some(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_json_object_is_refused() {
        for text in [
            "",
            " ",
            "null",
            "true",
            "1",
            "\"{}\"",
            "[]",
            "[{}]",
            "{",
            "}",
            "{}}",
            "{} {}",
            "{},",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":[1,]}",
            "{\"a\":[,1]}",
            "{\"a\":[1}",
            "{\"a\":[1 2]}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":1e+}",
            "{\"a\":0x1}",
            "{\"a\":1_0}",
            "{\"a\":NaN}",
            "{\"a\":nul}",
            "{\"a\":nulls}",
            "{\"a\":tru}",
            "{\"a\":True}",
            "{\"a\":\"}",
            "{\"a\":\"\\\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\ud800\\n\"}",
            "{\"a\":\"\\ud800\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\n\"}",
            "{\"\u{1}\":1}",
            "\u{feff}{}",
            "{\u{a0}}",
            "{}\0",
            "{\"a\":1}//",
        ] {
            assert_eq!(read(text), None, "{text}");
            assert!(serde_json::from_str::<serde_json::Map<_, _>>(text).is_err(), "{text}: the other reader agrees");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |open: &str, close: &str, depth: usize| {
            let mut text = String::from("{\"a\":");
            text.push_str(&open.repeat(depth - 1));
            text.push('1');
            text.push_str(&close.repeat(depth - 1));
            text.push('}');
            text
        };
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            assert!(object(&nested(open, close, 128)).is_some());
            assert!(object(&nested(open, close, 129)).is_none());
            assert!(object(&nested(open, close, 100_000)).is_none());
        }
    }

    #[test]
    fn a_value_keeps_its_text() {
        let text = r#"{"a":123456789012345678901234567890.10,"b":"\u0061","c":[ 1 ]}"#;
        let others: alloc::vec::Vec<_> = object(text).unwrap().into_values().collect();
        let texts = others.iter().map(|value| if let Value::Other(text) = value { text } else { "" });
        assert!(texts.eq(["123456789012345678901234567890.10", r#""\u0061""#, "[ 1 ]"]));
    }

    #[test]
    fn a_written_string_is_read_as_it_was() {
        let every: String = ('\0'..'\u{100}').chain(['\u{2028}', '\u{fb01}', '\u{1f600}']).collect();
        let mut json = String::new();
        push_string(&mut json, &every);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), every);
    }
}
