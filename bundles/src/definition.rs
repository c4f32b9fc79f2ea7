//! Parser that reads a workflow definition as data, so that the leak scan can judge values by their keys.
//!
//! JSON, TOML and a subset of YAML are read. The subset has block mappings and lists, quoted, plain and block scalars,
//! and flow style within a line. Anchors, tags and document markers are skipped. The engine that runs a workflow
//! defines the meaning of its definition. Text that cannot be read unambiguously is not data.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Maximum depth of nesting.
const MAX_DEPTH: usize = 64;

/// Returns the data of a definition, or `None` if it is not data.
pub(crate) fn read(text: &str) -> Option<Value> {
    let is_data = |value: &Value| match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    let json = || serde_json::from_str(text).ok();
    let toml = || toml::from_str(text).ok();
    let yaml = || Lines::of(text)?.document();
    json().or_else(toml).or_else(yaml).filter(is_data)
}

/// Lines of a YAML document.
struct Lines<'t> {
    lines: Vec<Line<'t>>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Line<'t> {
    indent: usize,
    text: &'t str,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let line = |line: &'t str| {
            let line = line.trim_end();
            let text = line.trim_start_matches(' ');
            Line { indent: line.len() - text.len(), text }
        };
        let is_marker = |line: &Line<'_>| line.indent == 0 && matches!(line.text, "---" | "...");
        let lines: Vec<Line<'t>> = text.lines().map(line).filter(|line| !is_marker(line)).collect();
        // YAML does not allow tabs as indentation.
        (!lines.iter().any(|line| line.text.starts_with('\t'))).then_some(Self { lines, next: 0 })
    }

    fn document(mut self) -> Option<Value> {
        let indent = self.peek()?.indent;
        let value = self.block(indent, 0)?;
        self.peek().is_none().then_some(value)
    }

    /// Returns the next line that is not empty and not a comment.
    fn peek(&mut self) -> Option<Line<'t>> {
        loop {
            let line = *self.lines.get(self.next)?;
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some(line);
            }
            self.next += 1;
        }
    }

    /// Reads the mapping or the list whose lines have this indent.
    fn block(&mut self, indent: usize, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        let first = self.peek()?;
        if item(first.text).is_some() { self.list(indent, depth) } else { self.mapping(indent, depth) }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut list = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent)
            && let Some(text) = item(line.text)
        {
            let inner = Line { indent: indent + (line.text.len() - text.len()), text };
            if !text.is_empty() && (item(text).is_some() || entry(text).is_some()) {
                // The text after the hyphen is the first line of a block.
                *self.lines.get_mut(self.next)? = inner;
                list.push(self.block(inner.indent, depth + 1)?);
            } else {
                self.next += 1;
                list.push(self.value(text, indent, depth)?);
            }
        }
        self.ends(indent).then_some(Value::Array(list))
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        while let Some(line) = self.peek().filter(|line| line.indent == indent && item(line.text).is_none()) {
            let (key, text) = entry(line.text)?;
            self.next += 1;
            let is_list = |line: Line<'_>| line.indent == indent && item(line.text).is_some();
            let value = if properties(text).is_empty() && self.peek().is_some_and(is_list) {
                self.list(indent, depth + 1)?
            } else {
                self.value(text, indent, depth)?
            };
            map.insert(key.into_owned(), value);
        }
        self.ends(indent).then_some(Value::Object(map))
    }

    /// `true` if the next line does not belong to a block of this indent.
    fn ends(&mut self, indent: usize) -> bool {
        self.peek().is_none_or(|line| line.indent <= indent)
    }

    /// Reads the value that starts with `text`, in a line of this indent. The line itself is consumed already.
    fn value(&mut self, text: &str, indent: usize, depth: usize) -> Option<Value> {
        let text = properties(text);
        if text.starts_with(['|', '>']) {
            return Some(Value::String(self.deeper(indent, "\n")));
        }
        if text.is_empty() {
            return match self.peek().filter(|line| line.indent > indent) {
                Some(line) => self.block(line.indent, depth + 1),
                None => Some(Value::Null),
            };
        }
        if text.starts_with(['{', '[']) {
            let text = format!("{text} {}", self.deeper(indent, " "));
            let mut flow = Flow { rest: &text };
            let value = flow.value(depth + 1)?;
            return flow.is_at_end().then_some(value);
        }
        let more = self.deeper(indent, " ");
        // A plain scalar does not continue with a key.
        if more.contains(": ") && !text.starts_with(['"', '\'']) {
            return None;
        }
        Some(Value::String(scalar(&if more.is_empty() {
            Cow::Borrowed(text)
        } else {
            format!("{text} {more}").into()
        })))
    }

    /// Consumes the lines that are indented deeper and joins them with `between`.
    fn deeper(&mut self, indent: usize, between: &str) -> String {
        let mut texts = Vec::new();
        while let Some(line) = self.lines.get(self.next).filter(|line| line.text.is_empty() || line.indent > indent) {
            texts.push(line.text);
            self.next += 1;
        }
        texts.join(between).trim_end().to_owned()
    }
}

/// Returns the text after the hyphen of a list item.
fn item(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('-')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| rest.trim_start())
}

