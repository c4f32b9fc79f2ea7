//! Review of a plugin: the requests of a package beside the grant of a host, for the person who decides.
//!
//! A [`PluginReview`] is a pure value, and every presentation renders the same one. [`PluginChange`] compares two versions
//! of a plugin. Nothing here changes a decision: `enforce` decides. Read `lists` next, then `statement`.

use bundles::UrlPermission;
use bundles::manifest::Effect;
use bundles::plugin::PluginManifest;
use serde::Serialize;

use super::grant::PluginGrant;
use super::lists::PermissionLists;
use super::statement::{Danger, Statement, statements};

/// The requests of a package, compared with a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginReview {
    statements: Vec<Statement>,
    requested: PermissionLists,
    granted: PermissionLists,
    missing: PermissionLists,
    grant_only: PermissionLists,
    broad: PermissionLists,
    configured_request_grants: Vec<UrlPermission>,
    configured_websocket_grants: Vec<UrlPermission>,
}

impl PluginReview {
    /// Compares the requests of a package with its grant. Without a grant, everything that is requested is missing.
    pub fn new(manifest: &PluginManifest, grant: Option<&PluginGrant>) -> Self {
        let requested = PermissionLists::requested_by(manifest);
        let mut configured = grant.map(PermissionLists::granted_by).unwrap_or_default();
        if configured.surfaces.contains("ingress") {
            configured.ingress = requested.ingress.clone();
        }
        let grant_only = configured.without(&requested);
        Self {
            statements: statements(manifest, &configured),
            granted: requested.intersection(&configured),
            missing: requested.without(&configured),
            broad: broad(manifest, &requested, &grant_only),
            grant_only,
            requested,
            configured_request_grants: configured.requests,
            configured_websocket_grants: configured.websockets,
        }
    }

    /// Returns the requests in sentences. The most dangerous one comes first.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Returns what the package requests.
    pub fn requested(&self) -> &PermissionLists {
        &self.requested
    }

    /// Returns what the plugin has: what is both requested and granted.
    pub fn granted(&self) -> &PermissionLists {
        &self.granted
    }

    /// Returns what is requested and not granted.
    pub fn missing(&self) -> &PermissionLists {
        &self.missing
    }

    /// Returns what is granted and not requested. It has no effect until a package requests it.
    pub fn grant_only(&self) -> &PermissionLists {
        &self.grant_only
    }

    /// Returns what reaches far, both of the requests and of the grant.
    pub fn broad(&self) -> &PermissionLists {
        &self.broad
    }
}

fn broad(manifest: &PluginManifest, requested: &PermissionLists, grant_only: &PermissionLists) -> PermissionLists {
    let targets = |one: &[UrlPermission], other: &[UrlPermission]| -> Vec<UrlPermission> {
        one.iter().chain(other).filter(|target| Danger::of_target(target).is_some()).cloned().collect()
    };
    let external = manifest.tools().iter().filter(|(_, tool)| tool.effect() == Effect::External);
    let effects = requested.effects.iter().chain(&grant_only.effects);
    PermissionLists {
        tools: external.map(|(name, _)| name.clone()).collect(),
        effects: effects.copied().filter(|effect| *effect == Effect::External).collect(),
        requests: targets(&requested.requests, &grant_only.requests),
        websockets: targets(&requested.websockets, &grant_only.websockets),
        ..PermissionLists::default()
    }
}

/// Difference between the requests of two versions of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginChange {
    widened: PermissionLists,
    narrowed: PermissionLists,
}

impl PluginChange {
    /// Compares two manifests. A tool whose effect is larger than before is widened, even if another tool had this effect.
    pub fn new(old: &PluginManifest, new: &PluginManifest) -> Self {
        Self { widened: added(old, new), narrowed: added(new, old) }
    }

    /// Compares the grant of an earlier version with a manifest. The earlier package is not needed, because its grant names
    /// everything that it could do.
    pub fn since_grant(old: &PluginGrant, new: &PluginManifest) -> Self {
        let review = PluginReview::new(new, Some(old));
        Self { widened: review.missing, narrowed: review.grant_only }
    }

    /// Returns what the new version requests in addition.
    pub fn widened(&self) -> &PermissionLists {
        &self.widened
    }

    /// Returns what the new version no longer requests.
    pub fn narrowed(&self) -> &PermissionLists {
        &self.narrowed
    }
}

/// Returns what `new` requests and `old` does not.
fn added(old: &PluginManifest, new: &PluginManifest) -> PermissionLists {
    let mut added = PermissionLists::requested_by(new).without(&PermissionLists::requested_by(old));
    let is_larger = |(name, effect): &(_, Effect)| old.tools().get(*name).is_some_and(|tool| tool.effect() < *effect);
    let effects = new.tools().iter().map(|(name, tool)| (name, tool.effect()));
    added.tools.extend(effects.filter(is_larger).map(|(name, _)| name.clone()));
    added
}

#[cfg(test)]
mod tests;
