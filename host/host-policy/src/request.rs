//! Resolution requests: a profile, and the capabilities that the host must have.

use std::fmt;
use std::str::FromStr;

use bundles::canonical::Canonical;
use bundles::{Capability, Digest, InvalidName, ProfileName, shown};
use serde::{Deserialize, Serialize};

/// A request to resolve a profile. The resolution fails if the host lacks a required capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    profile: ProfileName,
    #[serde(default)]
    required_capabilities: Vec<Capability>,
}

impl Request {
    /// Creates a request. Repetitions of a capability are removed; the first occurrence keeps its place.
    pub fn new(profile: ProfileName, required: impl IntoIterator<Item = Capability>) -> Self {
        let mut required_capabilities: Vec<Capability> = Vec::new();
        for name in required {
            if !required_capabilities.contains(&name) {
                required_capabilities.push(name);
            }
        }
        Self { profile, required_capabilities }
    }

    /// Returns the requested profile.
    pub fn profile(&self) -> &ProfileName {
        &self.profile
    }

    /// Returns the capabilities that the host must have, in the order of the request.
    pub fn required_capabilities(&self) -> &[Capability] {
        &self.required_capabilities
    }

    /// Returns the request as canonical JSON.
    pub fn canonical(&self) -> Canonical {
        // Cannot fail: a request consists of names, and every name is valid JSON text.
        Canonical::of(self).unwrap_or_default()
    }

    /// Returns the digest of the request's canonical JSON.
    pub fn digest(&self) -> Digest {
        self.canonical().digest()
    }
}

/// Selects the profile of a worker: one of the named bundle (`coder`), or one of the built-in bundle
/// (`builtin:coder`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileSelector {
    /// A profile of the bundle that the request names.
    Bundle(ProfileName),
    /// A profile of the built-in bundle.
    Builtin(ProfileName),
}

impl ProfileSelector {
    /// Returns the profile's name in its bundle.
    pub fn profile(&self) -> &ProfileName {
        match self {
            Self::Bundle(name) | Self::Builtin(name) => name,
        }
    }
}

/// Error returned for a text that is not a profile selector.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// The part after the scheme is not a profile name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The scheme is unknown. Holds the whole text.
    #[error("invalid profile selector `{}`: expected `NAME` or `builtin:NAME`", shown(.0))]
    Scheme(String),
}

/// Prints the `Display` form, which masks the text: it may be a misplaced secret.
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
            "a profile's name, or `builtin:NAME` for a built-in profile",
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
    fn selector_names_a_profile_of_a_bundle_or_a_built_in_one() {
        for text in ["coder", "builtin:coder"] {
            assert_eq!(text.parse::<ProfileSelector>().map(|selector| selector.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", ":", "builtin:", "builtin:a:b", "file:x", "builtin:../x", "Builtin:coder", "coder\n"] {
            assert!(bad.parse::<ProfileSelector>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn capability_required_twice_counts_once() {
        let name = |text: &str| text.parse::<Capability>().expect("a capability");
        let request = Request::new("coder".parse().expect("a name"), [name("b"), name("a"), name("b")]);
        assert_eq!(request.required_capabilities(), [name("b"), name("a")]);
    }
}
