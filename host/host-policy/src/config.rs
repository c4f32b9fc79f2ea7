//! The host's config: grants for each workspace. Everything that is not written is not granted.
//!
//! The file is TOML. A file with a mistake is rejected as a whole. The config is the only value that
//! holds paths of the host: facts, specs, refusals and everything that leaves the process contain none.

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
use crate::plugin::PluginGrant;

/// Limit on the length of a config file, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// A host's config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeConfig {
    #[serde(default)]
    host: Host,
    #[serde(default)]
    workspaces: BTreeMap<WorkspaceId, WorkspaceGrants>,
    /// Results of [`RuntimeConfig::digest`] for the workspaces of the config.
    #[serde(skip)]
    digests: BTreeMap<WorkspaceId, Digest>,
}

/// Capabilities and models of the host, the same for all workspaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of `capabilities`, `models` and `resolver`")]
struct Host {
    capabilities: BTreeSet<Capability>,
    models: BTreeSet<ModelName>,
    /// Pinned resolver. It is not part of the policy digest, because it grants nothing.
    #[serde(skip_serializing)]
    resolver: Option<Digest>,
}

/// The grants of one workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of grants")]
pub struct WorkspaceGrants {
    /// `true` refuses built-in profiles: every worker needs a bundle.
    pub require_bundle: bool,
    /// `true` ignores findings of the leak scan that the bundle's author accepted.
    pub accept_leak_findings: bool,
    /// `true` allows workers to run commands.
    pub shell: bool,
    /// Access to version control; `None` grants none.
    pub git: Option<Access>,
    /// Secrets that workers may use, by reference.
    pub secrets: BTreeSet<SecretRef>,
    /// Restricts the host's models to these; `None` allows all models of the host.
    pub models: Option<BTreeSet<ModelName>>,
    /// Mounts by label.
    pub mounts: BTreeMap<MountLabel, Mount>,
    /// URLs that host tools may connect to.
    pub egress: Vec<UrlPermission>,
    /// Grants of plugin packages, by digest. Left out of the policy digest if empty, so that the digests of policies
    /// without plugins stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<Digest, PluginGrant>,
    /// Signatures that a new bundle needs. A Runtime requires a value: see [`RuntimeConfig::require_postures`].
    pub signatures: Option<Posture>,
    /// Resolver of requests of this workspace that name none. It is not part of the policy digest, because it grants nothing.
    #[serde(skip_serializing)]
    pub resolver: Option<Digest>,
}

/// A folder of this host, and the access granted to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of `path` and `access`")]
pub struct Mount {
    #[serde(deserialize_with = "absolute_path")]
    path: PathBuf,
    access: Access,
}

impl Mount {
    /// Returns the absolute path of the folder. It never leaves the process.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the granted access.
    pub fn access(&self) -> Access {
        self.access
    }
}

/// Message for a relative mount path, whose meaning would depend on the working directory of the process.
const RELATIVE_MOUNT_PATH: &str = "the path of a mount must be absolute";

fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(serde::de::Error::custom(RELATIVE_MOUNT_PATH)) }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("access", &self.access).finish_non_exhaustive()
    }
}

impl FromIterator<(WorkspaceId, WorkspaceGrants)> for RuntimeConfig {
    fn from_iter<I: IntoIterator<Item = (WorkspaceId, WorkspaceGrants)>>(workspaces: I) -> Self {
        Self { workspaces: workspaces.into_iter().collect(), ..Self::default() }.with_digests()
    }
}

impl RuntimeConfig {
    /// Parses a config from TOML.
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

