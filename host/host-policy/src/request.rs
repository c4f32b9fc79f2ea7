//! What is asked of a resolver: a profile, and what the host must be able to do for it.

use std::fmt;
use std::str::FromStr;

use bundles::canonical::Canonical;
use bundles::{Capability, Digest, InvalidName, ProfileName, shown};
use serde::{Deserialize, Serialize};

/// A profile, and capabilities without which there is to be no worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    profile: ProfileName,
    #[serde(default)]
    required_capabilities: Vec<Capability>,
}

impl Request {
    /// Asks for a profile. A capability that is named twice counts once, where it stands first.
    pub fn new(profile: ProfileName, required: impl IntoIterator<Item = Capability>) -> Self {
        let mut required_capabilities: Vec<Capability> = Vec::new();
        for name in required {
            if !required_capabilities.contains(&name) {
                required_capabilities.push(name);
            }
        }
        Self { profile, required_capabilities }
    }

    /// The profile.
    pub fn profile(&self) -> &ProfileName {
        &self.profile
    }

    /// What the host must be able to do, in the order in which it was asked.
    pub fn required_capabilities(&self) -> &[Capability] {
        &self.required_capabilities
    }

    /// The request's canonical JSON.
    pub fn canonical(&self) -> Canonical {
        // Names: there is nothing in it that JSON could not hold.
        Canonical::of(self).unwrap_or_default()
    }

    /// The digest of the request's canonical JSON.
    pub fn digest(&self) -> Digest {
        self.canonical().digest()
    }
}

/// Which profile a worker is made from: one of its bundle (`coder`), or one that ships inside
/// (`builtin:coder`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileSelector {
    /// A profile of the bundle that the request names.
    Bundle(ProfileName),
    /// A profile of the bundle that ships inside.
    Builtin(ProfileName),
}

impl ProfileSelector {
    /// The profile's name in its bundle.
    pub fn profile(&self) -> &ProfileName {
        match self {
            Self::Bundle(name) | Self::Builtin(name) => name,
        }
    }
}

/// A text that selects no profile.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// The part behind the scheme is no profile name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A scheme that is not known.
    #[error("`{}` is no profile selector: write `NAME` or `builtin:NAME`", shown(.0))]
    Scheme(String),
}

/// As it is displayed: the text may be a secret at the wrong place.
impl fmt::Debug for InvalidSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidSelector({self})")
    }
}

impl FromStr for ProfileSelector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        match text.split_once(':') {
            None => Ok(Self::Bundle(text.parse()?)),
            Some(("builtin", name)) => Ok(Self::Builtin(name.parse()?)),
            Some(_) => Err(InvalidSelector::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for ProfileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(name) => name.fmt(f),
            Self::Builtin(name) => write!(f, "builtin:{name}"),
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ProfileSelector {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        bundles::openapi::text(
            "a profile's name, or `builtin:NAME` for one that ships inside",
            Some("^(builtin:)?[a-z]([a-z0-9-]*[a-z0-9])?$"),
            Some(71),
        )
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ProfileSelector {}

impl Serialize for ProfileSelector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProfileSelector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_says_which_bundle_is_meant() {
        for text in ["coder", "builtin:coder"] {
            assert_eq!(text.parse::<ProfileSelector>().map(|selector| selector.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", ":", "builtin:", "builtin:a:b", "file:x", "builtin:../x", "Builtin:coder", "coder\n"] {
            assert!(bad.parse::<ProfileSelector>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn asking_twice_is_asking_once() {
        let name = |text: &str| text.parse::<Capability>().expect("a capability");
        let request = Request::new("coder".parse().expect("a name"), [name("b"), name("a"), name("b")]);
        assert_eq!(request.required_capabilities(), [name("b"), name("a")]);
    }
}
