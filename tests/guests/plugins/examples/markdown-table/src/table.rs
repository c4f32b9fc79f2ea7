//! Tables in Markdown: a row of names, a row of dashes, and rows of cells, each between `|`.

/// Alignment of a column, which the row of dashes states with colons.
#[derive(Clone, Copy, PartialEq)]
enum Alignment {
    None,
    Left,
    Right,
    Center,
}

/// Returns the text with aligned tables, and their number. Fenced code stays as it is.
pub(crate) fn format(text: &str) -> (String, usize) {
    let mut lines = text.split_inclusive('\n').peekable();
    let (mut formatted, mut tables, mut is_code) = (String::with_capacity(text.len()), 0, false);
    while let Some(line) = lines.next() {
        is_code ^= line.trim_start().starts_with("```");
        let columns = lines.peek().and_then(|dashes| columns(dashes));
        match (cells(line), columns) {
            (Some(names), Some(columns)) if !is_code && names.len() == columns.len() => {
                lines.next();
                let mut rows = vec![names];
                while let Some(row) = lines.peek().and_then(|line| cells(line)) {
                    rows.push(row);
                    lines.next();
                }
                write(&rows, &columns, &mut formatted);
                tables += 1;
            }
            _ => formatted.push_str(line),
        }
    }
    (formatted, tables)
}

/// Returns the cells of a row, or `None` if the line is no row.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut is_escaped = false;
    for c in inside.chars() {
        match cells.last_mut() {
            Some(cell) if c != '|' || is_escaped => cell.push(c),
            _ => cells.push(String::new()),
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    // The last `|` is escaped: it belongs to the last cell, and the row has no end.
    if is_escaped { None } else { Some(cells.into_iter().map(|cell| cell.trim().to_owned()).collect()) }
}

/// Returns the columns of a row of dashes, or `None` if the line is no such row.
fn columns(line: &str) -> Option<Vec<Alignment>> {
    let column = |cell: String| {
        let (left, right) = (cell.starts_with(':'), cell.ends_with(':'));
        let dashes = cell.trim_matches(':');
        let alignment = match (left, right) {
            (false, false) => Alignment::None,
            (true, false) => Alignment::Left,
            (false, true) => Alignment::Right,
            (true, true) => Alignment::Center,
        };
        (!dashes.is_empty() && dashes.bytes().all(|byte| byte == b'-')).then_some(alignment)
    };
    cells(line)?.into_iter().map(column).collect()
}

/// Writes a table. Cells beyond the last column are dropped, as Markdown does.
fn write(rows: &[Vec<String>], columns: &[Alignment], to: &mut String) {
    let cell = |row: &'_ [String], index: usize| row.get(index).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| rows.iter().map(|row| cell(row, index).chars().count()).max().unwrap_or_default().max(3))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        for (index, (width, alignment)) in widths.iter().zip(columns).enumerate() {
            let cell = cell(row, index);
            let space = width.saturating_sub(cell.chars().count());
            let before = match alignment {
                Alignment::Right => space,
                Alignment::Center => space / 2,
                Alignment::None | Alignment::Left => 0,
            };
            to.push_str("| ");
            to.extend(std::iter::repeat_n(' ', before));
            to.push_str(&cell);
            to.extend(std::iter::repeat_n(' ', space - before + 1));
        }
        to.push_str("|\n");
        if number == 0 {
            write_dashes(&widths, columns, to);
        }
    }
}

fn write_dashes(widths: &[usize], columns: &[Alignment], to: &mut String) {
    for (width, alignment) in widths.iter().zip(columns) {
        let left = matches!(alignment, Alignment::Left | Alignment::Center);
        let right = matches!(alignment, Alignment::Right | Alignment::Center);
        to.push_str(if left { "| :" } else { "| -" });
        to.extend(std::iter::repeat_n('-', width.saturating_sub(2)));
        to.push_str(if right { ": " } else { "- " });
    }
    to.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn columns_are_aligned_as_their_dashes_say() {
        let text = "a\n|n|centre|*r*|\n|:-|:-:|--:|\n|é|b|100|\n|x\\|y|||dropped|\nz\n";
        let expected = "a\n| n    | centre | *r* |\n| :--- | :----: | --: |\n| é    |   b    | 100 |\n| x\\|y |        |     |\nz\n";
        assert_eq!(format(text), (expected.to_owned(), 1));
        assert_eq!(format(expected), (expected.to_owned(), 1));
    }

    #[test]
    fn what_is_no_table_stays_as_it_is() {
        for text in ["", "|a|b|\n", "|a|\n|-|-|\n", "|a|\n|b|\n", "```\n|a|\n|-|\n```\n", "|a\\|\n|-|\n", "no end"] {
            assert_eq!(format(text), (text.to_owned(), 0));
        }
        assert_eq!(format("|a|\n|-|").0, "| a   |\n| --- |\n");
    }
}
