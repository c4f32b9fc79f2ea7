//! Text that somebody else wrote, as it may stand in a line of a terminal.
//!
//! A control character moves the cursor or forges a line; a format character changes the order of
//! what stands beside it, or is not seen at all.

/// The text with every control and format character escaped: one line, which nobody can forge.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !moves(c) => line.push(c),
            '\n' | '\r' | '\t' => line.extend(c.escape_default()),
            c => line.extend(c.escape_unicode()),
        }
    }
    line
}

/// Whether a text may be shown without moving anything, but may hold letters of every script.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || reorders(c) || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Embeddings, overrides and isolates of the bidirectional algorithm: what follows is read in
/// another order than it is written.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Control characters, separators of lines, and what Unicode calls format characters.
pub(crate) fn moves(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_that_moves_nothing() {
        for (text, line) in [
            ("plain: ünï, \u{4e2d}, \u{e01}\u{e49}", "plain: ünï, \u{4e2d}, \u{e01}\u{e49}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J\u{7f}", "\\u{1b}[2J\\u{7f}"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("\u{202e}txt\u{2066}", "\\u{202e}txt\\u{2066}"),
            ("\u{2028}\u{feff}\u{200b}\u{e0041}", "\\u{2028}\\u{feff}\\u{200b}\\u{e0041}"),
        ] {
            assert_eq!(one_line(text), line);
            assert_eq!(one_line(&one_line(text)), line);
        }
    }

    #[test]
    fn letters_of_every_script_are_plain_and_what_reorders_them_is_not() {
        for plain in ["", "a b", "\u{627}\u{200c}\u{645}", "\u{5d0}\u{200f}"] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for moving in ["a\nb", "\t", "\u{9b}", "\u{202e}", "\u{2067}", "\u{2028}"] {
            assert!(!is_plain(moving), "{moving:?}");
        }
    }
}
