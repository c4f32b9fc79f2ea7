//! Detection of URL paths that servers may interpret in different ways.
//!
//! The URL parser has already resolved dot segments, plain and encoded once. This module looks for a
//! separator, dot segment or control character that appears after any number of decodings. It never
//! rewrites a path: a path is accepted as it is or refused.

/// Returns the reason if servers may interpret the path in different ways.
pub(super) fn ambiguity(path: &str) -> Option<&'static str> {
    let mut layer = path.as_bytes().to_vec();
    if !percent_signs_are_escapes(&layer) {
        return Some("a `%` is not followed by two hex digits");
    }
    // A decoding that changes the path makes it shorter, so the loop ends.
    loop {
        if has_dot_segment(&layer) {
            return Some("an encoded segment is `.` or `..`");
        }
        let decoded = match decode(&layer) {
            Ok(decoded) => decoded,
            Err(reason) => return Some(reason),
        };
        if decoded.len() == layer.len() {
            return None;
        }
        if std::str::from_utf8(&decoded).is_err() {
            return Some("its percent-encoded text is not UTF-8");
        }
        layer = decoded;
    }
}

/// Returns the byte encoded by a percent escape at the start of `bytes`.
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

/// Decodes all percent escapes once. An escape of a separator or control character is an error.
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

/// `true` if a segment is `.` or `..`. Parameters after `;` are ignored, because some servers remove them
/// before they resolve dot segments.
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
    fn unambiguous_path_is_accepted() {
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
    fn path_with_a_hidden_separator_or_dot_segment_is_refused() {
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
    fn path_encoded_a_thousand_times_is_refused() {
        let deep = format!("/%{}2e", "25".repeat(1000));
        assert!(ambiguity(&deep).is_some());
    }
}
