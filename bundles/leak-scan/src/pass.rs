//! One pass over a text.
//!
//! The pass calls each rule only at the bytes and words where the rule can start. It also records where the text has
//! another reading (see `views`).

use std::ops::Range;

use crate::ascii::{at, is_space, part};
use crate::assignments::Assignments;
use crate::boundaries::{BLOCK, Bits, Blocks};
use crate::decoded::{EncodedRuns, MIN_RUN_BYTES};
use crate::findings::Findings;
use crate::host_paths::HostPaths;
use crate::tables::{self, Tables};
use crate::views::{Joints, is_escape, joints};
use crate::windows::{MARGIN_BYTES, Spots};
use crate::words::{Hit, Words};
use crate::{Place, assignments, boundaries, credentials, endpoints, host_paths, structured, tokens, words};

/// Set of rules to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All rules, also inside base64 and hex.
    Whole,
    /// All rules, but not inside base64 and hex.
    Plain,
    /// Rules for credentials with a known shape.
    Tokens,
}

/// Places where the text has another reading.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Rereads {
    /// Escapes and look-alikes.
    pub(crate) escapes: Spots,
    /// Joints inside possible tokens. Not recorded for [`Scope::Tokens`].
    pub(crate) joints: Spots,
}

/// Uses of each byte as a bit set.
struct ByteUses([u16; 256]);

const STRUCTURED: u16 = 1;
const CREDENTIALS: u16 = 1 << 1;
const ENDPOINTS: u16 = 1 << 2;
const PATHS: u16 = 1 << 3;
const ASSIGNMENTS: u16 = 1 << 4;
/// Announcements outside long runs are looked up at this byte.
const ANNOUNCEMENTS: u16 = 1 << 5;
/// The byte starts an escape or needs one.
const ESCAPES: u16 = 1 << 6;
const TABLES: u16 = 1 << 7;

/// Punctuation at which announcements are looked up.
pub(crate) const ANNOUNCEMENT_MARKS: &[u8] = b"-:\"";

static USES: ByteUses = ByteUses::new();

impl ByteUses {
    const fn new() -> Self {
        let none = Self([0; 256])
            .with(STRUCTURED, structured::MARKS)
            .with(CREDENTIALS, credentials::MARKS)
            .with(ENDPOINTS, endpoints::MARKS)
            .with(PATHS, host_paths::MARKS)
            .with(ASSIGNMENTS, assignments::MARKS)
            .with(TABLES, tables::MARKS)
            .with(ANNOUNCEMENTS, ANNOUNCEMENT_MARKS)
            .with(ESCAPES, b"\\%&\"'\x7f");
        none.with_range(ESCAPES, 0x00, 0x08)
            .with_range(ESCAPES, 0x0b, 0x0c)
            .with_range(ESCAPES, 0x0e, 0x1f)
            .with_range(ESCAPES, 0x80, 0xff)
    }

    const fn with(mut self, use_: u16, bytes: &[u8]) -> Self {
        let mut rest = bytes;
        while let [byte, more @ ..] = rest {
            self = self.with_range(use_, *byte, *byte);
            rest = more;
        }
        self
    }

    #[allow(clippy::indexing_slicing, reason = "a byte is an index of 256, and constants cannot ask `get`")]
    const fn with_range(mut self, use_: u16, first: u8, last: u8) -> Self {
        let mut byte = first as usize;
        while byte <= last as usize {
            self.0[byte] |= use_;
            byte += 1;
        }
        self
    }

