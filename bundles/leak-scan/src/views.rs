//! Derived readings of a text: with look-alikes folded, invisible characters removed and escapes undone, or with broken
//! lines joined.
//!
//! A [`View`] records the origin of its characters, so a finding points into the original. Each view is built in one
//! pass, and only if it differs from its text.

use std::ops::Range;

use crate::ascii::{at, before, is_word, part, run_end, run_start};
use crate::boundaries::{self, Bits, Blocks};
use crate::confusables::{Fold, fold, may_fold};
use crate::escapes::{Replacement, backslash, concatenation, entity, percent};
use crate::windows::{MARGIN_BYTES, TOKEN_MARGIN_BYTES};

/// A derived reading of a text.
pub(crate) struct View {
    text: String,
    pieces: Vec<Piece>,
}

/// Mapping from the view to the original: the view from `view` on corresponds to `origin`.
struct Piece {
    view: usize,
    origin: Range<usize>,
    /// `true` if the piece was copied byte for byte, `false` if it was replaced as a whole.
    copied: bool,
}

impl View {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the range of the original for a range of the view.
    pub(crate) fn origin(&self, span: Range<usize>) -> Range<usize> {
        let last = span.end.saturating_sub(1).max(span.start);
        let start = self.piece(span.start).map_or(0, |piece| {
            if piece.copied { piece.origin.start + (span.start - piece.view) } else { piece.origin.start }
        });
        let end = self.piece(last).map_or(start, |piece| {
            if piece.copied { piece.origin.start + (last - piece.view) + 1 } else { piece.origin.end }
        });
        start..end.max(start)
    }

    fn piece(&self, index: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.view <= index);
        self.pieces.get(after.checked_sub(1)?)
    }
}

/// Builder of a view.
struct Writer<'a> {
    original: &'a str,
    view: View,
    /// End of the consumed part of the original.
    taken: usize,
    changed: bool,
}

impl<'a> Writer<'a> {
    fn new(original: &'a str) -> Self {
        Self { original, view: View { text: String::new(), pieces: Vec::new() }, taken: 0, changed: false }
    }

    /// Copies the original up to `index`.
    fn copy_to(&mut self, index: usize) {
        if let Some(text) = self.original.get(self.taken..index).filter(|text| !text.is_empty()) {
            if self.view.text.is_empty() {
                self.view.text.reserve(self.original.len());
            }
            self.view.pieces.push(Piece { view: self.view.text.len(), origin: self.taken..index, copied: true });
            self.view.text.push_str(text);
        }
        self.taken = index;
    }

    /// Writes `text` in place of a range of the original.
    fn replace(&mut self, origin: Range<usize>, text: &str) {
        self.copy_to(origin.start);
        self.changed = true;
        self.taken = origin.end;
        if !text.is_empty() {
            self.view.pieces.push(Piece { view: self.view.text.len(), origin, copied: false });
            self.view.text.push_str(text);
        }
    }

    fn replace_char(&mut self, origin: Range<usize>, character: char) {
        let mut buffer = [0; 4];
        match fold(character) {
            // An escaped control character is kept, because it may end a path.
            Fold::Drop if character.is_control() => self.replace(origin, character.encode_utf8(&mut buffer)),
            Fold::Drop => self.replace(origin, ""),
            Fold::Keep => self.replace(origin, character.encode_utf8(&mut buffer)),
            Fold::Char(plain) => self.replace(origin, plain.encode_utf8(&mut buffer)),
            Fold::Text(plain) => self.replace(origin, plain),
        }
    }

    fn finish(mut self) -> Option<View> {
        if !self.changed {
            return None;
        }
        self.copy_to(self.original.len());
        Some(self.view)
    }
}

/// Returns the text with look-alikes folded and one level of escapes undone. `None` if nothing changes.
pub(crate) fn unescaped(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let mut writer = Writer::new(text);
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = match byte {
            b'\\' => backslash(bytes, index),
            b'%' => percent(bytes, index),
            b'&' => entity(bytes, index),
            b'"' | b'\'' => concatenation(bytes, index).map(|end| (end, Replacement::Empty)),
            0x00..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => Some((index + 1, Replacement::Empty)),
            0x80.. => {
                let Some(character) = text.get(index..).and_then(|rest| rest.chars().next()) else {
                    index += 1;
                    continue;
                };
                let end = index + character.len_utf8();
                if may_fold(character) && fold(character) != Fold::Keep {
                    writer.replace_char(index..end, character);
                }
                index = end;
                continue;
            }
            _ => None,
        };
        match escape {
            Some((end, Replacement::Empty)) => {
                writer.replace(index..end, "");
                index = end;
            }
            Some((end, Replacement::Char(character))) => {
                writer.replace_char(index..end, character);
                index = end;
            }
            None => index += 1,
        }
    }
    writer.finish()
}

