//! Which bytes of a text are what, 64 at a time and one bit each. In prose one byte of six is neither letter nor digit,
//! and nearly all of those are spaces between words and points at the end of sentences: they are told from what rules
//! look at by arithmetic on bits, and nothing else is ever looked at one by one.

use wide::u8x16;

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// Bytes of a text, one bit for each, the first byte's the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(pub(super) u64);

impl Bits {
    /// Takes the lowest bit and says its number, 64 where there is none, without a branch.
    #[inline(always)]
    pub(super) fn take_or_end(&mut self) -> usize {
        let Self(bits) = *self;
        self.0 = bits & bits.wrapping_sub(1);
        bits.trailing_zeros() as usize
    }
}

impl Iterator for Bits {
    type Item = usize;

    /// The number of the lowest bit that is left.
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let Self(bits) = *self;
        (bits != 0).then(|| {
            self.0 = bits & (bits - 1);
            bits.trailing_zeros() as usize
        })
    }
}

/// Which of 64 bytes are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// ASCII letters and digits.
    pub(super) letters: u64,
    pub(super) spaces: u64,
    pub(super) feeds: u64,
    pub(super) points: u64,
    pub(super) commas: u64,
    /// Double, single, and back.
    pub(super) quotes: u64,
    /// Other white space, punctuation that no rule looks at by itself, and what goes on with a character.
    pub(super) plain: u64,
    /// What base64 of either alphabet is written in, padding aside.
    pub(super) base64: u64,
    /// What tokens are written in.
    pub(super) token: u64,
    /// ASCII but white space and controls.
    pub(super) graphic: u64,
    /// The sixteenth byte of a run of those in a row, and all behind it.
    pub(super) long_graphic: u64,
    /// The same of base64.
    pub(super) long_base64: u64,
}

impl Block {
    /// Spaces, as they stand around a text.
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
            // Pairs that differ in one bit.
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
                // Bytes of a character behind its first.
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

/// Sixteen in a row: of each bit of `here`, whether it and the fifteen below it are set; `before` is what comes below.
#[inline(always)]
fn sixteen(before: u64, here: u64) -> u64 {
    // Doubling looks at 2, 4, 8, 16.
    let within = |bits: u64| [1, 2, 4, 8].into_iter().fold(bits, |row, places| row & row << places);
    within(here) | within(before >> 48 | here << 16) >> 16
}

/// A block and those around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub(super) before: &'a Block,
    pub(super) here: &'a Block,
    pub(super) behind: &'a Block,
}

impl Blocks<'_> {
    /// For each byte of the block, whether the one so many places before it is of a kind.
    #[inline(always)]
    pub(super) fn before(&self, kind: impl Fn(&Block) -> u64, places: u32) -> u64 {
        kind(self.here) << places | kind(self.before) >> (64 - places)
    }

    /// For each byte of the block, whether the one so many places behind it is of a kind.
    #[inline(always)]
    pub(super) fn behind(&self, kind: impl Fn(&Block) -> u64, places: u32) -> u64 {
        kind(self.here) >> places | kind(self.behind) << (64 - places)
    }

    /// Bytes of a kind in a row right before the one at `place`, up to 64 of the block before.
    #[inline(always)]
    pub(super) fn run_before(&self, kind: impl Fn(&Block) -> u64, place: usize) -> usize {
        let both = u128::from(kind(self.before)) | u128::from(kind(self.here)) << 64;
        (both << (64 - place)).leading_ones() as usize
    }

    /// Bytes of a kind in a row right behind the one at `place`, up to 64 of the block behind.
    #[inline(always)]
    pub(super) fn run_behind(&self, kind: impl Fn(&Block) -> u64, place: usize) -> usize {
        let both = u128::from(kind(self.here)) | u128::from(kind(self.behind)) << 64;
        (both >> (place + 1)).trailing_ones() as usize
    }
}

/// Blocks that are told before any of them is seen: few enough to stay in the nearest cache.
const ROW: usize = 16;

/// Calls `see` with each block of a text and where it begins. Around the text stand spaces.
#[inline(always)]
pub(super) fn each_block(bytes: &[u8], mut see: impl FnMut(usize, Blocks<'_>)) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [b' '; BLOCK];
    for (padded, byte) in last.iter_mut().zip(rest) {
        *padded = *byte;
    }
    let mut coming = blocks.iter().chain([&last]);
    let mut firsts = (0..=bytes.len()).step_by(BLOCK);
    let mut row = [Block::OUTSIDE; ROW + 2];
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
        // The last two: one was seen, the other was what is behind it.
        row.copy_within(ROW.., 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Dice;
    use super::*;

    #[test]
    fn every_block_is_seen_once_and_in_order() {
        let mut dice = Dice::new(3);
        for length in [0, 1, 63, 64, 65, 200, 1000, ROW * BLOCK - 1, ROW * BLOCK, ROW * BLOCK + BLOCK, 5000] {
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
    fn every_byte_is_of_its_kinds() {
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
    fn around_a_text_stand_spaces() {
        assert_eq!(Block::of(&[b' '; BLOCK], &Block::OUTSIDE), Block::OUTSIDE);
    }

    #[test]
    fn what_stands_around_a_byte_is_told_over_the_edges_of_blocks() {
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
    fn sixteen_in_a_row_are_told_from_fifteen() {
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
