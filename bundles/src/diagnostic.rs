//! What a person is told about a folder that is no bundle yet: file, line, column, reason, remedy.
//!
//! A diagnostic carries no text of the file. The sources kept for showing a caret are masked first,
//! so that a leaked value is pointed at and never repeated.

use std::ops::Range;

use serde::Serialize;

use crate::leaks::{self, Place};
use crate::names::is_token_like;
use crate::one_line::moves;
use crate::pointer::Pointer;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No bundle can be built.
    Error,
    /// A bundle is built; somebody should look.
    Warning,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable machine word.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the folder; empty where the folder as a whole is meant.
    pub file: String,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// Place in a manifest, as a JSON pointer, where no authored file is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<Pointer>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Bytes of the file, for the caret.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
}

/// A file as far as it may be shown.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the folder.
    pub file: String,
    /// The text, with everything masked that looks like a leak or moves a cursor. Same length as the file.
    pub masked: String,
}

impl Source {
    /// A file whose text is masked by the leak scan.
    pub fn new(file: impl Into<String>, text: &str) -> Self {
        Self { file: file.into(), masked: masked(text, &[]) }
    }
}

/// Everything there is to tell about a folder.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// By file and place.
    pub list: Vec<Diagnostic>,
    /// The files that the list speaks of.
    pub sources: Vec<Source>,
}

impl Diagnostics {
    /// Whether nothing stands against building.
    pub fn is_ok(&self) -> bool {
        self.list.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    /// The source that a diagnostic points into.
    pub fn source_of(&self, diagnostic: &Diagnostic) -> Option<&Source> {
        self.sources.iter().find(|source| source.file == diagnostic.file)
    }
}

/// Line and column of a byte, both from 1; the column counts characters.
pub(crate) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// The byte at a line and a column that counts bytes, both from 1, as JSON readers tell them.
pub(crate) fn byte_at(text: &str, (line, column): (usize, usize)) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len);
    let byte = (lines.sum::<usize>() + column.saturating_sub(1)).min(text.len());
    (0..=byte).rev().find(|byte| text.is_char_boundary(*byte)).unwrap_or_default()
}

/// The text with every leak replaced by `*`, so that lines can be shown.
pub(crate) fn masked(text: &str, more: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // A file that cannot be parsed may hold escapes that are none, glued to what they stand before.
    let views = [text.to_owned(), blanked(text, 1), blanked(text, 2), blanked(text, 3)];
    let found = views.iter().flat_map(|view| leaks::scan(Place::Text, view)).map(|leak| leak.span);
    // A scan stops after a number of findings; a file with that many is shown without its content.
    let found: Vec<Range<usize>> = found.chain(more.iter().cloned()).collect();
    let all = std::slice::from_ref(&(0..bytes.len())).to_vec();
    let found = if found.len() >= leaks::MOST_FINDINGS { all } else { found };
    for span in found.into_iter().chain(token_like_words(text)).chain(leaks::named_values(text)) {
        // Wide to the word: rules mark what they recognise, and a value may be longer.
        let start = word_start(text, span.start);
        let end = word_end(text, span.end);
        for byte in bytes.get_mut(start..end).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    without_controls(&String::from_utf8(bytes).unwrap_or_default())
}

/// Words that look like tokens. A file that could not be read was not judged by its keys, and a value whose key is not
/// telling is known by its shape alone. Digests are no secrets.
fn token_like_words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    let is_edge = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_');
    text.split_inclusive(is_edge).filter_map(move |word| {
        let range = at..at + word.trim_end_matches(is_edge).len();
        at += word.len();
        let is_digest = text.get(..range.start).is_some_and(|before| before.ends_with("sha256:"));
        (!is_digest && is_token_like(word)).then_some(range)
    })
}

/// The text with everything that moves a terminal's cursor or is not seen replaced by `*`, one for
/// each byte, so that no byte moves. Ends of lines and tabs stay.
fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut left = text.chars().peekable();
    while let Some(c) = left.next() {
        let stays = matches!(c, '\n' | '\t') || c == '\r' && left.peek() == Some(&'\n');
        if stays || !moves(c) {
            shown.push(c);
        } else {
            shown.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
    shown
}

/// The text with each backslash, and of what follows it as much as makes `length` ASCII bytes, blank.
/// No byte moves, so that a finding lies where it lies in the text.
fn blanked(text: &str, length: usize) -> String {
    let mut blank = 0;
    let blanked = text.chars().map(|c| {
        if blank == 0 && c == '\\' {
            blank = length;
        }
        let cover = blank > 0 && c.is_ascii() && c != '\n';
        blank = blank.saturating_sub(1);
        if cover { ' ' } else { c }
    });
    blanked.collect()
}

fn is_edge(c: char) -> bool {
    c.is_whitespace() || c == '"' || c == '\''
}

fn word_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.char_indices().rev().find(|(_, c)| is_edge(*c)).map_or(0, |(index, c)| index + c.len_utf8())
}

fn word_end(text: &str, at: usize) -> usize {
    let after = text.get(at..).unwrap_or_default();
    after.char_indices().find(|(_, c)| is_edge(*c)).map_or(text.len(), |(index, _)| at + index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        assert_eq!(line_and_column("ab\ncö d", 0), (1, 1));
        assert_eq!(line_and_column("ab\ncö d", 3), (2, 1));
        assert_eq!(line_and_column("ab\ncö d", 6), (2, 3));
        assert_eq!(line_and_column("ab", 99), (1, 3));
    }

    #[test]
    fn what_moves_a_cursor_is_not_in_a_source_that_is_shown() {
        let text = "a = \"\u{1b}[2J\u{9b}1A\u{202e}\"\r\n\tb = \"\r\" # \u{e0041}\n";
        let shown = masked(text, &[]);
        assert_eq!(shown, "a = \"*[2J**1A***\"\r\n\tb = \"*\" # ****\n");
        assert_eq!(shown.len(), text.len());
    }

    #[test]
    fn a_leak_behind_an_escape_that_is_none_is_masked_too() {
        for glued in ["\\q", "\\", "\\\\q", "x\\q"] {
            let text = format!("key = \"{glued}{}{}\"\n", "AKIA", "IOSFODNN7ABCDEFG");
            let shown = masked(&text, &[]);
            assert_eq!(shown.len(), text.len());
            assert!(shown.starts_with("key = ") && !shown.contains("FODNN"), "{shown}");
        }
        assert_eq!(masked("plain = \"a\\tb \\ü\"\n", &[]), "plain = \"a\\tb \\ü\"\n");
    }

    #[test]
    fn a_leak_is_masked_to_the_end_of_its_word() {
        let text = format!("a = 1\nb = \"{}{}\"\n", "AKIA", "IOSFODNN7ABCDEFG");
        let shown = masked(&text, &[]);
        assert_eq!(shown.len(), text.len());
        assert!(shown.starts_with("a = 1\nb = \"****") && !shown.contains("FODNN"), "{shown}");
    }
}
