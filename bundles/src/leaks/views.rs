//! Other readings of a text: with look-alikes folded, invisible characters dropped and escapes undone, or with broken
//! lines joined. A view remembers where its characters came from, so that a finding points into the original. Every
//! view is built in one pass, and not at all where it would equal its text.

use std::ops::Range;

use super::ascii::{at, before, is_word, run_end};
use super::confusables::{Fold, fold, may_fold};
use super::escapes::{Said, backslash, concatenation, entity, percent};

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

/// The text with lines joined where a token may have been broken, and letters that were spaced out brought together;
/// none if there are none.
pub(super) fn joined(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let is_token = |byte: u8| is_word(byte) || matches!(byte, b'-' | b'.' | b'+' | b'/' | b'=');
    let mut writer = Writer::new(text);
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let end = match byte {
            b'\n' => {
                let end =
                    run_end(bytes, index + 1, 64, |byte| matches!(byte, b' ' | b'\t' | b'>' | b'#' | b'|' | b'*'));
                let previous = if before(bytes, index) == b'\r' { 2 } else { 1 };
                let breaks_token =
                    index >= previous && is_token(at(bytes, index - previous)) && is_token(at(bytes, end));
                if breaks_token { Some((index + 1 - previous, end)) } else { None }
            }
            // `g h p _`: one character and one space each.
            b' ' if is_spaced_out(bytes, index, is_token) => Some((index, index + 1)),
            _ => None,
        };
        match end {
            Some((start, end)) => {
                writer.replace(start..end, "");
                index = end;
            }
            None => index += 1,
        }
    }
    writer.finish()
}

/// Whether single characters stand around the space, a space apart.
fn is_spaced_out(bytes: &[u8], space: usize, is_token: impl Fn(u8) -> bool) -> bool {
    let is_single =
        |index: usize| is_token(at(bytes, index)) && !is_token(at(bytes, index + 1)) && !is_token(before(bytes, index));
    space >= 1 && is_single(space - 1) && is_single(space + 1)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn strings_that_a_program_joins_are_one() {
        assert_eq!(unescaped("\"ab\" + \"cd\"").as_ref().map(View::text), Some("\"abcd\""));
        assert_eq!(unescaped("ab\\\n    cd").as_ref().map(View::text), Some("abcd"));
        assert_eq!(joined("ab\r\n  cd").as_ref().map(View::text), Some("abcd"));
    }
}
