//! Authorities that only a host can grant, and requests for them.
//!
//! An [`Authority`] is a name, never a value or a path. Authors and manifests write its text form:
//! `secret:github-token`, `mount:repo:write`, `egress:https://a.example/v1`, `shell`, `git:read`. Wishes are sorted by
//! the derived order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{InvalidName, MountLabel, SecretRef, WITHHELD};
use crate::url_prefix::UrlPrefix;

/// Access to a mount or a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read-only access.
    Read,
    /// Read and write access.
    Write,
}

impl Access {
    /// Returns `read` or `write`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Necessity of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A worker is created only if the host grants the authority.
    Required,
    /// Without the authority the worker has fewer rights.
    Optional,
}

/// An authority that only a host can grant.
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
    /// Version control of the worker's mounts.
    Git(Access),
}

/// Kinds of [`Authority`], in the order of the contract.
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
    /// Returns the kind of the authority.
    pub fn kind(&self) -> AuthorityKind {
        match self {
            Self::Secret(_) => AuthorityKind::Secret,
            Self::Mount(..) => AuthorityKind::Mount,
            Self::Egress(_) => AuthorityKind::Egress,
            Self::Shell => AuthorityKind::Shell,
            Self::Git(_) => AuthorityKind::Git,
        }
    }

    /// `true` if both are equal except for access. A drop of a mount removes both accesses.
    pub fn is_same_resource(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mount(one, _), Self::Mount(two, _)) => one == two,
            (Self::Git(_), Self::Git(_)) => true,
            _ => self == other,
        }
    }

    /// `true` if this authority includes `narrower`: write access includes read access, and a URL prefix includes the
    /// URLs below it.
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
            // The text after a mistyped `secret:` may be a secret.
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

/// A request for one authority. A wish does not grant access.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The requested authority, which identifies the wish.
    pub authority: Authority,
    /// `Required` if the worker cannot run without the authority.
    pub need: Need,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        text.parse().expect("an authority")
    }

    #[test]
    fn text_form_round_trips() {
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
    fn write_access_covers_read_access_but_not_vice_versa() {
        assert!(authority("mount:repo:write").covers(&authority("mount:repo:read")));
        assert!(!authority("mount:repo:read").covers(&authority("mount:repo:write")));
        assert!(!authority("mount:repo:write").covers(&authority("mount:docs:read")));
        assert!(authority("git:write").covers(&authority("git:read")));
    }
}
