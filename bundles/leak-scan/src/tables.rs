//! Secrets in tables whose first row names the columns.
//!
//! Supported are the tables of Markdown, reStructuredText and database clients, which have a row of hyphens below the
//! names, HTML tables, and comma-separated values. A value is judged by the name of its column, or by the name in the
//! first column if the value's column is one of values. `assignments` judges the cell beside a name.

use std::ops::Range;

use crate::ascii::{at, before, is_space, is_word, part, run_end, run_start, stands_at};
use crate::assignments::{is_value_column, secret_in_cell, secret_kind_of_cell};
use crate::findings::Findings;
use crate::markup::tag_end;
use crate::secret_names::SecretKind;

/// Bytes at which a table may start: a row of hyphens or equals signs, a tag, and a comma between words.
pub(crate) const MARKS: &[u8] = b"-=<,";

/// Longest row that is read, in bytes.
const MAX_ROW_BYTES: usize = 1 << 12;

/// Maximum number of columns that are read.
const MAX_COLUMNS: usize = 64;

/// State of one pass over a text. Each row is read for one table.
#[derive(Default)]
pub(crate) struct Tables {
    read_until: usize,
}

/// Meaning of a column according to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// The cells are secrets of this kind.
    Secrets(SecretKind),
    /// The cells are values of the names in the first column.
    Values,
    Other,
}

impl Tables {
    /// Adds to `found` the secrets of the table whose rule or first row has its first mark at `index`.
    pub(crate) fn at_mark(&mut self, mark: u8, bytes: &[u8], index: usize, found: &mut Findings) {
        if index < self.read_until {
            return;
        }
        let read = match mark {
            b'<' => html(bytes, index, found),
            b',' => separated(bytes, index, found),
            _ => ruled(bytes, index, found),
        };
        self.read_until = read.unwrap_or(self.read_until);
    }
}

/// Reads the table whose rule has its first hyphen at `index` and returns the end of the table.
fn ruled(bytes: &[u8], index: usize, found: &mut Findings) -> Option<usize> {
    let is_before = |byte| matches!(byte, b' ' | b'\t' | b'>' | b'+' | b'|' | b':');
    if !is_before(before(bytes, index)) && before(bytes, index) != b'\n' {
        return None;
    }
    let start = run_start(bytes, index, 24, is_before);
    if start == 0 || before(bytes, start) != b'\n' {
        return None;
    }
    // Only the first mark of a line gets here, so a long line is read once.
    let end = run_end(bytes, index, MAX_ROW_BYTES, is_of_rule);
    if at(bytes, end) != b'\n' {
        return None;
    }
    let rule = LeakRule::of(part(bytes, start, end))?;
    let names_end = start - 1;
    let names_start = run_start(bytes, names_end, MAX_ROW_BYTES, |byte| byte != b'\n');
    let columns = columns(bytes, &rule.cells(bytes, names_start..names_end))?;
    let mut line = end + 1;
    while line < bytes.len() {
        let end = line_end(bytes, line);
        let text = part(bytes, line, end);
        if LeakRule::of(text).is_none() {
            let cells = rule.cells(bytes, line..end);
            if text.trim_ascii().is_empty() || rule == LeakRule::Lines && !text.contains(&b'|') {
                break;
            }
            judge(bytes, &columns, &cells, found);
        }
        line = end + 1;
    }
    Some(line)
}

/// Cell separator of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeakRule {
    /// `|`.
    Lines,
    /// Two or more spaces, or a tab.
    Spaces,
    /// A comma. Values that contain a comma are split too.
    Commas,
}

impl LeakRule {
    /// Returns the separator that is used in a rule between column names and values.
    fn of(line: &[u8]) -> Option<Self> {
        if !line.iter().all(|&byte| is_of_rule(byte) || byte == b'>') {
            return None;
        }
        let runs = line.split(|byte| !matches!(byte, b'-' | b'=')).filter(|run| !run.is_empty());
        let (count, shortest) = runs.fold((0, usize::MAX), |(count, least), run| (count + 1, least.min(run.len())));
        match (count > 0, line.iter().any(|byte| matches!(byte, b'|' | b'+'))) {
            (true, true) => Some(Self::Lines),
            (true, false) if count > 1 && shortest > 1 => Some(Self::Spaces),
            _ => None,
        }
    }

