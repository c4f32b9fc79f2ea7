//! The text of a config as far as it may be shown: keys, headers and structure, and no value but small
//! numbers and the words that a config has itself. Nothing is parsed, since what is shown is what could not be; where
//! it is not clear what a word is, it is hidden.

use bundles::{Source, may_leak};

/// Values that are words of the config's own.
const WORDS: [&str; 6] = ["true", "false", "read", "write", "none", "required"];

/// Same length as the text; what is hidden is `*`.
pub(super) fn masked(text: &str) -> String {
    let mut masking = Masking { place: Place::Keys, open: Vec::new() };
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((token, after)) = rest.split_at_checked(token_len(rest)).filter(|(token, _)| !token.is_empty()) {
        if masking.keeps(token, after) {
            shown.extend_from_slice(token.as_bytes());
        } else {
            shown.extend(token.bytes().map(|byte| if byte == b'\n' { byte } else { b'*' }));
        }
        rest = after;
    }
    // Keys too may be what nobody should see; the leak scan knows those.
    let scanned = Source::new("", text).masked;
    let both = shown.into_iter().zip(scanned.bytes()).map(|(one, two)| if two == b'*' { two } else { one });
    String::from_utf8(both.collect()).unwrap_or_default()
}

/// Bytes of the next token: a line end, spaces, a sign, a comment, a string with its quotes, or a word.
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

/// Bytes of a string with its quotes. One that is not closed goes on to the end of its line, or of the
/// text where it may have several.
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

/// What a word is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Keys,
    Values,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Header,
    List,
    Table,
}

struct Masking {
    place: Place,
    open: Vec<Bracket>,
}

impl Masking {
    /// Whether a token may be shown.
    fn keeps(&mut self, token: &str, after: &str) -> bool {
        match token.as_bytes().first() {
            Some(b'\n') => {
                // Of the brackets only those of a list are still open in another line.
                self.open.retain(|bracket| *bracket == Bracket::List);
                self.place = if self.open.is_empty() { Place::Keys } else { Place::Values };
            }
            Some(b'=') => self.place = Place::Values,
            Some(b',') if self.open.last() == Some(&Bracket::Table) => self.place = Place::Keys,
            Some(b'{') => {
                self.open.push(Bracket::Table);
                self.place = Place::Keys;
            }
            Some(b'[') => self.open.push(if self.place == Place::Keys { Bracket::Header } else { Bracket::List }),
            Some(b']' | b'}') => {
                self.open.pop();
                self.place = Place::Values;
            }
            Some(b',' | b' ' | b'\t' | b'\r') => {}
            Some(b'"' | b'\'') => return WORDS.contains(&token.trim_matches(['"', '\''])),
            Some(b'#') | None => return false,
            Some(_) => return self.keeps_word(token, after),
        }
        true
    }

    fn keeps_word(&self, word: &str, after: &str) -> bool {
        // What a message withholds is not shown beside it.
        let is_name = !may_leak(word)
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        match self.place {
            Place::Keys if self.open.last() == Some(&Bracket::Header) => is_name,
            // Base64 ends in `=` too, and then in nothing else.
            Place::Keys => {
                let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
                is_name
                    && value.is_some_and(|value| {
                        !value.trim_start_matches([' ', '\t']).starts_with(['=', '\r', '\n']) && !value.is_empty()
                    })
            }
            Place::Values => {
                WORDS.contains(&word) || (word.len() <= 5 && word.bytes().all(|byte| byte.is_ascii_digit()))
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
    fn what_is_not_clear_is_hidden() {
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