    #[inline(always)]
    fn of(&self, byte: u8) -> u16 {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// Applies the rules of `scope` to a text, adds findings to `found`, and returns the places that have another reading.
pub(crate) fn run(scope: Scope, place: Place, text: &str, found: &mut Findings) -> Rereads {
    run_with_pauses(scope, place, text, found, &mut || {})
}

/// Number of bytes between pauses.
const PAUSE_INTERVAL_BYTES: usize = 16 << 10;

/// Like [`run`], with a pause every [`PAUSE_INTERVAL_BYTES`].
pub(crate) fn run_with_pauses(
    scope: Scope,
    place: Place,
    text: &str,
    found: &mut Findings,
    pause: &mut dyn FnMut(),
) -> Rereads {
    let bytes = text.as_bytes();
    let words = Words::all();
    let mut hits: Vec<Hit> = Vec::new();
    let mut pass = Pass {
        scope,
        place,
        text,
        found,
        rereads: Rereads::default(),
        paths: HostPaths::default(),
        assignments: Assignments::default(),
        tables: Tables::default(),
        encoded: EncodedRuns::default(),
        joints: Joints::default(),
    };
    // Blocks that contain long runs, with adjacent blocks merged.
    let mut runs: Vec<Range<usize>> = Vec::new();
    boundaries::each_block(bytes, |first, around| {
        if first % PAUSE_INTERVAL_BYTES == PAUSE_INTERVAL_BYTES - BLOCK {
            pause();
        }
        let block = around.here;
        let starts = block.letters & !around.before(|block| block.letters, 1);
        // Every word in the list has at least three letters.
        let goes_on = around.behind(|block| block.letters, 1) & around.behind(|block| block.letters, 2);
        words.at_word_starts(bytes, first, Bits(starts & goes_on), &mut hits);
        let run = LongRuns::of(around);
        if run.within != 0 {
            match runs.last_mut() {
                Some(last) if last.end == first => last.end = first + BLOCK,
                _ => runs.push(first..first + BLOCK),
            }
        }
        for place in Bits(starts & run.begins) {
            words.at_run_start(bytes, first + place, &mut hits);
        }
        if scope == Scope::Whole {
            for place in Bits(run.base64_ends) {
                pass.encoded(first + place);
            }
        }
        if scope != Scope::Tokens {
            for place in Bits(joints(around)) {
                pass.joint(first + place, place, around);
            }
        }
        for place in Bits(marks(around)) {
            pass.boundary(first + place, run.within >> place & 1 == 1, words, &mut hits);
        }
    });
    let rereads = pass.rereads;
    for run in runs.into_iter().filter(|run| has_capital(part(bytes, run.start, run.end))) {
        words.anywhere(bytes, run, &mut hits);
    }
    words::in_order(&mut hits);
    tokens::find(bytes, &hits, found);
    if scope != Scope::Tokens {
        credentials::find_announced(bytes, &hits, found);
        endpoints::find_whole(place, text, found);
    }
    rereads
}

/// `true` if the text has a capital. Every word that can be anywhere has one.
fn has_capital(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks(BLOCK);
    blocks.any(|block| block.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase()))
}

/// Returns the bytes at which a rule may start.
#[inline(always)]
fn marks(around: Blocks<'_>) -> u64 {
    let block = around.here;
    let is_behind_quote = around.before(|block| block.quotes, 1);
    let ends_sentence = block.points & around.behind(|block| block.spaces | block.feeds, 1);
    // An apostrophe, or the start of a quotation.
    let is_before_letter = block.quotes & around.behind(|block| block.letters, 1);
    !(block.letters
        | block.spaces
        | block.feeds & !short_line_ends(around)
        | block.plain
        | block.commas & !(is_behind_quote | around.behind(|block| block.base64, 1))
        | ends_sentence
        | is_before_letter)
}

/// Returns the ends of lines of at most 64 bytes that may be a label for the line below: they end with a word, not with
/// a sentence.
#[inline(always)]
fn short_line_ends(around: Blocks<'_>) -> u64 {
    let block = around.here;
    if block.feeds == 0 {
        return 0;
    }
    let ends_label = !around.before(|block| block.feeds | block.points | block.commas, 1);
    let has_word = around.before(|block| block.letters, 2) | around.before(|block| block.letters, 3);
    let ends = block.feeds & ends_label & has_word;
    // A block of spaces alone is treated as the block before the text, where the first line starts.
    let first = if around.before.spaces == u64::MAX { u64::MAX } else { around.before.feeds };
    let starts = u128::from(first) | u128::from(block.feeds) << 64;
    let near = [1, 2, 4, 8, 16, 32].into_iter().fold(starts << 1, |near, places| near | near << places);
    ends & (near >> 64) as u64
}

// `Block::long_base64` marks runs of this length.
const _: () = assert!(MIN_RUN_BYTES == 16);

/// Runs of at least sixteen characters that cross a block. Except for words that are searched everywhere, no token is
/// shorter.
struct LongRuns {
    /// Bytes followed by at least fifteen more bytes of a run.
    begins: u64,
    /// Bytes inside a run.
    within: u64,
    /// Bytes after the end of a base64 run.
    base64_ends: u64,
}

impl LongRuns {
    #[inline(always)]
    fn of(around: Blocks<'_>) -> Self {
        let (here, behind) = (around.here.long_graphic, around.behind.long_graphic);
        let base64_ends = around.before(|block| block.long_base64, 1) & !around.here.base64;
        if here | behind == 0 {
            return Self { begins: 0, within: 0, base64_ends };
        }
        // `within` covers the sixteen bytes before each end in this block. `goes_on` covers the part in this block of
        // runs that reach sixteen bytes in the next one.
        let within = [1, 2, 4, 8].into_iter().fold(here, |within, places| within | within >> places);
        let goes_on = [1, 2, 4, 8].into_iter().fold(behind << 49, |within, places| within | within << places);
        Self { begins: here >> 15 | behind << 49, within: within | goes_on, base64_ends }
    }
}

/// State of a pass.
struct Pass<'a> {
    scope: Scope,
    place: Place,
    text: &'a str,
    found: &'a mut Findings,
    rereads: Rereads,
    paths: HostPaths,
    assignments: Assignments,
    tables: Tables,
    encoded: EncodedRuns,
    joints: Joints,
}

