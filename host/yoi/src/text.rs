//! Text output for people: numbers, times and tables of rows.
//!
//! Each value of a row is reduced to one line without control characters, so foreign text cannot forge a row or a style.

use std::fmt::Display;

use bundles::one_line;

/// Formats a number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a size in B, KiB or MiB.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1024 => format!("{number} B"),
        1024..1_048_576 => format!("{:.1} KiB", number as f64 / 1024.0),
        _ => format!("{:.1} MiB", number as f64 / 1_048_576.0),
    }
}

/// Formats a time with a precision of one second.
pub(crate) fn time(at: jiff::Timestamp) -> String {
    format!("{at:.0}")
}

/// Formats a count: `3 profiles`, `1 profile`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A table with lines of the form `label  value note`. Further values of a label are below the first one.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<(String, String)>);

impl Rows {
    /// Adds a row.
    pub(crate) fn row(&mut self, label: &str, value: impl Display) {
        self.noted(label, value, "");
    }

    /// Adds a row with a dim note.
    pub(crate) fn noted(&mut self, label: &str, value: impl Display, note: impl Display) {
        let (value, note) = (one_line(&value.to_string()), note.to_string());
        let between = if value.is_empty() || note.is_empty() { "" } else { " " };
        let note = if note.is_empty() { note } else { dim(note) };
        self.0.push((label.to_owned(), format!("{value}{between}{note}")));
    }

    /// Adds a row for each value. Only the first one has the label.
    pub(crate) fn list<T: Display>(&mut self, label: &str, values: impl IntoIterator<Item = T>) {
        self.noted_list(label, values.into_iter().map(|value| (value, "")));
    }

    /// Adds a row with a dim note for each value. Only the first one has the label.
    pub(crate) fn noted_list<T: Display, N: Display>(&mut self, label: &str, values: impl IntoIterator<Item = (T, N)>) {
        for (index, (value, note)) in values.into_iter().enumerate() {
            self.noted(if index == 0 { label } else { "" }, value, note);
        }
    }

    pub(crate) fn into_text(self) -> String {
        let width = self.0.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        let bold = anstyle::Style::new().bold();
        self.0.into_iter().map(|(label, value)| format!("{bold}{label:width$}{bold:#}  {value}\n")).collect()
    }
}

/// Formats text in one line and in a dim style.
pub(crate) fn dim(text: impl Display) -> String {
    let style = anstyle::Style::new().dimmed();
    format!("{style}{}{style:#}", one_line(&text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_for_any_value() {
        let mut rows = Rows::default();
        rows.row("a", "b\nforged  row");
        rows.noted("", "\u{1b}[2J", "\u{202e}\u{9b}1A");
        let text = rows.into_text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("b\\nforged") && text.contains("\\u{1b}[2J") && text.contains("\\u{202e}\\u{9b}1A"));
    }

    #[test]
    fn numbers_are_grouped_from_the_right() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(time(jiff::Timestamp::from_millisecond(1_782_000_000_999).expect("a time")), "2026-06-21T00:00:00Z");
        assert_eq!([12, 2048, 3 << 20].map(bytes), ["12 B", "2.0 KiB", "3.0 MiB"]);
    }
}
