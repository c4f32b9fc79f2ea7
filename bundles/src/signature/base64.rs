//! Base64 in one spelling: padded, and without unused bits. Otherwise one key or signature would have two spellings.

use ::base64::Engine;
use ::base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes the standard or the URL-safe alphabet. DSSE allows signers to use either.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let of_urls = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    if of_urls { URL_SAFE.decode(text) } else { STANDARD.decode(text) }.ok()
}

/// Decodes exactly 32 bytes in the standard alphabet, without leaving a copy of them in memory.
pub(super) fn decode_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    // 44 characters stand for 33 bytes, one of which is padding. The decoder requires space for all 33.
    let mut buffer = Zeroizing::new([0; 33]);
    let length = STANDARD.decode_slice(text, buffer.as_mut_slice()).ok()?;
    let mut bytes = Zeroizing::new([0; 32]);
    let (decoded, _) = buffer.split_at_checked(length)?;
    if decoded.len() != bytes.len() {
        return None;
    }
    bytes.copy_from_slice(decoded);
    Some(bytes)
}
