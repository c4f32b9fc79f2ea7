//! What a host tells a resolver about itself: names only, and only those granted to the workspace.

use std::collections::BTreeSet;

use bundles::canonical::{Canonical, JsonBounds, JsonError, from_value, parse};
use bundles::{Capability, Condition, Digest, ModelName, MountLabel, Platform, SecretRef};
use serde::{Deserialize, Serialize};

/// Bounds on facts as a file: a few names of each kind.
pub const FACTS_BOUNDS: JsonBounds = JsonBounds { bytes: ("facts_bytes", 256 << 10), depth: ("facts_depth", 4) };

/// The facts of one host for one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Operating system, as Rust names it: `linux`, `macos`.
    pub os: Platform,
    /// Processor architecture, as Rust names it: `x86_64`, `aarch64`.
    pub arch: Platform,
    /// What the host can do.
    #[serde(default)]
    pub capabilities: BTreeSet<Capability>,
    /// Models that the host can reach, by the names that bundles use.
    #[serde(default)]
    pub models: BTreeSet<ModelName>,
    /// Labels of mounts that are granted.
    #[serde(default)]
    pub mounts: BTreeSet<MountLabel>,
    /// References of secrets that are granted.
    #[serde(default)]
    pub secrets: BTreeSet<SecretRef>,
}

impl Facts {
    /// A host of that system and architecture that offers nothing.
    pub fn bare(os: Platform, arch: Platform) -> Self {
        Self {
            os,
            arch,
            capabilities: BTreeSet::new(),
            models: BTreeSet::new(),
            mounts: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// Facts from JSON, in any spelling. Duplicate names count once.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        from_value(parse(bytes, FACTS_BOUNDS)?)
    }

    /// The facts in their one spelling.
    pub fn to_json(&self) -> Vec<u8> {
        self.canonical().into_bytes()
    }

    /// The same, to stand in what is canonical.
    pub fn canonical(&self) -> Canonical {
        // Sets of names and two names: there is nothing in it that JSON could not hold.
        Canonical::of(self).unwrap_or_default()
    }

    /// The digest of [`Facts::to_json`].
    pub fn digest(&self) -> Digest {
        self.canonical().digest()
    }

    /// Whether a condition holds on this host.
    pub fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Has(name) => self.capabilities.contains(name),
            Condition::Lacks(name) => !self.capabilities.contains(name),
            Condition::Os(name) => self.os == *name,
            Condition::Arch(name) => self.arch == *name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_one_digest_whatever_their_spelling() {
        let one =
            Facts::from_json(br#"{"os":"linux","arch":"x86_64","capabilities":["shell","git","git"]}"#).expect("facts");
        let two =
            Facts::from_json(br#"{ "arch":"x86_64", "capabilities":["git","shell"], "models":[], "os":"linux" }"#)
                .expect("facts");
        assert_eq!(one.digest(), two.digest());
        assert!(one.holds(&"has:shell".parse().expect("a condition")));
        assert!(!one.holds(&"lacks:git".parse().expect("a condition")));
    }

    #[test]
    fn facts_hold_names_and_nothing_else() {
        for bad in [
            r#"{"os":"linux"}"#,
            r#"{"os":"linux","arch":"x86_64","mounts":["/home/alice"]}"#,
            r#"{"os":"linux","arch":"x86_64","token":"x"}"#,
            r#"{"os":"linux","arch":"x86_64","secrets":[["a"]]}"#,
        ] {
            assert!(Facts::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