/// Returns a key and the text after its colon.
fn entry(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.strip_prefix("? ").unwrap_or(text);
    if let Some((key, rest)) = quoted(text) {
        let rest = rest.trim_start().strip_prefix(':')?;
        return Some((key.into(), rest.trim_start()));
    }
    let end = text.find(": ").or_else(|| text.ends_with(':').then(|| text.len() - 1))?;
    let (key, rest) = text.split_at_checked(end)?;
    let is_key = !key.starts_with(['{', '[', '*', '&', '!', '|', '>', '%', '@', '`', '-']) && !key.contains(" #");
    is_key.then(|| (key.into(), rest.strip_prefix(':').unwrap_or(rest).trim_start()))
}

/// Returns the text without its anchor and tag. A comment becomes empty.
fn properties(mut text: &str) -> &str {
    while text.starts_with(['&', '!']) {
        text = text.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
    }
    if text.starts_with('#') { "" } else { text }
}

/// Returns the quoted string at the start of a text, and the text after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut end = 1;
    loop {
        end += text.get(end..)?.find([quote, '\\'])?;
        let rest = text.get(end + 1..)?;
        match text.as_bytes().get(end) {
            Some(b'\\') if quote == '"' => end += 1 + rest.chars().next()?.len_utf8(),
            Some(b'\\') => end += 1,
            _ if quote == '\'' && rest.starts_with('\'') => end += 2,
            _ => {
                let inside = text.get(1..end)?;
                let json = || serde_json::from_str(text.get(..=end)?).ok();
                let plain = if quote == '"' { json() } else { Some(inside.replace("''", "'")) };
                return Some((plain.unwrap_or_else(|| inside.to_owned()), rest));
            }
        }
    }
}

fn scalar(text: &str) -> String {
    match quoted(text) {
        Some((value, _)) => value,
        None => text.split(" #").next().unwrap_or(text).trim().to_owned(),
    }
}

/// Reader of a value in flow style: `{ a: b, c: [d] }`.
struct Flow<'t> {
    rest: &'t str,
}

impl Flow<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = properties(self.rest.trim_start());
        if self.takes('[') {
            let mut list = Vec::new();
            while !self.takes(']') {
                list.push(self.value(depth + 1)?);
                (self.takes(',') || self.rest.starts_with(']')).then_some(())?;
            }
            return Some(Value::Array(list));
        }
        if self.takes('{') {
            let mut map = Map::new();
            while !self.takes('}') {
                let key = self.scalar(true)?;
                let value = if self.takes(':') { self.value(depth + 1)? } else { Value::Null };
                map.insert(key, value);
                (self.takes(',') || self.rest.starts_with('}')).then_some(())?;
            }
            return Some(Value::Object(map));
        }
        self.scalar(false).map(Value::String)
    }

    fn takes(&mut self, sign: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn scalar(&mut self, is_key: bool) -> Option<String> {
        if let Some((value, rest)) = quoted(self.rest) {
            self.rest = rest.trim_start();
            return Some(value);
        }
        let is_end = |(index, sign): &(usize, char)| match sign {
            ',' | '[' | ']' | '{' | '}' => true,
            ':' => is_key && self.rest.get(index + 1..).is_none_or(|rest| rest.starts_with([' ', ',', '}', '"'])),
            _ => false,
        };
        let end = self.rest.char_indices().find(is_end).map(|(index, _)| index)?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(text.trim().to_owned())
    }

    fn is_at_end(&self) -> bool {
        let rest = self.rest.trim();
        rest.is_empty() || rest.starts_with('#')
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn definition_in_each_format_is_read() {
        let expected = json!({ "tokens": { "eu": "x", "us": "y z" }, "steps": [{ "run": "a" }, "b"] });
        for text in [
            "{\"tokens\": {\"eu\": \"x\", \"us\": \"y z\"}, \"steps\": [{\"run\": \"a\"}, \"b\"]}",
            "steps = [{ run = \"a\" }, \"b\"]\n[tokens]\neu = \"x\"\nus = 'y z'\n",
            "---\n# text\ntokens:\n  eu: x # why\n\n  us: 'y z'\nsteps:\n- run: a\n- b\n",
            "tokens: {eu: x, \"us\": \"y z\"}\nsteps:\n  - run: a\n  - b\n",
            "tokens: &t\n    \"eu\": !str x\n    us: y\n      z\nsteps: [{run: a},\n  b]\n",
            "\"tokens\":\n  eu: \"\\u0078\"\n  us: >\n    y z\nsteps:\n  -\n    run: a\n  - b",
        ] {
            assert_eq!(read(text).as_ref(), Some(&expected), "{text}");
        }
        assert_eq!(read("- a: b\n  c:\n    - d\n- - e\n"), Some(json!([{ "a": "b", "c": ["d"] }, ["e"]])));
        assert_eq!(
            read("a: https://example.com\nb: |\n  c: d\n   e\nf:\n"),
            Some(json!({ "a": "https://example.com", "b": "c: d\ne", "f": null }))
        );
    }

    #[test]
    fn prose_is_not_read_as_data() {
        for text in [
            "",
            "# Title\n\nRead the diff: then answer.\nAnd more.\n",
            "1. Build\n2. Test\n",
            "Steps:\n\nFirst, build.\n",
            "a: b\n  c: d\n e: f\n",
            "a:\n\tb: c\n",
            "a: {b: c\n",
            "plain",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn reading_deep_or_broken_text_terminates() {
        for piece in ["- ", "a: ", "[", "{", "{a: ", "\"", "a:\n ", "'", "- a:\n", "? ", "&a "] {
            read(&piece.repeat(20_000));
        }
        let deep: String = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert_eq!(read(&deep), None);
    }
}
