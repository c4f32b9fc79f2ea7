//! Small pieces of text for people. What is put into a row is shown on one line, whoever wrote it:
//! only this module puts styles around it.

use std::fmt::Display;

use bundles::one_line;

/// A number with its digits in groups of three.
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

/// Bytes in the unit that fits.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1024 => format!("{number} B"),
        1024..1_048_576 => format!("{:.1} KiB", number as f64 / 1024.0),
        _ => format!("{:.1} MiB", number as f64 / 1_048_576.0),
    }
}

/// A time, to the second.
pub(crate) fn time(at: jiff::Timestamp) -> String {
    format!("{at:.0}")
}

/// `3 profiles`, `1 profile`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Lines of `label  value note`, where further values of a label stand below the first.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<(String, String)>);

impl Rows {
    pub(crate) fn row(&mut self, label: &str, value: impl Display) {
        self.noted(label, value, "");
    }

    /// A row whose note is dim.
    pub(crate) fn noted(&mut self, label: &str, value: impl Display, note: impl Display) {
        let (value, note) = (one_line(&value.to_string()), note.to_string());
        let between = if value.is_empty() || note.is_empty() { "" } else { " " };
        let note = if note.is_empty() { note } else { dim(note) };
        self.0.push((label.to_owned(), format!("{value}{between}{note}")));
    }

    pub(crate) fn list<T: Display>(&mut self, label: &str, values: impl IntoIterator<Item = T>) {
        self.noted_list(label, values.into_iter().map(|value| (value, "")));
    }

    /// Rows whose notes are dim.
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

/// Dim text, on one line.
pub(crate) fn dim(text: impl Display) -> String {
    let style = anstyle::Style::new().dimmed();
    format!("{style}{}{style:#}", one_line(&text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_is_put_into_it() {
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
