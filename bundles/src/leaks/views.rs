//! Other readings of a text: with look-alikes folded, invisible characters dropped and escapes undone, or with broken
//! lines joined. A view remembers where its characters came from, so that a finding points into the original. Every
//! view is built in one pass, and not at all where it would equal its text.

use std::ops::Range;

use super::ascii::{at, before, is_word, part, run_end, run_start};
use super::boundaries::{self, Bits, Blocks};
use super::confusables::{Fold, fold, may_fold};
use super::escapes::{Said, backslash, concatenation, entity, percent};
use super::windows::{MARGIN, MARGIN_OF_TOKENS};

/// A reading of a text.
pub(super) struct View {
    text: String,
    pieces: Vec<Piece>,
}

/// From `view` on, the view says what `origin` of the original says.
struct Piece {
    view: usize,
    origin: Range<usize>,
    /// Byte for byte, or as one whole.
    copied: bool,
}

impl View {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The range of the original that a range of the view came from.
    pub(super) fn origin(&self, span: Range<usize>) -> Range<usize> {
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

/// Writes a view.
struct Writer<'a> {
    original: &'a str,
    view: View,
    /// How much of the original has been taken over.
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

    /// Says `text` for a range of the original.
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
            // The escape of a control character is kept as the character: it may end a path.
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

/// The text with look-alikes folded and one layer of escapes undone; none if that is the text itself.
pub(super) fn unescaped(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let mut writer = Writer::new(text);
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = match byte {
            b'\\' => backslash(bytes, index),
            b'%' => percent(bytes, index),
            b'&' => entity(bytes, index),
            b'"' | b'\'' => concatenation(bytes, index).map(|end| (end, Said::Nothing)),
            0x00..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => Some((index + 1, Said::Nothing)),
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
            Some((end, Said::Nothing)) => {
                writer.replace(index..end, "");
                index = end;
            }
            Some((end, Said::Char(character))) => {
                writer.replace_char(index..end, character);
                index = end;
            }
            None => index += 1,
        }
    }
    writer.finish()
}

/// Whether [`unescaped`] would read the byte at `index` as something else.
pub(super) fn is_escape(text: &str, index: usize, byte: u8) -> bool {
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

/// Dashes, apostrophes and ellipses as prose has them, where nothing can be told by their plain form: `a – b`, `don’t`,
/// `so on…`. Few texts that were written with care have no others, and each other reading costs another look.
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

/// What tokens are written in.
fn is_token(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'-' | b'.' | b'+' | b'/' | b'=')
}

/// A reading of a text from its beginning to its end, which asks of each joint whether what it joins may be a token.
/// The lines of prose end within words of its sentences too, and those are not worth another look.
#[derive(Default)]
pub(super) struct Joints {
    /// What has been joined so far, where it begins, and where it would go on.
    joined: Run,
    begins: usize,
    goes_on: usize,
}

/// Characters that a token may have.
#[derive(Debug, Default, Clone, Copy)]
struct Run {
    length: usize,
    /// Digits, punctuation that words do not have, and capitals that do not begin one.
    marks: bool,
    /// A hyphen, or a point near the beginning: prefixes of tokens end with them.
    prefix: bool,
}

/// Longest prefix of a token that ends with a point, and its point.
const LONGEST_POINTED: usize = 6;

impl Run {
    /// How much of a run is read. That is longer than what needs no further proof.
    const MOST: usize = 64;

    fn of(bytes: &[u8]) -> Self {
        let rest = match bytes {
            [first, second, rest @ ..] if first.is_ascii_uppercase() && second.is_ascii_lowercase() => rest,
            _ => bytes,
        };
        // Runs are short: to the end is sooner than to ask at each byte whether that is enough.
        let is_mark = |byte: &u8| !byte.is_ascii_lowercase() & (*byte != b'-') & (*byte != b'.');
        let marks = rest.iter().fold(false, |any, byte| any | is_mark(byte));
        let hyphen = bytes.iter().fold(false, |any, byte| any | (*byte == b'-'));
        let point = bytes.iter().take(LONGEST_POINTED).fold(false, |any, byte| any | (*byte == b'.'));
        Self { length: bytes.len(), marks, prefix: hyphen | point }
    }

    fn and(self, next: Self) -> Self {
        Self { length: self.length + next.length, marks: self.marks || next.marks, prefix: self.prefix || next.prefix }
    }

    /// The shortest token.
    const LEAST: usize = 16;

