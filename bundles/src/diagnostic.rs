//! Diagnostics about an authoring folder: file, line, column, message and help.
//!
//! A diagnostic contains no text of the file. Source lines are masked before they are shown, so a leaked value is
//! pointed at but never repeated.

use std::ops::Range;

use error_code::Code;
use leak_scan::Place;
use serde::Serialize;

use crate::names::is_token_like;
use crate::one_line::is_control_or_format;
use crate::pointer::Pointer;

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The bundle cannot be built.
    Error,
    /// The bundle can be built, but its author should check this.
    Warning,
}

/// A problem in an authoring folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable error code.
    pub code: Code,
    /// Severity.
    pub severity: Severity,
    /// File, relative to the folder. Empty if the problem concerns the folder as a whole.
    pub file: String,
    /// Line, from 1. 0 if the problem concerns the whole file.
    pub line: usize,
    /// Column in characters, from 1. 0 if the problem concerns the whole file.
    pub column: usize,
    /// Place in a manifest as a JSON pointer, if the authoring file is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<Pointer>,
    /// The problem, as a message.
    pub message: String,
    /// Recommended action.
    pub help: String,
    /// Byte range in the file, to be underlined.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
}

impl Diagnostic {
    /// Creates an error at a place in `file`, whose content is `text`.
    pub fn error_at(
        (file, text): (&str, &str),
        span: Range<usize>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (line, column) = line_and_column(text, span.start);
        Self {
            code,
            severity: Severity::Error,
            file: file.to_owned(),
            line,
            column,
            pointer: None,
            message: message.into(),
            help: help.into(),
            span: Some(span),
        }
    }
}

/// Text of a file in a form that may be shown.
#[derive(Debug, Clone)]
pub struct Source {
    /// File, relative to the folder.
    pub file: String,
    /// The text, with `*` in place of possible leaks and of control characters. It has the length of the file.
    pub masked: String,
}

impl Source {
    /// Masks the text of a file with the leak scanner.
    pub fn new(file: impl Into<String>, text: &str) -> Self {
        Self { file: file.into(), masked: masked(text, &[]) }
    }
}

/// All diagnostics about a folder.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// Diagnostics by file and place.
    pub list: Vec<Diagnostic>,
    /// Sources of the files in `list`.
    pub sources: Vec<Source>,
}

impl Diagnostics {
    /// `true` if there is no error.
    pub fn is_ok(&self) -> bool {
        self.list.iter().all(|diagnostic| diagnostic.severity != Severity::Error)
    }

    /// Returns the source that a diagnostic points into.
    pub fn source_of(&self, diagnostic: &Diagnostic) -> Option<&Source> {
        self.sources.iter().find(|source| source.file == diagnostic.file)
    }
}

/// Returns line and column of a byte, both from 1. The column counts characters.
pub(crate) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

/// Returns the byte at a line and a column in bytes, both from 1, as in errors of JSON readers.
pub(crate) fn byte_at(text: &str, (line, column): (usize, usize)) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len);
    let byte = (lines.sum::<usize>() + column.saturating_sub(1)).min(text.len());
    (0..=byte).rev().find(|byte| text.is_char_boundary(*byte)).unwrap_or_default()
}

/// Returns the text with every leak replaced by `*`, so that its lines can be shown.
pub(crate) fn masked(text: &str, more: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // A file that failed to parse may contain invalid escapes directly before a leak. Blanking them separates the leak.
    let views = [text.to_owned(), blanked(text, 1), blanked(text, 2), blanked(text, 3)];
    let found = views.iter().flat_map(|view| leak_scan::scan(Place::Text, view)).map(|leak| leak.span);
    // A scan stops after a number of findings, so a file with that many is masked completely.
    let found: Vec<Range<usize>> = found.chain(more.iter().cloned()).collect();
    let all = std::slice::from_ref(&(0..bytes.len())).to_vec();
    let found = if found.len() >= leak_scan::MAX_FINDINGS { all } else { found };
    for span in found.into_iter().chain(token_like_words(text)).chain(leak_scan::named_values(text)) {
        // Masking extends to the whole word, because a rule may match only part of a value.
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

/// Returns the ranges of words that look like tokens. A file that could not be parsed was not judged by its keys, so a
/// value is recognised only by its shape. Digests are not secret.
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

/// Replaces characters that are invisible or move the cursor by `*`, one for each byte, so that offsets do not change.
/// Line ends and tabs stay.
fn without_controls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut left = text.chars().peekable();
    while let Some(c) = left.next() {
        let stays = matches!(c, '\n' | '\t') || c == '\r' && left.peek() == Some(&'\n');
        if stays || !is_control_or_format(c) {
            shown.push(c);
        } else {
            shown.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
    shown
}

/// Replaces each backslash and the ASCII characters after it by spaces, `length` bytes in total. Offsets do not change.
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
    fn shown_source_has_no_control_characters() {
        let text = "a = \"\u{1b}[2J\u{9b}1A\u{202e}\"\r\n\tb = \"\r\" # \u{e0041}\n";
        let shown = masked(text, &[]);
        assert_eq!(shown, "a = \"*[2J**1A***\"\r\n\tb = \"*\" # ****\n");
        assert_eq!(shown.len(), text.len());
    }

    #[test]
    fn leak_after_an_invalid_escape_is_masked() {
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
