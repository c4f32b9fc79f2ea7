//! Fast writer of canonical JSON, in one pass and without building a JSON value.
//!
//! It supports ASCII keys without escapes, and numbers that are integers in the range of every JSON reader. Members may
//! come in any order and are sorted. Any other value returns [`NotPlain`].

use std::fmt::{self, Display, Write as _};

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::MAX_SAFE_INTEGER;

/// Returns the canonical bytes of a plain value.
pub(super) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, NotPlain> {
    let mut writer = Writer::default();
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

/// Error returned when the value contains something that this module does not write.
#[derive(Debug)]
pub(super) struct NotPlain;

impl Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain")
    }
}

impl std::error::Error for NotPlain {}

impl ser::Error for NotPlain {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

type WriteResult = Result<(), NotPlain>;

/// Writes a string with quotes and the necessary escapes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(out, text);
    }
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// Members of all open objects, those of the innermost last.
    members: Vec<Member>,
    /// Buffer for formatted strings.
    text: String,
    /// Buffer for sorting members.
    sorted: Vec<u8>,
}

/// Position of a member in the output.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Member {
    /// Returns the key without its quotes.
    fn key(self, out: &[u8]) -> &[u8] {
        between(out, self.start + 1, self.key_end - 1)
    }
}

fn between(out: &[u8], start: usize, end: usize) -> &[u8] {
    out.get(start..end).unwrap_or_default()
}

impl Writer {
    fn string(&mut self, text: &str) -> WriteResult {
        string(&mut self.out, text);
        Ok(())
    }

    fn whole(&mut self, negative: bool, number: u64) -> WriteResult {
        if number > MAX_SAFE_INTEGER {
            return Err(NotPlain);
        }
        if negative {
            self.out.push(b'-');
        }
        serde_json::to_writer(&mut self.out, &number).map_err(|_| NotPlain)
    }

    fn word(&mut self, word: &str) -> WriteResult {
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn array(&mut self) -> Inside<'_> {
        self.out.push(b'[');
        Inside::new(self, b']')
    }

    fn object(&mut self) -> Inside<'_> {
        self.out.push(b'{');
        Inside::new(self, b'}')
    }

    /// Opens the object around a variant with content. [`Inside::tagged`] closes it.
    fn variant(&mut self, name: &str) -> WriteResult {
        self.out.push(b'{');
        let start = self.out.len();
        self.string(name)?;
        self.key(start)?;
        self.out.push(b':');
        Ok(())
    }

    /// Returns the key that starts at `start` and ends here, without quotes. Fails if it needs escapes or is not sorted
    /// by bytes.
    fn key(&self, start: usize) -> Result<&[u8], NotPlain> {
        let key = self.out.get(start..).and_then(|key| key.strip_prefix(b"\"")).and_then(|key| key.strip_suffix(b"\""));
        let plain = |key: &&[u8]| key.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        key.filter(plain).ok_or(NotPlain)
    }
}

/// An open array or object.
struct Inside<'w> {
    writer: &'w mut Writer,
    end: u8,
    /// Start of its content.
    start: usize,
    /// Number of members that were open before it.
    outer: usize,
    sorted: bool,
    tagged: bool,
}

impl<'w> Inside<'w> {
    fn new(writer: &'w mut Writer, end: u8) -> Self {
        let (start, outer) = (writer.out.len(), writer.members.len());
        Self { writer, end, start, outer, sorted: true, tagged: false }
    }

    fn tagged(self) -> Self {
        Self { tagged: true, ..self }
    }

