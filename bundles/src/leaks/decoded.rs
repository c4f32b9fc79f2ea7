//! Looks inside base64 and hex: a long run that decodes to text is scanned as text. One deep, because each further
//! layer multiplies the work while no honest configuration has two. Deliberately absent: compression and ciphers.

use std::ops::Range;

use super::ascii::{is_space, part, run_start};
use super::reading::{Scope, look};
use super::{Findings, Leak, Place};

/// Shortest run that is decoded: `/home/alice` has 16 characters in base64.
pub(super) const SHORTEST: usize = 16;

/// Shortest line that goes on in the next one. The usual encoders write longer ones.
const FULL_LINE: usize = 60;

/// A reading of a text from its beginning to its end.
#[derive(Default)]
pub(super) struct Encoded {
    read_until: usize,
}

impl Encoded {
    /// At `end` ends a run of base64. Where it begins, if it is long enough to be decoded.
    pub(super) fn ended(&mut self, bytes: &[u8], end: usize) -> Option<usize> {
        let room = end.checked_sub(self.read_until)?;
        let start = run_start(bytes, end, room, is_base64);
        (end - start >= SHORTEST).then_some(start)
    }

    /// Scans what a run of base64 or hex decodes to, and reports the run for what was found.
    #[inline(never)]
    pub(super) fn look_inside(&mut self, text: &str, run: Range<usize>, found: &mut Findings) {
        let bytes = text.as_bytes();
        let Range { start, end: end_of_line } = run;
        let end = if end_of_line - start < FULL_LINE { end_of_line } else { run_of_lines(bytes, start) };
        // The lines of a run are read together.
        self.read_until = end;
        let whole = part(bytes, start, end);
        if read(whole, start, found) || whole.len() == SHORTEST {
            return;
        }
        // A separator that belongs to the text around the run: `key-<base64>`, `a/b/<base64>`.
        let mut offset = start;
        for piece in whole.split(|byte| matches!(byte, b'-' | b'_' | b'/' | b'+')) {
            if piece.len() >= SHORTEST && piece.len() < whole.len() {
                read(piece, offset, found);
            }
            offset += piece.len() + 1;
        }
    }
}

/// The end of a run of base64, which may be broken into lines.
fn run_of_lines(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        let rest = part(bytes, end, bytes.len());
        let line = rest.iter().position(|&byte| !is_base64(byte)).unwrap_or(rest.len());
        end += line;
        // Only full lines go on: words of prose are shorter than what encoders write.
        let space = part(bytes, end, end + 16).iter().take_while(|&&byte| is_space(byte)).count();
        let next = part(bytes, end + space, end + space + 4);
        let goes_on =
            line >= FULL_LINE && line % 4 == 0 && space > 0 && next.len() == 4 && next.iter().copied().all(is_base64);
        if !goes_on {
            return end;
        }
        end += space;
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Scans what `run` decodes to. Whether it decodes to text at all.
fn read(run: &[u8], offset: usize, found: &mut Findings) -> bool {
    let Some(text) = hex(run).or_else(|| base64_of(run, may_be_text)).and_then(as_text) else { return false };
    let mut inner = Findings::default();
    look(Scope::Plain, Place::Prompt, &text, &mut inner);
    for Leak { rule, .. } in inner.leaks {
        found.push(rule, offset..offset + run.len());
    }
    true
}

/// Text is what a person could read: no control characters, and valid.
fn as_text(mut bytes: Vec<u8>) -> Option<String> {
    // PowerShell encodes UTF-16.
    if bytes.len() >= 8 && is_wide(&bytes) {
        bytes = bytes.into_iter().step_by(2).collect();
    }
    if !bytes.iter().copied().all(is_text) {
        return None;
    }
    // The last character may be cut off with the run.
    let valid = match std::str::from_utf8(&bytes) {
        Ok(text) => text.len(),
        Err(error) if bytes.len() - error.valid_up_to() < 4 => error.valid_up_to(),
        Err(_) => return None,
    };
    bytes.truncate(valid);
    String::from_utf8(bytes).ok()
}

fn is_text(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || is_space(byte)
}

/// How many bytes are decoded before it is asked whether they are text at all.
const TASTE: usize = 12;

/// Decodes base64 of either alphabet, padding and white space ignored; none if it does not begin like text.
pub(super) fn base64(run: &[u8]) -> Option<Vec<u8>> {
    base64_of(run, tastes_like_text)
}

/// Nothing is allocated for what is no base64, or does not taste: most long words.
fn base64_of(run: &[u8], tastes: fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut decoded = Base64 { run: run.iter(), bits: 0, held: 0 };
    let mut taste = [0; TASTE];
    let mut length = 0;
    for (byte, next) in taste.iter_mut().zip(&mut decoded) {
        *byte = next?;
        length += 1;
    }
    if length == TASTE && !tastes(&taste) {
        return None;
    }
    let mut bytes = Vec::with_capacity(run.len());
    bytes.extend(taste.iter().take(length));
    for next in decoded {
        bytes.push(next?);
    }
    Some(bytes)
}

/// What padding and white space are to a decoder.
const PASSED_OVER: u8 = 64;

/// What each byte stands for in base64 of either alphabet.
static VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut values = [u8::MAX; 256];
    let mut byte = 0;
    while byte < values.len() {
        #[allow(clippy::indexing_slicing, reason = "constants cannot ask `get`")]
        let value = &mut values[byte];
        *value = match byte as u8 {
            byte @ b'A'..=b'Z' => byte - b'A',
            byte @ b'a'..=b'z' => byte - b'a' + 26,
            byte @ b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' | b' ' | b'\t' | b'\r' | b'\n' => PASSED_OVER,
            _ => u8::MAX,
        };
        byte += 1;
    }
    values
}

