//! Finds a word in bytes in several encodings.

/// An encoding and its form of a word.
struct Needle {
    encoding: &'static str,
    bytes: Vec<u8>,
    /// `true` if upper and lower case are equal.
    any_case: bool,
}

/// The nine encodings: plain, other case, hexadecimal, base64 in both alphabets, percent-encoded, JSON-escaped, UTF-16,
/// and reversed.
pub(super) const ENCODINGS: [&str; 9] =
    ["as it is", "another case", "hex", "base64", "base64url", "percent", "JSON escapes", "UTF-16", "reversed"];

/// Returns the encoding in which the bytes contain the word.
pub(super) fn find(text: &[u8], word: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let within = |needle: &Needle| {
        let (text, bytes) = if needle.any_case {
            (&lower[..], needle.bytes.to_ascii_lowercase())
        } else {
            (text, needle.bytes.clone())
        };
        text.windows(bytes.len()).any(|window| window == bytes)
    };
    needles(word).iter().find(|needle| within(needle)).map(|needle| needle.encoding)
}

fn needles(word: &str) -> Vec<Needle> {
    let each = |encode: fn(u8) -> String| word.bytes().map(encode).collect::<String>().into_bytes();
    let [plain, case, hex, standard, url, percent, json, utf16, reversed] = ENCODINGS;
    let mut needles = Vec::new();
    let mut add = |encoding, bytes, any_case| needles.push(Needle { encoding, bytes, any_case });
    add(plain, word.as_bytes().to_vec(), false);
    add(case, word.as_bytes().to_vec(), true);
    add(hex, each(|byte| format!("{byte:02x}")), true);
    for offset in 0..3 {
        add(standard, base64(word, offset, b"+/"), false);
        add(url, base64(word, offset, b"-_"), false);
    }
    add(percent, each(|byte| format!("%{byte:02x}")), true);
    add(json, each(|byte| format!("\\u{byte:04x}")), true);
    add(utf16, word.encode_utf16().flat_map(u16::to_le_bytes).collect(), true);
    add(reversed, word.bytes().rev().collect(), true);
    needles
}

/// Returns the part of the base64 form that does not depend on the surrounding bytes, for an offset of the word.
fn base64(word: &str, offset: usize, last: &[u8; 2]) -> Vec<u8> {
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    let bytes: Vec<u8> = std::iter::repeat_n(0, offset).chain(word.bytes()).collect();
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let (first, end) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    (first..end).map(|digit| alphabet[(0..6).fold(0, |sum, at| sum << 1 | bit(digit * 6 + at))]).collect()
}

/// Encodes bytes in base64.
fn whole(bytes: &[u8], last: &[u8; 2]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(3), 0);
    base64(std::str::from_utf8(&padded).expect("text"), 0, last)
}

#[test]
fn planted_word_is_found_in_each_encoding() {
    // The two base64 alphabets differ for this word at every alignment.
    let word = "canary-~~~???>>>~~~-5a1f";
    let planted = |encoding: &str, before: &str| -> Vec<u8> {
        let each = |encode: fn(u8) -> String| word.bytes().map(encode).collect::<String>().into_bytes();
        let around = format!("{before}{word}, and more");
        match encoding {
            "as it is" => around.into_bytes(),
            "another case" => around.to_uppercase().into_bytes(),
            "hex" => each(|byte| format!("{byte:02X}")),
            "base64" => whole(around.as_bytes(), b"+/"),
            "base64url" => whole(around.as_bytes(), b"-_"),
            "percent" => each(|byte| format!("%{byte:02X}")),
            "JSON escapes" => each(|byte| format!("\\u{byte:04X}")),
            "UTF-16" => around.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "reversed" => around.bytes().rev().collect(),
            other => panic!("no encoding {other}"),
        }
    };
    for encoding in ENCODINGS {
        for before in ["", "x", "xy", "xyz"] {
            let text = [b"before ", &planted(encoding, before)[..], b" after"].concat();
            assert_eq!(find(&text, word), Some(encoding), "{before}");
            assert_eq!(find(&text, "another-word-7"), None);
        }
    }
    assert_eq!(base64("Man", 0, b"+/"), b"TWFu");
}
