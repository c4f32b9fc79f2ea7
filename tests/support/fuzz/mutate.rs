//! Small mutations of valid inputs, generated from a seed, so that they are the same in every run.
//!
//! Besides bytes, the mutations remove, duplicate, swap or replace whole words, lines, and JSON or TOML values. The
//! replacements are values that parsers often handle wrongly.

/// A generator of pseudo-random numbers.
pub struct Numbers(u64);

impl Numbers {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() >> 11).unwrap_or_default() % end
    }
}

/// Values that parsers often handle wrongly.
const WORDS: [&str; 40] = [
    "",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{7f}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\u{10ffff}",
    "/",
    "..",
    "~",
    "*",
    ":",
    "://",
    "@",
    "#",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    ",",
    "=",
    "null",
    "true",
    "-0",
    "1e400",
    "9007199254740993",
    "0x7fffffffffffffff",
    "1979-05-27T07:32:00Z",
    "\"\"\"",
    "{\"a\":1,\"a\":2}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "a.a.a.a.a.a.a.a.a.a.a.a",
];

/// `true` at the boundary of two words, values or lines.
fn is_edge(byte: u8) -> bool {
    matches!(byte, b'\n' | b' ' | b'"' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'=' | b'.' | b'/' | 0)
}

/// Returns a piece of the input: from one boundary to another, or a few bytes if there are no boundaries.
fn piece(input: &[u8], numbers: &mut Numbers) -> std::ops::Range<usize> {
    if input.is_empty() {
        return 0..0;
    }
    let at = numbers.below(input.len());
    let lines = numbers.below(4) == 0;
    let edge = |byte: &u8| if lines { *byte == b'\n' } else { is_edge(*byte) };
    let start = input[..at].iter().rposition(edge).map_or(0, |before| before + 1);
    let end = input[at..].iter().position(edge).map_or(input.len(), |after| at + after);
    if start >= end || end - start > 400 { at..(at + 1 + numbers.below(8)).min(input.len()) } else { start..end }
}

/// Returns the input with one to four mutations. Pieces can come from `others`.
pub fn mutated(input: &[u8], others: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let here = piece(&input, numbers);
        let there = piece(&input, numbers);
        let new: Vec<u8> = match numbers.below(9) {
            0 => Vec::new(),
            1 => input[here.clone()].repeat(2),
            2 => input[there].to_vec(),
            3 => WORDS[numbers.below(WORDS.len())].as_bytes().to_vec(),
            4 => {
                let other = &others[numbers.below(others.len())];
                other[piece(other, numbers)].to_vec()
            }
            5 => {
                let mut piece = input[here.clone()].to_vec();
                if !piece.is_empty() {
                    let at = numbers.below(piece.len());
                    piece[at] ^= 1 << numbers.below(8);
                }
                piece
            }
            6 => {
                let mut piece = input[here.clone()].to_vec();
                if !piece.is_empty() {
                    let at = numbers.below(piece.len());
                    piece[at] = u8::try_from(numbers.below(256)).unwrap_or_default();
                }
                piece
            }
            7 if numbers.below(8) == 0 => {
                let cut = numbers.below(input.len() + 1);
                input.truncate(cut);
                continue;
            }
            7 => input[here.clone()].iter().rev().copied().collect(),
            _ => input[here.clone()].repeat(1 + numbers.below(300)),
        };
        if input.len() + new.len() < 1 << 15 {
            input.splice(here, new);
        }
    }
    input
}
