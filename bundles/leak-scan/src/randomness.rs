//! Heuristics that distinguish random strings from strings written by a person.
//!
//! Names, model ids and sentences differ from keys in the sequence of letters, digits and cases. Placeholders are
//! recognised by their words. Shannon entropy is not used, because in 40 bytes it cannot distinguish a long name from a
//! key.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::ascii::at;

/// Words that people write in place of a secret.
#[rustfmt::skip]
const PLACEHOLDER_WORDS: &[&str] = &[
    "changeme", "change_me", "change-me", "dummy", "example", "fake", "foobar", "insert", "not-real", "not_real",
    "notreal", "placeholder", "redacted", "replace", "sample", "todo", "xxxx", "your-", "your_", "yourkey", "yoursecret",
    "yourtoken", "****", "....", "____", "----",
];

static PLACEHOLDERS: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(PLACEHOLDER_WORDS).ok());

/// `true` if the string is a placeholder for a secret: `xxxx`, `your_token`, `1234567890`, `abcabcabc`.
pub(crate) fn is_placeholder(text: &[u8]) -> bool {
    has_placeholder_word(text) || is_monotonous(text) || is_sequence(text) || is_repetition(text)
}

/// `true` if the string has a placeholder word and no long random part beside it. About one long key in a hundred
/// contains `fake` or `xxxx`, and a key may follow `your-`.
fn has_placeholder_word(text: &[u8]) -> bool {
    const LONG: usize = 16;
    let Some(word) = PLACEHOLDERS.as_ref().and_then(|words| words.find(text)) else { return false };
    let beside = [text.get(..word.start()), text.get(word.end()..)].into_iter().flatten();
    let mut chunks = beside.flat_map(|part| part.split(|byte| !byte.is_ascii_alphanumeric()));
    !chunks.any(|chunk| {
        let is_alone = !is_monotonous(chunk) && !is_sequence(chunk) && !is_repetition(chunk);
        chunk.len() >= LONG && is_alone && is_random_chunk(chunk)
    })
}

