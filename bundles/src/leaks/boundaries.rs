//! The bytes of a text at which something may begin or end: all but ASCII letters and digits. In prose that is one byte
//! of six, and nothing but these is ever looked at one by one. What most of them are, spaces between words, is told by
//! arithmetic on 64 of them at a time.

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// Bytes of a text, one bit for each, the first byte's the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(pub(super) u64);

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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block {
    /// No ASCII letters or digits.
    pub(super) boundaries: u64,
    pub(super) spaces: u64,
    /// Nothing that base64 of either alphabet is written in, padding aside.
    pub(super) not_base64: u64,
}

const BOUNDARY: u8 = 1;
const SPACE: u8 = 1 << 1;
const NOT_BASE64: u8 = 1 << 2;

impl Block {
    /// There is no branch and no look-up in it, so that compilers make vectors of it.
    fn of(bytes: &[u8; BLOCK]) -> Self {
        let mut kinds = [0_u8; BLOCK];
        for (kind, byte) in kinds.iter_mut().zip(bytes) {
            let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
            let digit = byte.wrapping_sub(b'0') < 10;
            let boundary = !(letter | digit);
            let separator = (*byte == b'+') | (*byte == b'/') | (*byte == b'-') | (*byte == b'_');
            let bit = |is: bool, kind: u8| if is { kind } else { 0 };
            *kind = bit(boundary, BOUNDARY) | bit(*byte == b' ', SPACE) | bit(boundary & !separator, NOT_BASE64);
        }
        let (eights, _) = kinds.as_chunks::<8>();
        let mut block = Self::default();
        for (place, eight) in eights.iter().enumerate() {
            let eight = u64::from_le_bytes(*eight);
            block.boundaries |= packed(eight) << (place * 8);
            block.spaces |= packed(eight >> 1) << (place * 8);
            block.not_base64 |= packed(eight >> 2) << (place * 8);
        }
        block
    }
}

/// The lowest bits of eight bytes: the product brings the one of byte n to bit 56 + n.
fn packed(eight: u64) -> u64 {
    (eight & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Calls `see` with each block of a text and where it begins. Behind the end of the text stand spaces.
#[inline(always)]
pub(super) fn each_block(bytes: &[u8], mut see: impl FnMut(usize, Block)) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [b' '; BLOCK];
    for (padded, byte) in last.iter_mut().zip(rest) {
        *padded = *byte;
    }
    for (number, block) in blocks.iter().chain([&last]).enumerate() {
        see(number * BLOCK, Block::of(block));
    }
}

/// Calls `see` with the place of every byte that is no ASCII letter or digit, in order.
pub(super) fn each(bytes: &[u8], mut see: impl FnMut(usize, u8)) {
    each_block(bytes, |first, block| {
        for place in Bits(block.boundaries) {
            if let Some(&byte) = bytes.get(first + place) {
                see(first + place, byte);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::samples::Dice;
    use super::*;

    #[test]
    fn every_boundary_is_seen_once_and_in_order() {
        let mut dice = Dice::new(3);
        for length in [0, 1, 63, 64, 65, 200, 1000] {
            let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
            let mut seen = Vec::new();
            each(&bytes, |at, byte| seen.push((at, byte)));
            let expected: Vec<(usize, u8)> =
                bytes.iter().copied().enumerate().filter(|(_, byte)| !byte.is_ascii_alphanumeric()).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn every_byte_is_of_its_kinds() {
        for byte in 0..=u8::MAX {
            let block = Block::of(&[byte; BLOCK]);
            let all = |is: bool| if is { u64::MAX } else { 0 };
            assert_eq!(block.boundaries, all(!byte.is_ascii_alphanumeric()), "{byte}");
            assert_eq!(block.spaces, all(byte == b' '), "{byte}");
            assert_eq!(block.not_base64, all(!byte.is_ascii_alphanumeric() && !b"+/-_".contains(&byte)), "{byte}");
        }
    }
}
