//! `fs.read`: returns a text file, or a range of its lines.
//!
//! The whole file is read in chunks, because the digest, the number of lines and the check for UTF-8 apply to all of
//! it. A line ends with its line feed, and a carriage return before it belongs to the line. Text after the last line
//! feed is a line too. A line of more than 64 KiB counts as several lines of at most 64 KiB, so that every part of a
//! file can be requested by a line number.
//!
//! Text that exceeds a limit ends after the last complete line that fits or, if the first line does not fit, after a
//! complete character. `truncated` is then `true`. It is also `true` if the caller did not set `lines` and the file
//! continues after the returned lines.

use std::io::Read as _;

use async_trait::async_trait;
use bundles::canonical::MAX_SAFE_INTEGER;
use bundles::{Access, Authority, Digest, Digester, InvalidName, MountLabel, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cancellation::{CancelGate, blocking};
use super::error::FsError;
use super::mount::OpenMount;
use super::path::MountPath;
use super::{CHUNK_BYTES, MAX_FILE_BYTES, MAX_TEXT, input};
use crate::tool::{HostTool, ToolContext, ToolError};

/// Number of returned lines if the caller does not set `lines`.
const DEFAULT_LINES: u64 = 2000;
/// Maximum number of returned lines.
const MAX_LINES: u64 = 5000;
/// Maximum length of a line in bytes, without its line feed. A longer one is split. As JSON, such a line has at most
/// six times as many bytes, so it fits into an output of the default size.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Number of bytes that are reserved for the output as JSON without the text.
const ENVELOPE_BYTES: u64 = 256;

/// The tool `fs.read`.
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

/// Requested range of lines.
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

    /// Empty, because the input names the mount.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let ranges = [("first_line", 1, MAX_SAFE_INTEGER), ("lines", 1, MAX_LINES)];
        let Input { mount, path, first_line, lines } = input(value, &ranges)?;
        let path = OpenMount::parse(&path)?;
        let range = Range { first: first_line.unwrap_or(1), lines };
        let mount = OpenMount::open(&context, mount, Access::Read)?;
        let answer_bytes = context.answer_bytes();
        let text = blocking(move |gate| read(&mount, &path, range, answer_bytes, gate)).await?;
        Ok(serde_json::to_value(text).unwrap_or_default())
    }
}

fn read(
    mount: &OpenMount,
    path: &MountPath,
    range: Range,
    answer_bytes: u64,
    gate: &CancelGate,
) -> Result<Text, FsError> {
    let location = mount.location(Some(path));
    let (mut file, metadata) = mount.open_file(path)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(FsError::TooLarge(location));
    }
    let mut digester = Digester::default();
    let mut lines = Lines::new(range, answer_bytes.saturating_sub(ENVELOPE_BYTES));
    let mut piece = vec![0; CHUNK_BYTES];
    // Beginning of a character whose remaining bytes are in the next chunk.
    let mut rest: Vec<u8> = Vec::new();
    let mut total = 0_u64;
    loop {
        gate.check()?;
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FsError::io(&location, &error)),
        };
        let bytes = piece.get(..read).unwrap_or_default();
        total += read as u64;
        if total > MAX_FILE_BYTES {
            return Err(FsError::TooLarge(location));
        }
        digester.update(bytes);
        rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&rest) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(FsError::NotUtf8(location)),
        };
        let (text, _) = rest.split_at_checked(whole).unwrap_or_default();
        lines.take(std::str::from_utf8(text).unwrap_or_default());
        rest.drain(..whole);
    }
    if !rest.is_empty() {
        return Err(FsError::NotUtf8(location));
    }
    Ok(lines.into_text(digester.finish()))
}

/// Collects the requested lines from a text that arrives in chunks.
struct Lines {
    range: Range,
    /// First line after the requested range.
    end: u64,
    /// Number of bytes of JSON that the text may still grow by.
    left: u64,
    text: String,
    /// Offset in `text` of the end of the last complete line.
    lines_end: usize,
    /// Number of the current line, from 1.
    line: u64,
    /// Length of the current line so far, in bytes.
    line_bytes: usize,
    cut: bool,
}

impl Lines {
    fn new(range: Range, json_bytes: u64) -> Self {
        let end = range.first.saturating_add(range.lines.unwrap_or(DEFAULT_LINES));
        Self { range, end, left: json_bytes, text: String::new(), lines_end: 0, line: 1, line_bytes: 0, cut: false }
    }

    /// Adds the next text.
    fn take(&mut self, text: &str) {
        for mut rest in text.split_inclusive('\n') {
            while !rest.is_empty() {
                let room = MAX_LINE_BYTES.saturating_sub(self.line_bytes);
                // A line feed belongs to the line that it ends, even if the line has the maximum length.
                let fits = if rest.trim_end_matches('\n').len() <= room {
                    rest.len()
                } else {
                    complete_characters(rest, room)
                };
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

    /// Appends a part of a line to the result, or truncates the result if the part does not fit.
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

/// Returns the length in bytes of the longest prefix of complete characters with at most `max_bytes` bytes.
fn complete_characters(text: &str, max_bytes: usize) -> usize {
    (0..=max_bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Returns the length in bytes of a character in a JSON string.
fn json_bytes(character: char) -> u64 {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8() as u64,
    }
}
