//! Places in the text of a JSON document.

/// The byte at which the value of a JSON pointer begins in `text`, which is valid JSON.
pub fn byte_of(text: &str, pointer: &str) -> Option<usize> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    for step in pointer.split('/').skip(1) {
        reader.enter(&step.replace("~1", "/").replace("~0", "~"))?;
    }
    reader.space();
    Some(reader.at)
}

struct Reader<'a> {
    bytes: &'a [u8],
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

    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Moves to the value of a key or an index.
    fn enter(&mut self, step: &str) -> Option<()> {
        self.space();
        if self.peek()? == b'[' {
            self.at += 1;
            for _ in 0..step.parse::<usize>().ok()? {
                self.skip()?;
                self.take(b',')?;
            }
            return Some(());
        }
        self.take(b'{')?;
        loop {
            self.space();
            let begin = self.at;
            self.skip()?;
            let key: String = serde_json::from_slice(self.bytes.get(begin..self.at)?).ok()?;
            self.take(b':')?;
            if key == step {
                return Some(());
            }
            self.skip()?;
            self.take(b',')?;
        }
    }

    /// Moves behind a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            self.space();
            match self.peek()? {
                b'"' => self.text()?,
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = self.bytes.get(self.at..)?;
                    let end = |byte: &u8| byte.is_ascii_whitespace() || b",:]}".contains(byte);
                    let length = rest.iter().position(end).unwrap_or(rest.len());
                    // Not even one byte would be no progress.
                    self.at += (length > 0).then_some(length)?;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn text(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let at = byte_of(text, pointer).unwrap();
            let rest = text.get(at..).unwrap();
            assert!(rest.starts_with(begins), "{pointer}: {rest}");
        }
        for pointer in ["/b", "/a\n/3", "/z/0", "/a\n/x"] {
            assert_eq!(byte_of(text, pointer), None, "{pointer}");
        }
    }
}
