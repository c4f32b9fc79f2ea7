//! `RuntimeConfig`: what this host grants, by workspace. What is not written is not granted.
//!
//! The file is TOML and read as a whole or not at all. Real paths stand here and nowhere else: they
//! do not go into facts, specs, refusals or anything that leaves the process.

mod error;
mod source;

pub use error::{ConfigError, ConfigPlace};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use bundles::canonical::to_canonical;
use bundles::signature::Posture;
use bundles::{Access, Capability, Digest, ModelName, MountLabel, Platform, SecretRef, UrlPermission, WorkspaceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::facts::Facts;

/// Most bytes of a config.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// A host's config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeConfig {
    #[serde(default)]
    host: Host,
    #[serde(default)]
    workspaces: BTreeMap<WorkspaceId, WorkspaceGrants>,
    /// What [`RuntimeConfig::digest`] answers for the workspaces that are named.
    #[serde(skip)]
    digests: BTreeMap<WorkspaceId, Digest>,
}

/// What the host can do, whoever asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of `capabilities`, `models` and `resolver`")]
struct Host {
    capabilities: BTreeSet<Capability>,
    models: BTreeSet<ModelName>,
    /// Not part of the policy digest: it decides who computes, and not what is granted.
    #[serde(skip_serializing)]
    resolver: Option<Digest>,
}

/// What one workspace is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of grants")]
pub struct WorkspaceGrants {
    /// Profiles that ship inside are refused: a worker needs a bundle.
    pub require_bundle: bool,
    /// Findings of the leak scan that a bundle's author accepted are honoured.
    pub accept_leak_findings: bool,
    /// Workers may run commands.
    pub shell: bool,
    /// Workers may use version control, to read or to write.
    pub git: Option<Access>,
    /// Secrets that workers may use, by reference.
    pub secrets: BTreeSet<SecretRef>,
    /// Models, where this workspace has fewer than the host.
    pub models: Option<BTreeSet<ModelName>>,
    /// Mounts by label.
    pub mounts: BTreeMap<MountLabel, Mount>,
    /// Where host tools may connect to.
    pub egress: Vec<UrlPermission>,
    /// Which keys must have signed a bundle that is to be taken in. A Runtime demands that it is said:
    /// see [`RuntimeConfig::require_postures`].
    pub signatures: Option<Posture>,
    /// Resolver that requests of this workspace use which name none. Not part of the policy digest: it decides who computes,
    /// and not what is granted.
    #[serde(skip_serializing)]
    pub resolver: Option<Digest>,
}

/// A folder of this host, and what may be done with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `path` and `access`")]
pub struct Mount {
    #[serde(deserialize_with = "absolute")]
    path: PathBuf,
    access: Access,
}

impl Mount {
    /// The folder. It never leaves the process.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What may be done with it.
    pub fn access(&self) -> Access {
        self.access
    }
}

/// What a relative path means depends on where the process was started.
const RELATIVE: &str = "the path of a mount must be absolute";

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(serde::de::Error::custom(RELATIVE)) }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("access", &self.access).finish_non_exhaustive()
    }
}

