//! The authority and configuration of a worker that the bundle requests and the host grants.
//!
//! Only [`enforce`](super::enforce) creates a [`ResolvedWorkerSpec`]. A spec holds names of secrets, never
//! their values, and labels of mounts, never their paths.

use bundles::manifest::{Effect, Manifest, ToolPolicy};
use bundles::{
    Access, Authority, Digest, LanguageTag, ModelName, MountLabel, PluginName, ProfileName, ProviderName, SecretRef,
    ToolName, ToolSource, UrlPrefix, WorkflowName,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Refusal;
use crate::resolution::{Instruction, Resolution};

/// The complete authority and configuration of a worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResolvedWorkerSpec {
    lineage: Vec<ProfileName>,
    model: Option<SpecModel>,
    instructions: Vec<Instruction>,
    tools: Vec<SpecTool>,
    plugins: Vec<PluginName>,
    workflows: Vec<WorkflowName>,
    language: LanguageTag,
    settings: Map<String, Value>,
    mounts: Vec<SpecMount>,
    secrets: Vec<SecretRef>,
    egress: Vec<UrlPrefix>,
    shell: bool,
    git: Option<SpecGit>,
    narrowed: Vec<Refusal>,
    policy: Digest,
}

/// A model with the parameters for its provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpecModel {
    /// Name of the model in the bundle.
    pub name: ModelName,
    /// Provider of the model.
    pub provider: ProviderName,
    /// Name of the model at the provider.
    pub model: String,
    /// Parameters for the provider.
    pub parameters: Map<String, Value>,
    /// Reference of the secret that the provider needs.
    pub secret: Option<SecretRef>,
}

/// A tool with its source, effect and policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecTool {
    /// Name of the tool.
    pub name: ToolName,
    /// The host or the plugin that runs the tool.
    pub source: ToolSource,
    /// Strongest effect of a call.
    pub effect: Effect,
    /// Policy for calls.
    pub policy: ToolPolicy,
}

/// A granted mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecMount {
    /// Label of the mount. Only the host's config maps it to a folder.
    pub label: MountLabel,
    /// The granted access, no wider than the wish.
    pub access: Access,
}

/// Granted access to version control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SpecGit {
    /// The granted access, no wider than the wish.
    pub access: Access,
}

