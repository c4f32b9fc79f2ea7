//! Names that look like paths: resource URIs, and globs inside a mount.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{InvalidName, text_value};

/// A name that is resolved outside the Runtime: `workflow://release/checks`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceUri(Box<str>);

impl ResourceUri {
    /// Returns the reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn segment(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    text.bytes().all(inner) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

impl FromStr for ResourceUri {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let well_formed = text.split_once("://").is_some_and(|(scheme, rest)| {
            let known = matches!(scheme, "workflow" | "workspace" | "bundle");
            known && rest.split('/').all(segment)
        });
        if well_formed && text.len() <= 255 {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(
                "resource reference",
                "`workflow://`, `workspace://` or `bundle://` and segments that begin with a letter or digit, at most 255 bytes",
                text,
            ))
        }
    }
}

text_value!(ResourceUri);

/// A glob over files inside a mount: `src/**/*.rs`. It cannot contain `..`, `~` or a root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceGlob(Box<str>);

impl WorkspaceGlob {
    /// Returns the glob as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkspaceGlob {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let inner =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b'?' | b'@' | b'+');
        let segment = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(inner);
        if text.len() <= 255 && text.split('/').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(
                "glob",
                "segments of letters, digits, `-`, `_`, `.`, `*` and `?` joined by `/`, none beginning with `.`, at most 255 bytes",
                text,
            ))
        }
    }
}

text_value!(WorkspaceGlob);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_cannot_contain_a_host_path() {
        for good in ["workflow://release/checks", "workspace://src/lib.rs", "bundle://prompts/system.md"] {
            assert!(good.parse::<ResourceUri>().is_ok(), "{good}");
        }
        for bad in [
            "file:///etc/passwd",
            "workflow:///etc",
            "workflow://../x",
            "workflow://a//b",
            "workflow://",
            "unix:///run/x",
        ] {
            assert!(bad.parse::<ResourceUri>().is_err(), "{bad}");
        }
        for good in ["src/**/*.rs", "tests/fixtures/?.json", "*"] {
            assert!(good.parse::<WorkspaceGlob>().is_ok(), "{good}");
        }
        for bad in ["/etc/*", "../*", "a/../b", ".git/*", "~/x", "a//b", "C:\\x", ""] {
            assert!(bad.parse::<WorkspaceGlob>().is_err(), "{bad}");
        }
    }
}
