//! Characters that look like ASCII, and invisible characters.
//!
//! The list covers what can be typed into a path or a token and still be read as one. A full table of confusables would
//! fold the letters of whole languages.

use std::sync::LazyLock;

/// Replacement for a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// The character is kept.
    Keep,
    /// The character is invisible and is removed.
    Drop,
    /// The character is replaced by this one.
    Char(char),
    /// The character is replaced by this text.
    Text(&'static str),
}

/// First code point of the capitals, small letters and digits of the mathematical alphabets.
const MATHEMATICAL_LETTERS: u32 = 0x1d400;
const MATHEMATICAL_DIGITS: u32 = 0x1d7ce;

/// Returns the replacement for a character.
pub(crate) fn fold(character: char) -> Fold {
    let code = u32::from(character);
    match code {
        0x00..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => Fold::Drop,
        0x09..=0x7e => Fold::Keep,
        // Soft hyphen, joiners, zero widths, directions, variation selectors, tags.
        0xad
        | 0x34f
        | 0x61c
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180b..=0x180e
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x206f
        | 0x3164
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xffa0
        | 0xfff9..=0xfffb
        | 0xe0000..=0xe0fff => Fold::Drop,
        // Combining marks over a letter. The kana voicing marks are letters of their own and stay.
        0x300..=0x34e | 0x350..=0x36f | 0x20d0..=0x20f0 => Fold::Drop,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Fold::Char(' '),
        0x85 | 0x2028 | 0x2029 => Fold::Char('\n'),
        // Full-width forms.
        0xff01..=0xff5e => ascii(code - 0xff01 + 0x21),
        0x2044 | 0x2215 | 0x29f8 | 0x2571 | 0x27cb | 0x1735 | 0x2cc6 | 0x3033 | 0x4e3f | 0x1d23a => Fold::Char('/'),
        0x2216 | 0x29f5 | 0x29f9 | 0xfe68 | 0x2572 | 0x27cd => Fold::Char('\\'),
        0x2024 | 0xfe52 | 0x0701 | 0x0702 | 0xa60e | 0x10a50 => Fold::Char('.'),
        0x2025 => Fold::Text(".."),
        0x2026 => Fold::Text("..."),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 | 0x2043 | 0x06d4 => Fold::Char('-'),
        0x02dc | 0x223c | 0x2053 | 0x301c => Fold::Char('~'),
        0x02d0 | 0x2236 | 0xa789 | 0xfe55 | 0x0589 | 0x05c3 => Fold::Char(':'),
        0x203f | 0xfe33 | 0xfe34 | 0xfe4d..=0xfe4f => Fold::Char('_'),
        0xfe66 | 0xa78a => Fold::Char('='),
        0xfe69 => Fold::Char('$'),
        0xfe6a => Fold::Char('%'),
        0xfe6b => Fold::Char('@'),
        0x201c..=0x201f | 0x2033 | 0x02ba => Fold::Char('"'),
        0x2018..=0x201b | 0x2032 | 0x02bc => Fold::Char('\''),
        0x1d400..=0x1d6a3 => letter(code - MATHEMATICAL_LETTERS),
        0x1d7ce..=0x1d7ff => ascii((code - MATHEMATICAL_DIGITS) % 10 + 0x30),
        0x24b6..=0x24cf => ascii(code - 0x24b6 + 0x41),
        0x24d0..=0x24e9 => ascii(code - 0x24d0 + 0x61),
        0x1f130..=0x1f149 => ascii(code - 0x1f130 + 0x41),
        0x2460..=0x2468 => ascii(code - 0x2460 + 0x31),
        _ => look_alike(character),
    }
}

fn ascii(code: u32) -> Fold {
    char::from_u32(code).map_or(Fold::Keep, Fold::Char)
}

/// Folds a letter of the thirteen consecutive mathematical alphabets of 52 letters.
fn letter(offset: u32) -> Fold {
    match offset % 52 {
        capital @ 0..=25 => ascii(capital + 0x41),
        small => ascii(small - 26 + 0x61),
    }
}

/// Cyrillic and Greek letters with the shape of a Latin letter, superscripts, and letters outside their alphabet.
const PAIRS: &[(&str, &str)] = &[
    ("АВЕЅІЈКМНОРСТУХЗҮԌԚԜҺ", "ABESIJKMHOPCTYX3YGQWh"),
    ("аеѕіјорсухһԁԛԝӏѵҽɡ", "aesijopcyxhdqwlveg"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX"),
    ("αορνιυκγ", "aopviuky"),
    ("ⅠⅤⅩⅬⅭⅮⅯⅰⅴⅹⅼⅽⅾⅿ", "IVXLCDMivxlcdm"),
    ("ℎℊℓℴℯℹªº⁰¹²³⁴⁵⁶⁷⁸⁹ⁿⁱ", "hgloeiao0123456789ni"),
    ("₀₁₂₃₄₅₆₇₈₉ıȷ", "0123456789ij"),
    ("ʰʲʳʷʸˡˢˣᵃᵇᵈᵉᵍᵏᵐᵒᵖᵗᵘᵛ", "hjrwylsxabdegkmoptuv"),
    ("ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ", "abcdeghijklmnoprtuvwyz"),
];

/// The pairs, sorted by look-alike.
static LOOK_ALIKES: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let mut pairs: Vec<(char, char)> = PAIRS.iter().flat_map(|(from, to)| from.chars().zip(to.chars())).collect();
    pairs.sort_unstable();
    pairs
});

fn look_alike(character: char) -> Fold {
    let place = LOOK_ALIKES.binary_search_by_key(&character, |&(alike, _)| alike).ok();
    place.and_then(|place| LOOK_ALIKES.get(place)).map_or(Fold::Keep, |&(_, plain)| Fold::Char(plain))
}

/// `true` if a character may need folding. Letters of most scripts do not.
pub(crate) fn may_fold(character: char) -> bool {
    !matches!(u32::from(character),
        0x09 | 0x0a | 0x0d | 0x20..=0x7e | 0xc0..=0xff
        | 0x530..=0x588 | 0x5d0..=0x600 | 0x620..=0x6d3 | 0x900..=0x10ff
        | 0x3001..=0x301b | 0x3021..=0x3032 | 0x3041..=0x3163 | 0x3165..=0x4e3e | 0x4e40..=0xa60d | 0xac00..=0xfaff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        text.chars()
            .map(|character| match fold(character) {
                Fold::Keep => character.to_string(),
                Fold::Drop => String::new(),
                Fold::Char(plain) => plain.to_string(),
                Fold::Text(plain) => plain.to_owned(),
            })
            .collect()
    }

    #[test]
    fn look_alikes_of_ascii_are_folded() {
        assert_eq!(folded("／ｈｏｍｅ⁄x∖y"), "/home/x\\y");
        assert_eq!(folded("g\u{200b}h\u{00ad}p\u{2060}"), "ghp");
        assert_eq!(folded("𝗀𝗁𝗉_𝟙𝟚"), "ghp_12");
        assert_eq!(folded("ѕесrеt"), "secret");
    }

    #[test]
    fn sampled_look_alikes_fold_to_ascii() {
        for character in "АѕΑαⅠℎ₀ʰᴀᴢᵛ".chars() {
            assert!(matches!(fold(character), Fold::Char(plain) if plain.is_ascii()), "{character}");
        }
    }

    #[test]
    fn character_that_may_not_fold_is_kept() {
        for code in 0..0x11_0000 {
            if let Some(character) = char::from_u32(code) {
                assert!(may_fold(character) || fold(character) == Fold::Keep, "{code:x}");
            }
        }
    }
}
