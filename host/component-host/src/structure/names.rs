//! Names out of a foreign binary, made fit to be shown: bounded, and without anything that moves a cursor,
//! hides or reorders text.

/// Characters of a shown name; what is longer ends in `…`.
const SHOWN: usize = 256;

/// The name with every character outside printable ASCII written as `\u{…}`, cut at [`SHOWN`] characters.
pub(super) fn shown(name: &str) -> String {
    let mut out = String::new();
    let mut room = SHOWN;
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

/// Two names as one, without the separator where the second is empty. Only what could be shown is copied.
pub(super) fn joined(first: &str, separator: char, second: &str) -> String {
    let mut out: String = first.chars().take(SHOWN).collect();
    if !second.is_empty() {
        out.push(separator);
        out.extend(second.chars().take(SHOWN));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_shown_as_it_is() {
        assert_eq!(shown("yoi:resolver/bundle@1.0.0"), "yoi:resolver/bundle@1.0.0");
    }

    #[test]
    fn control_and_bidirectional_characters_are_written_out() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}b\n"), "a\\u{1b}[2J\\u{202e}b\\u{a}");
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = shown(&"x".repeat(100_000));
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert!(long.ends_with('…'));
        assert!(shown(&"\u{1f600}".repeat(1000)).chars().count() <= SHOWN + 1);
    }
}
