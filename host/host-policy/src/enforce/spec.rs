//! What a worker is and may touch, after both keys have turned. Only [`enforce`](super::enforce)
//! makes one. Names, never values; labels, never paths.

use bundles::manifest::{Effect, Manifest, ToolPolicy};
use bundles::{
    Access, Authority, Digest, LanguageTag, ModelName, MountLabel, PluginName, ProfileName, ProviderName, SecretRef,
    ToolName, ToolSource, UrlPrefix, WorkflowName,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Refusal;
use crate::resolution::{Instruction, Resolution};

/// A worker's whole authority and configuration.
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
    git: Option<Git>,
    narrowed: Vec<Refusal>,
    policy: Digest,
}

/// A model with what its provider is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpecModel {
    /// The bundle's name for it.
    pub name: ModelName,
    /// Who provides it.
    pub provider: ProviderName,
    /// The provider's name for it.
    pub model: String,
    /// Parameters for the provider.
    pub parameters: Map<String, Value>,
    /// The secret that the provider asks for, by reference.
    pub secret: Option<SecretRef>,
}

/// A tool, with how it may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecTool {
    /// Its name.
    pub name: ToolName,
    /// Who answers it.
    pub source: ToolSource,
    /// The most it does to the world.
    pub effect: Effect,
    /// How it may be used.
    pub policy: ToolPolicy,
}

/// A mount by label, with the access that was granted and wished for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecMount {
    /// Its label. Which folder it is, only the host's config says.
    pub label: MountLabel,
    /// What the worker may do with it.
    pub access: Access,
}

/// Version control, with the access that was granted and wished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Git {
    /// What the worker may do.
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

    /// A read and a write of one thing come together as a write: wishes are sorted, reads first.
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
                self.git = Some(Git { access: held });
            }
        }
    }

    /// The profile and its ancestors.
    pub fn lineage(&self) -> &[ProfileName] {
        &self.lineage
    }

    /// The model.
    pub fn model(&self) -> Option<&SpecModel> {
        self.model.as_ref()
    }

    /// Prompts in the order in which the worker reads them.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Exactly the tools that the worker has.
    pub fn tools(&self) -> &[SpecTool] {
        &self.tools
    }

    /// Plugins.
    pub fn plugins(&self) -> &[PluginName] {
        &self.plugins
    }

    /// Workflows.
    pub fn workflows(&self) -> &[WorkflowName] {
        &self.workflows
    }

    /// The language.
    pub fn language(&self) -> &LanguageTag {
        &self.language
    }

    /// Settings.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Mounts, by label.
    pub fn mounts(&self) -> &[SpecMount] {
        &self.mounts
    }

    /// Secrets that the host may use for the worker, by reference.
    pub fn secrets(&self) -> &[SecretRef] {
        &self.secrets
    }

    /// URL prefixes below which host tools may connect: what was wished for. Which methods, ports and
    /// addresses are meant, the host's grants say, which are asked again for every request.
    pub fn egress(&self) -> &[UrlPrefix] {
        &self.egress
    }

    /// Whether the worker may run commands.
    pub fn shell(&self) -> bool {
        self.shell
    }

    /// Version control, where it is granted.
    pub fn git(&self) -> Option<Git> {
        self.git
    }

    /// What was refused without the worker being refused.
    pub fn narrowed(&self) -> &[Refusal] {
        &self.narrowed
    }

    /// Whether an authority is part of the spec, by itself or inside a wider one.
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

    /// Everything that was granted, one by one.
    pub fn authorities(&self) -> impl Iterator<Item = Authority> {
        let secrets = self.secrets.iter().cloned().map(Authority::Secret);
        let mounts = self.mounts.iter().map(|mount| Authority::Mount(mount.label.clone(), mount.access));
        let egress = self.egress.iter().cloned().map(Authority::Egress);
        let shell = self.shell.then_some(Authority::Shell);
        let git = self.git.map(|git| Authority::Git(git.access));
        secrets.chain(mounts).chain(egress).chain(shell).chain(git)
    }

    /// The digest of the policy that was enforced.
    pub fn policy(&self) -> Digest {
        self.policy
    }
}

impl SpecModel {
    /// A model that a bundle declares.
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
    /// A tool that a bundle declares.
    pub fn of(manifest: &Manifest, name: &ToolName) -> Option<Self> {
        let tool = manifest.tools.get(name)?;
        Some(Self { name: name.clone(), source: tool.source.clone(), effect: tool.effect, policy: tool.policy.clone() })
    }
}