    /// Parses a config from a TOML file that also holds settings of the program.
    ///
    /// The top-level tables named in `others` are parsed as a `T`, and the rest as the config.
    pub fn from_toml_with<T: DeserializeOwned>(text: &str, others: &[&str]) -> Result<(Self, T), ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(text.len()));
        }
        let invalid = |error: toml::de::Error| ConfigError::from_toml(text, &error);
        let whole = toml::de::DeTable::parse(text).map_err(invalid)?;
        let span = whole.span();
        let (other, own): (toml::de::DeTable<'_>, toml::de::DeTable<'_>) =
            whole.into_inner().into_iter().partition(|(name, _)| others.contains(&name.get_ref().as_ref()));
        let read = |table| toml::de::Deserializer::from(toml::Spanned::new(span.clone(), table));
        Ok((
            Self::deserialize(read(own)).map_err(invalid)?.with_digests(),
            T::deserialize(read(other)).map_err(invalid)?,
        ))
    }

    /// Checks that each workspace states a signature posture. A Runtime does not start without it;
    /// resolving a profile does not need it.
    pub fn require_postures(&self) -> Result<(), ConfigError> {
        let silent = self.workspaces.iter().filter(|(_, grants)| grants.signatures.is_none());
        let silent: Vec<WorkspaceId> = silent.map(|(id, _)| id.clone()).collect();
        if silent.is_empty() { Ok(()) } else { Err(ConfigError::NoPosture(silent)) }
    }

    /// Returns the grants of a workspace; empty grants if the config does not name the workspace.
    pub fn grants(&self, workspace: &WorkspaceId) -> WorkspaceGrants {
        self.workspaces.get(workspace).cloned().unwrap_or_default()
    }

    pub(crate) fn workspace_grants(&self, workspace: &WorkspaceId) -> Option<&WorkspaceGrants> {
        self.workspaces.get(workspace)
    }

    /// Returns the workspaces of the config.
    pub fn workspaces(&self) -> impl Iterator<Item = &WorkspaceId> {
        self.workspaces.keys()
    }

    /// `true` if the config names the workspace.
    pub fn has_workspace(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces.contains_key(workspace)
    }

    /// Returns the mount of a workspace with the given label.
    pub fn mount(&self, workspace: &WorkspaceId, label: &MountLabel) -> Option<&Mount> {
        self.workspace_grants(workspace)?.mounts.get(label)
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

    /// Returns the grant of a plugin package to a workspace.
    pub fn plugin(&self, workspace: &WorkspaceId, package: &Digest) -> Option<&PluginGrant> {
        self.workspace_grants(workspace)?.plugins.get(package)
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
        self.workspaces.get(workspace).and_then(|grants| grants.resolver).or(self.host.resolver)
    }

    /// Returns `true` if the config pins the resolver anywhere.
    pub fn pins_resolver(&self, resolver: &Digest) -> bool {
        let own = self.workspaces.values().filter_map(|grants| grants.resolver.as_ref());
        self.host.resolver.iter().chain(own).any(|pinned| pinned == resolver)
    }

    /// Returns the facts for one workspace. They hold only granted names.
    ///
    /// The capabilities `shell`, `git` and `models` follow from the grants, even if the config lists or omits them. So do
    /// the capabilities `world:yoi:…` from `worlds`, the names of the worlds whose components this host runs.
    pub fn facts(&self, workspace: &WorkspaceId, os: Platform, arch: Platform, worlds: &[&str]) -> Facts {
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
        facts.capabilities.retain(|name| !name.as_str().starts_with("world:yoi:"));
        facts
            .capabilities
            .extend(worlds.iter().filter_map(|world| format!("world:{world}").parse::<Capability>().ok()));
        if !self.has_workspace(workspace) {
            facts.capabilities.clear();
        }
        facts
    }

    /// `true` if the host has the capability and the config names the workspace.
    pub fn has_capability(&self, workspace: &WorkspaceId, name: &str) -> bool {
        self.has_workspace(workspace) && self.host.capabilities.contains(name)
    }

    /// `true` if the host offers the model to the workspace. A workspace that the config does not name is
    /// offered none.
    pub fn offers_model(&self, workspace: &WorkspaceId, name: &ModelName) -> bool {
        self.host.models.contains(name)
            && self
                .workspace_grants(workspace)
                .is_some_and(|grants| grants.models.as_ref().is_none_or(|fewer| fewer.contains(name)))
    }

    /// Returns the digest of the grants of one workspace, without paths. Two hosts with the same policy
    /// and different folders have the same digest.
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
        capabilities = ["shell", "git", "tool:fs.read", "world:yoi:runtime/service@1.0.0", "world:acme:batch/job@1.0.0"]
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
        config.facts(&workspace.parse().expect("an id"), name("linux"), name("x86_64"), &["yoi:runtime/tool@1.0.0"])
    }

    #[test]
    fn facts_hold_only_what_is_granted_to_the_workspace() {
        let facts = facts("acme");
        let has = |name: &str| facts.capabilities.contains(name);
        assert!(has("git") && has("models") && has("tool:fs.read") && !has("shell"));
        // The worlds `yoi:…` follow from the program. Other worlds are those that the operator lists.
        assert!(has("world:yoi:runtime/tool@1.0.0") && !has("world:yoi:runtime/service@1.0.0"));
        assert!(has("world:acme:batch/job@1.0.0"));
        assert!(facts.mounts.contains("repo") && facts.secrets.contains("github-token"));
    }

    #[test]
    fn workspace_that_is_not_named_is_granted_nothing() {
        let facts = facts("other");
        let names = |workspace: &str| {
            RuntimeConfig::from_toml(CONFIG).expect("a config").has_workspace(&workspace.parse().expect("an id"))
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
    fn debug_output_and_digest_do_not_contain_paths() {
        let config = RuntimeConfig::from_toml(CONFIG).expect("a config");
        assert!(!format!("{config:?}").contains("/srv"));
        let elsewhere = RuntimeConfig::from_toml(&CONFIG.replace("/srv/acme", "/data/x")).expect("a config");
        let workspace = "acme".parse().expect("an id");
        assert_eq!(config.digest(&workspace), elsewhere.digest(&workspace));
        let narrower = RuntimeConfig::from_toml(&CONFIG.replace("\"write\"", "\"read\"")).expect("a config");
        assert_ne!(config.digest(&workspace), narrower.digest(&workspace));
    }

    #[test]
    fn config_without_a_posture_for_each_workspace_is_refused() {
        let config = |text: &str| RuntimeConfig::from_toml(text).expect("a config");
        let none = "signatures = { posture = 'none' }\n";
        assert_eq!(config("").require_postures(), Ok(()));
        assert_eq!(config(&format!("[workspaces.a]\n{none}")).require_postures(), Ok(()));
        let error = config(&format!("[workspaces.a]\n{none}[workspaces.b]\nshell = true\n")).require_postures();
        let error = error.expect_err("`b` says nothing");
        assert_eq!((error.code().as_str(), error.place()), ("no_signature_posture", None));
        assert_eq!(error.to_string(), "no signature posture for workspace `b`");
        assert!(error.help().starts_with("under [workspaces.b] write `signatures = {"), "{}", error.help());
        let many: String = (0..20).map(|number| format!("[workspaces.w{number}]\n")).collect();
        let error = config(&many).require_postures().expect_err("none says anything");
        assert!(error.to_string().ends_with("`w15` and 12 more"), "{error}");
    }

    #[test]
    fn mistakes_in_config_and_other_tables_are_reported_with_their_place() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Other {
            service: Service,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Service {
            port: u16,
        }
        let read = |text: &str| RuntimeConfig::from_toml_with::<Other>(text, &["service"]);
        let (config, other) = read("[service]\nport = 7\n[workspaces.acme]\nshell = true\n").expect("a config");
        assert_eq!(other, Other { service: Service { port: 7 } });
        assert!(config.grants(&"acme".parse().expect("an id")).shell);
        for (text, line, column, expected) in [
            ("[service]\nport = 70000\n", 2, 8, "expected u16"),
            ("[service]\nport = 7\nprot = 7\n", 3, 1, "unknown field `prot`"),
            ("[service]\nport = 7\n[workspaces.acme]\nshel = true\n", 4, 1, "unknown field `shel`"),
            ("[service]\nport = 7\n[hosts]\n", 3, 2, "unknown field `hosts`"),
            ("[service]\nport = \n", 2, 8, ""),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.place().map(|place| (place.line(), place.column())), Some((line, column)), "{error}");
        }
    }

    #[test]
    fn posture_is_part_of_the_policy_digest() {
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