/// The bytes that letters of base64 stand for; none for what is no such letter.
struct Base64<'a> {
    run: std::slice::Iter<'a, u8>,
    bits: u32,
    held: u32,
}

impl Iterator for Base64<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        loop {
            let value = match VALUES.get(usize::from(*self.run.next()?)) {
                Some(&value @ 0..64) => value,
                Some(&PASSED_OVER) => continue,
                _ => return Some(None),
            };
            self.bits = self.bits << 6 | u32::from(value);
            self.held += 6;
            if self.held >= 8 {
                self.held -= 8;
                return Some(Some((self.bits >> self.held & 0xff) as u8));
            }
        }
    }
}

/// Decodes an even number of hex digits; none if it does not begin like text.
fn hex(run: &[u8]) -> Option<Vec<u8>> {
    if !run.len().is_multiple_of(2) || run.len() < 2 * TASTE {
        return None;
    }
    let mut bytes = Vec::new();
    let mut high = None;
    for &byte in run {
        let digit = char::from(byte).to_digit(16)? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => {
                bytes.push(high << 4 | digit);
                if bytes.len() == TASTE && !tastes_like_text(&bytes) {
                    return None;
                }
            }
        }
    }
    Some(bytes)
}

fn tastes_like_text(bytes: &[u8]) -> bool {
    bytes.iter().copied().all(is_text) || is_wide(bytes)
}

/// Whether every second byte is zero, as in UTF-16 for ASCII.
fn is_wide(bytes: &[u8]) -> bool {
    bytes.iter().skip(1).step_by(2).all(|&byte| byte == 0)
}

/// Whether [`as_text`] may make something of what begins so: a character that is broken before the last three bytes is
/// broken for good, but for text of two bytes each.
fn may_be_text(bytes: &[u8]) -> bool {
    let is_broken = |error: std::str::Utf8Error| error.error_len().is_some() && bytes.len() - error.valid_up_to() > 3;
    tastes_like_text(bytes) && (!std::str::from_utf8(bytes).is_err_and(is_broken) || is_wide(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::samples::to_base64;
    use super::super::{Kind, Place, scan};
    use super::*;

    #[test]
    fn base64_of_either_alphabet_decodes() {
        assert_eq!(base64(b"aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64(b"aGVsbG8"), Some(b"hello".to_vec()));
        assert_eq!(base64(b"!"), None);
    }

    #[test]
    fn a_path_within_base64_is_found_and_other_text_is_not() {
        let found = scan(Place::Text, &format!("x {} y", to_base64(b"/home/alice/project")));
        assert_eq!(found.first().map(|leak| leak.rule.kind()), Some(Kind::HostPath));
        assert_eq!(scan(Place::Text, &to_base64(b"Answer in the language of the question.")), vec![]);
    }
}