/// `true` if [`unescaped`] would change the character at `index`.
pub(crate) fn is_escape(text: &str, index: usize, byte: u8) -> bool {
    let bytes = text.as_bytes();
    match byte {
        b'\\' => backslash(bytes, index).is_some(),
        b'%' => percent(bytes, index).is_some(),
        b'&' => entity(bytes, index).is_some(),
        b'"' | b'\'' => concatenation(bytes, index).is_some(),
        0x00..=0x1f | 0x7f => true,
        _ => {
            let character = text.get(index..).and_then(|rest| rest.chars().next());
            character.is_some_and(|character| {
                may_fold(character) && fold(character) != Fold::Keep && !is_typography(bytes, index, character)
            })
        }
    }
}

/// `true` for dashes, apostrophes and ellipses in their usual typographic places: `a – b`, `don’t`, `so on…`. Folding
/// them reveals nothing there, and each further view costs another pass.
fn is_typography(bytes: &[u8], index: usize, character: char) -> bool {
    let next = at(bytes, index + character.len_utf8());
    let previous = before(bytes, index);
    match character {
        '\u{2013}' | '\u{2014}' => previous == b' ' && next == b' ',
        '\u{2019}' => previous.is_ascii_alphabetic() && next.is_ascii_alphabetic(),
        '\u{2026}' => previous.is_ascii_alphabetic() && matches!(next, b' ' | b'\n' | b'"' | b'\'' | b')'),
        _ => false,
    }
}

/// `true` for the bytes that tokens consist of.
fn is_token(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'-' | b'.' | b'+' | b'/' | b'=')
}

/// State of one pass over a text that checks each joint for a broken token. Lines of prose often end inside a sentence
/// too, and are not worth another pass.
#[derive(Default)]
pub(crate) struct Joints {
    /// Parts joined so far. `begins` is their start, and `goes_on` is the start of the next part.
    joined: Run,
    begins: usize,
    goes_on: usize,
}

/// Properties of a run of token characters.
#[derive(Debug, Default, Clone, Copy)]
struct Run {
    length: usize,
    /// `true` if there are digits, punctuation that words do not have, or capitals that do not start a word.
    marks: bool,
    /// `true` if there is a hyphen, or a point near the start. Token prefixes end with these.
    prefix: bool,
}

/// Longest token prefix that ends with a point, in bytes, including the point.
const MAX_POINTED_PREFIX_BYTES: usize = 6;

impl Run {
    /// Number of bytes of a run that are read. Longer than any run that needs further evidence.
    const MAX_BYTES: usize = 64;

    fn of(bytes: &[u8]) -> Self {
        let rest = match bytes {
            [first, second, rest @ ..] if first.is_ascii_uppercase() && second.is_ascii_lowercase() => rest,
            _ => bytes,
        };
        // Runs are short, so reading to the end is faster than checking for an early exit at each byte.
        let is_mark = |byte: &u8| !byte.is_ascii_lowercase() & (*byte != b'-') & (*byte != b'.');
        let marks = rest.iter().fold(false, |any, byte| any | is_mark(byte));
        let hyphen = bytes.iter().fold(false, |any, byte| any | (*byte == b'-'));
        let point = bytes.iter().take(MAX_POINTED_PREFIX_BYTES).fold(false, |any, byte| any | (*byte == b'.'));
        Self { length: bytes.len(), marks, prefix: hyphen | point }
    }

    fn and(self, next: Self) -> Self {
        Self { length: self.length + next.length, marks: self.marks || next.marks, prefix: self.prefix || next.prefix }
    }

    /// Length of the shortest token, in bytes.
    const MIN_TOKEN_BYTES: usize = 16;

    /// `true` if the run may be a token. Tokens of lower-case letters alone have at least 23 bytes with a hyphen or a
    /// point after the prefix, and 35 without.
    fn may_be_token(self) -> bool {
        self.length
            >= if self.marks {
                Self::MIN_TOKEN_BYTES
            } else if self.prefix {
                23
            } else {
                35
            }
    }
}

