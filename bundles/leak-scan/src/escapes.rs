//! Decoders for single escapes of JSON, programs, URLs and HTML.
//!
//! Each function takes the position of the first character of an escape and returns the end of the escape and its
//! replacement.

use crate::ascii::{at, before, is_space, is_word, part, run_end};

/// Text that an escape stands for.
pub(crate) enum Replacement {
    /// Nothing. The text on both sides is joined.
    Empty,
    /// One character.
    Char(char),
}

/// Decodes an escape of JSON or of a program.
pub(crate) fn backslash(bytes: &[u8], start: usize) -> Option<(usize, Replacement)> {
    let replaced_by = |end, character| Some((end, Replacement::Char(character)));
    match at(bytes, start + 1) {
        b'u' if at(bytes, start + 2) == b'{' => {
            let end = run_end(bytes, start + 3, 6, |byte| byte.is_ascii_hexdigit());
            let character = hex(part(bytes, start + 3, end)).and_then(char::from_u32)?;
            if at(bytes, end) == b'}' { replaced_by(end + 1, character) } else { None }
        }
        b'u' => {
            let unit = hex(digits(bytes, start + 2, 4)?)?;
            if let Some(character) = char::from_u32(unit) {
                return replaced_by(start + 6, character);
            }
            // The other half of a surrogate pair.
            let low = hex(digits(bytes, start + 8, 4)?)?;
            let is_pair =
                part(bytes, start + 6, start + 8) == b"\\u" && (0xdc00..0xe000).contains(&low) && unit < 0xdc00;
            let code = 0x1_0000 + ((unit & 0x3ff) << 10 | low & 0x3ff);
            if is_pair { replaced_by(start + 12, char::from_u32(code)?) } else { None }
        }
        b'x' => replaced_by(start + 4, char::from_u32(hex(digits(bytes, start + 2, 2)?)?).filter(char::is_ascii)?),
        b'0'..=b'3' => {
            let octal = part(bytes, start + 1, start + 4);
            let code = octal
                .iter()
                .try_fold(0_u32, |sum, &byte| matches!(byte, b'0'..=b'7').then(|| sum * 8 + u32::from(byte - b'0')))?;
            if octal.len() == 3 { replaced_by(start + 4, char::from_u32(code).filter(char::is_ascii)?) } else { None }
        }
        b'\\' => replaced_by(start + 2, '\\'),
        b'/' => replaced_by(start + 2, '/'),
        b'"' => replaced_by(start + 2, '"'),
        b'\'' => replaced_by(start + 2, '\''),
        // Markdown.
        b'_' => replaced_by(start + 2, '_'),
        b'-' => replaced_by(start + 2, '-'),
        b'n' | b'r' => replaced_by(start + 2, '\n'),
        b't' => replaced_by(start + 2, '\t'),
        // A continued line and its indentation.
        b'\n' if start + 1 < bytes.len() => {
            Some((run_end(bytes, start + 2, 64, |byte| matches!(byte, b' ' | b'\t')), Replacement::Empty))
        }
        b'\r' if at(bytes, start + 2) == b'\n' => {
            Some((run_end(bytes, start + 3, 64, |byte| matches!(byte, b' ' | b'\t')), Replacement::Empty))
        }
        _ => None,
    }
}

/// Decodes `%2f`, the overlong `%c0%af`, characters of several bytes, and `%u002f`.
pub(crate) fn percent(bytes: &[u8], start: usize) -> Option<(usize, Replacement)> {
    let replaced_by = |end, code| char::from_u32(code).map(|character| (end, Replacement::Char(character)));
    if at(bytes, start + 1) == b'u' {
        return replaced_by(start + 6, hex(digits(bytes, start + 2, 4)?)?);
    }
    let lead = hex(digits(bytes, start + 1, 2)?)?;
    let (more, code) = match lead {
        0..=0x7f => return replaced_by(start + 3, lead),
        0xc0..=0xdf => (1, lead & 0x1f),
        0xe0..=0xef => (2, lead & 0x0f),
        0xf0..=0xf7 => (3, lead & 0x07),
        _ => return None,
    };
    // Overlong forms are accepted, because attackers use them against decoders that accept them.
    let mut end = start + 3;
    let mut code = code;
    for _ in 0..more {
        let next = hex(digits(bytes, end + 1, 2)?)?;
        if at(bytes, end) != b'%' || next & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | next & 0x3f;
        end += 3;
    }
    replaced_by(end, code)
}

/// Decodes `&#47;`, `&#x2f;` and the named entities that can occur in a path or a token.
pub(crate) fn entity(bytes: &[u8], start: usize) -> Option<(usize, Replacement)> {
    const NAMES: &[(&str, char)] = &[
        ("sol;", '/'),
        ("bsol;", '\\'),
        ("period;", '.'),
        ("colon;", ':'),
        ("tilde;", '~'),
        ("lowbar;", '_'),
        ("UnderBar;", '_'),
        ("dash;", '-'),
        ("hyphen;", '-'),
        ("dollar;", '$'),
        ("percnt;", '%'),
        ("equals;", '='),
        ("commat;", '@'),
        ("amp;", '&'),
        ("quot;", '"'),
        ("apos;", '\''),
        ("lt;", '<'),
        ("gt;", '>'),
        ("nbsp;", ' '),
        ("plus;", '+'),
        ("lbrace;", '{'),
        ("lcub;", '{'),
        ("rcub;", '}'),
        ("Tab;", '\t'),
        ("NewLine;", '\n'),
        ("num;", '#'),
    ];
    if at(bytes, start + 1) == b'#' {
        let is_hex = matches!(at(bytes, start + 2), b'x' | b'X');
        let from = start + 2 + usize::from(is_hex);
        let end = run_end(bytes, from, 7, |byte| byte.is_ascii_hexdigit());
        let text = std::str::from_utf8(part(bytes, from, end)).ok()?;
        let code = u32::from_str_radix(text, if is_hex { 16 } else { 10 }).ok()?;
        let end = end + usize::from(at(bytes, end) == b';');
        return char::from_u32(code).map(|character| (end, Replacement::Char(character)));
    }
    let (name, character) =
        NAMES.iter().find(|(name, _)| part(bytes, start + 1, start + 1 + name.len()) == name.as_bytes())?;
    Some((start + 1 + name.len(), Replacement::Char(*character)))
}

/// Returns the end of the second quote of `" + "`, with which a program concatenates strings.
pub(crate) fn concatenation(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = at(bytes, start);
    if !is_word(before(bytes, start)) && before(bytes, start) != b'-' {
        return None;
    }
    let mut end = run_end(bytes, start + 1, 32, is_space);
    let operator = run_end(bytes, end, 2, |byte| matches!(byte, b'+' | b'.' | b'&'));
    let is_operator = operator > end;
    end = run_end(bytes, operator, 32, is_space);
    let is_joined = is_operator || part(bytes, start + 1, end).contains(&b'\n');
    (is_joined && at(bytes, end) == quote && end < bytes.len()).then_some(end + 1)
}

fn digits(bytes: &[u8], start: usize, count: usize) -> Option<&[u8]> {
    bytes.get(start..start + count)
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, &byte| Some(sum << 4 | char::from(byte).to_digit(16)?))
}
