//! Classifies the bytes of a text, 64 at a time, as bit masks.
//!
//! In prose, one byte in six is neither letter nor digit, and nearly all of those are spaces between words and points
//! at the end of sentences. Bit arithmetic removes them, so that `pass` visits only the remaining bytes one by one.

use wide::u8x16;

/// Bytes that are classified together.
pub(crate) const BLOCK: usize = 64;

/// Set of bytes of a block. The lowest bit is the first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bits(pub(crate) u64);

impl Bits {
    /// Removes the lowest bit and returns its position, or 64 if the set is empty. Has no branch.
    #[inline(always)]
    pub(crate) fn take_or_end(&mut self) -> usize {
        let Self(bits) = *self;
        self.0 = bits & bits.wrapping_sub(1);
        bits.trailing_zeros() as usize
    }
}

impl Iterator for Bits {
    type Item = usize;

    /// Removes the lowest bit and returns its position.
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let Self(bits) = *self;
        (bits != 0).then(|| {
            self.0 = bits & (bits - 1);
            bits.trailing_zeros() as usize
        })
    }
}

/// Classes of the 64 bytes of a block, one bit mask for each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// ASCII letters and digits.
    pub(crate) letters: u64,
    pub(crate) spaces: u64,
    pub(crate) feeds: u64,
    pub(crate) points: u64,
    pub(crate) commas: u64,
    /// Double quotes, single quotes and backticks.
    pub(crate) quotes: u64,
    /// Other white space, punctuation that no rule starts at, and UTF-8 continuation bytes.
    pub(crate) plain: u64,
    /// Letters of base64 and base64url, without padding.
    pub(crate) base64: u64,
    /// Bytes that tokens consist of.
    pub(crate) token: u64,
    /// ASCII characters except white space and controls.
    pub(crate) graphic: u64,
    /// The sixteenth and every later byte of a run of `graphic`.
    pub(crate) long_graphic: u64,
    /// The sixteenth and every later byte of a run of `base64`.
    pub(crate) long_base64: u64,
}

impl Block {
    /// Block of spaces, which stands for the bytes outside the text.
    const OUTSIDE: Self = Self {
        letters: 0,
        spaces: u64::MAX,
        feeds: 0,
        points: 0,
        commas: 0,
        quotes: 0,
        plain: 0,
        base64: 0,
        token: 0,
        graphic: 0,
        long_graphic: 0,
        long_base64: 0,
    };

    #[inline(always)]
    fn of(bytes: &[u8; BLOCK], before: &Self) -> Self {
        let mut block = Self::default();
        let (sixteens, _) = bytes.as_chunks::<16>();
        for (place, sixteen) in sixteens.iter().enumerate() {
            let bytes = u8x16::new(*sixteen);
            let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
            let within = |bytes: u8x16, first: u8, last: u8| {
                let above = bytes - u8x16::splat(first);
                above.min(u8x16::splat(last - first)).simd_eq(above)
            };
            let add = |bits: &mut u64, are: u8x16| *bits |= u64::from(are.to_bitmask()) << (place * 16);
            let letters = within(bytes | u8x16::splat(0x20), b'a', b'z') | within(bytes, b'0', b'9');
            // Pairs of characters that differ in one bit.
            let without_4 = bytes & u8x16::splat(!4);
            let either_4 = |byte: u8| without_4.simd_eq(u8x16::splat(byte & !4));
            let tab_or_return = either_4(b'\t');
            let semicolon_or_question = either_4(b';');
            let plus_or_slash = either_4(b'+');
            let brackets = within(bytes, b'(', b')');
            let (points, backticks) = (is(b'.'), is(b'`'));
            let base64 = letters | plus_or_slash | is(b'-') | is(b'_');
            let plain = (tab_or_return | semicolon_or_question | is(b'!'))
                | (brackets | is(b'[') | is(b']'))
                | backticks
                // UTF-8 continuation bytes.
                | (bytes & u8x16::splat(0xc0)).simd_eq(u8x16::splat(0x80));
            add(&mut block.letters, letters);
            add(&mut block.spaces, is(b' '));
            add(&mut block.feeds, is(b'\n'));
            add(&mut block.points, points);
            add(&mut block.commas, is(b','));
            add(&mut block.quotes, is(b'"') | is(b'\'') | backticks);
            add(&mut block.plain, plain);
            add(&mut block.base64, base64);
            add(&mut block.token, base64 | points | is(b'='));
            add(&mut block.graphic, within(bytes, b'!', b'~'));
        }
        block.long_graphic = sixteen(before.graphic, block.graphic);
        block.long_base64 = sixteen(before.base64, block.base64);
        block
    }
}