impl Joints {
    /// Returns the possible token that is broken at `index`, up to `index`, and the number of bytes around it that
    /// rules may read. `place` is the position of `index` in its block.
    #[inline(always)]
    pub(crate) fn token(
        &mut self,
        bytes: &[u8],
        index: usize,
        place: usize,
        around: Blocks<'_>,
    ) -> Option<(Range<usize>, usize)> {
        if self.parts_words(bytes, index, place, around) {
            return None;
        }
        let margin = self.is_within_token(bytes, index)?;
        Some((self.begins.min(index)..index + 1, margin))
    }

    /// `true` if the line feed separates two words that are too short for a token and the second word ends there, as in
    /// most lines of prose. Gives the same result as [`Self::is_within_token`], using only the block masks.
    #[inline(always)]
    fn parts_words(&self, bytes: &[u8], index: usize, place: usize, around: Blocks<'_>) -> bool {
        let left = around.run_before(|block| block.token, place);
        let right = around.run_behind(|block| block.token, place);
        let goes_on = match (at(bytes, index + right), at(bytes, index + right + 1)) {
            // Key blocks and their headers. Otherwise, a single character followed by a space is a list mark.
            (b'N' | b's', b' ') => true,
            (_, b' ') => right == 1 && is_token(at(bytes, index + 3)) && !is_token(at(bytes, index + 4)),
            (_, next) => right == 1 || matches!(next, b'\n' | b'\r' | b':' | b'$' | b'}' | b'~' | b'%'),
        };
        left > 0 && right > 0 && left + right < Run::MIN_TOKEN_BYTES && self.goes_on + left < index && !goes_on
    }

    /// Returns the number of bytes around the joint that rules may read, if `index` is a joint in a possible token.
    #[inline(never)]
    fn is_within_token(&mut self, bytes: &[u8], index: usize) -> Option<usize> {
        let (end, start) = joint(bytes, index)?;
        let left = run_start(bytes, end, Run::MAX_BYTES, is_token);
        let right = run_end(bytes, start, Run::MAX_BYTES, is_token);
        let mut joined = Run::default();
        if left <= self.goes_on && self.goes_on < end {
            joined = self.joined;
        }
        if joined.length == 0 {
            self.begins = left;
        }
        self.goes_on = start;
        let (left_part, right_part) = (part(bytes, left, end), part(bytes, start, right));
        let is_long = joined.length + left_part.len() + right_part.len() >= Run::MIN_TOKEN_BYTES;
        // Most lines have several words, so nothing continues after the first one.
        let may_go_on = matches!(at(bytes, right), b'\n' | b'\r') || right_part.len() == 1;
        if is_long || may_go_on {
            let mut run = Run::of(left_part);
            // A prefix may end with these characters, and then anything may follow it.
            run.marks |= matches!(before(bytes, left), b'$' | b'%' | b':');
            self.joined = joined.and(run);
        }
        // The text that ends here may be the start of a token, or a landmark. Keys continue over lines of words.
        let backwards = || left_part.iter().chain(right_part).rev();
        let (may_begin, margin) = match (at(bytes, right), right_part.last()) {
            (b':', _) => (at(bytes, right + 1).is_ascii_alphanumeric(), TOKEN_MARGIN_BYTES),
            (b' ', Some(b'N')) => (backwards().take(5).eq(b"NIGEB"), MARGIN_BYTES),
            (b' ', Some(b's')) => (backwards().take(13).eq(b"seniL-etavirP"), MARGIN_BYTES),
            (byte, _) => (matches!(byte, b'$' | b'}' | b'~' | b'%'), TOKEN_MARGIN_BYTES),
        };
        let is_within = may_begin || is_long && self.joined.and(Run::of(right_part)).may_be_token();
        is_within.then_some(margin)
    }
}

/// Returns the bytes at which a token may be broken: line feeds between characters, and spaces between single ones.
#[inline(always)]
pub(crate) fn joints(around: Blocks<'_>) -> u64 {
    let block = around.here;
    let is_open = around.before(|block| block.spaces | block.feeds, 1) | around.behind(|block| block.feeds, 1);
    let before = |places| around.before(|block| block.token, places);
    let behind = |places| around.behind(|block| block.token, places);
    block.feeds & !is_open | block.spaces & before(1) & !before(2) & behind(1) & !behind(2)
}

