//! Path inside a mount, as text: names joined by `/`. It is relative, cannot lead upward and has no invisible
//! characters.
//!
//! This module does not access files. `mount` resolves links from the descriptor of the mount, and enforces that they
//! stay inside.

use std::fmt;
use std::str::FromStr;

use crate::temporary;

/// Maximum length of a path in characters, as in the schemas of the tools.
pub(super) const MAX_PATH_CHARACTERS: usize = 1024;
/// Maximum length of a name in bytes, as in common file systems.
const MAX_SEGMENT_BYTES: usize = 255;

/// A path below the root of a mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MountPath(Box<str>);

/// Reason why a path is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPath {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {MAX_PATH_CHARACTERS} characters")]
    Long,
    #[error("it begins with `/`, but must be relative to the root of the mount")]
    Absolute,
    #[error("it contains an empty name")]
    EmptySegment,
    #[error("it contains the name `.` or `..`")]
    Dots,
    #[error("it contains a backslash")]
    Backslash,
    #[error("it contains an invisible or text-direction character")]
    Control,
    #[error("it contains a name of more than {MAX_SEGMENT_BYTES} bytes")]
    LongSegment,
    #[error("it contains a name that is reserved for temporary files of `fs.write`")]
    TemporaryName,
}

impl MountPath {
    /// Returns the path as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number of names in the path.
    pub(super) fn depth(&self) -> u32 {
        u32::try_from(self.0.split('/').count()).unwrap_or(u32::MAX)
    }

    /// Splits the path into its folder and its last name. The folder is `None` if it is the root of the mount.
    pub(super) fn split(&self) -> (Option<Self>, &str) {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(Self(folder.into())), name),
            None => (None, &self.0),
        }
    }

    /// Appends a name to a folder. `None` is the root of the mount.
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
        // People confirm paths by reading them.
        _ if bundles::one_line(name) != name => Err(InvalidPath::Control),
        _ if name.contains('/') => Err(InvalidPath::EmptySegment),
        _ if temporary::is_temporary_name(name) => Err(InvalidPath::TemporaryName),
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
    fn paths_that_lead_elsewhere_or_hide_something_are_invalid() {
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
            (".yoi-0123456789abcdef0123456789abcdef.tmp", InvalidPath::TemporaryName),
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
