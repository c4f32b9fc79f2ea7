//! Scans the content of base64 and hex: a long run that decodes to text is scanned as text.
//!
//! Decoding is one level deep, because each further level multiplies the work and honest configuration has at most one.
//! Compressed and encrypted content is not decoded.

use std::ops::Range;

use crate::ascii::{is_space, part, run_start};
use crate::findings::Findings;
use crate::pass::{self, Scope};
use crate::{Leak, Place};

/// Shortest run that is decoded, in bytes: `/home/alice` has 16 characters in base64.
pub(crate) const MIN_RUN_BYTES: usize = 16;

/// Shortest line that may continue on the next line, in bytes. Common encoders write longer lines.
const FULL_LINE_BYTES: usize = 60;

/// State of one pass over a text.
#[derive(Default)]
pub(crate) struct EncodedRuns {
    read_until: usize,
}

impl EncodedRuns {
    /// Returns the start of the run of base64 that ends at `end`, if the run is long enough to decode.
    pub(crate) fn ended(&mut self, bytes: &[u8], end: usize) -> Option<usize> {
        let room = end.checked_sub(self.read_until)?;
        let start = run_start(bytes, end, room, is_base64);
        (end - start >= MIN_RUN_BYTES).then_some(start)
    }

    /// Scans the decoded content of a run of base64 or hex. Findings have the span of the run.
    #[inline(never)]
    pub(crate) fn scan_inside(&mut self, text: &str, run: Range<usize>, found: &mut Findings) {
        let bytes = text.as_bytes();
        let Range { start, end: end_of_line } = run;
        let end = if end_of_line - start < FULL_LINE_BYTES { end_of_line } else { run_of_lines(bytes, start) };
        // All lines of a run are decoded together.
        self.read_until = end;
        let whole = part(bytes, start, end);
        if read(whole, start, found) || whole.len() == MIN_RUN_BYTES {
            return;
        }
        // A separator may belong to the surrounding text: `key-<base64>`, `a/b/<base64>`.
        let mut offset = start;
        for piece in whole.split(|byte| matches!(byte, b'-' | b'_' | b'/' | b'+')) {
            if piece.len() >= MIN_RUN_BYTES && piece.len() < whole.len() {
                read(piece, offset, found);
            }
            offset += piece.len() + 1;
        }
    }
}

/// Returns the end of a run of base64, which may span lines.
fn run_of_lines(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        let rest = part(bytes, end, bytes.len());
        let line = rest.iter().position(|&byte| !is_base64(byte)).unwrap_or(rest.len());
        end += line;
        // Only full lines continue, because words of prose are shorter than the lines of encoders.
        let space = part(bytes, end, end + 16).iter().take_while(|&&byte| is_space(byte)).count();
        let next = part(bytes, end + space, end + space + 4);
        let goes_on = line >= FULL_LINE_BYTES
            && line % 4 == 0
            && space > 0
            && next.len() == 4
            && next.iter().copied().all(is_base64);
        if !goes_on {
            return end;
        }
        end += space;
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Scans the decoded content of `run`. `true` if it decodes to text.
fn read(run: &[u8], offset: usize, found: &mut Findings) -> bool {
    let Some(text) = hex(run).or_else(|| base64_of(run, may_be_text)).and_then(as_text) else { return false };
    let mut inner = Findings::default();
    pass::run(Scope::Plain, Place::Prompt, &text, &mut inner);
    for Leak { rule, .. } in inner.leaks {
        found.push(rule, offset..offset + run.len());
    }
    true
}

/// Returns the bytes as text if they are valid UTF-8 or UTF-16 without control characters.
fn as_text(mut bytes: Vec<u8>) -> Option<String> {
    // PowerShell encodes UTF-16.
    if bytes.len() >= 8 && is_wide(&bytes) {
        bytes = bytes.into_iter().step_by(2).collect();
    }
    if !bytes.iter().copied().all(is_text) {
        return None;
    }
    // The end of the run may cut off the last character.
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

/// Number of bytes that are decoded before checking that they can be text.
const PROBE_BYTES: usize = 12;

/// Decodes base64 or base64url, ignoring padding and white space. `None` if the content does not start like text.
pub(crate) fn base64(run: &[u8]) -> Option<Vec<u8>> {
    base64_of(run, starts_like_text)
}

/// Decodes without allocating for input that is not base64 or that `probe` rejects, which is true of most long words.
fn base64_of(run: &[u8], probe: fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut decoded = Base64 { run: run.iter(), bits: 0, held: 0 };
    let mut beginning = [0; PROBE_BYTES];
    let mut length = 0;
    for (byte, next) in beginning.iter_mut().zip(&mut decoded) {
        *byte = next?;
        length += 1;
    }
    if length == PROBE_BYTES && !probe(&beginning) {
        return None;
    }
    let mut bytes = Vec::with_capacity(run.len());
    bytes.extend(beginning.iter().take(length));
    for next in decoded {
        bytes.push(next?);
    }
    Some(bytes)
}

/// Marker in [`VALUES`] for padding and white space.
const IGNORED: u8 = 64;

/// Value of each byte in base64 and base64url.
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
            b'=' | b' ' | b'\t' | b'\r' | b'\n' => IGNORED,
            _ => u8::MAX,
        };
        byte += 1;
    }
    values
}

/// Iterator over the decoded bytes. Ends at the first byte that is not base64.
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
                Some(&IGNORED) => continue,
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

/// Decodes an even number of hex digits. `None` if the content does not start like text.
fn hex(run: &[u8]) -> Option<Vec<u8>> {
    if !run.len().is_multiple_of(2) || run.len() < 2 * PROBE_BYTES {
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
                if bytes.len() == PROBE_BYTES && !starts_like_text(&bytes) {
                    return None;
                }
            }
        }
    }
    Some(bytes)
}

fn starts_like_text(bytes: &[u8]) -> bool {
    bytes.iter().copied().all(is_text) || is_wide(bytes)
}

/// `true` if every second byte is zero, as in UTF-16 of ASCII text.
fn is_wide(bytes: &[u8]) -> bool {
    bytes.iter().skip(1).step_by(2).all(|&byte| byte == 0)
}

/// `true` if [`as_text`] may accept bytes with this beginning. Invalid UTF-8 before the last three bytes can only be
/// UTF-16.
fn may_be_text(bytes: &[u8]) -> bool {
    let is_broken = |error: std::str::Utf8Error| error.error_len().is_some() && bytes.len() - error.valid_up_to() > 3;
    starts_like_text(bytes) && (!std::str::from_utf8(bytes).is_err_and(is_broken) || is_wide(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::to_base64;
    use crate::{Kind, Place, scan};

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
