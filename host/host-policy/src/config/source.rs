//! Masking of a config's text for excerpts in diagnostics.
//!
//! An excerpt shows keys, headers and structure, and of the values only small numbers and the words of
//! [`CONFIG_WORDS`]. The text is only split into tokens, because a text that needs an excerpt is one
//! that the parser rejected. A token of unclear meaning is hidden.

use bundles::{Source, may_leak};

/// Values that belong to the config language and are never secret.
const CONFIG_WORDS: [&str; 6] = ["true", "false", "read", "write", "none", "required"];

/// Returns the text with each hidden byte replaced by `*`. The length does not change.
pub(super) fn masked(text: &str) -> String {
    let mut masking = TokenMasker { position: Position::Keys, open: Vec::new() };
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((token, after)) = rest.split_at_checked(token_len(rest)).filter(|(token, _)| !token.is_empty()) {
        if masking.is_shown(token, after) {
            shown.extend_from_slice(token.as_bytes());
        } else {
            shown.extend(token.bytes().map(|byte| if byte == b'\n' { byte } else { b'*' }));
        }
        rest = after;
    }
    // A key may be a secret too. The leak scan finds the known forms.
    let scanned = Source::new("", text).masked;
    let both = shown.into_iter().zip(scanned.bytes()).map(|(one, two)| if two == b'*' { two } else { one });
    String::from_utf8(both.collect()).unwrap_or_default()
}

/// Returns the length in bytes of the next token: a line end, white space, a punctuation mark, a comment, a
/// string with its quotes, or a word.
fn token_len(text: &str) -> usize {
    let up_to = |is_end: fn(char) -> bool| text.find(is_end).unwrap_or(text.len());
    match text.as_bytes().first() {
        None => 0,
        Some(b'\n' | b'=' | b',' | b'[' | b']' | b'{' | b'}') => 1,
        Some(b' ' | b'\t' | b'\r') => up_to(|c| !matches!(c, ' ' | '\t' | '\r')),
        Some(b'#') => up_to(|c| c == '\n'),
        Some(b'"' | b'\'') => string_len(text),
        Some(_) => up_to(|c| " \t\r\n=,[]{}#\"'".contains(c)),
    }
}

/// Returns the length in bytes of a string with its quotes. An unclosed string extends to the end of its
/// line, and an unclosed multi-line string to the end of the text.
fn string_len(text: &str) -> usize {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inside) = text.strip_prefix(quotes) {
            return inside.find(quotes).map_or(text.len(), |end| end + 2 * quotes.len());
        }
    }
    let quote = text.chars().next();
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return index,
            _ if escaped => escaped = false,
            '\\' if quote == Some('"') => escaped = true,
            _ if Some(c) == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The role of the next word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Keys,
    Values,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Header,
    List,
    Table,
}

struct TokenMasker {
    position: Position,
    /// Open brackets, the innermost last.
    open: Vec<Bracket>,
}

impl TokenMasker {
    /// Advances over a token. Returns `true` if the token may be shown.
    fn is_shown(&mut self, token: &str, after: &str) -> bool {
        match token.as_bytes().first() {
            Some(b'\n') => {
                // In TOML only the bracket of a list can stay open at the end of a line.
                self.open.retain(|bracket| *bracket == Bracket::List);
                self.position = if self.open.is_empty() { Position::Keys } else { Position::Values };
            }
            Some(b'=') => self.position = Position::Values,
            Some(b',') if self.open.last() == Some(&Bracket::Table) => self.position = Position::Keys,
            Some(b'{') => {
                self.open.push(Bracket::Table);
                self.position = Position::Keys;
            }
            Some(b'[') => self.open.push(if self.position == Position::Keys { Bracket::Header } else { Bracket::List }),
            Some(b']' | b'}') => {
                self.open.pop();
                self.position = Position::Values;
            }
            Some(b',' | b' ' | b'\t' | b'\r') => {}
            Some(b'"' | b'\'') => return CONFIG_WORDS.contains(&token.trim_matches(['"', '\''])),
            Some(b'#') | None => return false,
            Some(_) => return self.is_shown_word(token, after),
        }
        true
    }

    fn is_shown_word(&self, word: &str, after: &str) -> bool {
        // Messages withhold a word that may leak, so the excerpt withholds it too.
        let is_name = !may_leak(word)
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        match self.position {
            Position::Keys if self.open.last() == Some(&Bracket::Header) => is_name,
            // Base64 text ends with `=` too, but a value follows the `=` of a key.
            Position::Keys => {
                let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
                is_name
                    && value.is_some_and(|value| {
                        !value.trim_start_matches([' ', '\t']).starts_with(['=', '\r', '\n']) && !value.is_empty()
                    })
            }
            Position::Values => {
                CONFIG_WORDS.contains(&word) || (word.len() <= 5 && word.bytes().all(|byte| byte.is_ascii_digit()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_structure_are_shown_and_values_are_not() {
        for (text, shown) in [
            ("[workspaces.acme]\nshel = true\n", "[workspaces.acme]\nshel = true\n"),
            ("[[workspaces.acme.egress]]\nhost = 'a.b'", "[[workspaces.acme.egress]]\nhost = *****"),
            ("mounts.repo = { path = \"/srv\", access = 'w' }", "mounts.repo = { path = ******, access = *** }"),
            ("keys = [\n  'a', # mine\n  \"b\",\n]\nshell = 1", "keys = [\n  ***, ******\n  ***,\n]\nshell = 1"),
            ("access = 'write'\nposture = \"none\"\nx = 'nones'", "access = 'write'\nposture = \"none\"\nx = *******"),
            ("port = 65535\npin = 123456", "port = 65535\npin = ******"),
            ("a = \"x \\\" y\" # z", "a = ******** ***"),
            ("a = '\\' b = 1", "a = *** * = 1"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn token_of_unclear_meaning_is_hidden() {
        for (text, shown) in [
            ("hunter2", "*******"),
            ("password hunter2", "******** *******"),
            ("password: hunter2", "********* *******"),
            ("path = /srv/acme", "path = *********"),
            ("path = hunter2.d", "path = *********"),
            ("\"hunter2\" = 1", "********* = 1"),
            ("a = \"hunter2\nb = 'c", "a = ********\nb = **"),
            ("a = '''\nhunter2 = x\n[hunter2]\n'''\nb = 1", "a = ***\n***********\n*********\n***\nb = 1"),
            ("a = \"\"\"\nhunter2", "a = ***\n*******"),
            ("aHVudGVyMg==\n", "**********==\n"),
            ("aHVudGVyMg=\n", "**********=\n"),
            ("a = [\nhunter2 = 1", "a = [\n******* = 1"),
            ("é = 'é'", "** = ****"),
            ("\u{c}a\u{b}\0= 1", "****= 1"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(shown.len(), text.len());
        }
        let token = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
        assert_eq!(
            masked(&format!("{token} = true\n[{token}]")),
            format!("{} = true\n{}", "*".repeat(20), "*".repeat(22))
        );
    }
}
