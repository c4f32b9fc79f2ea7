//! `RuntimeConfig`: what this host grants, by workspace. What is not written is not granted.
//!
//! The file is TOML and read as a whole or not at all. Real paths stand here and nowhere else: they
//! do not go into facts, specs, refusals or anything that leaves the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use bundles::canonical::to_canonical;
use bundles::{
    Access, Capability, Digest, ModelName, MountLabel, Platform, SecretRef, UrlPermission, WorkspaceId, shown,
};
use serde::{Deserialize, Serialize};

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
}

/// What the host can do, whoever asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Host {
    capabilities: BTreeSet<Capability>,
    models: BTreeSet<ModelName>,
}

/// What one workspace is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
}

/// A folder of this host, and what may be done with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
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

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("access", &self.access).finish_non_exhaustive()
    }
}

/// A config that is not understood. The text of the file is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Larger than allowed.
    #[error("the config has {0} bytes, more than the {MAX_CONFIG_BYTES} allowed")]
    TooLarge(usize),
    /// Not the TOML that it should be.
    #[error("the config is not understood: line {line}, column {column}: {problem}")]
    Invalid {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// A mount that is no absolute path.
    #[error("mount `{label}` of workspace `{workspace}` is not an absolute path")]
    RelativeMount {
        /// The workspace.
        workspace: WorkspaceId,
        /// The mount.
        label: MountLabel,
    },
}

impl ConfigError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        "invalid_config"
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "a config names what is granted; it is small",
            Self::Invalid { .. } => "mend the line; nothing of the file is in force until all of it is understood",
            Self::RelativeMount { .. } => {
                "write the whole path: what a relative one means depends on where the process was started"
            }
        }
    }
}

/// The reader quotes the value or the key it met; a value may be a path or a secret at the wrong place.
fn without_content(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    match (expected, message.strip_prefix("unknown field `")) {
        (expected, Some(rest)) => {
            let field =
                rest.rsplit_once("`, expected ").or(rest.rsplit_once("`, there are ")).map_or(rest, |(field, _)| field);
            let known = expected.map(|expected| format!(", expected {expected}")).unwrap_or_default();
            format!("unknown field `{}`{known}", shown(field))
        }
        (Some(expected), None) if message.starts_with("invalid ") || message.starts_with("unknown ") => {
            format!("expected {expected}")
        }
        _ => message.to_owned(),
    }
}

impl RuntimeConfig {
    /// Reads a config from TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge(text.len()));
        }
        let config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ConfigError::Invalid {
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                problem: without_content(error.message().lines().next().unwrap_or_default()),
            }
        })?;
        for (workspace, grants) in &config.workspaces {
            if let Some((label, _)) = grants.mounts.iter().find(|(_, mount)| !mount.path.is_absolute()) {
                return Err(ConfigError::RelativeMount { workspace: workspace.clone(), label: label.clone() });
            }
        }
        Ok(config)
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

    /// A mount of a workspace.
    pub fn mount(&self, workspace: &WorkspaceId, label: &MountLabel) -> Option<&Mount> {
        self.granted(workspace)?.mounts.get(label)
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
        if !self.workspaces.contains_key(workspace) {
            facts.capabilities.clear();
        }
        facts
    }

    /// Whether the host can do something, and does it for that workspace: for none that is not named.
    pub fn has_capability(&self, workspace: &WorkspaceId, name: &str) -> bool {
        self.workspaces.contains_key(workspace) && self.host.capabilities.contains(name)
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
    fn the_text_of_the_file_is_not_repeated() {
        for wrong in
            ["shell = 'CANARY, expected CANARY'", "secrets = 'CANARY'", "git = 'CANARY'", "models = [['CANARY']]"]
        {
            let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\n{wrong}\n")).expect_err("another type");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
            assert!(error.to_string().contains("expected "), "{error}");
        }
        let key = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
        let error = RuntimeConfig::from_toml(&format!("[workspaces.acme]\n{key} = 1\n")).expect_err("no such field");
        assert!(error.to_string().contains("unknown field `(withheld)`, expected one of"), "{error}");
    }

    #[test]
    fn a_mistake_is_told_by_line_and_column() {
        let error = RuntimeConfig::from_toml("[workspaces.acme]\nshel = true\n").expect_err("no such field");
        assert!(matches!(error, ConfigError::Invalid { line: 2, column: 1, .. }), "{error}");
        let error =
            RuntimeConfig::from_toml("[workspaces.a.mounts.b]\npath='x'\naccess='read'\n").expect_err("relative");
        assert!(matches!(error, ConfigError::RelativeMount { .. }));
    }
}
