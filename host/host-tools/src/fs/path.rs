//! A path inside a mount, as text: segments joined by `/`, with no way up, no root and nothing hidden in it.
//!
//! The grammar is the first key and the mount's descriptor, which resolves links, is the second. Nothing
//! here touches a file.

use std::fmt;
use std::str::FromStr;

use crate::temporary;

/// Most characters of a path, as the tools' schemas say.
pub(super) const MAX_PATH_CHARACTERS: usize = 1024;
/// Most bytes of a name, as file systems have it.
const MAX_SEGMENT_BYTES: usize = 255;

/// A path below a mount's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MountPath(Box<str>);

/// Why a text is no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPath {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {MAX_PATH_CHARACTERS} characters")]
    Long,
    #[error("it begins with `/`, and is to be relative to the mount's root")]
    Absolute,
    #[error("a name in it is empty")]
    EmptySegment,
    #[error("it has `.` or `..` for a name")]
    Dots,
    #[error("it has a backslash")]
    Backslash,
    #[error("it has a character that is not seen, or that moves the others")]
    Control,
    #[error("a name in it has more than {MAX_SEGMENT_BYTES} bytes")]
    LongSegment,
    #[error("a name in it is one of those that `fs.write` gives to unfinished files")]
    Unfinished,
}

impl MountPath {
    /// The path as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// How many names it has.
    pub(super) fn depth(&self) -> u32 {
        u32::try_from(self.0.split('/').count()).unwrap_or(u32::MAX)
    }

    /// The folder, where it is not the mount's root, and the name in it.
    pub(super) fn split(&self) -> (Option<Self>, &str) {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(Self(folder.into())), name),
            None => (None, &self.0),
        }
    }

    /// The path of `name` in a folder, which is the mount's root where there is none.
    pub(super) fn join(folder: Option<&Self>, name: &str) -> Result<Self, InvalidPath> {
        check_segment(name)?;
        let joined = match folder {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        };
        if joined.chars().count() > MAX_PATH_CHARACTERS { Err(InvalidPath::Long) } else { Ok(Self(joined.into())) }
    }
}

impl FromStr for MountPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if text.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if text.chars().count() > MAX_PATH_CHARACTERS {
            return Err(InvalidPath::Long);
        }
        if text.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        text.split('/').try_for_each(check_segment)?;
        Ok(Self(text.into()))
    }
}

fn check_segment(name: &str) -> Result<(), InvalidPath> {
    match name {
        "" => Err(InvalidPath::EmptySegment),
        "." | ".." => Err(InvalidPath::Dots),
        _ if name.len() > MAX_SEGMENT_BYTES => Err(InvalidPath::LongSegment),
        _ if name.contains('\\') => Err(InvalidPath::Backslash),
        // A person confirms a path by reading it.
        _ if bundles::one_line(name) != name => Err(InvalidPath::Control),
        _ if name.contains('/') => Err(InvalidPath::EmptySegment),
        _ if temporary::is_name(name) => Err(InvalidPath::Unfinished),
        _ => Ok(()),
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<MountPath, InvalidPath> {
        text.parse()
    }

    #[test]
    fn ordinary_names_are_paths() {
        let long = format!("{}/{}", "a".repeat(255), "b".repeat(255));
        for good in [
            "a",
            "src/lib.rs",
            ".git/config",
            "...",
            "..a",
            "a..",
            "~",
            "C:",
            "a b/ä/日本",
            "．．/x",
            "%2e%2e/x",
            "-rf",
            "*",
            &long,
            &["x"; 512].join("/"),
        ] {
            assert!(parsed(good).is_ok(), "{good}: {:?}", parsed(good));
        }
    }

    #[test]
    fn what_leads_elsewhere_or_hides_something_is_no_path() {
        for (bad, why) in [
            ("", InvalidPath::Empty),
            ("/", InvalidPath::Absolute),
            ("/etc/passwd", InvalidPath::Absolute),
            ("//a", InvalidPath::Absolute),
            (".", InvalidPath::Dots),
            ("..", InvalidPath::Dots),
            ("../a", InvalidPath::Dots),
            ("a/../../b", InvalidPath::Dots),
            ("a/./b", InvalidPath::Dots),
            ("a//b", InvalidPath::EmptySegment),
            ("a/", InvalidPath::EmptySegment),
            ("a\0b", InvalidPath::Control),
            ("a\nb", InvalidPath::Control),
            ("\u{7f}", InvalidPath::Control),
            ("a\u{202e}txt.exe", InvalidPath::Control),
            ("a\u{200b}", InvalidPath::Control),
            ("..\\a", InvalidPath::Backslash),
            ("C:\\Windows", InvalidPath::Backslash),
            (&"a".repeat(256), InvalidPath::LongSegment),
            (&"ä".repeat(128), InvalidPath::LongSegment),
            (&"a/".repeat(600), InvalidPath::Long),
            (".yoi-0123456789abcdef0123456789abcdef.tmp", InvalidPath::Unfinished),
        ] {
            assert_eq!(parsed(bad), Err(why), "{bad:?}");
        }
        assert!(parsed(".yoi-mine.tmp").is_ok());
    }

    #[test]
    fn a_path_is_split_and_joined() {
        let path = parsed("a/b/c").expect("a path");
        let (folder, name) = path.split();
        assert_eq!((folder.as_ref().map(MountPath::as_str), name), (Some("a/b"), "c"));
        assert_eq!(MountPath::join(folder.as_ref(), name), Ok(path));
        assert_eq!(MountPath::join(None, "a"), parsed("a"));
        assert_eq!(MountPath::join(None, "a/b"), Err(InvalidPath::EmptySegment));
        let long = parsed(&format!("{}a", "a/".repeat(511))).expect("a path");
        assert_eq!(MountPath::join(Some(&long), "b"), Err(InvalidPath::Long));
    }
}
