//! One pass over a text: every rule is asked where it has something to say, and nowhere else. What is seen on the way
//! says whether the text has another reading at all (see `views`).

use super::assignments::Assignments;
use super::boundaries::{Bits, Block};
use super::decoded::{Encoded, SHORTEST};
use super::host_paths::HostPaths;
use super::views::{Joints, is_escape};
use super::windows::Spots;
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
    /// Joints within what may be a token.
    pub(super) joints: Spots,
}

/// What a byte is for whom, one bit each.
struct Uses([u16; 256]);

const STRUCTURED: u16 = 1;
const CREDENTIALS: u16 = 1 << 1;
const ENDPOINTS: u16 = 1 << 2;
const PATHS: u16 = 1 << 3;
const ASSIGNMENTS: u16 = 1 << 4;
/// A word of the list may begin with it.
const BEGINS: u16 = 1 << 5;
/// White space and the punctuation of sentences, which no word of the list is met at.
const PLAIN: u16 = 1 << 6;
/// An escape may begin with it, or it may be one.
const ESCAPES: u16 = 1 << 7;
/// A line or a gap between letters ends with it.
const JOINTS: u16 = 1 << 8;

/// Punctuation that words of the list begin with.
const BEGINNINGS: &[u8] = b"-:./${_";

static USES: Uses = Uses::new();

impl Uses {
    const fn new() -> Self {
        let none = Self([0; 256])
            .with(STRUCTURED, structured::MARKS)
            .with(CREDENTIALS, credentials::MARKS)
            .with(ENDPOINTS, endpoints::MARKS)
            .with(PATHS, host_paths::MARKS)
            .with(ASSIGNMENTS, assignments::MARKS)
            .with(BEGINS, BEGINNINGS)
            .with(PLAIN, b" \t\r\n!()*?;[]#|,`")
            .with(ESCAPES, b"\\%&\"'\x7f")
            .with(JOINTS, b" \n");
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
        encoded: Encoded::default(),
        joints: Joints::default(),
    };
    // What stands before the text ends everything.
    let mut before = Block { boundaries: u64::MAX, spaces: 0, not_base64: u64::MAX };
    boundaries::each_block(bytes, |first, block| {
        let starts = after(block.boundaries, before.boundaries, 1) & !block.boundaries;
        for place in Bits(starts) {
            words.beginning(bytes, first + place, &mut hits);
        }
        if ends_long_run(block.not_base64, before.not_base64) {
            reading.encoded(first, block.not_base64);
        }
        // One letter between two spaces: `g h p _`.
        let gaps = block.spaces & after(block.boundaries, before.boundaries, 2);
        for place in Bits(block.boundaries & !block.spaces | gaps) {
            reading.boundary(first + place, words, &mut hits);
        }
        before = block;
    });
    let seen = reading.seen;
    words.anywhere(bytes, &mut hits);
    words::in_order(&mut hits);
    tokens::look(bytes, &hits, found);
    if scope != Scope::Tokens {
        credentials::announced(bytes, &hits, found);
        endpoints::whole(place, text, found);
    }
    seen
}

/// The bits of a block moved up by a few places, those of the block before it moved in.
fn after(block: u64, before: u64, places: u32) -> u64 {
    block << places | before >> (64 - places)
}

/// Whether a run without any of these bits, as long as what is decoded, reaches into a block.
fn ends_long_run(block: u64, before: u64) -> bool {
    let mut run = !(u128::from(block) << 64 | u128::from(before));
    // A bit stays where the fifteen above it are of the run too: doubling looks at 2, 4, 8, 16.
    for places in [1, 2, 4, 8] {
        run &= run >> places;
    }
    // One that begins here or later ends in the block, or right before it.
    run >> (64 - SHORTEST) != 0
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
    encoded: Encoded,
    joints: Joints,
}

impl Reading<'_> {
    /// A byte that is neither letter nor digit, nor a space that only parts words.
    #[inline(always)]
    fn boundary(&mut self, index: usize, words: Words, hits: &mut Vec<Hit>) {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(index) else { return };
        let uses = USES.of(byte);
        if uses & JOINTS != 0 && self.joints.matters(bytes, index, byte) {
            self.seen.joints.add(index);
        }
        if uses & PLAIN == 0 {
            if uses & BEGINS != 0 {
                words.beginning(bytes, index, hits);
            }
            words.around(bytes, index, hits);
        }
        if uses & !(PLAIN | JOINTS | BEGINS) != 0 {
            self.mark(index, byte, uses);
        }
    }

    /// A block in which runs of base64 end, or through which one goes.
    #[inline(never)]
    fn encoded(&mut self, first: usize, ends: u64) {
        if self.scope != Scope::Whole {
            return;
        }
        let bytes = self.text.as_bytes();
        for place in Bits(ends) {
            let end = first + place;
            if end <= bytes.len()
                && let Some(start) = self.encoded.ended(bytes, end)
            {
                self.encoded.look_inside(self.text, start, self.found);
            }
        }
    }

    /// The rules that have `byte` among their marks.
    #[inline(never)]
    fn mark(&mut self, index: usize, byte: u8, uses: u16) {
        let bytes = self.text.as_bytes();
        // A point at the end of a sentence has nothing behind it that any rule asks for.
        if byte == b'.' && matches!(bytes.get(index + 1), Some(b' ' | b'\n') | None) {
            return;
        }
        let mut add = |leak: Option<_>| {
            if let Some((rule, span)) = leak {
                self.found.push(rule, span);
            }
        };
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
        if uses & ESCAPES != 0 && is_escape(self.text, index, byte) {
            self.seen.escapes.add(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_sixteen_is_seen_in_the_block_that_it_ends_in() {
        for length in 0..80_usize {
            for end in 0..64_usize {
                // Ends at bit `end` of the second block, and nothing else stands in either.
                let mut ends = [true; 128];
                let last = 64 + end;
                ends[last.saturating_sub(length)..last].fill(false);
                let bits = |from: usize| (0..64).filter(|place| ends[from + place]).map(|place| 1_u64 << place).sum();
                assert_eq!(ends_long_run(bits(64), bits(0)), length >= SHORTEST, "{length}, {end}");
            }
        }
    }

    #[test]
    fn every_mark_is_a_boundary() {
        for byte in 0..=u8::MAX {
            assert!(USES.of(byte) == 0 || !byte.is_ascii_alphanumeric(), "{byte}");
        }
    }

    #[test]
    fn no_mark_of_a_rule_is_plain_but_the_comma() {
        let rules = STRUCTURED | CREDENTIALS | ENDPOINTS | PATHS | ASSIGNMENTS | ESCAPES | BEGINS;
        for byte in 0..=u8::MAX {
            let uses = USES.of(byte);
            assert!(uses & PLAIN == 0 || uses & rules == 0 || byte == b',', "{byte}");
        }
    }
}
