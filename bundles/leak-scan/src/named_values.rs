//! Values under names of secrets, of any shape.
//!
//! They are hidden in text that is shown to a person, including text that could not be parsed and was not judged.
//! Nothing is parsed here. If the extent of a value is unclear, the longer range is returned.

use std::ops::Range;

use crate::ascii::{at, is_blank, is_space, is_url_safe, part, run_end, run_start};
use crate::assignments::secret_kind_of_cell;
use crate::secret_names::is_descriptive;

/// Returns the byte ranges of `text` that follow names of secrets, in order: `pass = …`, `"token": …`, and the lines
/// below `[tokens]`. Numbers and booleans are left out.
pub fn named_values(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut values: Vec<Range<usize>> = Vec::new();
    let mut is_section = false;
    // End of the object whose name denotes a secret.
    let mut object_end = 0;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        let read = values.last().map_or(0, |last| last.end);
        let line_start = run_end(bytes, start, usize::MAX, is_blank);
        let header = section_header(part(bytes, line_start, end)).filter(|_| read <= start);
        if let Some(name) = header {
            // In an array of tables, each table names its own values.
            is_section = !name.starts_with(b"[") && secret_kind_of_cell(last_key(name)).is_some();
        } else if is_section {
            let sign = run_end(bytes, line_start, usize::MAX, |byte| byte != b'=' && byte != b'\n');
            let from = if sign < end { sign + 1 } else { line_start };
            values.extend((from < end).then_some(from..end));
        } else {
            object_end = add_values(bytes, start.max(read)..end, object_end, &mut values);
        }
        start += line.len();
    }
    values
}

/// Returns the text between the brackets of `[name]`, which a comment can follow.
fn section_header(line: &[u8]) -> Option<&[u8]> {
    let inside = line.strip_prefix(b"[")?;
    let without_comment = inside.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii_end();
    inside.strip_suffix(b"]").or_else(|| without_comment.strip_suffix(b"]"))
}

/// Returns the last part of a name, without its quotes. Reads no more than this part, because it is called at every sign
/// of a line.
fn last_key(name: &[u8]) -> &[u8] {
    let name = name.trim_ascii_end();
    let name = name.strip_suffix(b"\"").or_else(|| name.strip_suffix(b"'")).unwrap_or(name);
    name.rsplit(|byte| !is_url_safe(*byte)).next().unwrap_or(name)
}

/// Adds the values in a line to `values`. All values before `object_end` belong to an object under the name of a
/// secret, except those that describe it, as in a schema. Returns the end of the last such object.
fn add_values(bytes: &[u8], line: Range<usize>, mut object_end: usize, values: &mut Vec<Range<usize>>) -> usize {
    let mut index = line.start;
    while index < line.end {
        let mark = at(bytes, index);
        // Before a letter, a colon ends a prefix: `secret:github-token`.
        let is_sign = mark == b'=' || mark == b':' && !at(bytes, index + 1).is_ascii_alphanumeric();
        let name = part(bytes, line.start, index);
        let is_named =
            is_sign && (secret_kind_of_cell(name).is_some() || index < object_end && !is_descriptive(last_key(name)));
        index += 1;
        if !is_named {
            continue;
        }
        let start =
            run_end(bytes, index, usize::MAX, |byte| is_blank(byte) || matches!(byte, b':' | b'=' | b'>' | b'*'));
        if at(bytes, start) == b'{' {
            // A nested object ends before the outer one.
            object_end = if start < object_end { object_end } else { brackets_end(bytes, start) };
            index = start + 1;
            continue;
        }
        let value = start..value_end(bytes, start, line.start);
        index = value.end.max(index);
        if !is_plain(part(bytes, value.start, value.end)) {
            values.push(value);
        }
    }
    object_end
}

fn is_plain(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_')) || matches!(value, b"true" | b"false")
}

/// Returns the end of the value at `start`, in a line that starts at `line`.
fn value_end(bytes: &[u8], start: usize, line: usize) -> usize {
    let quote = at(bytes, start);
    let line_end = run_end(bytes, start, usize::MAX, |byte| byte != b'\n');
    match quote {
        b'[' => brackets_end(bytes, start),
        b'"' | b'\'' if part(bytes, start, start + 3) == [quote; 3] => {
            let inside = part(bytes, start + 3, bytes.len());
            inside.windows(3).position(|three| three == [quote; 3]).map_or(bytes.len(), |end| start + end + 6)
        }
        b'"' | b'\'' => string_end(bytes, start),
        // A block of lines that are indented more than the name.
        b'\n' | b'\r' | b'|' | b'#' => block_end(bytes, line_end, line),
        _ => line_end,
    }
}

