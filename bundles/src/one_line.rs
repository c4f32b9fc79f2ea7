//! Escaping of untrusted text for one line of a terminal.
//!
//! Control characters can move the cursor or fake a line. Format characters can reorder the text around them or be
//! invisible.

/// Escapes every control and format character, so the result is a single line and cannot fake another.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_control_or_format(c) => line.push(c),
            '\n' | '\r' | '\t' => line.extend(c.escape_default()),
            c => line.extend(c.escape_unicode()),
        }
    }
    line
}

/// `true` if a text can be shown without moving the cursor or reordering text. Letters of every script are allowed.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// `true` for embeddings, overrides and isolates of the bidirectional algorithm, which reorder the following text.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `true` for control characters, line separators and Unicode format characters.
pub(crate) fn is_control_or_format(c: char) -> bool {
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
    fn escaped_text_is_one_line_without_control_characters() {
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
    fn letters_of_every_script_are_plain_and_bidi_controls_are_not() {
        for plain in ["", "a b", "\u{627}\u{200c}\u{645}", "\u{5d0}\u{200f}"] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for moving in ["a\nb", "\t", "\u{9b}", "\u{202e}", "\u{2067}", "\u{2028}"] {
            assert!(!is_plain(moving), "{moving:?}");
        }
    }
}
