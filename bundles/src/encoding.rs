//! Encodings of authored text: a UTF-8 byte order mark is removed, and UTF-16 and UTF-32 are detected.
//!
//! Every reader of text that a person wrote uses this module, so a byte order mark from an editor changes no digest and
//! causes no syntax error. Bytes from another machine are never changed.

/// UTF-8 byte order mark.
pub const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns the bytes without a leading UTF-8 byte order mark.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// Returns the text of a key file without a byte order mark and without one line end, `\n` or `\r\n`.
pub fn key_line(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

/// `true` if the bytes are UTF-16 or UTF-32 text.
pub fn is_wide(bytes: &[u8]) -> bool {
    wide(bytes).is_some()
}

/// Returns the reason why bytes are not UTF-8, as a message, or `None` if they are.
pub fn problem(bytes: &[u8]) -> Option<String> {
    if let Some(name) = wide(bytes) {
        return Some(format!("the text is {name}, and UTF-8 is expected"));
    }
    std::str::from_utf8(bytes).err().map(|error| format!("byte {} is not UTF-8", error.valid_up_to()))
}

/// Returns the name of the encoding if the bytes are text in units of two or four bytes.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => return Some("UTF-16"),
        _ => {}
    }
    // Without a byte order mark, every second byte of leading ASCII text is zero, which does not occur in UTF-8 text.
    let head = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    let zeros = |first: usize| head.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    let is_wide = head.len() >= 4 && head.len().is_multiple_of(2) && zeros(0) != zeros(1);
    is_wide.then_some("UTF-16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_removed_once_and_at_the_start_only() {
        assert_eq!(without_mark(b"\xEF\xBB\xBFa"), b"a");
        assert_eq!(without_mark(b"\xEF\xBB\xBF\xEF\xBB\xBFa"), b"\xEF\xBB\xBFa");
        assert_eq!(without_mark(b"a\xEF\xBB\xBF"), b"a\xEF\xBB\xBF");
        assert_eq!(without_mark(b"\xEF\xBB"), b"\xEF\xBB");
    }

    #[test]
    fn wide_encodings_are_detected() {
        let wide = |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
        for bytes in [
            wide("\u{feff}a = 1", u16::to_le_bytes),
            wide("\u{feff}a = 1", u16::to_be_bytes),
            wide("a = 1", u16::to_le_bytes),
            wide("a = 1", u16::to_be_bytes),
            wide("\u{feff}", u16::to_le_bytes),
        ] {
            assert!(problem(&bytes).is_some_and(|problem| problem.contains("UTF-16")), "{bytes:?}");
        }
        assert!(problem(&[0xFF, 0xFE, 0, 0, b'a', 0, 0, 0]).is_some_and(|problem| problem.contains("UTF-32")));
        assert_eq!(problem(b"ab\xff"), Some("byte 2 is not UTF-8".to_owned()));
        for text in ["", "a", "ä\0", "plain", "\0\0\0\0", "a\0b", "日本語"] {
            assert_eq!(problem(text.as_bytes()), None, "{text:?}");
        }
    }
}
