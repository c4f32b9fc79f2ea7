//! What only a host can hand over, and the wish for it.
//!
//! An [`Authority`] is a name, never a value or a path. Its text form is what authors write and
//! what manifests hold: `secret:github-token`, `mount:repo:write`, `egress:https://a.example/v1`,
//! `shell`, `git:read`. The derived order is the order in which wishes are sorted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{InvalidName, MountLabel, SecretRef, WITHHELD};
use crate::url_prefix::UrlPrefix;

/// Reading only, or reading and changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and changing.
    Write,
}

impl Access {
    /// `read` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Whether a worker can do without what it wishes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it there is no worker.
    Required,
    /// Without it the worker is narrower.
    Optional,
}

/// One thing that only a host can hand over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Authority {
    /// A secret, by reference.
    Secret(SecretRef),
    /// A mount, by label.
    Mount(MountLabel, Access),
    /// Network egress below a URL prefix.
    Egress(UrlPrefix),
    /// Running commands.
    Shell,
    /// The version control of the worker's mounts.
    Git(Access),
}

/// The kinds of [`Authority`], in the order of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityKind {
    /// A secret.
    Secret,
    /// A mount.
    Mount,
    /// Network egress.
    Egress,
    /// Running commands.
    Shell,
    /// Version control.
    Git,
}

impl Authority {
    /// Which kind this is.
    pub fn kind(&self) -> AuthorityKind {
        match self {
            Self::Secret(_) => AuthorityKind::Secret,
            Self::Mount(..) => AuthorityKind::Mount,
            Self::Egress(_) => AuthorityKind::Egress,
            Self::Shell => AuthorityKind::Shell,
            Self::Git(_) => AuthorityKind::Git,
        }
    }

    /// The same thing without regard to access: taking back a mount takes back both accesses.
    pub fn same_thing(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mount(one, _), Self::Mount(two, _)) => one == two,
            (Self::Git(_), Self::Git(_)) => true,
            _ => self == other,
        }
    }

    /// Whether holding this authority includes holding `narrower`: writing includes reading, a URL
    /// prefix includes what lies below it.
    pub fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::Mount(one, held), Self::Mount(two, asked)) => one == two && held >= asked,
            (Self::Git(held), Self::Git(asked)) => held >= asked,
            (Self::Egress(held), Self::Egress(asked)) => held.covers(asked),
            _ => self == narrower,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Mount(label, access) => write!(f, "mount:{label}:{}", access.as_str()),
            Self::Egress(prefix) => write!(f, "egress:{prefix}"),
            Self::Shell => f.write_str("shell"),
            Self::Git(access) => write!(f, "git:{}", access.as_str()),
        }
    }
}

const GRAMMAR: &str =
    "one of `secret:NAME`, `mount:LABEL:read`, `mount:LABEL:write`, `egress:URL`, `shell`, `git:read`, `git:write`";

impl FromStr for Authority {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || {
            let is_known = matches!(text.split_once(':'), None | Some(("mount" | "git", _)));
            // Behind a mistyped `secret:` stands what that must not repeat.
            InvalidName::new("authority", GRAMMAR, if is_known { text } else { WITHHELD })
        };
        let access = |word: &str| match word {
            "read" => Ok(Access::Read),
            "write" => Ok(Access::Write),
            _ => Err(invalid()),
        };
        match text.split_once(':') {
            None if text == "shell" => Ok(Self::Shell),
            Some(("secret", name)) => Ok(Self::Secret(name.parse()?)),
            Some(("mount", rest)) => {
                let (label, word) = rest.split_once(':').ok_or_else(invalid)?;
                Ok(Self::Mount(label.parse()?, access(word)?))
            }
            Some(("egress", url)) => Ok(Self::Egress(url.parse()?)),
            Some(("git", word)) => Ok(Self::Git(access(word)?)),
            _ => Err(invalid()),
        }
    }
}

impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Authority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}

/// A wish for one authority. Wishing grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// What is wished for; a wish is known by it.
    pub authority: Authority,
    /// Whether the worker can do without.
    pub need: Need,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        text.parse().expect("an authority")
    }

    #[test]
    fn text_form_goes_both_ways() {
        for text in [
            "secret:github-token",
            "mount:repo:read",
            "mount:repo:write",
            "egress:https://api.example.com/v1",
            "shell",
            "git:read",
            "git:write",
        ] {
            assert_eq!(authority(text).to_string(), text);
        }
        for bad in [
            "",
            "secret",
            "secret:",
            "mount:repo",
            "mount:repo:rw",
            "mount:/home:read",
            "shell:",
            "git",
            "egress:x",
            "Shell",
        ] {
            assert!(bad.parse::<Authority>().is_err(), "{bad}");
        }
    }

    #[test]
    fn writing_covers_reading_and_not_the_other_way() {
        assert!(authority("mount:repo:write").covers(&authority("mount:repo:read")));
        assert!(!authority("mount:repo:read").covers(&authority("mount:repo:write")));
        assert!(!authority("mount:repo:write").covers(&authority("mount:docs:read")));
        assert!(authority("git:write").covers(&authority("git:read")));
    }
}
