//! `fs.read`: a text file, whole or a range of its lines.
//!
//! All of the file is read, in pieces: the digest and the number of lines are the whole file's, and so is
//! the check that it is UTF-8. A line ends with its line feed, and a carriage return before that is part of
//! the line; what follows the last line feed is a line too. A line of more than 64 KiB counts as several, each
//! as long as fits into 64 KiB, so that every part of the file can be asked for by a line number. Text that becomes
//! too long ends after the last line that fits, or, where not even one does, within it after a whole character.
//! `truncated` says so, and says too where the file goes on after the lines that are answered unless asked for.

use std::io::Read as _;

use async_trait::async_trait;
use bundles::canonical::MAX_SAFE_INTEGER;
use bundles::{Access, Authority, Digest, Digester, InvalidName, MountLabel, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::Mounted;
use super::path::MountPath;
use super::refusal::Refusal;
use super::work::{Gate, blocking};
use super::{MAX_FILE_BYTES, MAX_TEXT, PIECE_BYTES, input};
use crate::tool::{HostTool, ToolContext, ToolError};

/// Lines that are answered where the caller does not say.
const DEFAULT_LINES: u64 = 2000;
/// Most lines that are answered.
const MAX_LINES: u64 = 5000;
/// Bytes of a line, without its line feed, after which the next line begins. As JSON such a line has at most six times
/// as many bytes, so a whole one fits into an answer of the default size.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Bytes that the answer as JSON has beside the text.
const BESIDE_BYTES: u64 = 256;

/// The tool.
#[derive(Debug)]
pub(super) struct Read(ToolName);

impl Read {
    pub(super) fn new() -> Result<Self, InvalidName> {
        Ok(Self("fs.read".parse()?))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    mount: MountLabel,
    path: String,
    first_line: Option<u64>,
    lines: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Text {
    text: String,
    first_line: u64,
    total_lines: u64,
    digest: Digest,
    truncated: bool,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u64,
    lines: Option<u64>,
}

#[async_trait]
impl HostTool for Read {
    fn name(&self) -> &ToolName {
        &self.0
    }

    /// Which mount, the input says.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let ranges = [("first_line", 1, MAX_SAFE_INTEGER), ("lines", 1, MAX_LINES)];
        let Input { mount, path, first_line, lines } = input(value, &ranges)?;
        let path = Mounted::parse(&path)?;
        let range = Range { first: first_line.unwrap_or(1), lines };
        let mounted = Mounted::open(&context, mount, Access::Read)?;
        let answer_bytes = context.answer_bytes();
        let text = blocking(move |gate| read(&mounted, &path, range, answer_bytes, gate)).await?;
        Ok(serde_json::to_value(text).unwrap_or_default())
    }
}

fn read(mounted: &Mounted, path: &MountPath, range: Range, answer_bytes: u64, gate: &Gate) -> Result<Text, Refusal> {
    let place = mounted.place(Some(path));
    let (mut file, metadata) = mounted.open_file(path)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Refusal::TooLarge(place));
    }
    let mut digester = Digester::default();
    let mut lines = Lines::new(range, answer_bytes.saturating_sub(BESIDE_BYTES));
    let mut piece = vec![0; PIECE_BYTES];
    // Bytes of a character whose rest is in the next piece.
    let mut rest: Vec<u8> = Vec::new();
    let mut total = 0_u64;
    loop {
        gate.pass()?;
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Refusal::io(&place, &error)),
        };
        let bytes = piece.get(..read).unwrap_or_default();
        total += read as u64;
        if total > MAX_FILE_BYTES {
            return Err(Refusal::TooLarge(place));
        }
        digester.update(bytes);
        rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(Refusal::NotUtf8(place)),
        };
        let (text, _) = rest.split_at_checked(whole).unwrap_or_default();
        lines.take(std::str::from_utf8(text).unwrap_or_default());
        rest.drain(..whole);
    }
    if !rest.is_empty() {
        return Err(Refusal::NotUtf8(place));
    }
    Ok(lines.into_text(digester.finish()))
}

/// The wanted lines of a text that comes in pieces.
struct Lines {
    range: Range,
    /// The first line that is not wanted.
    end: u64,
    /// Bytes that the text may still have as JSON.
    left: u64,
    text: String,
    /// Where the last whole line in the text ends.
    lines_end: usize,
    /// The line that comes next, or is under way.
    line: u64,
    /// Bytes of the line that is under way.
    line_bytes: usize,
    cut: bool,
}

impl Lines {
    fn new(range: Range, json_bytes: u64) -> Self {
        let end = range.first.saturating_add(range.lines.unwrap_or(DEFAULT_LINES));
        Self { range, end, left: json_bytes, text: String::new(), lines_end: 0, line: 1, line_bytes: 0, cut: false }
    }

    fn take(&mut self, text: &str) {
        for mut rest in text.split_inclusive('\n') {
            while !rest.is_empty() {
                let room = MAX_LINE_BYTES.saturating_sub(self.line_bytes);
                // A line feed belongs to the line that it ends, however long that is.
                let fits =
                    if rest.trim_end_matches('\n').len() <= room { rest.len() } else { whole_characters(rest, room) };
                let (part, after) = rest.split_at_checked(fits).unwrap_or((rest, ""));
                if (self.range.first..self.end).contains(&self.line) && !self.cut {
                    self.push(part);
                }
                self.line_bytes += part.len();
                if part.ends_with('\n') || !after.is_empty() {
                    self.end_line();
                }
                rest = after;
            }
        }
    }

    fn end_line(&mut self) {
        self.line += 1;
        self.line_bytes = 0;
        if !self.cut {
            self.lines_end = self.text.len();
        }
    }

    fn push(&mut self, part: &str) {
        let bytes = part.chars().map(json_bytes).sum::<u64>();
        if self.text.len() + part.len() <= MAX_TEXT && bytes <= self.left {
            self.left -= bytes;
            self.text.push_str(part);
            return;
        }
        self.cut = true;
        if self.lines_end > 0 {
            self.text.truncate(self.lines_end);
            return;
        }
        for character in part.chars() {
            let bytes = json_bytes(character);
            if self.text.len() + character.len_utf8() > MAX_TEXT || bytes > self.left {
                break;
            }
            self.left -= bytes;
            self.text.push(character);
        }
    }

    fn into_text(self, digest: Digest) -> Text {
        let total_lines = self.line - u64::from(self.line_bytes == 0);
        let goes_on = self.range.lines.is_none() && total_lines >= self.end;
        Text { text: self.text, first_line: self.range.first, total_lines, digest, truncated: self.cut || goes_on }
    }
}

/// Bytes of the whole characters at the beginning of a text, at most `most`.
fn whole_characters(text: &str, most: usize) -> usize {
    (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Bytes of a character in a JSON string.
fn json_bytes(character: char) -> u64 {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8() as u64,
    }
}
