//! One pass over a text: every rule is asked where it has something to say, and nowhere else. What is seen on the way
//! says whether the text has another reading at all (see `views`).

use std::ops::Range;

use super::ascii::{at, is_space, part};
use super::assignments::Assignments;
use super::boundaries::{BLOCK, Bits, Blocks};
use super::decoded::{Encoded, SHORTEST};
use super::host_paths::HostPaths;
use super::tables::{self, Tables};
use super::views::{Joints, is_escape, joints};
use super::windows::{MARGIN, Spots};
use super::words::{Hit, Words};
use super::{Findings, Place, assignments, boundaries, credentials, endpoints, host_paths, structured, tokens, words};

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them, and inside of base64 and hex too.
    Whole,
    /// All of them.
    Plain,
    /// Those of credentials that have a shape.
    Tokens,
}

/// Where a text may say something else.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Escapes and look-alikes.
    pub(super) escapes: Spots,
    /// Joints within what may be a token; none where only tokens are asked for.
    pub(super) joints: Spots,
}

/// What a byte is for whom, one bit each.
struct Uses([u16; 256]);

const STRUCTURED: u16 = 1;
const CREDENTIALS: u16 = 1 << 1;
const ENDPOINTS: u16 = 1 << 2;
const PATHS: u16 = 1 << 3;
const ASSIGNMENTS: u16 = 1 << 4;
/// A word of the list that stands outside of long runs is met at it.
const ANNOUNCES: u16 = 1 << 5;
/// An escape may begin with it, or it may be one.
const ESCAPES: u16 = 1 << 6;
const TABLES: u16 = 1 << 7;

/// Punctuation that announcements are met at.
pub(super) const ANNOUNCING: &[u8] = b"-:\"";

static USES: Uses = Uses::new();

impl Uses {
    const fn new() -> Self {
        let none = Self([0; 256])
            .with(STRUCTURED, structured::MARKS)
            .with(CREDENTIALS, credentials::MARKS)
            .with(ENDPOINTS, endpoints::MARKS)
            .with(PATHS, host_paths::MARKS)
            .with(ASSIGNMENTS, assignments::MARKS)
            .with(TABLES, tables::MARKS)
            .with(ANNOUNCES, ANNOUNCING)
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

/// Asks the rules of `scope` about a text, adds what they find to `found`, and says what else there is to read.
pub(super) fn look(scope: Scope, place: Place, text: &str, found: &mut Findings) -> Seen {
    look_in_turns(scope, place, text, found, &mut || {})
}

/// Bytes that are read in one turn.
const TURN: usize = 16 << 10;

/// The same, with a pause after every turn.
pub(super) fn look_in_turns(
    scope: Scope,
    place: Place,
    text: &str,
    found: &mut Findings,
    pause: &mut dyn FnMut(),
) -> Seen {
    let bytes = text.as_bytes();
    let words = Words::all();
    let mut hits: Vec<Hit> = Vec::new();
    let mut reading = Reading {
        scope,
        place,
        text,
        found,
        seen: Seen::default(),
        paths: HostPaths::default(),
        assignments: Assignments::default(),
        tables: Tables::default(),
        encoded: Encoded::default(),
        joints: Joints::default(),
    };
    // Blocks with long runs in them, brought together.
    let mut runs: Vec<Range<usize>> = Vec::new();
    boundaries::each_block(bytes, |first, around| {
        if first % TURN == TURN - BLOCK {
            pause();
        }
        let block = around.here;
        let starts = block.letters & !around.before(|block| block.letters, 1);
        // None of them is shorter than three letters.
        let goes_on = around.behind(|block| block.letters, 1) & around.behind(|block| block.letters, 2);
        words.spoken(bytes, first, Bits(starts & goes_on), &mut hits);
        let run = Through::of(around);
        if run.within != 0 {
            match runs.last_mut() {
                Some(last) if last.end == first => last.end = first + BLOCK,
                _ => runs.push(first..first + BLOCK),
            }
        }
        for place in Bits(starts & run.begins) {
            words.prefix(bytes, first + place, &mut hits);
        }
        if scope == Scope::Whole {
            for place in Bits(run.encoded_ends) {
                reading.encoded(first + place);
            }
        }
        if scope != Scope::Tokens {
            for place in Bits(joints(around)) {
                reading.joint(first + place, place, around);
            }
        }
        for place in Bits(marks(around)) {
            reading.boundary(first + place, run.within >> place & 1 == 1, words, &mut hits);
        }
    });
    let seen = reading.seen;
    for run in runs.into_iter().filter(|run| has_capital(part(bytes, run.start, run.end))) {
        words.anywhere(bytes, run, &mut hits);
    }
    words::in_order(&mut hits);
    tokens::look(bytes, &hits, found);
    if scope != Scope::Tokens {
        credentials::announced(bytes, &hits, found);
        endpoints::whole(place, text, found);
    }
    seen
}

/// Whether one of the words may stand there that stand anywhere: each has capitals.
fn has_capital(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks(BLOCK);
    blocks.any(|block| block.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase()))
}

/// Bytes at which a rule may have something to say.
#[inline(always)]
fn marks(around: Blocks<'_>) -> u64 {
    let block = around.here;
    let is_behind_quote = around.before(|block| block.quotes, 1);
    let ends_sentence = block.points & around.behind(|block| block.spaces | block.feeds, 1);
    // An apostrophe, or the beginning of a quotation.
    let is_before_letter = block.quotes & around.behind(|block| block.letters, 1);
    !(block.letters
        | block.spaces
        | block.feeds & !short_line_ends(around)
        | block.plain
        | block.commas & !(is_behind_quote | around.behind(|block| block.base64, 1))
        | ends_sentence
        | is_before_letter)
}

/// Ends of lines of at most 64 bytes that may be a label for the line below: of words, not of a sentence.
#[inline(always)]
fn short_line_ends(around: Blocks<'_>) -> u64 {
    let block = around.here;
    if block.feeds == 0 {
        return 0;
    }
    let ends_label = !around.before(|block| block.feeds | block.points | block.commas, 1);
    let has_word = around.before(|block| block.letters, 2) | around.before(|block| block.letters, 3);
    let ends = block.feeds & ends_label & has_word;
    // Spaces alone stand before the text too, where its first line begins.
    let first = if around.before.spaces == u64::MAX { u64::MAX } else { around.before.feeds };
    let starts = u128::from(first) | u128::from(block.feeds) << 64;
    let near = [1, 2, 4, 8, 16, 32].into_iter().fold(starts << 1, |near, places| near | near << places);
    ends & (near >> 64) as u64
}

// What `Block` knows of long runs of base64.
const _: () = assert!(SHORTEST == 16);

/// Runs of sixteen and more that go through a block. But for what is looked for in all words, no token is shorter.
struct Through {
    /// Bytes that fifteen more of a run follow.
    begins: u64,
    /// Bytes of one.
    within: u64,
    /// What follows such a run of base64.
    encoded_ends: u64,
}

impl Through {
    #[inline(always)]
    fn of(around: Blocks<'_>) -> Self {
        let (here, behind) = (around.here.long_graphic, around.behind.long_graphic);
        let encoded_ends = around.before(|block| block.long_base64, 1) & !around.here.base64;
        if here | behind == 0 {
            return Self { begins: 0, within: 0, encoded_ends };
        }
        // Sixteen are within that end in this block, and of those that end in the next one the part that is here.
        let within = [1, 2, 4, 8].into_iter().fold(here, |within, places| within | within >> places);
        let goes_on = [1, 2, 4, 8].into_iter().fold(behind << 49, |within, places| within | within << places);
        Self { begins: here >> 15 | behind << 49, within: within | goes_on, encoded_ends }
    }
}

/// A pass that is under way.
struct Reading<'a> {
    scope: Scope,
    place: Place,
    text: &'a str,
    found: &'a mut Findings,
    seen: Seen,
    paths: HostPaths,
    assignments: Assignments,
    tables: Tables,
    encoded: Encoded,
    joints: Joints,
}