    fn comma(&mut self) {
        if self.writer.out.len() > self.start {
            self.writer.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    fn member_key<T: Serialize + ?Sized>(&mut self, key: &T) -> WriteResult {
        self.end_member();
        self.comma();
        let start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        let key = self.writer.key(start)?;
        let before = self.writer.members.get(self.outer..).and_then(|own| own.last());
        if before.is_some_and(|before| before.key(&self.writer.out) >= key) {
            self.sorted = false;
        }
        let end = self.writer.out.len();
        self.writer.members.push(Member { start, key_end: end, end });
        Ok(())
    }

    fn member_value<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
        self.writer.out.push(b':');
        value.serialize(&mut *self.writer)
    }

    /// Sets the end of the last member, if there is one.
    fn end_member(&mut self) {
        let end = self.writer.out.len();
        if let Some(last) = self.writer.members.get_mut(self.outer..).and_then(|own| own.last_mut()) {
            last.end = end;
        }
    }

    fn sort(&mut self) -> WriteResult {
        let Writer { out, members, sorted, .. } = &mut *self.writer;
        let own = members.get_mut(self.outer..).unwrap_or_default();
        own.sort_unstable_by(|one, two| one.key(out).cmp(two.key(out)));
        // The general writer handles duplicate keys.
        if own.iter().zip(own.iter().skip(1)).any(|(one, two)| one.key(out) == two.key(out)) {
            return Err(NotPlain);
        }
        sorted.clear();
        for (number, member) in own.iter().enumerate() {
            if number > 0 {
                sorted.push(b',');
            }
            sorted.extend_from_slice(between(out, member.start, member.end));
        }
        out.truncate(self.start);
        out.extend_from_slice(sorted);
        Ok(())
    }

    fn close(mut self) -> WriteResult {
        if !self.sorted {
            self.end_member();
            self.sort()?;
        }
        self.writer.members.truncate(self.outer);
        self.writer.out.push(self.end);
        if self.tagged {
            self.writer.out.push(b'}');
        }
        Ok(())
    }
}

/// `true` for the types with which `serde_json` passes special values to itself.
fn is_disguise(name: &str) -> bool {
    name.starts_with("$serde_json::private::")
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = Inside<'w>;
    type SerializeTuple = Inside<'w>;
    type SerializeTupleStruct = Inside<'w>;
    type SerializeTupleVariant = Inside<'w>;
    type SerializeMap = Inside<'w>;
    type SerializeStruct = Inside<'w>;
    type SerializeStructVariant = Inside<'w>;

    fn serialize_bool(self, value: bool) -> WriteResult {
        self.word(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> WriteResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> WriteResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> WriteResult {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> WriteResult {
        self.whole(value < 0, value.unsigned_abs())
    }

    fn serialize_u8(self, value: u8) -> WriteResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> WriteResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> WriteResult {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> WriteResult {
        self.whole(false, value)
    }

    fn serialize_f32(self, _: f32) -> WriteResult {
        Err(NotPlain)
    }

    fn serialize_f64(self, _: f64) -> WriteResult {
        Err(NotPlain)
    }

    fn serialize_char(self, value: char) -> WriteResult {
        self.string(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> WriteResult {
        self.string(value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> WriteResult {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write!(text, "{value}").map_err(|_| NotPlain)?;
        self.string(&text)?;
        self.text = text;
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> WriteResult {
        Err(NotPlain)
    }

    fn serialize_none(self) -> WriteResult {
        self.word("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> WriteResult {
        value.serialize(self)
    }

    fn serialize_unit(self) -> WriteResult {
        self.word("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> WriteResult {
        self.word("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> WriteResult {
        self.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> WriteResult {
        if is_disguise(name) { Err(NotPlain) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> WriteResult {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'w>, NotPlain> {
        Ok(self.array())
    }

    fn serialize_tuple(self, _: usize) -> Result<Inside<'w>, NotPlain> {
        Ok(self.array())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Inside<'w>, NotPlain> {
        Ok(self.array())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'w>, NotPlain> {
        self.variant(variant)?;
        Ok(self.array().tagged())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'w>, NotPlain> {
        Ok(self.object())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Inside<'w>, NotPlain> {
        if is_disguise(name) { Err(NotPlain) } else { Ok(self.object()) }
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'w>, NotPlain> {
        self.variant(variant)?;
        Ok(self.object().tagged())
    }
}

/// Implements the array traits of serde.
macro_rules! arrays {
    ($($of:ident :: $each:ident),*) => {
        $(impl ser::$of for Inside<'_> {
            type Ok = ();
            type Error = NotPlain;

            fn $each<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
                self.element(value)
            }

            fn end(self) -> WriteResult {
                self.close()
            }
        })*
    };
}
arrays!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Implements the traits of serde for objects with static keys.
macro_rules! structs {
    ($($of:ident),*) => {
        $(impl ser::$of for Inside<'_> {
            type Ok = ();
            type Error = NotPlain;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> WriteResult {
                self.member_key(key)?;
                self.member_value(value)
            }

            fn end(self) -> WriteResult {
                self.close()
            }
        })*
    };
}
structs!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> WriteResult {
        self.member_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> WriteResult {
        self.member_value(value)
    }

    fn end(self) -> WriteResult {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum Variants {
        Unit,
        Newtype(u8),
        Tuple(u8, &'static str),
        Struct { z: Option<i64>, a: char },
    }

    #[derive(Serialize)]
    struct Shapes {
        variants: Vec<Variants>,
        unit: (),
        pair: (bool, String),
        map: BTreeMap<&'static str, Variants>,
        #[serde(flatten)]
        more: BTreeMap<&'static str, i32>,
        #[serde(rename = "A")]
        upper: u64,
        nested: serde_json::Value,
    }

    #[test]
    fn every_shape_is_written_as_the_canonicalizer_writes_it() {
        let shapes = Shapes {
            variants: vec![
                Variants::Unit,
                Variants::Newtype(1),
                Variants::Tuple(2, "\u{7f}\u{1}é\"\\/"),
                Variants::Struct { z: None, a: '"' },
                Variants::Struct { z: Some(-7), a: 'x' },
            ],
            unit: (),
            pair: (false, "🙂".to_owned()),
            map: BTreeMap::from([("b", Variants::Unit), ("a b", Variants::Newtype(0))]),
            more: BTreeMap::from([("later", 1), ("earlier", -1)]),
            upper: MAX_SAFE_INTEGER,
            nested: json!({"z": [], "": {}, "a": {"c": 1, "b": [{"y": null, "x": true}]}}),
        };
        let written = write(&shapes).expect("plain");
        let value = serde_json::to_value(&shapes).expect("JSON");
        assert_eq!(written, serde_json_canonicalizer::to_vec(&value).expect("JSON"));
    }

    #[test]
    fn value_with_several_spellings_is_not_plain() {
        assert!(write(&json!({"a": 9_007_199_254_740_991_u64, "b": -9_007_199_254_740_991_i64})).is_ok());
        for other in [
            json!(9_007_199_254_740_992_u64),
            json!(-9_007_199_254_740_992_i64),
            json!(1.0),
            json!({"é": 1}),
            json!({"a\"": 1}),
            json!({"a\\": 1}),
            json!({"a\n": 1}),
        ] {
            assert!(write(&other).is_err(), "{other}");
        }
        assert!(write(&BTreeMap::from([(1, 2)])).is_err());
    }

    #[test]
    fn duplicate_key_is_not_plain() {
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(flatten)]
            more: BTreeMap<&'static str, u8>,
        }
        assert!(write(&Twice { a: 1, more: BTreeMap::from([("b", 2)]) }).is_ok());
        assert!(write(&Twice { a: 1, more: BTreeMap::from([("a", 2)]) }).is_err());
        assert!(write(&Twice { a: 1, more: BTreeMap::from([("a", 2), ("b", 3)]) }).is_err());
    }
}
