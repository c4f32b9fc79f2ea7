//! Byte positions of values in a JSON text, which JSON readers do not report.
//!
//! The text must be valid JSON. In other text nothing is found.

use std::ops::Range;

use crate::pointer::Pointer;

/// String that a pointer refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The value.
    Value,
    /// The key of the value.
    Key,
}

/// Returns the offset of the value of a JSON pointer.
pub(crate) fn value_start(text: &str, pointer: &str) -> Option<usize> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    for segment in pointer.split('/').skip(1) {
        reader.descend(text, &segment.replace("~1", "/").replace("~0", "~"))?;
    }
    reader.space();
    Some(reader.at)
}

/// Returns the range of the string that `pointer` leads to, with its quotes.
pub(crate) fn find(text: &str, pointer: &Pointer, part: Part) -> Option<Range<usize>> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    let mut segments = pointer.as_str().split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let key = reader.descend(text, &segment.replace("~1", "/").replace("~0", "~"))?;
        if segments.peek().is_none() && part == Part::Key {
            return key;
        }
    }
    reader.space();
    let start = reader.at;
    (reader.peek()? == b'"').then(|| reader.string()).flatten()?;
    Some(start..reader.at)
}

/// Position in the text.
struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Skips a string and returns its range.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(start..self.at)
    }

    /// Skips a value. Counts brackets instead of recursing, so depth is not limited.
    fn value(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if open > 0 => {
                    self.at += 1;
                    continue;
                }
                b',' | b':' => return None,
                _ => {
                    while self
                        .peek()
                        .is_some_and(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace())
                    {
                        self.at += 1;
                    }
                }
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    /// Moves to the member of that name, or to the element of that index. Returns the range of the name.
    fn descend(&mut self, text: &str, name: &str) -> Option<Option<Range<usize>>> {
        self.space();
        let is_object = match self.peek()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        for index in 0_usize.. {
            // The bracket, or the comma before the next member.
            self.at += 1;
            self.space();
            let mut key = None;
            let is_meant = if is_object {
                let span = (self.peek()? == b'"').then(|| self.string()).flatten()?;
                self.space();
                (self.peek()? == b':').then(|| self.at += 1)?;
                key = Some(span.clone());
                serde_json::from_str::<String>(text.get(span)?).ok()? == name
            } else {
                index.to_string() == name
            };
            if is_meant {
                return Some(key);
            }
            self.value()?;
            self.space();
            (self.peek()? == b',').then_some(())?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_is_found_at_its_place() {
        let text = r#" { "a": [1, {"b\"/~": "x"}, true], "b": {"\u0061" : "\"y" } , "c":[] } "#;
        let at = |pointer: Pointer, part| find(text, &pointer, part).and_then(|span| text.get(span));
        let root = Pointer::root();
        assert_eq!(at(root.key("a").index(1).key("b\"/~"), Part::Value), Some("\"x\""));
        assert_eq!(at(root.key("a").index(1).key("b\"/~"), Part::Key), Some("\"b\\\"/~\""));
        assert_eq!(at(root.key("b").key("a"), Part::Value), Some("\"\\\"y\""));
        assert_eq!(at(root.key("b").key("a"), Part::Key), Some("\"\\u0061\""));
        assert_eq!(at(root.key("c"), Part::Key), Some("\"c\""));
        for absent in
            [root.key("d"), root.key("c").index(0), root.key("a").index(3), root.key("a").index(0), root.clone()]
        {
            assert_eq!(at(absent, Part::Value), None);
        }
    }

    #[test]
    fn value_of_a_pointer_is_found_in_the_text() {
        let text = r#" { "a\n" : [ 1, {"x}":"]\"" , "b/c": [[], {"d": null}] }, true ], "z": -2.5e3 }"#;
        for (pointer, begins) in [
            ("", "{ \"a"),
            ("/a\n", "[ 1"),
            ("/a\n/0", "1,"),
            ("/a\n/1/x}", "\"]"),
            ("/a\n/1/b~1c/1/d", "null"),
            ("/a\n/2", "true"),
            ("/z", "-2.5e3"),
        ] {
            let rest = value_start(text, pointer).and_then(|at| text.get(at..)).expect("there");
            assert!(rest.starts_with(begins), "{pointer}: {rest}");
        }
        for pointer in ["/b", "/a\n/3", "/z/0", "/a\n/x"] {
            assert_eq!(value_start(text, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn nothing_is_found_in_text_that_is_not_json() {
        for text in ["", "{", "{\"a", "{\"a\\", "{\"a\":", "{\"a\":}", "[,", "{\"a\":\"", "{1:2}", "]"] {
            assert_eq!(find(text, &Pointer::root().key("a"), Part::Value), None, "{text}");
        }
    }
}
