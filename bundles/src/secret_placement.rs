//! Placement of a secret: the header in which the host sends its value, and the text before it.
//!
//! A placement is part of a plugin's declaration, so a reviewer sees where a secret goes. The value is added by the host
//! and is never visible to the plugin.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{InvalidName, WITHHELD, text_value};

/// Place at which the host puts the value of a secret, in requests and in websocket handshakes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPlacement {
    /// Header that contains the value.
    pub header: HeaderName,
    /// Text before the value, such as `Bearer ` with its space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<HeaderPrefix>,
}

/// `authorization: Bearer …`, as in the request.
impl fmt::Display for SecretPlacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}…", self.header, self.prefix.as_ref().map_or("", HeaderPrefix::as_str))
    }
}

/// Name of a header that may contain a secret: lower-case letters, digits and `-`, and none of the headers that route
/// or frame a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

/// Maximum size of a header name in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Headers that the host writes. A secret in one of them would change where a message goes or where it ends.
const HOST_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Beginnings of further such names.
const HOST_HEADER_PREFIXES: [&str; 2] = ["proxy-", "sec-"];

impl HeaderName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_slug = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        let is_of_host =
            HOST_HEADERS.contains(&text) || HOST_HEADER_PREFIXES.iter().any(|start| text.starts_with(start));
        if is_slug && !is_of_host && !text.starts_with('-') && (1..=MAX_NAME_BYTES).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        let lower = text.to_ascii_lowercase();
        let meant = (lower != text && lower.parse::<Self>().is_ok()).then(|| "use lower-case letters".to_owned());
        let grammar = "lower-case letters, digits and `-`, at most 64 bytes, and not a header that the host writes, such as `host` or `content-length`";
        Err(InvalidName::new("header name", grammar, text).with_hint(meant))
    }
}

text_value!(HeaderName);

/// Text between the beginning of a header and the value of a secret: visible ASCII characters and spaces, beginning
/// with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderPrefix(Arc<str>);

/// Maximum size of a prefix in bytes. Names of authentication schemes have at most 20.
const MAX_PREFIX_BYTES: usize = 32;

impl HeaderPrefix {
    /// Returns the prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderPrefix {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_visible && text.len() <= MAX_PREFIX_BYTES && text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Ok(Self(text.into()));
        }
        let grammar =
            "visible ASCII characters and spaces, beginning with a letter, at most 32 bytes, such as `Bearer `";
        // The text may be the secret itself.
        Err(InvalidName::new("header prefix", grammar, WITHHELD))
    }
}

text_value!(HeaderPrefix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_can_be_placed_in_any_header_that_the_host_does_not_write() {
        for name in ["authorization", "x-api-key", "private-token", "cookie", "apikey"] {
            assert!(name.parse::<HeaderName>().is_ok(), "{name}");
        }
        for name in
            ["", "-x", "host", "content-length", "sec-websocket-key", "proxy-authorization", "x_key", "x\r\ny", "ü"]
        {
            assert!(name.parse::<HeaderName>().is_err(), "{name}");
        }
        assert!("x".repeat(64).parse::<HeaderName>().is_ok() && "x".repeat(65).parse::<HeaderName>().is_err());
        let error = "Authorization".parse::<HeaderName>().expect_err("upper case");
        assert!(error.remedy().ends_with("; use lower-case letters"), "{}", error.remedy());
        assert!(!"Host".parse::<HeaderName>().expect_err("the host's").remedy().contains("use lower-case"));
    }

    #[test]
    fn prefix_is_visible_ascii_and_an_invalid_one_is_not_repeated() {
        for prefix in ["Bearer ", "token ", "session=", "Basic "] {
            assert!(prefix.parse::<HeaderPrefix>().is_ok(), "{prefix}");
        }
        for prefix in ["", " Bearer", "Bearer\r\n", "Bäuerin ", &"x".repeat(33)] {
            assert!(prefix.parse::<HeaderPrefix>().is_err(), "{prefix}");
        }
        let error = "hunter2\n".parse::<HeaderPrefix>().expect_err("a line end");
        assert!(!format!("{error} {error:?} {}", error.problem()).contains("hunter"), "{error}");
    }

    #[test]
    fn placement_is_shown_as_in_the_request() {
        let placement = |prefix: Option<&str>| SecretPlacement {
            header: "x-api-key".parse().expect("a header"),
            prefix: prefix.map(|prefix| prefix.parse().expect("a prefix")),
        };
        assert_eq!(placement(None).to_string(), "x-api-key: …");
        assert_eq!(placement(Some("Bearer ")).to_string(), "x-api-key: Bearer …");
    }
}
