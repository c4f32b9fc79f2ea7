//! Lists of permissions of one plugin, and the operations that compare them.

use std::collections::BTreeSet;

use bundles::manifest::Effect;
use bundles::plugin::PluginManifest;
use bundles::{IngressName, Surface, ToolName, UrlPermission};
use serde::Serialize;

use super::grant::{PluginGrant, SecretGrant};

/// Permissions of a plugin, each kind in a list of its own: those that a package requests, those that a host grants, or a
/// part of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PermissionLists {
    /// Tools by name.
    pub tools: BTreeSet<ToolName>,
    /// Effects of tools, without `none`, which needs no grant.
    pub effects: BTreeSet<Effect>,
    /// HTTP targets.
    pub requests: Vec<UrlPermission>,
    /// WebSocket targets.
    pub websockets: Vec<UrlPermission>,
    /// Secrets with their places.
    pub secrets: Vec<SecretGrant>,
    /// Surfaces.
    pub surfaces: BTreeSet<Surface>,
    /// Names under which the plugin receives events. The surface `ingress` grants all of them.
    pub ingress: BTreeSet<IngressName>,
}

impl PermissionLists {
    /// Returns what a package requests.
    pub fn requested_by(manifest: &PluginManifest) -> Self {
        let asked = manifest.permissions();
        let effects = manifest.tools().values().map(|tool| tool.effect());
        let secrets = asked.secrets.iter().filter_map(|secret| {
            let placement = secret.placement.clone()?;
            Some(SecretGrant { name: secret.what.clone(), header: placement.header, prefix: placement.prefix })
        });
        Self {
            tools: manifest.tools().keys().cloned().collect(),
            effects: effects.filter(|effect| *effect != Effect::None).collect(),
            requests: asked.requests.iter().map(|target| target.what.clone()).collect(),
            websockets: asked.websockets.iter().map(|target| target.what.clone()).collect(),
            secrets: secrets.collect(),
            surfaces: manifest.surfaces().iter().cloned().collect(),
            ingress: manifest.ingress().keys().cloned().collect(),
        }
    }

    /// Returns what a config grants. The names of ingress are not part of a grant, so their list is empty.
    pub fn granted_by(grant: &PluginGrant) -> Self {
        Self {
            tools: grant.tools.clone(),
            effects: grant.effects.iter().copied().filter(|effect| *effect != Effect::None).collect(),
            requests: grant.requests.clone(),
            websockets: grant.websockets.clone(),
            secrets: grant.secrets.clone(),
            surfaces: grant.surfaces.clone(),
            ingress: BTreeSet::new(),
        }
    }

    /// Returns the permissions of `self` that `other` does not have. Of a target that `other` covers in part, the rest
    /// remains.
    pub fn without(&self, other: &Self) -> Self {
        Self {
            tools: &self.tools - &other.tools,
            effects: &self.effects - &other.effects,
            requests: targets_without(&self.requests, &other.requests),
            websockets: targets_without(&self.websockets, &other.websockets),
            secrets: self.secrets.iter().filter(|secret| !other.secrets.contains(secret)).cloned().collect(),
            surfaces: &self.surfaces - &other.surfaces,
            ingress: &self.ingress - &other.ingress,
        }
    }

    /// Returns the permissions that both have. A target that `other` covers as a whole stays as it is.
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            tools: &self.tools & &other.tools,
            effects: &self.effects & &other.effects,
            requests: common_targets(&self.requests, &other.requests),
            websockets: common_targets(&self.websockets, &other.websockets),
            secrets: self.secrets.iter().filter(|secret| other.secrets.contains(secret)).cloned().collect(),
            surfaces: &self.surfaces & &other.surfaces,
            ingress: &self.ingress & &other.ingress,
        }
    }

    /// Returns the number of permissions.
    pub fn count(&self) -> usize {
        let sets = self.tools.len() + self.effects.len() + self.surfaces.len() + self.ingress.len();
        sets + self.requests.len() + self.websockets.len() + self.secrets.len()
    }

    /// `true` if all lists are empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn targets_without(list: &[UrlPermission], others: &[UrlPermission]) -> Vec<UrlPermission> {
    let others: Vec<&UrlPermission> = others.iter().collect();
    list.iter().flat_map(|target| target.without(&others)).collect()
}

fn common_targets(list: &[UrlPermission], others: &[UrlPermission]) -> Vec<UrlPermission> {
    list.iter().flat_map(|target| common_with(target, others)).collect()
}

/// Returns the part of a target that `others` allow.
pub(super) fn common_with(target: &UrlPermission, others: &[UrlPermission]) -> Vec<UrlPermission> {
    if target.without(&others.iter().collect::<Vec<_>>()).is_empty() {
        return vec![target.clone()];
    }
    let mut common: Vec<UrlPermission> = Vec::new();
    for part in others.iter().filter_map(|other| target.intersection(other)) {
        if !common.iter().any(|kept| kept.covers(&part)) {
            common.retain(|kept| !part.covers(kept));
            common.push(part);
        }
    }
    common
}