impl ResolvedWorkerSpec {
    pub(super) fn new(
        manifest: &Manifest,
        resolution: &Resolution,
        granted: &[Authority],
        tools: Vec<ToolName>,
        plugins: Vec<PluginName>,
        narrowed: Vec<Refusal>,
        policy: Digest,
    ) -> Self {
        let mut spec = Self {
            lineage: resolution.lineage().to_vec(),
            model: resolution.model().and_then(|name| SpecModel::of(manifest, name)),
            instructions: resolution.instructions().to_vec(),
            tools: tools.iter().filter_map(|name| SpecTool::of(manifest, name)).collect(),
            plugins,
            workflows: resolution.workflows().to_vec(),
            language: resolution.language().clone(),
            settings: resolution.settings().clone(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            egress: Vec::new(),
            shell: false,
            git: None,
            narrowed,
            policy,
        };
        for authority in granted {
            spec.grant(authority);
        }
        spec
    }

    /// Adds an authority. A read and a write grant for the same mount or for git are merged into one write grant.
    fn grant(&mut self, authority: &Authority) {
        match authority {
            Authority::Secret(name) => self.secrets.push(name.clone()),
            Authority::Mount(label, access) => match self.mounts.iter_mut().find(|mount| mount.label == *label) {
                Some(mount) => mount.access = mount.access.max(*access),
                None => self.mounts.push(SpecMount { label: label.clone(), access: *access }),
            },
            Authority::Egress(prefix) => self.egress.push(prefix.clone()),
            Authority::Shell => self.shell = true,
            Authority::Git(access) => {
                let held = self.git.map_or(*access, |git| git.access.max(*access));
                self.git = Some(SpecGit { access: held });
            }
        }
    }

    /// Returns the selected profile and its ancestors, the profile first.
    pub fn lineage(&self) -> &[ProfileName] {
        &self.lineage
    }

    /// Returns the model; `None` if the profile names no model.
    pub fn model(&self) -> Option<&SpecModel> {
        self.model.as_ref()
    }

    /// Returns the prompts in the order in which the worker reads them.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Returns all tools of the worker.
    pub fn tools(&self) -> &[SpecTool] {
        &self.tools
    }

    /// Returns the plugins of the worker.
    pub fn plugins(&self) -> &[PluginName] {
        &self.plugins
    }

    /// Returns the workflows of the worker.
    pub fn workflows(&self) -> &[WorkflowName] {
        &self.workflows
    }

    /// Returns the language of the worker.
    pub fn language(&self) -> &LanguageTag {
        &self.language
    }

    /// Returns the settings of the worker.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Returns the granted mounts, by label.
    pub fn mounts(&self) -> &[SpecMount] {
        &self.mounts
    }

    /// Returns the references of the secrets that the host may use for the worker.
    pub fn secrets(&self) -> &[SecretRef] {
        &self.secrets
    }

    /// Returns the URL prefixes below which host tools may connect.
    ///
    /// The prefixes come from the wishes. The host's grants decide methods, ports and addresses; they
    /// are checked again for every request.
    pub fn egress(&self) -> &[UrlPrefix] {
        &self.egress
    }

    /// `true` if the worker may run commands.
    pub fn shell(&self) -> bool {
        self.shell
    }

    /// Returns the access to version control; `None` if it is not granted.
    pub fn git(&self) -> Option<SpecGit> {
        self.git
    }

    /// Returns the refused optional parts. They narrow the worker but do not prevent it.
    pub fn narrowed(&self) -> &[Refusal] {
        &self.narrowed
    }

    /// `true` if the spec contains the authority or a wider one.
    pub fn grants(&self, authority: &Authority) -> bool {
        match authority {
            Authority::Secret(name) => self.secrets.contains(name),
            Authority::Mount(label, access) => {
                self.mounts.iter().any(|mount| mount.label == *label && mount.access >= *access)
            }
            Authority::Egress(prefix) => self.egress.iter().any(|held| held.covers(prefix)),
            Authority::Shell => self.shell,
            Authority::Git(access) => self.git.is_some_and(|git| git.access >= *access),
        }
    }

    /// Returns all granted authorities.
    pub fn authorities(&self) -> impl Iterator<Item = Authority> {
        let secrets = self.secrets.iter().cloned().map(Authority::Secret);
        let mounts = self.mounts.iter().map(|mount| Authority::Mount(mount.label.clone(), mount.access));
        let egress = self.egress.iter().cloned().map(Authority::Egress);
        let shell = self.shell.then_some(Authority::Shell);
        let git = self.git.map(|git| Authority::Git(git.access));
        secrets.chain(mounts).chain(egress).chain(shell).chain(git)
    }

    /// Returns the digest of the enforced policy.
    pub fn policy(&self) -> Digest {
        self.policy
    }
}

impl SpecModel {
    /// Returns the model that a bundle declares under `name`.
    pub fn of(manifest: &Manifest, name: &ModelName) -> Option<Self> {
        let model = manifest.models.get(name)?;
        Some(Self {
            name: name.clone(),
            provider: model.provider.clone(),
            model: model.model.clone(),
            parameters: model.parameters.clone(),
            secret: model.secret.clone(),
        })
    }
}

impl SpecTool {
    /// Returns the tool that a bundle declares under `name`.
    pub fn of(manifest: &Manifest, name: &ToolName) -> Option<Self> {
        let tool = manifest.tools.get(name)?;
        Some(Self { name: name.clone(), source: tool.source.clone(), effect: tool.effect, policy: tool.policy.clone() })
    }
}