impl RuntimeConfig {
    /// Reads a config from TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(text.len()));
        }
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        Ok(config.with_digests())
    }

    fn with_digests(mut self) -> Self {
        self.digests = self.workspaces.keys().map(|workspace| (workspace.clone(), self.digest(workspace))).collect();
        self
    }

    /// Reads a config that stands in one file with what else the program that reads it is told: `others`
    /// names the tables at the top of the file that make a `T`.
    pub fn from_toml_beside<T: DeserializeOwned>(text: &str, others: &[&str]) -> Result<(Self, T), ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(text.len()));
        }
        let told = |error: toml::de::Error| ConfigError::from_toml(text, &error);
        let whole = toml::de::DeTable::parse(text).map_err(told)?;
        let span = whole.span();
        let (beside, own): (toml::de::DeTable<'_>, toml::de::DeTable<'_>) =
            whole.into_inner().into_iter().partition(|(name, _)| others.contains(&name.get_ref().as_ref()));
        let read = |table| toml::de::Deserializer::from(toml::Spanned::new(span.clone(), table));
        Ok((Self::deserialize(read(own)).map_err(told)?.with_digests(), T::deserialize(read(beside)).map_err(told)?))
    }

    /// That each workspace says which keys must have signed its bundles, or that none must: a Runtime
    /// starts with nothing less. To resolve a profile it need not be said.
    pub fn require_postures(&self) -> Result<(), ConfigError> {
        let silent = self.workspaces.iter().filter(|(_, grants)| grants.signatures.is_none());
        let silent: Vec<WorkspaceId> = silent.map(|(id, _)| id.clone()).collect();
        if silent.is_empty() { Ok(()) } else { Err(ConfigError::NoPosture(silent)) }
    }

    /// What a workspace is granted: nothing, where the config does not name it.
    pub fn grants(&self, workspace: &WorkspaceId) -> WorkspaceGrants {
        self.workspaces.get(workspace).cloned().unwrap_or_default()
    }

    pub(crate) fn granted(&self, workspace: &WorkspaceId) -> Option<&WorkspaceGrants> {
        self.workspaces.get(workspace)
    }

    /// The workspaces that are named.
    pub fn workspaces(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.workspaces.keys()
    }

    /// Whether a workspace is named.
    pub fn names(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces.contains_key(workspace)
    }

    /// A mount of a workspace.
    pub fn mount(&self, workspace: &WorkspaceId, label: &MountLabel) -> Option<&Mount> {
        self.granted(workspace)?.mounts.get(label)
    }

    /// Returns all mounts with their workspaces.
    pub fn mounts(&self) -> impl Iterator<Item = (&WorkspaceId, &MountLabel, &Mount)> {
        self.workspaces
            .iter()
            .flat_map(|(workspace, grants)| grants.mounts.iter().map(move |(label, mount)| (workspace, label, mount)))
    }

    /// Returns the secrets that workspaces may use, with their workspaces.
    pub fn secrets(&self) -> impl Iterator<Item = (&WorkspaceId, &SecretRef)> {
        let each = self.workspaces.iter();
        each.flat_map(|(workspace, grants)| grants.secrets.iter().map(move |secret| (workspace, secret)))
    }

    /// Returns the capabilities that are written under `[host]`.
    pub fn capabilities(&self) -> impl Iterator<Item = &Capability> {
        self.host.capabilities.iter()
    }

    /// Returns the models that are written under `[host]`.
    pub(crate) fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.host.models.iter()
    }

    /// Returns the resolver that the config pins for all workspaces.
    pub fn host_resolver(&self) -> Option<Digest> {
        self.host.resolver
    }

    /// Returns the resolver that the config pins for a workspace: its own, or the one of the host.
    pub fn pinned_resolver(&self, workspace: &WorkspaceId) -> Option<Digest> {
        self.granted(workspace).and_then(|grants| grants.resolver).or(self.host.resolver)
    }

    /// Returns `true` if the config pins a resolver anywhere.
    pub fn pins_resolver(&self, resolver: &Digest) -> bool {
        let own = self.workspaces.values().filter_map(|grants| grants.resolver.as_ref());
        self.host.resolver.iter().chain(own).any(|pinned| pinned == resolver)
    }

    /// What this host tells a resolver for one workspace: only what is granted to it. `shell`, `git`
    /// and `models` are capabilities by being granted, not by being written.
    pub fn facts(&self, workspace: &WorkspaceId, os: Platform, arch: Platform) -> Facts {
        let grants = self.grants(workspace);
        let mut facts = Facts::bare(os, arch);
        facts.models = self.host.models.iter().filter(|name| self.offers_model(workspace, name)).cloned().collect();
        facts.mounts = grants.mounts.keys().cloned().collect();
        facts.secrets = grants.secrets.clone();
        let derived = [("shell", grants.shell), ("git", grants.git.is_some()), ("models", !facts.models.is_empty())];
        facts.capabilities = self.host.capabilities.clone();
        for (name, granted) in derived {
            let Ok(name) = name.parse::<Capability>() else { continue };
            if granted {
                facts.capabilities.insert(name);
            } else {
                facts.capabilities.remove(&name);
            }
        }
        if !self.names(workspace) {
            facts.capabilities.clear();
        }
        facts
    }

    /// Whether the host can do something, and does it for that workspace: for none that is not named.
    pub fn has_capability(&self, workspace: &WorkspaceId, name: &str) -> bool {
        self.names(workspace) && self.host.capabilities.contains(name)
    }

    /// Whether the host offers a model to a workspace: for none that is not named.
    pub fn offers_model(&self, workspace: &WorkspaceId, name: &ModelName) -> bool {
        self.host.models.contains(name)
            && self
                .granted(workspace)
                .is_some_and(|grants| grants.models.as_ref().is_none_or(|fewer| fewer.contains(name)))
    }

    /// The digest of what is granted to one workspace, without paths: the same policy on two hosts
    /// whose folders lie elsewhere is the same policy.
    pub fn digest(&self, workspace: &WorkspaceId) -> Digest {
        if let Some(known) = self.digests.get(workspace) {
            return *known;
        }
        #[derive(Serialize)]
        struct Policy<'a> {
            host: &'a Host,
            grants: serde_json::Value,
        }
        let mut grants = serde_json::to_value(self.grants(workspace)).unwrap_or_default();
        if let Some(mounts) = grants.get_mut("mounts").and_then(|mounts| mounts.as_object_mut()) {
            for mount in mounts.values_mut().filter_map(|mount| mount.as_object_mut()) {
                mount.remove("path");
            }
        }
        Digest::of(to_canonical(&Policy { host: &self.host, grants }).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [host]
        capabilities = ["shell", "git", "tool:fs.read"]
        models = ["large"]
        [workspaces.acme]
        git = "read"
        secrets = ["github-token"]
        [workspaces.acme.mounts.repo]
        path = "/srv/acme"
        access = "write"
    "#;

    fn facts(workspace: &str) -> Facts {
        let config = RuntimeConfig::from_toml(CONFIG).expect("a config");
        let name = |text: &str| text.parse().expect("a platform");
        config.facts(&workspace.parse().expect("an id"), name("linux"), name("x86_64"))
    }

    #[test]
    fn facts_hold_only_what_is_granted_to_the_workspace() {
        let facts = facts("acme");
        let has = |name: &str| facts.capabilities.contains(name);
        assert!(has("git") && has("models") && has("tool:fs.read") && !has("shell"));
        assert!(facts.mounts.contains("repo") && facts.secrets.contains("github-token"));
    }

    #[test]
    fn a_workspace_that_is_not_named_is_granted_nothing() {
        let facts = facts("other");
        let names = |workspace: &str| {
            RuntimeConfig::from_toml(CONFIG).expect("a config").names(&workspace.parse().expect("an id"))
        };
        assert!(names("acme") && !names("other"));
        assert!(
            facts.capabilities.is_empty()
                && facts.models.is_empty()
                && facts.mounts.is_empty()
                && facts.secrets.is_empty()
        );
    }

    #[test]
    fn a_path_is_in_no_debug_output_and_in_no_digest() {
        let config = RuntimeConfig::from_toml(CONFIG).expect("a config");
        assert!(!format!("{config:?}").contains("/srv"));
        let elsewhere = RuntimeConfig::from_toml(&CONFIG.replace("/srv/acme", "/data/x")).expect("a config");
        let workspace = "acme".parse().expect("an id");
        assert_eq!(config.digest(&workspace), elsewhere.digest(&workspace));
        let narrower = RuntimeConfig::from_toml(&CONFIG.replace("\"write\"", "\"read\"")).expect("a config");
        assert_ne!(config.digest(&workspace), narrower.digest(&workspace));
    }

    #[test]
    fn each_workspace_states_a_posture() {
        let config = |text: &str| RuntimeConfig::from_toml(text).expect("a config");
        let none = "signatures = { posture = 'none' }\n";
        assert_eq!(config("").require_postures(), Ok(()));
        assert_eq!(config(&format!("[workspaces.a]\n{none}")).require_postures(), Ok(()));
        let error = config(&format!("[workspaces.a]\n{none}[workspaces.b]\nshell = true\n")).require_postures();
        let error = error.expect_err("`b` says nothing");
        assert_eq!((error.code(), error.place()), ("no_signature_posture", None));
        assert_eq!(error.to_string(), "workspace `b` does not say whose signatures bundles need");
        assert!(error.help().starts_with("under [workspaces.b] write `signatures = {"), "{}", error.help());
        let many: String = (0..20).map(|number| format!("[workspaces.w{number}]\n")).collect();
        let error = config(&many).require_postures().expect_err("none says anything");
        assert!(error.to_string().ends_with("`w15` and 12 more do not say whose signatures bundles need"), "{error}");
    }

    #[test]
    fn other_tables_of_the_file_are_read_beside_it_and_mistakes_in_either_are_told_where_they_stand() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Beside {
            service: Service,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Service {
            port: u16,
        }
        let read = |text: &str| RuntimeConfig::from_toml_beside::<Beside>(text, &["service"]);
        let (config, beside) = read("[service]\nport = 7\n[workspaces.acme]\nshell = true\n").expect("a config");
        assert_eq!(beside, Beside { service: Service { port: 7 } });
        assert!(config.grants(&"acme".parse().expect("an id")).shell);
        for (text, line, column, said) in [
            ("[service]\nport = 70000\n", 2, 8, "expected u16"),
            ("[service]\nport = 7\nprot = 7\n", 3, 1, "unknown field `prot`"),
            ("[service]\nport = 7\n[workspaces.acme]\nshel = true\n", 4, 1, "unknown field `shel`"),
            ("[service]\nport = 7\n[hosts]\n", 3, 2, "unknown field `hosts`"),
            ("[service]\nport = \n", 2, 8, ""),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((line, column)), "{error}");
        }
    }

    #[test]
    fn a_posture_is_part_of_the_policy() {
        let key = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let digest = |posture: &str| {
            let text = format!("[workspaces.acme]\nsignatures = {posture}\n");
            RuntimeConfig::from_toml(&text).expect("a config").digest(&"acme".parse().expect("an id"))
        };
        let required = digest(&format!("{{ posture = 'required', keys = ['{key}'] }}"));
        assert_ne!(required, digest("{ posture = 'none' }"));
        assert_eq!(required, digest(&format!("{{ posture = 'required', keys = ['{key}'], threshold = 1 }}")));
    }
}