/// Returns the bits of `here` that are the last of sixteen set bits in a row. `before` holds the preceding 64 bits.
#[inline(always)]
fn sixteen(before: u64, here: u64) -> u64 {
    // Doubling the run length checks 2, 4, 8 and 16 bits.
    let within = |bits: u64| [1, 2, 4, 8].into_iter().fold(bits, |row, places| row & row << places);
    within(here) | within(before >> 48 | here << 16) >> 16
}

/// A block and its neighbours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(crate) before: &'a Block,
    pub(crate) here: &'a Block,
    pub(crate) behind: &'a Block,
}

impl Blocks<'_> {
    /// Returns the bytes of the block for which the byte `places` before is in the class `kind`.
    #[inline(always)]
    pub(crate) fn before(&self, kind: impl Fn(&Block) -> u64, places: u32) -> u64 {
        kind(self.here) << places | kind(self.before) >> (64 - places)
    }

    /// Returns the bytes of the block for which the byte `places` after is in the class `kind`.
    #[inline(always)]
    pub(crate) fn behind(&self, kind: impl Fn(&Block) -> u64, places: u32) -> u64 {
        kind(self.here) >> places | kind(self.behind) << (64 - places)
    }

    /// Returns the length of the run of `kind` that ends right before `place`, reading at most the block before.
    #[inline(always)]
    pub(crate) fn run_before(&self, kind: impl Fn(&Block) -> u64, place: usize) -> usize {
        let both = u128::from(kind(self.before)) | u128::from(kind(self.here)) << 64;
        (both << (64 - place)).leading_ones() as usize
    }

    /// Returns the length of the run of `kind` that starts right after `place`, reading at most the block behind.
    #[inline(always)]
    pub(crate) fn run_behind(&self, kind: impl Fn(&Block) -> u64, place: usize) -> usize {
        let both = u128::from(kind(self.here)) | u128::from(kind(self.behind)) << 64;
        (both >> (place + 1)).trailing_ones() as usize
    }
}

/// Blocks that are classified before the first of them is visited: few enough to stay in the L1 cache.
const BATCH_BLOCKS: usize = 16;

