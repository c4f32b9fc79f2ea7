//! Bounds-free access to the bytes of a text.
//! A read outside the text returns a line feed, which every rule treats as a boundary, so nothing here can panic.

/// Byte returned for a position outside the text.
const OUTSIDE: u8 = b'\n';

/// Returns the byte at `index`.
pub(crate) fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(OUTSIDE)
}

/// Returns the byte before `index`.
pub(crate) fn before(bytes: &[u8], index: usize) -> u8 {
    index.checked_sub(1).and_then(|index| bytes.get(index)).copied().unwrap_or(OUTSIDE)
}

/// Returns the bytes of the range, clipped at the end of the text. Empty if the range starts outside the text.
pub(crate) fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}

/// Returns the end of the run of bytes that satisfy `is`, from `from` on and at most `limit` bytes long.
pub(crate) fn run_end(bytes: &[u8], from: usize, limit: usize, is: impl Fn(u8) -> bool) -> usize {
    let run = part(bytes, from, from.saturating_add(limit));
    from + run.iter().position(|&byte| !is(byte)).unwrap_or(run.len())
}

/// Returns the start of the run of bytes that satisfy `is` and that ends before `to`, at most `limit` bytes long.
pub(crate) fn run_start(bytes: &[u8], to: usize, limit: usize, is: impl Fn(u8) -> bool) -> usize {
    let run = part(bytes, to.saturating_sub(limit), to);
    to - run.iter().rev().position(|&byte| !is(byte)).unwrap_or(run.len())
}

/// `true` if `word` is at `index`, ignoring ASCII case.
pub(crate) fn stands_at(bytes: &[u8], index: usize, word: &str) -> bool {
    part(bytes, index, index.saturating_add(word.len())).eq_ignore_ascii_case(word.as_bytes())
}

/// `true` for letters, digits and underscore, the bytes of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `true` for letters, digits, underscore and hyphen, the bytes of base64url and of most tokens.
pub(crate) fn is_url_safe(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// `true` for space and tab.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `true` for space, tab and line ends.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `true` for double quote, single quote and backtick.
pub(crate) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_outside_of_the_text_finds_a_boundary() {
        assert_eq!(at(b"ab", 9), b'\n');
        assert_eq!(before(b"ab", 0), b'\n');
        assert_eq!(part(b"ab", 5, 9), b"");
        assert_eq!(run_end(b"ab", 7, 3, is_word), 7);
    }

    #[test]
    fn runs_stop_at_their_limit() {
        assert_eq!(run_end(b"aaaa-", 0, 3, is_word), 3);
        assert_eq!(run_start(b"-aaaa", 5, 9, is_word), 1);
        assert_eq!(run_start(b"-aaaa", 5, 2, is_word), 3);
    }
}
