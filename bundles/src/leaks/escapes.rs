//! Escapes of JSON, programs, addresses and HTML, one at a time. Each function is given the position of the character
//! that may begin one, and answers with its end and what it says.

use super::ascii::{at, before, is_space, is_word, part, run_end};

/// What an escape says.
pub(super) enum Said {
    /// Nothing; what was joined stands together.
    Nothing,
    /// This character.
    Char(char),
}

/// Escapes of JSON and of programs.
pub(super) fn backslash(bytes: &[u8], start: usize) -> Option<(usize, Said)> {
    let said = |end, character| Some((end, Said::Char(character)));
    match at(bytes, start + 1) {
        b'u' if at(bytes, start + 2) == b'{' => {
            let end = run_end(bytes, start + 3, 6, |byte| byte.is_ascii_hexdigit());
            let character = hex(part(bytes, start + 3, end)).and_then(char::from_u32)?;
            if at(bytes, end) == b'}' { said(end + 1, character) } else { None }
        }
        b'u' => {
            let unit = hex(digits(bytes, start + 2, 4)?)?;
            if let Some(character) = char::from_u32(unit) {
                return said(start + 6, character);
            }
            // The other half of a surrogate pair.
            let low = hex(digits(bytes, start + 8, 4)?)?;
            let is_pair =
                part(bytes, start + 6, start + 8) == b"\\u" && (0xdc00..0xe000).contains(&low) && unit < 0xdc00;
            let code = 0x1_0000 + ((unit & 0x3ff) << 10 | low & 0x3ff);
            if is_pair { said(start + 12, char::from_u32(code)?) } else { None }
        }
        b'x' => said(start + 4, char::from_u32(hex(digits(bytes, start + 2, 2)?)?).filter(char::is_ascii)?),
        b'0'..=b'3' => {
            let octal = part(bytes, start + 1, start + 4);
            let code = octal
                .iter()
                .try_fold(0_u32, |sum, &byte| matches!(byte, b'0'..=b'7').then(|| sum * 8 + u32::from(byte - b'0')))?;
            if octal.len() == 3 { said(start + 4, char::from_u32(code).filter(char::is_ascii)?) } else { None }
        }
        b'\\' => said(start + 2, '\\'),
        b'/' => said(start + 2, '/'),
        b'"' => said(start + 2, '"'),
        b'\'' => said(start + 2, '\''),
        // Markdown.
        b'_' => said(start + 2, '_'),
        b'-' => said(start + 2, '-'),
        b'n' | b'r' => said(start + 2, '\n'),
        b't' => said(start + 2, '\t'),
        // A line that goes on, and its indentation.
        b'\n' if start + 1 < bytes.len() => {
            Some((run_end(bytes, start + 2, 64, |byte| matches!(byte, b' ' | b'\t')), Said::Nothing))
        }
        b'\r' if at(bytes, start + 2) == b'\n' => {
            Some((run_end(bytes, start + 3, 64, |byte| matches!(byte, b' ' | b'\t')), Said::Nothing))
        }
        _ => None,
    }
}

/// `%2f`, the overlong `%c0%af`, characters of several bytes, and `%u002f`.
pub(super) fn percent(bytes: &[u8], start: usize) -> Option<(usize, Said)> {
    let said = |end, code| char::from_u32(code).map(|character| (end, Said::Char(character)));
    if at(bytes, start + 1) == b'u' {
        return said(start + 6, hex(digits(bytes, start + 2, 4)?)?);
    }
    let lead = hex(digits(bytes, start + 1, 2)?)?;
    let (more, code) = match lead {
        0..=0x7f => return said(start + 3, lead),
        0xc0..=0xdf => (1, lead & 0x1f),
        0xe0..=0xef => (2, lead & 0x0f),
        0xf0..=0xf7 => (3, lead & 0x07),
        _ => return None,
    };
    // Decoded without asking for the shortest form, as the decoders do that overlong forms are meant for.
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
    said(end, code)
}

/// `&#47;`, `&#x2f;` and the names that can stand in a path or a token.
pub(super) fn entity(bytes: &[u8], start: usize) -> Option<(usize, Said)> {
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
        return char::from_u32(code).map(|character| (end, Said::Char(character)));
    }
    let (name, character) =
        NAMES.iter().find(|(name, _)| part(bytes, start + 1, start + 1 + name.len()) == name.as_bytes())?;
    Some((start + 1 + name.len(), Said::Char(*character)))
}

/// `" + "`: a string that a program puts together. The end of the second quote.
pub(super) fn concatenation(bytes: &[u8], start: usize) -> Option<usize> {
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
