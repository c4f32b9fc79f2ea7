//! Base64 in one spelling: padded, and without bits that say nothing. Two texts that decode to the
//! same bytes would be two spellings of one key or signature.

use ::base64::Engine;
use ::base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes the standard alphabet, or the one for URLs: DSSE allows either to whoever signs.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let of_urls = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    if of_urls { URL_SAFE.decode(text) } else { STANDARD.decode(text) }.ok()
}

/// Decodes exactly 32 bytes in the standard alphabet, and leaves no copy of them behind.
pub(super) fn decode_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    // 44 characters stand for 33 bytes less one of padding; the decoder wants room for all of them.
    let mut room = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(text, room.as_mut_slice()).ok()?;
    let mut bytes = Zeroizing::new([0; 32]);
    let (decoded, _) = room.split_at_checked(length)?;
    if decoded.len() != bytes.len() {
        return None;
    }
    bytes.copy_from_slice(decoded);
    Some(bytes)
}
