//! Whether a URL's path means the same to every server that reads it.
//!
//! The parser has already resolved `.` segments, plain and encoded once. What is left to find is a
//! separator, dot segment or control character that appears when a server decodes, however often.
//! Nothing is rewritten here: a path is taken as it is or refused.

/// Why a path can be read in more than one way, or none.
pub(super) fn ambiguity(path: &str) -> Option<&'static str> {
    let mut layer = path.as_bytes().to_vec();
    if !percent_signs_are_escapes(&layer) {
        return Some("`%` stands without two hex digits");
    }
    // Each round makes a path that changes at all shorter, so this ends.
    loop {
        if has_dot_segment(&layer) {
            return Some("a segment is `.` or `..` in disguise");
        }
        let decoded = match decode(&layer) {
            Ok(decoded) => decoded,
            Err(why) => return Some(why),
        };
        if decoded.len() == layer.len() {
            return None;
        }
        if std::str::from_utf8(&decoded).is_err() {
            return Some("what is percent-encoded is not UTF-8");
        }
        layer = decoded;
    }
}

fn escape(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match bytes {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn percent_signs_are_escapes(mut bytes: &[u8]) -> bool {
    while let Some((first, rest)) = bytes.split_first() {
        if *first == b'%' && escape(bytes).is_none() {
            return false;
        }
        bytes = rest;
    }
    true
}

/// Decodes once. Separators and control characters are refused where they come to light.
fn decode(mut bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some((first, rest)) = bytes.split_first() {
        let (byte, rest) = match escape(bytes) {
            Some(b'/' | b'\\') => return Err("a separator is percent-encoded"),
            Some(byte) if byte.is_ascii_control() => return Err("a control character is percent-encoded"),
            Some(byte) => (byte, rest.get(2..).unwrap_or_default()),
            None => (*first, rest),
        };
        decoded.push(byte);
        bytes = rest;
    }
    Ok(decoded)
}

/// Some servers cut `;` and what follows from a segment before they look for `..`.
fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_path_is_taken() {
        for path in [
            "/",
            "/api",
            "/api/",
            "/api//x",
            "/a.b/..c/...",
            "/a;v=1/b",
            "/%61pi",
            "/100%25",
            "/%C3%A4",
            "/a%20b",
            "/a%3Fb",
            "/%2525",
        ] {
            assert_eq!(ambiguity(path), None, "{path}");
        }
    }

    #[test]
    fn path_that_changes_when_it_is_decoded_is_refused() {
        for path in [
            "/api/%2e%2e%2fadmin",
            "/api/a%2Fb",
            "/api/..%5cadmin",
            "/api/%252e%252e/admin",
            "/api/%25252e%25252e/admin",
            "/api/a%252fb",
            "/api/..;/admin",
            "/api/..;a=b/admin",
            "/api/.;/x",
            "/api/%2e%2e;/admin",
            "/api/%00",
            "/api/%2500",
            "/api/a%0d%0ab",
            "/api/%7f",
            "/api/%zz",
            "/api/%",
            "/api/%2",
            "/api/%c0%ae%c0%ae/admin",
            "/api/%ff",
        ] {
            assert!(ambiguity(path).is_some(), "{path}");
        }
    }

    #[test]
    fn deeply_encoded_path_is_judged_in_bounded_time() {
        let deep = format!("/%{}2e", "25".repeat(1000));
        assert!(ambiguity(&deep).is_some());
    }
}