impl Reading<'_> {
    /// A byte that is neither letter nor digit, nor punctuation that only parts words.
    #[inline(always)]
    fn boundary(&mut self, index: usize, is_in_run: bool, words: Words, hits: &mut Vec<Hit>) {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(index) else { return };
        let uses = USES.of(byte);
        if is_in_run {
            words.prefix_around(bytes, index, hits);
        }
        if uses & ANNOUNCES != 0 {
            words.announced(bytes, index, hits);
        }
        if uses & !ANNOUNCES != 0 {
            self.mark(index, byte, uses);
        }
    }

    /// A byte at which a token may have been broken; `place` is its place in the block.
    #[inline(always)]
    fn joint(&mut self, index: usize, place: usize, around: Blocks<'_>) {
        if let Some((token, margin)) = self.joints.token(self.text.as_bytes(), index, place, around) {
            self.seen.joints.add(token, margin);
        }
    }

    /// What follows a long run of base64.
    #[inline(never)]
    fn encoded(&mut self, end: usize) {
        let bytes = self.text.as_bytes();
        if end <= bytes.len()
            && let Some(start) = self.encoded.ended(bytes, end)
        {
            self.encoded.look_inside(self.text, start..end, self.found);
        }
    }

    /// The rules that have `byte` among their marks.
    #[inline(never)]
    fn mark(&mut self, index: usize, byte: u8, uses: u16) {
        let bytes = self.text.as_bytes();
        let mut add = |leak: Option<_>| {
            if let Some((rule, span)) = leak {
                self.found.push(rule, span);
            }
        };
        // Before white space, a colon may part a name from its value, and nothing else.
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
            self.seen.escapes.add(index..index + 1, MARGIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Dice;
    use super::*;

    #[test]
    fn every_mark_is_a_boundary() {
        for byte in 0..=u8::MAX {
            assert!(USES.of(byte) == 0 || !byte.is_ascii_alphanumeric(), "{byte}");
        }
    }

    /// A comma counts behind a quote, and what goes on with a character is no beginning of an escape.
    #[test]
    fn nothing_that_is_passed_over_is_the_mark_of_a_rule() {
        for byte in 0..=u8::MAX {
            let mut is_mark = false;
            boundaries::each_block(&[byte; BLOCK], |first, around| is_mark |= first == 0 && marks(around) != 0);
            let is_told_apart = matches!(byte, b',' | b'\n' | 0x80..0xc0);
            assert!(is_mark || USES.of(byte) == 0 || is_told_apart, "{byte}");
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
    fn long_runs_are_told_over_the_edges_of_blocks() {
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
                let run = Through::of(around);
                for place in 0..BLOCK {
                    let at = first + place;
                    let is = |bits: u64| bits >> place & 1 == 1;
                    assert_eq!(is(run.begins), is_long(at), "{text:?} at {at}");
                    assert_eq!(is(run.within), (at.saturating_sub(15)..=at).any(is_long), "{text:?} at {at}");
                    let before = part(bytes, 0, at).iter().rev().take_while(is_base64).count();
                    let ends = before >= SHORTEST && bytes.get(at).is_none_or(|byte| !is_base64(&byte));
                    assert!(is(run.encoded_ends) == ends || at > bytes.len(), "{text:?} at {at}");
                }
            });
        }
    }
}
