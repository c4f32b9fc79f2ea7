//! URL prefixes, which name the target of a wish for network egress.
//!
//! A prefix is parsed once by the WHATWG rules. It is compared by scheme, host, port and path segments, never by bytes:
//! `https://a.example/v1` covers `https://a.example/v1/x` but not `https://a.example/v10`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::names::{InvalidName, WITHHELD, text_value};
use std::borrow::Borrow;

/// Supported schemes.
pub const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// Maximum length of a URL in a bundle or a request, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// Scheme, host, optional port and path. Every URL below it is covered. It has no user, query or fragment and is stored
/// in its normal spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UrlPrefix {
    text: Box<str>,
    authority: usize,
}

impl UrlPrefix {
    /// Returns the prefix in its normal spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns scheme, host and port, without the path.
    pub fn origin(&self) -> &str {
        self.text.get(..self.authority).unwrap_or_default()
    }

    /// Returns the path, which starts with `/`.
    pub fn path(&self) -> &str {
        self.text.get(self.authority..).unwrap_or_default()
    }

    /// `true` if every URL below `narrower` is also below this prefix.
    pub fn covers(&self, narrower: &UrlPrefix) -> bool {
        self.origin() == narrower.origin() && path_covers(self.path(), narrower.path())
    }
}

/// `true` if `path` is `prefix` or below it, by segment. If `prefix` ends with `/`, `path` must be below it.
pub fn path_covers(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

impl FromStr for UrlPrefix {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || {
            InvalidName::new(
                "URL prefix",
                "`http`, `https`, `ws` or `wss`, a host, a path without `.` and encoded separators; no user, query or fragment, in its normal spelling, at most 2048 bytes",
                if text.contains('@') { WITHHELD } else { text.split(['?', '#']).next().unwrap_or_default() },
            )
            .with_hint(encoding_hint(text))
        };
        if text.len() > MAX_URL_BYTES {
            return Err(invalid());
        }
        let url = Url::parse(text).map_err(|_| invalid())?;
        let plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().is_some_and(|host| !host.is_empty() && !host.ends_with('.'));
        // The parser corrects many errors silently, so text that it changed is refused.
        if !plain || !host || !SCHEMES.contains(&url.scheme()) || url.as_str() != text || is_ambiguous_path(url.path())
        {
            return Err(invalid());
        }
        let authority = text.len() - url.path().len();
        Ok(Self { text: text.into(), authority })
    }
}

/// Maximum number of different characters in a hint.
const MAX_HINTED_CHARS: usize = 8;

/// Returns a hint with the percent-encoding of each character that needs it: `{` as `%7B`. The text itself is not
/// repeated.
pub(crate) fn encoding_hint(text: &str) -> Option<String> {
    let mut written: Vec<(char, String)> = Vec::new();
    for c in text.chars().take(MAX_URL_BYTES) {
        if written.len() >= MAX_HINTED_CHARS || written.iter().any(|(known, _)| *known == c) {
            continue;
        }
        let Ok(url) = Url::parse(&format!("http://host/a{c}a")) else { continue };
        let encoded = url.path().strip_prefix("/a").and_then(|rest| rest.strip_suffix('a')).unwrap_or_default();
        if encoded.starts_with('%') && encoded.len() > 1 && !crate::one_line::is_control_or_format(c) {
            written.push((c, encoded.to_owned()));
        }
    }
    let each: Vec<String> = written.iter().map(|(c, encoded)| format!("`{c}` as `{encoded}`")).collect();
    let placeholder =
        if text.contains('{') { " (a prefix has no placeholders: leave `{…}` out to mean every value)" } else { "" };
    (!each.is_empty()).then(|| format!("write {}{placeholder}", each.join(", ")))
}

/// `true` if the path contains encoded separators or dots, which servers interpret differently.
pub fn is_ambiguous_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    path.contains("//")
        || path.contains('\\')
        || ["%2f", "%5c", "%2e", "%00", "%25"].iter().any(|hidden| lower.contains(hidden))
}

text_value!(UrlPrefix);

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> UrlPrefix {
        text.parse().expect("a prefix")
    }

    #[test]
    fn a_prefix_covers_by_segments() {
        let v1 = prefix("https://api.example.com/v1");
        assert!(v1.covers(&v1));
        assert!(v1.covers(&prefix("https://api.example.com/v1/")));
        assert!(v1.covers(&prefix("https://api.example.com/v1/x/y")));
        assert!(!v1.covers(&prefix("https://api.example.com/v10")));
        assert!(!v1.covers(&prefix("https://api.example.com/")));
        assert!(!v1.covers(&prefix("http://api.example.com/v1")));
        assert!(!v1.covers(&prefix("https://api.example.com:8443/v1")));
        assert!(!prefix("https://api.example.com/v1/").covers(&v1));
        assert!(prefix("https://api.example.com/").covers(&v1));
    }

    #[test]
    fn hint_names_the_encoding_of_each_character() {
        let hint = |text: &str| text.parse::<UrlPrefix>().expect_err("not normal").to_string();
        let hint_text = hint("https://api.example.com/repos/{owner}");
        assert!(hint_text.contains("`{` as `%7B`, `}` as `%7D`") && hint_text.contains("placeholders"), "{hint_text}");
        assert!(hint("https://api.example.com/a b").contains("` ` as `%20`"));
        assert!(hint("https://api.example.com/straße").contains("`ß` as `%C3%9F`"));
        assert!(!hint("https://api.example.com/?q").contains(" as "));
        assert_eq!(prefix("https://api.example.com/repos/%7Bowner%7D").path(), "/repos/%7Bowner%7D");
    }

    #[test]
    fn text_that_the_parser_would_correct_is_refused() {
        for bad in [
            "https://API.example.com/",
            "https://api.example.com",
            "https://api.example.com:443/",
            "https://user@api.example.com/",
            "https://api.example.com/?q",
            "https://api.example.com/#f",
            "https://api.example.com/a/../b",
            "https://api.example.com/a%2fb",
            "https://api.example.com//a",
            "https://api.example.com./",
            "ftp://api.example.com/",
            "file:///etc",
            "//api.example.com/",
            "https:api.example.com/",
        ] {
            assert!(bad.parse::<UrlPrefix>().is_err(), "{bad}");
        }
    }
}
