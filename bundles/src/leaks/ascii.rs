//! Reading bytes at positions that may lie outside of the text. Nothing here can panic: outside of the text stands a
//! line feed, which is a boundary for every rule.

/// What stands outside of the text.
const OUTSIDE: u8 = b'\n';

/// The byte at `index`.
pub(super) fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(OUTSIDE)
}

/// The byte before `index`.
pub(super) fn before(bytes: &[u8], index: usize) -> u8 {
    index.checked_sub(1).and_then(|index| bytes.get(index)).copied().unwrap_or(OUTSIDE)
}

/// The bytes of the range, or none of them where it is not within the text.
pub(super) fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to.min(bytes.len())).unwrap_or_default()
}

/// The end of the run of bytes that satisfy `is`, beginning at `from`, at most `limit` bytes long.
pub(super) fn run_end(bytes: &[u8], from: usize, limit: usize, is: impl Fn(u8) -> bool) -> usize {
    let run = part(bytes, from, from.saturating_add(limit));
    from + run.iter().position(|&byte| !is(byte)).unwrap_or(run.len())
}

/// The start of the run of bytes that satisfy `is`, ending before `to`, at most `limit` bytes long.
pub(super) fn run_start(bytes: &[u8], to: usize, limit: usize, is: impl Fn(u8) -> bool) -> usize {
    let run = part(bytes, to.saturating_sub(limit), to);
    to - run.iter().rev().position(|&byte| !is(byte)).unwrap_or(run.len())
}

/// Whether `word` stands at `index`, ASCII case aside.
pub(super) fn stands_at(bytes: &[u8], index: usize, word: &str) -> bool {
    part(bytes, index, index.saturating_add(word.len())).eq_ignore_ascii_case(word.as_bytes())
}

/// Letters, digits and underscore: what an identifier is made of.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Letters, digits, underscore and hyphen: base64url, and most tokens.
pub(super) fn is_url_safe(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// Space and tab.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Space, tab, and the ends of lines.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The three quotes of programs and prose.
pub(super) fn is_quote(byte: u8) -> bool {
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
