//! Inputs that a case names: facts, a resolver, a bundle.

use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use bundles::{Digest, InvalidName, WorkspaceId};
use host_policy::{Facts, RuntimeConfig};
use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// Path of a file or folder, relative to the folder of the case file. It may lead to a parent of this folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CasePath(String);

/// Error returned for a text that is not the path of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid path: write a path relative to the folder of this file, without a control character")]
pub struct InvalidCasePath;

impl CasePath {
    /// Returns the path below `folder`, the folder of the case file.
    pub fn below(&self, folder: &Path) -> std::path::PathBuf {
        folder.join(&self.0)
    }
}

impl fmt::Display for CasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CasePath {
    type Err = InvalidCasePath;

    fn from_str(text: &str) -> Result<Self, InvalidCasePath> {
        // The meaning of an absolute path depends on the machine.
        let is_relative =
            |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir | Component::ParentDir);
        let is_valid = !text.is_empty()
            && text.len() <= 4096
            && !text.chars().any(char::is_control)
            && Path::new(text).components().all(is_relative);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidCasePath) }
    }
}

impl<'de> Deserialize<'de> for CasePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Source of the facts of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum FactsSource {
    /// The case states no facts: see [`derived`](Self::derived).
    #[default]
    Derived,
    /// The case states the facts.
    Inline(Facts),
    /// A JSON file.
    File(CasePath),
}

impl FactsSource {
    /// Returns the facts of a case that states none: those of the config for a workspace, or else those of a host that
    /// offers nothing. The platform is `linux` on `x86_64`, because a case has the same result on every machine.
    pub fn derived(config: Option<&RuntimeConfig>, workspace: &WorkspaceId) -> Result<Facts, InvalidName> {
        let (os, arch) = ("linux".parse()?, "x86_64".parse()?);
        Ok(match config {
            Some(config) => config.facts(workspace, os, arch, &component_host::WORLDS),
            None => Facts::bare(os, arch),
        })
    }
}

impl<'de> Deserialize<'de> for FactsSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = FactsSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of facts, or the path of a file with facts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FactsSource, E> {
                text.parse().map(FactsSource::File).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FactsSource, A::Error> {
                Facts::deserialize(MapAccessDeserializer::new(map)).map(FactsSource::Inline)
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

/// A resolver that a case names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResolverSource {
    /// The resolver with this digest.
    Digest(Digest),
    /// A file.
    File(CasePath),
}

impl<'de> Deserialize<'de> for ResolverSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(_) => text.parse().map(Self::File).map_err(D::Error::custom),
        }
    }
}

/// A bundle that a case names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BundleSource {
    /// The bundle that ships with the program.
    Builtin,
    /// An authoring folder, a built folder or a built file.
    Path(CasePath),
}

impl<'de> Deserialize<'de> for BundleSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "builtin" => Ok(Self::Builtin),
            path => path.parse().map(Self::Path).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_an_input_is_relative_and_one_line() {
        for good in ["host.json", "../../acme.facts.json", "./a/b"] {
            assert!(good.parse::<CasePath>().is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "a\nb", "a\0b"] {
            assert_eq!(bad.parse::<CasePath>(), Err(InvalidCasePath), "{bad:?}");
        }
    }
}