    /// Whether this may be a token. None of small letters alone is shorter than 23 with a hyphen or a point behind its
    /// prefix, and than 35 without.
    fn may_be_token(self) -> bool {
        self.length
            >= if self.marks {
                Self::LEAST
            } else if self.prefix {
                23
            } else {
                35
            }
    }
}

impl Joints {
    /// What may be a token that is broken at `index`, up to there, and how far around it rules may look; that is `place`
    /// in its block.
    #[inline(always)]
    pub(super) fn token(
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

    /// Whether two words stand around a line feed that are too short for any token, and nothing goes on behind them:
    /// most lines of prose end so. Says the same as [`Self::is_within_token`] would, from what is known of the blocks.
    #[inline(always)]
    fn parts_words(&self, bytes: &[u8], index: usize, place: usize, around: Blocks<'_>) -> bool {
        let left = around.run_before(|block| block.token, place);
        let right = around.run_behind(|block| block.token, place);
        let goes_on = match (at(bytes, index + right), at(bytes, index + right + 1)) {
            // Key blocks and their headers. Otherwise a single character that no other follows is the mark of a list.
            (b'N' | b's', b' ') => true,
            (_, b' ') => right == 1 && is_token(at(bytes, index + 3)) && !is_token(at(bytes, index + 4)),
            (_, next) => right == 1 || matches!(next, b'\n' | b'\r' | b':' | b'$' | b'}' | b'~' | b'%'),
        };
        left > 0 && right > 0 && left + right < Run::LEAST && self.goes_on + left < index && !goes_on
    }

    /// How far rules may look around the joint, where it is one and joins what may be a token.
    #[inline(never)]
    fn is_within_token(&mut self, bytes: &[u8], index: usize) -> Option<usize> {
        let (end, start) = joint(bytes, index)?;
        let left = run_start(bytes, end, Run::MOST, is_token);
        let right = run_end(bytes, start, Run::MOST, is_token);
        let mut joined = Run::default();
        if left <= self.goes_on && self.goes_on < end {
            joined = self.joined;
        }
        if joined.length == 0 {
            self.begins = left;
        }
        self.goes_on = start;
        let (left_part, right_part) = (part(bytes, left, end), part(bytes, start, right));
        let is_long = joined.length + left_part.len() + right_part.len() >= Run::LEAST;
        // Most lines hold several words, so that nothing goes on behind the first one.
        let may_go_on = matches!(at(bytes, right), b'\n' | b'\r') || right_part.len() == 1;
        if is_long || may_go_on {
            let mut run = Run::of(left_part);
            // A prefix may end with these, and then anything may follow it.
            run.marks |= matches!(before(bytes, left), b'$' | b'%' | b':');
            self.joined = joined.and(run);
        }
        // What ends here may be the beginning of a token, or a landmark. Keys go over lines of words.
        let backwards = || left_part.iter().chain(right_part).rev();
        let (may_begin, margin) = match (at(bytes, right), right_part.last()) {
            (b':', _) => (at(bytes, right + 1).is_ascii_alphanumeric(), MARGIN_OF_TOKENS),
            (b' ', Some(b'N')) => (backwards().take(5).eq(b"NIGEB"), MARGIN),
            (b' ', Some(b's')) => (backwards().take(13).eq(b"seniL-etavirP"), MARGIN),
            (byte, _) => (matches!(byte, b'$' | b'}' | b'~' | b'%'), MARGIN_OF_TOKENS),
        };
        let is_within = may_begin || is_long && self.joined.and(Run::of(right_part)).may_be_token();
        is_within.then_some(margin)
    }
}

/// Bytes at which a token may have been broken: line feeds between characters, and spaces between single ones.
#[inline(always)]
pub(super) fn joints(around: Blocks<'_>) -> u64 {
    let block = around.here;
    let is_open = around.before(|block| block.spaces | block.feeds, 1) | around.behind(|block| block.feeds, 1);
    let before = |places| around.before(|block| block.token, places);
    let behind = |places| around.behind(|block| block.token, places);
    block.feeds & !is_open | block.spaces & before(1) & !before(2) & behind(1) & !behind(2)
}

/// What is left out where a token may have been broken at `index`.
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
        // `g h p _`: one character and one space each.
        b' ' if is_spaced_out(bytes, index) => Some((index, index + 1)),
        _ => None,
    }
}

/// The text with lines joined where a token may have been broken, and letters that were spaced out brought together;
/// none if there are none.
pub(super) fn joined(text: &str) -> Option<View> {
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

/// Whether single characters stand around the space, a space apart.
fn is_spaced_out(bytes: &[u8], space: usize) -> bool {
    let is_single =
        |index: usize| is_token(at(bytes, index)) && !is_token(at(bytes, index + 1)) && !is_token(before(bytes, index));
    space >= 1 && is_single(space - 1) && is_single(space + 1)
}

#[cfg(test)]
mod tests {
    use super::super::samples::Dice;
    use super::*;

    #[test]
    fn plain_text_has_no_other_view() {
        assert!(unescaped("Nothing to see. 100 % of it, \\d and a \"quote\".").is_none());
        assert!(unescaped("日本語で答える。").is_none());
        assert!(joined("one line").is_none());
    }

    #[test]
    fn a_span_of_a_view_points_to_what_it_was_made_of() {
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

    /// Both keep what they have seen, so that they have to agree at every place.
    #[test]
    fn what_parts_words_is_never_within_a_token() {
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
                        let told = quick.token(text.as_bytes(), index, place, around).map(|(_, margin)| margin);
                        assert_eq!(told, expected, "{text:?}");
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
