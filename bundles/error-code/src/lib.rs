//! Stable error codes of the project: one table with each code and its class.
//!
//! The class of a code determines the exit code of the command line and the status of an HTTP response. A code never
//! changes its spelling, its exit code or its status, because programs depend on them.
//!
//! ```
//! use error_code::{Class, Code};
//!
//! let code: Code = "resolver_pinned".parse().unwrap();
//! assert_eq!((code, code.class()), (Code::ResolverPinned, Class::Denied));
//! assert_eq!((code.exit_code(), code.http_status()), (4, 409));
//! ```

mod table;

use std::fmt;
use std::str::FromStr;

pub use self::table::Code;

/// Class of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The command line or the request is incomplete or malformed.
    Usage,
    /// The content is invalid.
    Invalid,
    /// A rule or a missing grant refuses the operation.
    Denied,
    /// The named item does not exist.
    NotFound,
    /// Code in the sandbox trapped, gave an invalid answer or exceeded a limit.
    Guest,
    /// The operation failed for another reason, such as the state of the system.
    Failed,
}

impl Class {
    /// Returns the exit code of a command that fails with a code of this class.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Guest => 6,
            Self::Failed => 1,
        }
    }

    /// Returns the HTTP status of the codes of this class for which HTTP has no more specific one.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Usage => 400,
            Self::Invalid => 422,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Guest => 502,
            Self::Failed => 503,
        }
    }
}

impl Code {
    /// Returns the exit code of a command that fails with this code.
    pub const fn exit_code(self) -> u8 {
        self.class().exit_code()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Error of parsing a word that is not a code of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown error code")
    }
}

impl std::error::Error for UnknownCode {}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(word: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word).ok_or(UnknownCode)
    }
}

impl PartialEq<str> for Code {
    fn eq(&self, word: &str) -> bool {
        self.as_str() == word
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_a_word_of_its_own_that_is_read_back() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let word = code.as_str();
            assert!(word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{word}");
            assert_eq!((word.parse(), code.to_string()), (Ok(*code), word.to_owned()));
        }
        assert_eq!("a_code_of_another_version".parse::<Code>(), Err(UnknownCode));
    }

    #[test]
    fn each_code_has_the_status_of_an_error() {
        for code in Code::ALL {
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
        assert_eq!((Code::Usage.http_status(), Code::Usage.exit_code()), (400, 2));
    }

    #[test]
    fn an_error_of_the_operating_system_is_a_failure_and_not_invalid_input() {
        for code in [Code::Unreadable, Code::Unwritable, Code::AlreadyThere, Code::NoCommit, Code::NotCommitted] {
            assert_eq!(code.exit_code(), 1, "{code}");
        }
    }
}