    fn cells(self, bytes: &[u8], mut row: Range<usize>) -> Vec<Range<usize>> {
        row.start = run_end(bytes, row.start, row.len(), |byte| matches!(byte, b' ' | b'\t' | b'>'));
        if self == Self::Lines && at(bytes, row.start) == b'|' {
            row.start += 1;
        }
        let is_edge = |index: usize| match self {
            Self::Lines => at(bytes, index) == b'|' && before(bytes, index) != b'\\',
            Self::Spaces => at(bytes, index) == b'\t' || part(bytes, index, index + 2) == b"  ",
            Self::Commas => at(bytes, index) == b',',
        };
        let mut cells = Vec::new();
        let mut start = row.start;
        for index in row.clone() {
            if cells.len() == MAX_COLUMNS {
                return cells;
            }
            if is_edge(index) {
                // The last of several spaces ends the cell.
                if self != Self::Spaces || index > start {
                    cells.push(start..index);
                }
                start = index + 1;
            }
        }
        cells.push(start..row.end.max(start));
        cells
    }
}

/// Reads the comma-separated values whose first line has its first comma at `index` and returns their end.
fn separated(bytes: &[u8], index: usize, found: &mut Findings) -> Option<usize> {
    let is_name = |byte: u8| is_word(byte) || matches!(byte, b'-' | b' ' | b'"' | b'\r');
    let start = run_start(bytes, index, 64, is_name);
    if before(bytes, start) != b'\n' {
        return None;
    }
    let names_end = run_end(bytes, index, MAX_ROW_BYTES, |byte| is_name(byte) || byte == b',');
    if at(bytes, names_end) != b'\n' {
        return None;
    }
    let rule = LeakRule::Commas;
    let cells = rule.cells(bytes, start..names_end);
    let columns = columns(bytes, &cells)?;
    let mut line = names_end + 1;
    while line < bytes.len() {
        let end = line_end(bytes, line);
        let row = rule.cells(bytes, line..end);
        if row.len() != cells.len() {
            break;
        }
        judge(bytes, &columns, &row, found);
        line = end + 1;
    }
    Some(line)
}

/// Reads the table whose first row has its tag at `index` and returns the end of the table.
fn html(bytes: &[u8], index: usize, found: &mut Findings) -> Option<usize> {
    if !is_tag(bytes, index, "tr") {
        return None;
    }
    let (names, mut end) = html_row(bytes, tag_end(bytes, index)?);
    let columns = columns(bytes, &names)?;
    while let Some(row) = next_html_row(bytes, end) {
        let (cells, row_end) = html_row(bytes, row);
        judge(bytes, &columns, &cells, found);
        end = row_end;
    }
    Some(end)
}

/// Returns the cells of a row whose tag ends before `start`, and the end of the row.
fn html_row(bytes: &[u8], start: usize) -> (Vec<Range<usize>>, usize) {
    let mut cells = Vec::new();
    let mut open = None;
    let mut place = start;
    loop {
        if place - start >= MAX_ROW_BYTES {
            cells.extend(open.take().map(|open| open..place));
            return (cells, place);
        }
        let tag = run_end(bytes, place, MAX_ROW_BYTES.saturating_sub(place - start), |byte| byte != b'<');
        let is_end = ["/tr", "tr", "/table", "/thead", "/tbody"].iter().any(|name| is_tag(bytes, tag, name));
        let is_cell = ["td", "th"].iter().any(|name| is_tag(bytes, tag, name));
        let is_cell_end = ["/td", "/th"].iter().any(|name| is_tag(bytes, tag, name));
        if is_end || is_cell || is_cell_end || at(bytes, tag) != b'<' {
            cells.extend(open.take().map(|open| open..tag));
        }
        if is_end || at(bytes, tag) != b'<' || cells.len() == MAX_COLUMNS {
            return (cells, tag);
        }
        place = tag_end(bytes, tag).unwrap_or(tag + 1);
        open = if is_cell { Some(place) } else { open };
    }
}