impl Pass<'_> {
    /// Handles a byte that is not a letter, a digit or punctuation that only separates words.
    #[inline(always)]
    fn boundary(&mut self, index: usize, is_in_run: bool, words: Words, hits: &mut Vec<Hit>) {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(index) else { return };
        let uses = USES.of(byte);
        if is_in_run {
            words.at_run_punctuation(bytes, index, hits);
        }
        if uses & ANNOUNCEMENTS != 0 {
            words.at_punctuation(bytes, index, hits);
        }
        if uses & !ANNOUNCEMENTS != 0 {
            self.mark(index, byte, uses);
        }
    }

    /// Handles a byte at which a token may be broken. `place` is its position in the block.
    #[inline(always)]
    fn joint(&mut self, index: usize, place: usize, around: Blocks<'_>) {
        if let Some((token, margin)) = self.joints.token(self.text.as_bytes(), index, place, around) {
            self.rereads.joints.add(token, margin);
        }
    }

    /// Handles the end of a long base64 run.
    #[inline(never)]
    fn encoded(&mut self, end: usize) {
        let bytes = self.text.as_bytes();
        if end <= bytes.len()
            && let Some(start) = self.encoded.ended(bytes, end)
        {
            self.encoded.scan_inside(self.text, start..end, self.found);
        }
    }

    /// Applies the rules that have `byte` among their marks.
    #[inline(never)]
    fn mark(&mut self, index: usize, byte: u8, uses: u16) {
        let bytes = self.text.as_bytes();
        let mut add = |leak: Option<_>| {
            if let Some((rule, span)) = leak {
                self.found.push(rule, span);
            }
        };
        // Before white space, a colon can only separate a name from its value.
        if byte == b':' && is_space(at(bytes, index + 1)) {
            if self.scope != Scope::Tokens {
                self.assignments.at_mark(byte, bytes, index, self.found);
            }
            return;
        }
        if uses & STRUCTURED != 0 {
            add(structured::at_mark(byte, bytes, index));
        }
        if self.scope == Scope::Tokens {
            return;
        }
        if uses & CREDENTIALS != 0 {
            add(credentials::at_mark(byte, bytes, index));
        }
        if uses & ENDPOINTS != 0 {
            add(endpoints::at_mark(self.place, byte, bytes, index));
        }
        if uses & PATHS != 0 {
            self.paths.at_mark(self.place, byte, bytes, index, self.found);
        }
        if uses & ASSIGNMENTS != 0 {
            self.assignments.at_mark(byte, bytes, index, self.found);
        }
        if uses & TABLES != 0 {
            self.tables.at_mark(byte, bytes, index, self.found);
        }
        if uses & ESCAPES != 0 && is_escape(self.text, index, byte) {
            self.rereads.escapes.add(index..index + 1, MARGIN_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Dice;

    #[test]
    fn every_mark_is_a_boundary() {
        for byte in 0..=u8::MAX {
            assert!(USES.of(byte) == 0 || !byte.is_ascii_alphanumeric(), "{byte}");
        }
    }

    /// A comma counts after a quote, and continuation bytes do not start an escape.
    #[test]
    fn skipped_bytes_are_not_marks_of_rules() {
        for byte in 0..=u8::MAX {
            let mut is_mark = false;
            boundaries::each_block(&[byte; BLOCK], |first, around| is_mark |= first == 0 && marks(around) != 0);
            let is_exception = matches!(byte, b',' | b'\n' | 0x80..0xc0);
            assert!(is_mark || USES.of(byte) == 0 || is_exception, "{byte}");
            assert!(!is_mark || !byte.is_ascii_alphanumeric(), "{byte}");
        }
        let mut found = Vec::new();
        boundaries::each_block(br#"don't, "a", b. (c): x.y"#, |_, around| found.extend(Bits(marks(around))));
        assert_eq!(found, [9, 10, 18, 21]);
        let ends = |text: &str| {
            let mut found = Vec::new();
            boundaries::each_block(text.as_bytes(), |first, around| {
                found.extend(Bits(short_line_ends(around)).map(|place| first + place));
            });
            found
        };
        assert_eq!(ends("label\nlabel \nlabel  \nA sentence.\n\nlabel)\r\nx\n"), [5, 12, 20, 41]);
        for before in [0, 1, 57, 64, 100] {
            let line = "words ".repeat(20);
            let text = format!("{}\n{} label\n{line}label\n", " ".repeat(before), "x".repeat(57));
            assert_eq!(ends(&text), [before + 64], "{before}");
        }
    }

    #[test]
    fn long_runs_are_found_across_blocks() {
        let mut dice = Dice::new(6);
        for _ in 0..200 {
            let words = (0..40).map(|_| {
                let length = [3, 14, 15, 16, 17, 90][dice.below(6)];
                let end = [" ", ".", "\n"][dice.below(3)];
                dice.draw("ab/", length) + end
            });
            let text: String = words.collect();
            let bytes = text.as_bytes();
            let is_long =
                |from: usize| part(bytes, from, from + 16).iter().filter(|byte| byte.is_ascii_graphic()).count() == 16;
            let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'/';
            boundaries::each_block(bytes, |first, around| {
                let run = LongRuns::of(around);
                for place in 0..BLOCK {
                    let at = first + place;
                    let is = |bits: u64| bits >> place & 1 == 1;
                    assert_eq!(is(run.begins), is_long(at), "{text:?} at {at}");
                    assert_eq!(is(run.within), (at.saturating_sub(15)..=at).any(is_long), "{text:?} at {at}");
                    let before = part(bytes, 0, at).iter().rev().take_while(is_base64).count();
                    let ends = before >= MIN_RUN_BYTES && bytes.get(at).is_none_or(|byte| !is_base64(&byte));
                    assert!(is(run.base64_ends) == ends || at > bytes.len(), "{text:?} at {at}");
                }
            });
        }
    }
}