/// Returns the end of the string at `start`, or of its line.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = at(bytes, start);
    let mut index = start + 1;
    loop {
        index = match at(bytes, index) {
            b'\n' => return index.min(bytes.len()),
            b'\\' if quote == b'"' && at(bytes, index + 1) != b'\n' => index + 2,
            byte if byte == quote => return index + 1,
            _ => index + 1,
        };
    }
}

/// Returns the end of the brackets that open at `start`, or of the text.
fn brackets_end(bytes: &[u8], start: usize) -> usize {
    let mut open = 0_usize;
    let mut index = start;
    while index < bytes.len() {
        match at(bytes, index) {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' | b'\'' => {
                index = string_end(bytes, index);
                continue;
            }
            _ => {}
        }
        index += 1;
        if open == 0 {
            return index;
        }
    }
    bytes.len()
}

/// Returns the end of the lines below `line_end` that are indented more than the line at `line`, or are list items with the
/// same indentation.
fn block_end(bytes: &[u8], line_end: usize, line: usize) -> usize {
    let indent = |start: usize| run_end(bytes, start, usize::MAX, is_blank) - start;
    let own = indent(line);
    let mut end = line_end;
    while end < bytes.len() {
        let next = run_end(bytes, end + 1, usize::MAX, |byte| byte != b'\n');
        let is_empty = part(bytes, end + 1, next).iter().all(|&byte| is_space(byte));
        let first = end + 1 + indent(end + 1);
        let is_item = at(bytes, first) == b'-' && is_space(at(bytes, first + 1));
        if !is_empty && (indent(end + 1) < own || indent(end + 1) == own && !is_item) {
            break;
        }
        end = next;
    }
    run_start(bytes, end, end - line_end, is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for value in named_values(text) {
            bytes[value].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_value_under_the_name_of_a_secret_is_hidden() {
        for (text, shown) in [
            ("password = \"a b\" # x", "password = ***** # x"),
            ("password = a b", "password = ***"),
            ("password = 'a b", "password = ****"),
            ("a = 1\ntoken: a b\nb = 2", "a = 1\ntoken: ***\nb = 2"),
            ("{\"api_key\": \"a\\\"b\", \"b\": 1}", "{\"api_key\": ******, \"b\": 1}"),
            ("x = { pass = \"a b\", user = \"c\" }", "x = { pass = *****, user = \"c\" }"),
            ("tokens = [\n  \"a ]\",\n  \"b\",\n]\nc = \"d\"", "tokens = *\n********\n******\n*\nc = \"d\""),
            ("secret = \"\"\"\na b\n\"\"\"\nc = \"d\"", "secret = ***\n***\n***\nc = \"d\""),
            ("secrets:\n  a: b\n\n  c: d\ne: f", "secrets:\n******\n\n******\ne: f"),
            ("pass: |\n  a b\nc: d", "pass: *\n*****\nc: d"),
            (
                "\"token\": {\n  \"type\": \"x\",\n  \"default\": \"a b\"\n},\n\"b\": \"c\"",
                "\"token\": {\n  \"type\": \"x\",\n  \"default\": *****\n},\n\"b\": \"c\"",
            ),
            ("[a.tokens]\nx = \"a b\"\n\n[a.b]\nx = \"c\"", "[a.tokens]\nx =******\n\n[a.b]\nx = \"c\""),
            ("[a.tokens] # x\ny = \"a b\"\n[b] # x\ny = 1", "[a.tokens] # x\ny =******\n[b] # x\ny = 1"),
            ("tokens:\n- a b\n- c d\ne: f", "tokens:\n*****\n*****\ne: f"),
            ("**Password:** a b", "**Password:** ***"),
            ("db_password = ${a b}", "db_password = ******"),
        ] {
            assert_eq!(hidden(text), shown, "{text}");
        }
    }

    #[test]
    fn other_value_is_not_hidden() {
        for text in [
            "max_tokens = 4096\npassword = true\ntoken = 12",
            "requires = [\"secret:github-token\", \"mount:repo:read\"]",
            "token_url = \"https://example.com\"\napi_key_header = \"X\"",
            "[[secrets]]\nname = \"github-token\"\nreason = \"x\"",
            "[models.large]\nmodel = \"m\"\nprovider = \"p\"",
            "",
        ] {
            assert_eq!(hidden(text), text);
        }
    }

    #[test]
    fn time_grows_with_the_text() {
        for piece in [
            "token = [",
            "token:\n",
            "secret = \"\"\"",
            "token = '",
            "[tokens]\n",
            "a = ",
            "token = {",
            "token = { a = { ",
        ] {
            named_values(&piece.repeat((1 << 18) / piece.len()));
        }
        named_values(&format!("token = {{\n{}{}", " ".repeat(1 << 18), "type=".repeat(1 << 16)));
    }
}