/// Returns the range to remove if a token may be broken at `index`.
fn joint(bytes: &[u8], index: usize) -> Option<(usize, usize)> {
    match at(bytes, index) {
        b'\n' => {
            let start = if before(bytes, index) == b'\r' { index - 1 } else { index };
            if !is_token(before(bytes, start)) {
                return None;
            }
            let end = run_end(bytes, index + 1, 64, |byte| matches!(byte, b' ' | b'\t' | b'>' | b'#' | b'|' | b'*'));
            is_token(at(bytes, end)).then_some((start, end))
        }
        // `g h p _`: single characters separated by single spaces.
        b' ' if is_spaced_out(bytes, index) => Some((index, index + 1)),
        _ => None,
    }
}

/// Returns the text with lines joined where a token may be broken, and with spaced-out letters joined. `None` if
/// nothing changes.
pub(crate) fn joined(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let mut writer = Writer::new(text);
    boundaries::each_block(bytes, |first, around| {
        for index in Bits(joints(around)).map(|place| first + place) {
            if index >= writer.taken
                && let Some((start, end)) = joint(bytes, index)
            {
                writer.replace(start..end, "");
            }
        }
    });
    writer.finish()
}

/// `true` if the space is between single characters.
fn is_spaced_out(bytes: &[u8], space: usize) -> bool {
    let is_single =
        |index: usize| is_token(at(bytes, index)) && !is_token(at(bytes, index + 1)) && !is_token(before(bytes, index));
    space >= 1 && is_single(space - 1) && is_single(space + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Dice;

    #[test]
    fn plain_text_has_no_other_view() {
        assert!(unescaped("Nothing to see. 100 % of it, \\d and a \"quote\".").is_none());
        assert!(unescaped("日本語で答える。").is_none());
        assert!(joined("one line").is_none());
    }

    #[test]
    fn span_of_a_view_points_to_its_origin() {
        let text = "x %2fhome\u{200b}\u{ff0f}y";
        let view = unescaped(text).map(|view| (view.text().to_owned(), view.origin(2..7), view.origin(7..9)));
        assert_eq!(view, Some(("x /home/y".to_owned(), 2..9, 12..16)));
    }

    #[test]
    fn every_escape_of_a_slash_is_undone() {
        for text in [
            "\\u002f",
            "\\u{2f}",
            "\\x2f",
            "\\057",
            "\\/",
            "%2F",
            "%c0%af",
            "%e0%80%af",
            "%u002f",
            "&#47;",
            "&#x2F;",
            "&sol;",
            "\u{2044}",
            "%ef%bc%8f",
        ] {
            assert_eq!(unescaped(text).as_ref().map(View::text), Some("/"), "{text}");
        }
    }

    /// Both checks keep state, so they must agree at every position.
    #[test]
    fn word_boundary_is_never_inside_a_token() {
        let mut dice = Dice::new(8);
        #[rustfmt::skip]
        let pieces = [
            "\n", "\n", " ", "\n  ", "\r\n", "a", "-", "N", "words", "ghp_a1B2", ": ", "}", ".", "BEGI", "Private-Line", "s",
        ];
        for _ in 0..2000 {
            let text: String = (0..dice.below(60)).map(|_| pieces[dice.below(pieces.len())]).collect();
            let (mut quick, mut thorough) = (Joints::default(), Joints::default());
            boundaries::each_block(text.as_bytes(), |first, around| {
                for place in Bits(around.here.feeds | around.here.spaces) {
                    let index = first + place;
                    if index < text.len() {
                        let expected = thorough.is_within_token(text.as_bytes(), index);
                        let found = quick.token(text.as_bytes(), index, place, around).map(|(_, margin)| margin);
                        assert_eq!(found, expected, "{text:?}");
                    }
                }
            });
        }
    }

    #[test]
    fn strings_that_a_program_joins_are_one() {
        assert_eq!(unescaped("\"ab\" + \"cd\"").as_ref().map(View::text), Some("\"abcd\""));
        assert_eq!(unescaped("ab\\\n    cd").as_ref().map(View::text), Some("abcd"));
        assert_eq!(joined("ab\r\n  cd").as_ref().map(View::text), Some("abcd"));
    }
}
