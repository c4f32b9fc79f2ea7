//! Safe display of names from an untrusted binary: shortened, and without characters that move the cursor or hide or
//! reorder text.

/// Limit on the characters of a displayed name. A longer name is cut and ends with `…`.
const MAX_SHOWN_CHARS: usize = 256;

/// Escapes every character outside printable ASCII as `\u{…}` and cuts the name at [`MAX_SHOWN_CHARS`] characters.
pub(super) fn shown(name: &str) -> String {
    let mut out = String::new();
    let mut room = MAX_SHOWN_CHARS;
    for character in name.chars() {
        let plain = character == ' ' || character.is_ascii_graphic();
        let width = if plain { 1 } else { character.escape_unicode().count() };
        if width > room {
            out.push('…');
            break;
        }
        room -= width;
        if plain {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

/// Joins two names, without the separator if the second is empty. Copies at most [`MAX_SHOWN_CHARS`] characters of
/// each.
pub(super) fn joined(first: &str, separator: char, second: &str) -> String {
    let mut out: String = first.chars().take(MAX_SHOWN_CHARS).collect();
    if !second.is_empty() {
        out.push(separator);
        out.extend(second.chars().take(MAX_SHOWN_CHARS));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_name_is_not_changed() {
        assert_eq!(shown("yoi:resolver/bundle@1.0.0"), "yoi:resolver/bundle@1.0.0");
    }

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}b\n"), "a\\u{1b}[2J\\u{202e}b\\u{a}");
    }

    #[test]
    fn long_name_is_cut() {
        let long = shown(&"x".repeat(100_000));
        assert_eq!(long.chars().count(), MAX_SHOWN_CHARS + 1);
        assert!(long.ends_with('…'));
        assert!(shown(&"\u{1f600}".repeat(1000)).chars().count() <= MAX_SHOWN_CHARS + 1);
    }
}
