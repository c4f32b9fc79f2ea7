//! Description of a host for a resolver: only names, and only those granted to the workspace.

use std::collections::BTreeSet;

use bundles::canonical::{Canonical, JsonBounds, JsonError, from_value, parse};
use bundles::{Capability, Condition, Digest, ModelName, MountLabel, Platform, SecretRef};
use serde::{Deserialize, Serialize};

/// Limits on the JSON text of facts, which hold a few names of each kind.
pub const FACTS_BOUNDS: JsonBounds = JsonBounds { bytes: ("facts_bytes", 256 << 10), depth: ("facts_depth", 4) };

/// Facts about one host for one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Operating system, spelled as in `std::env::consts::OS`: `linux`, `macos`.
    pub os: Platform,
    /// Processor architecture, spelled as in `std::env::consts::ARCH`: `x86_64`, `aarch64`.
    pub arch: Platform,
    /// Capabilities of the host.
    #[serde(default)]
    pub capabilities: BTreeSet<Capability>,
    /// Models that the host offers, by the names that bundles use.
    #[serde(default)]
    pub models: BTreeSet<ModelName>,
    /// Labels of the granted mounts.
    #[serde(default)]
    pub mounts: BTreeSet<MountLabel>,
    /// References of the granted secrets.
    #[serde(default)]
    pub secrets: BTreeSet<SecretRef>,
}

impl Facts {
    /// Creates the facts of a host that offers nothing.
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

    /// Parses facts from JSON, which need not be canonical. Duplicate names count once.
    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonError> {
        from_value(parse(bytes, FACTS_BOUNDS)?)
    }

    /// Returns the facts as canonical JSON.
    pub fn to_json(&self) -> Vec<u8> {
        self.canonical().into_bytes()
    }

    /// Returns the facts as a canonical value, which other canonical values can contain.
    pub fn canonical(&self) -> Canonical {
        // Cannot fail: facts consist of names, and every name is valid JSON text.
        Canonical::of(self).unwrap_or_default()
    }

    /// Returns the digest of [`Facts::to_json`].
    pub fn digest(&self) -> Digest {
        self.canonical().digest()
    }

    /// `true` if the condition holds on this host.
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
    fn facts_have_the_same_digest_in_every_json_spelling() {
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
    fn facts_with_a_path_or_an_unknown_field_are_refused() {
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