/// Calls `see` with the offset of each block of a text and the block. The text is surrounded by spaces.
#[inline(always)]
pub(crate) fn each_block(bytes: &[u8], mut see: impl FnMut(usize, Blocks<'_>)) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [b' '; BLOCK];
    for (padded, byte) in last.iter_mut().zip(rest) {
        *padded = *byte;
    }
    let mut coming = blocks.iter().chain([&last]);
    let mut firsts = (0..=bytes.len()).step_by(BLOCK);
    let mut row = [Block::OUTSIDE; BATCH_BLOCKS + 2];
    if let (Some(here), Some(bytes)) = (row.get_mut(1), coming.next()) {
        *here = Block::of(bytes, &Block::OUTSIDE);
    }
    loop {
        let [_, here, more @ ..] = &mut row;
        let mut before = &*here;
        for behind in more {
            let Some(bytes) = coming.next() else {
                *behind = Block::OUTSIDE;
                break;
            };
            *behind = Block::of(bytes, before);
            before = behind;
        }
        for around in row.windows(3) {
            let (Some(first), [before, here, behind]) = (firsts.next(), around) else { return };
            see(first, Blocks { before, here, behind });
        }
        // Keep the last two blocks: the first was visited, the second was its successor.
        row.copy_within(BATCH_BLOCKS.., 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Dice;

    #[test]
    fn every_block_is_seen_once_and_in_order() {
        let mut dice = Dice::new(3);
        for length in [
            0,
            1,
            63,
            64,
            65,
            200,
            1000,
            BATCH_BLOCKS * BLOCK - 1,
            BATCH_BLOCKS * BLOCK,
            BATCH_BLOCKS * BLOCK + BLOCK,
            5000,
        ] {
            let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
            let (mut firsts, mut letters) = (Vec::new(), Vec::new());
            each_block(&bytes, |first, around| {
                firsts.push(first);
                letters.extend(Bits(around.here.letters).map(|place| first + place));
            });
            assert_eq!(firsts, (0..=length).step_by(BLOCK).collect::<Vec<_>>());
            let expected = (0..length).filter(|at| bytes[*at].is_ascii_alphanumeric());
            assert_eq!(letters, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_byte_has_its_classes() {
        for byte in 0..=u8::MAX {
            let block = Block::of(&[byte; BLOCK], &Block::OUTSIDE);
            let all = |is: bool| if is { u64::MAX } else { 0 };
            let letter = byte.is_ascii_alphanumeric();
            assert_eq!(block.letters, all(letter), "{byte}");
            assert_eq!(block.spaces, all(byte == b' '), "{byte}");
            assert_eq!(block.feeds, all(byte == b'\n'), "{byte}");
            assert_eq!(block.points, all(byte == b'.'), "{byte}");
            assert_eq!(block.commas, all(byte == b','), "{byte}");
            assert_eq!(block.quotes, all(matches!(byte, b'"' | b'\'' | b'`')), "{byte}");
            assert_eq!(block.plain, all(b"\t\r!?;[]()`".contains(&byte) || (0x80..0xc0).contains(&byte)), "{byte}");
            assert_eq!(block.base64, all(letter || b"+/-_".contains(&byte)), "{byte}");
            assert_eq!(block.token, all(letter || b"+/-_.=".contains(&byte)), "{byte}");
            assert_eq!(block.graphic, all(byte.is_ascii_graphic()), "{byte}");
        }
    }

    #[test]
    fn text_is_surrounded_by_spaces() {
        assert_eq!(Block::of(&[b' '; BLOCK], &Block::OUTSIDE), Block::OUTSIDE);
    }

    #[test]
    fn neighbours_of_a_byte_are_read_across_blocks() {
        let mut dice = Dice::new(4);
        let bytes: Vec<u8> = (0..640).map(|_| b"aaaaaaa."[dice.below(8)]).collect();
        let is_point = |at: Option<usize>| at.and_then(|at| bytes.get(at)) == Some(&b'.');
        let is_letter = |at: &usize| bytes.get(*at) == Some(&b'a');
        each_block(&bytes, |first, around| {
            let (before, behind) = (around.before(|block| block.points, 2), around.behind(|block| block.points, 1));
            for place in 0..BLOCK {
                let at = first + place;
                assert_eq!(before >> place & 1 == 1, is_point(at.checked_sub(2)), "{at}");
                assert_eq!(behind >> place & 1 == 1, is_point(Some(at + 1)), "{at}");
                let run = (0..at).rev().take_while(is_letter).count();
                assert_eq!(around.run_before(|block| block.letters, place), run, "{at}");
                let run = (at + 1..bytes.len()).take_while(is_letter).count();
                assert_eq!(around.run_behind(|block| block.letters, place), run, "{at}");
            }
        });
    }

    #[test]
    fn runs_of_sixteen_and_fifteen_are_distinguished() {
        for length in 0..40 {
            for shift in [30, 50, 64, 80] {
                let row = ((1_u128 << length) - 1) << shift;
                let expected = (64..128).filter(|place| (0..16).all(|less| row >> (place - less) & 1 == 1));
                let expected = expected.map(|place| 1_u64 << (place - 64)).sum::<u64>();
                assert_eq!(sixteen(row as u64, (row >> 64) as u64), expected, "{length} at {shift}");
            }
        }
    }
}