/// `true` for strings of few distinct characters, such as `aaaaaaaaaaaa`.
fn is_monotonous(text: &[u8]) -> bool {
    let mut counts = [0_usize; 256];
    for &byte in text {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let distinct = counts.iter().filter(|&&count| count > 0).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    text.len() >= 4 && (most * 2 > text.len() || (text.len() >= 12 && distinct <= 4))
}

/// `true` for strings that mostly count up, such as `0123456789abcdef`.
fn is_sequence(text: &[u8]) -> bool {
    let steps = text.iter().zip(text.iter().skip(1)).filter(|&(a, b)| a.abs_diff(*b) == 1).count();
    text.len() >= 6 && steps * 2 > text.len()
}

/// `true` for a few characters that repeat, as in `deadbeefdeadbeef`.
fn is_repetition(text: &[u8]) -> bool {
    (1..=10).any(|period| text.len() >= 3 * period && text.iter().zip(text.iter().skip(period)).all(|(a, b)| a == b))
        || (text.len() >= 16
            && [8, 10].iter().any(|&period| text.len() == 2 * period && text.get(..period) == text.get(period..)))
}

/// `true` if the string has a random part of at least `least` letters and digits. Placeholders and strings of digits
/// alone are not random.
pub(crate) fn is_random(text: &[u8], least: usize) -> bool {
    if text.len() < least || is_placeholder(text) {
        return false;
    }
    // Generated passwords have much punctuation, which would otherwise split them into short pieces.
    let punctuation = text.iter().filter(|&&byte| byte.is_ascii_punctuation() && !b"-_./:+,".contains(&byte)).count();
    if punctuation >= 2 {
        let rest: Vec<u8> = text.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
        return rest.len() + punctuation >= least && is_random_chunk(&rest);
    }
    text.split(|byte| !byte.is_ascii_alphanumeric()).any(|chunk| chunk.len() >= least && is_random_chunk(chunk))
        || is_broken_noise(text, least)
}

/// Like [`is_random`], for a string under the name of a secret. Less evidence is needed: short words in camel case, or
/// a third of the letters in unpronounceable words.
pub(crate) fn is_random_under_name(text: &[u8], least: usize) -> bool {
    let is_unusual = |chunk: &[u8]| {
        let pieces = Pieces::of(chunk);
        let letters = chunk.len() - pieces.digits;
        let is_restless = pieces.words >= 4 && letters * 5 <= pieces.words * 17;
        let is_strange = pieces.strange >= 4 && pieces.strange * 3 >= letters;
        pieces.words >= 2 && (is_restless || is_strange)
    };
    let mut chunks = text.split(|byte| !byte.is_ascii_alphanumeric());
    is_random(text, least)
        || text.len() >= least
            && !is_placeholder(text)
            && (chunks.any(|chunk| chunk.len() >= least.max(10) && (is_unusual(chunk) || is_rare(chunk)))
                || is_mixed(text))
}

/// `true` if letters that are rare in every language are much more frequent than in words, as in `XYYDTJAEFW35`.
fn is_rare(chunk: &[u8]) -> bool {
    let letters = chunk.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let rare = chunk.iter().filter(|byte| b"jqxz".contains(&byte.to_ascii_lowercase())).count();
    let least = if letters < chunk.len() { 2 } else { 3 };
    rare >= least && rare * 10 >= letters
}

/// `true` if lower-case letters, capitals and digits alternate, ignoring punctuation, as in `bS7b-c8-Q6Uw5`.
fn is_mixed(text: &[u8]) -> bool {
    let kind = |byte: &u8| match byte {
        b'a'..=b'z' => Some(0_u8),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let kinds: Vec<u8> = text.iter().filter_map(kind).collect();
    let turns = kinds.iter().zip(kinds.iter().skip(1)).filter(|(before, kind)| before != kind).count();
    kinds.len() >= 10 && turns * 2 > kinds.len() && (0..3).all(|kind| kinds.contains(&kind))
}

/// `true` for keys that separators split into short chunks, as base64 and base64url sometimes do.
fn is_broken_noise(text: &[u8], least: usize) -> bool {
    let chunks = text.split(|byte| !byte.is_ascii_alphanumeric());
    let noisy: usize = chunks.filter(|chunk| chunk.len() >= 4 && is_random_chunk(chunk)).map(<[u8]>::len).sum();
    text.len() >= 2 * least && noisy * 2 > text.len() && noisy >= least
}

fn is_random_chunk(chunk: &[u8]) -> bool {
    let pieces = Pieces::of(chunk);
    if pieces.digits == chunk.len() {
        return false;
    }
    // Digits scattered among letters: `a91xK2`, not `sha256` or `2024`.
    let scattered = pieces.digits >= 2 && pieces.turns >= 3 && chunk.len() <= pieces.turns * 12;
    // Case changes more often than in camel case: `NGxDWRgVz`.
    let restless = chunk.len() >= 10 && pieces.words >= 4 && (chunk.len() - pieces.digits) * 5 <= pieces.words * 13;
    scattered
        || restless
        || (chunk.len() >= 8 && pieces.strange * 2 >= chunk.len() - pieces.digits && pieces.strange >= 4)
}

/// Division of a chunk of letters and digits into words.
#[derive(Default)]
struct Pieces {
    digits: usize,
    /// Number of changes between letters and digits.
    turns: usize,
    words: usize,
    /// Number of letters in unpronounceable words.
    strange: usize,
}

impl Pieces {
    fn of(chunk: &[u8]) -> Self {
        let mut pieces = Self::default();
        let mut start = 0;
        for (index, &byte) in chunk.iter().enumerate() {
            let next = at(chunk, index + 1);
            pieces.digits += usize::from(byte.is_ascii_digit());
            pieces.turns += usize::from(next.is_ascii_alphanumeric() && byte.is_ascii_digit() != next.is_ascii_digit());
            let after = at(chunk, index + 2);
            let ends = !next.is_ascii_alphanumeric()
                || byte.is_ascii_digit() != next.is_ascii_digit()
                || (byte.is_ascii_lowercase() && next.is_ascii_uppercase())
                || (byte.is_ascii_uppercase() && next.is_ascii_uppercase() && after.is_ascii_lowercase());
            if ends {
                let word = chunk.get(start..=index).unwrap_or_default();
                if !byte.is_ascii_digit() {
                    pieces.words += 1;
                    if !is_speakable(word) {
                        pieces.strange += word.len();
                    }
                }
                start = index + 1;
            }
        }
        // One or two odd words are abbreviations.
        if pieces.words <= 1 && pieces.strange < 10 {
            pieces.strange = 0;
        }
        pieces
    }
}

/// `true` if a word is pronounceable: it has vowels and no long run of consonants.
fn is_speakable(word: &[u8]) -> bool {
    let (mut vowels, mut consonants, mut longest, mut rare) = (0_usize, 0_usize, 0_usize, 0_usize);
    for &byte in word {
        let letter = byte.to_ascii_lowercase();
        if b"aeiouy".contains(&letter) {
            vowels += 1;
            consonants = 0;
        } else {
            consonants += 1;
            longest = longest.max(consonants);
            rare += usize::from(b"jqxz".contains(&letter));
        }
    }
    match word.len() {
        0..=2 => false,
        3..=4 => vowels >= 1,
        length => vowels * 6 >= length && vowels * 10 <= length * 7 && longest <= 5 && rare * 5 <= length,
    }
}

/// `true` if the string is a UUID with hyphens.
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && !is_placeholder(text)
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{BASE32, BASE62, Dice, HEX, URL_SAFE};

    #[test]
    fn random_text_is_recognised() {
        let mut dice = Dice::new(7);
        for (alphabet, length, least_of_thousand) in [
            (BASE62, 40, 998),
            (BASE62, 24, 985),
            (BASE62, 16, 970),
            (HEX, 32, 998),
            (URL_SAFE, 43, 998),
            (BASE32, 32, 990),
        ] {
            let found = (0..1000).filter(|_| is_random(dice.draw(alphabet, length).as_bytes(), 8)).count();
            assert!(found >= least_of_thousand, "{found} of 1000 at length {length} of {} letters", alphabet.len());
        }
    }

    #[test]
    fn text_written_by_a_person_is_not_random() {
        for name in [
            "github-token",
            "db/password",
            "my-secret-name",
            "ThisIsAVeryLongCamelCaseIdentifierThatIsNotASecretAtAll",
            "claude-opus-4-5-20251101",
            "eu-central-1",
            "production_database_2024",
            "readonly",
            "app-AbCdEf",
            "getHTTPSConnectionFromURLString",
            "prompts/reviewer/system",
            "internationalization",
            "v1.2.3-rc.1+build.5",
            "ENVIRONMENT_VARIABLE_NAME",
            "strengthsAndWeaknesses",
            "1234567890123456",
            "20260625154930",
            "string",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "xxxxxxxxxxxxxxxx",
            "0123456789abcdef0123456789abcdef",
            "deadbeefdeadbeef",
        ] {
            assert!(!is_random(name.as_bytes(), 8), "{name}");
        }
    }

    #[test]
    fn uuid_is_recognised_by_its_hyphens() {
        assert!(is_uuid(b"2d84ee75-29c0-4c8e-ace3-76b07fccb5eb"));
        assert!(!is_uuid(b"00000000-0000-0000-0000-000000000000"));
        assert!(!is_uuid(b"2d84ee75-29c0-4c8e-ace3-76b07fccb5e"));
    }
}