/// Returns the end of the tag that starts the next row of the same table.
fn next_html_row(bytes: &[u8], start: usize) -> Option<usize> {
    let mut place = start;
    for _ in 0..8 {
        place = run_end(bytes, place, MAX_ROW_BYTES, |byte| byte != b'<');
        let end = tag_end(bytes, place)?;
        if is_tag(bytes, place, "tr") {
            return Some(end);
        }
        if is_tag(bytes, place, "table") || is_tag(bytes, place, "/table") {
            return None;
        }
        place = end;
    }
    None
}

/// `true` if a tag of this name starts at `start`.
fn is_tag(bytes: &[u8], start: usize, name: &str) -> bool {
    let end = start + 1 + name.len();
    at(bytes, start) == b'<'
        && stands_at(bytes, start + 1, name)
        && (at(bytes, end) == b'>' || is_space(at(bytes, end)))
}

fn is_of_rule(byte: u8) -> bool {
    matches!(byte, b'-' | b'=' | b'+' | b'|' | b':' | b' ' | b'\t' | b'\r')
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    run_end(bytes, start, MAX_ROW_BYTES, |byte| byte != b'\n')
}

/// Returns the meaning of each column named in the first row. `None` if no column can hold a secret.
fn columns(bytes: &[u8], names: &[Range<usize>]) -> Option<Vec<Column>> {
    let column = |cell: &Range<usize>| {
        let name = part(bytes, cell.start, cell.end);
        match secret_kind_of_cell(name) {
            Some(secret_kind) => Column::Secrets(secret_kind),
            None if is_value_column(name) => Column::Values,
            None => Column::Other,
        }
    };
    let columns: Vec<Column> = names.iter().map(column).collect();
    columns.iter().any(|column| *column != Column::Other).then_some(columns)
}

fn judge(bytes: &[u8], columns: &[Column], cells: &[Range<usize>], found: &mut Findings) {
    let text = |cell: &Range<usize>| part(bytes, cell.start, cell.end);
    for (number, (column, cell)) in columns.iter().zip(cells).enumerate() {
        let secret_kind = match column {
            Column::Secrets(secret_kind) => Some(*secret_kind),
            Column::Values if number > 0 => cells.first().and_then(|name| secret_kind_of_cell(text(name))),
            _ => None,
        };
        if let Some((rule, span)) = secret_kind.and_then(|secret_kind| secret_in_cell(secret_kind, text(cell))) {
            found.push(rule, cell.start + span.start..cell.start + span.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(rule: LeakRule, row: &str) -> Vec<&str> {
        rule.cells(row.as_bytes(), 0..row.len()).into_iter().map(|cell| row.get(cell).expect("a cell").trim()).collect()
    }

    #[test]
    fn row_is_split_into_its_cells() {
        for row in ["| a | b \\| c | |", "|a|b \\| c||", "> | a | b \\| c |  |"] {
            assert_eq!(cells(LeakRule::Lines, row)[..3], ["a", "b \\| c", ""], "{row}");
        }
        assert_eq!(cells(LeakRule::Lines, "a | b"), ["a", "b"]);
        assert_eq!(cells(LeakRule::Spaces, "a b     c\td"), ["a b", "c", "d"]);
    }

    #[test]
    fn row_of_hyphens_is_a_rule() {
        for rule in
            ["|---|---|", "--- | ---", "| :-: | -: |", "+----+----+", "----+----", "|-", "> |---|", "+====+====+"]
        {
            assert_eq!(LeakRule::of(rule.as_bytes()), Some(LeakRule::Lines), "{rule}");
        }
        for rule in ["---  ---", "==== ====", "--- --- ---"] {
            assert_eq!(LeakRule::of(rule.as_bytes()), Some(LeakRule::Spaces), "{rule}");
        }
        for line in ["-----", "- - -", "====", "| |", "", "| a |", "-> ->", "- item"] {
            assert_eq!(LeakRule::of(line.as_bytes()), None, "{line}");
        }
    }
}
