//! Conditions of layers on the facts of a host: `has:shell`, `os:linux`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::{Capability, InvalidName, Platform};

/// A condition. Its text form is `has:CAPABILITY`, `lacks:CAPABILITY`, `os:NAME` or `arch:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The host has the capability.
    Has(Capability),
    /// The host lacks the capability.
    Lacks(Capability),
    /// The host has this operating system.
    Os(Platform),
    /// The host has this processor architecture.
    Arch(Platform),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Has(name) => write!(f, "has:{name}"),
            Self::Lacks(name) => write!(f, "lacks:{name}"),
            Self::Os(name) => write!(f, "os:{name}"),
            Self::Arch(name) => write!(f, "arch:{name}"),
        }
    }
}

impl FromStr for Condition {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once(':') {
            Some(("has", name)) => Ok(Self::Has(name.parse()?)),
            Some(("lacks", name)) => Ok(Self::Lacks(name.parse()?)),
            Some(("os", name)) => Ok(Self::Os(name.parse()?)),
            Some(("arch", name)) => Ok(Self::Arch(name.parse()?)),
            _ => Err(InvalidName::new(
                "condition",
                "one of `has:CAPABILITY`, `lacks:CAPABILITY`, `os:NAME`, `arch:NAME`",
                text,
            )),
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}
