//! The grant of one plugin package to one workspace.

use std::collections::BTreeSet;

use bundles::manifest::Effect;
use bundles::plugin::PluginManifest;
use bundles::{PluginName, SecretPlacement, SecretRef, Surface, ToolName, UrlPermission};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::lists::PermissionLists;

/// Grant of a package, which the config names by digest: `[workspaces.W.plugins."sha256:…"]`. Everything that is not
/// written is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of plugin grants")]
pub struct PluginGrant {
    /// Name under which bundles must declare the package.
    pub name: PluginName,
    /// Surfaces that workers may use.
    #[serde(default)]
    pub surfaces: BTreeSet<Surface>,
    /// Tools that workers may use.
    #[serde(default)]
    pub tools: BTreeSet<ToolName>,
    /// Effects that tools may have. Computation (`none`) needs no grant.
    #[serde(default)]
    pub effects: BTreeSet<Effect>,
    /// HTTP targets.
    #[serde(default, deserialize_with = "requests")]
    pub requests: Vec<UrlPermission>,
    /// WebSocket targets.
    #[serde(default, deserialize_with = "websockets")]
    pub websockets: Vec<UrlPermission>,
    /// Secrets that the host adds to requests and handshakes.
    #[serde(default)]
    pub secrets: Vec<SecretGrant>,
    /// Config of the plugin, which must be valid against the schema in its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
}

fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UrlPermission>, D::Error> {
    targets(deserializer, "requests", "websockets", false)
}

fn websockets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UrlPermission>, D::Error> {
    targets(deserializer, "websockets", "requests", true)
}

/// Reads a list of targets. A permission of the other kind would have no effect in the list.
fn targets<'de, D: Deserializer<'de>>(
    deserializer: D,
    list: &str,
    other: &str,
    is_websocket: bool,
) -> Result<Vec<UrlPermission>, D::Error> {
    let targets = Vec::<UrlPermission>::deserialize(deserializer)?;
    match targets.iter().find(|target| target.scheme().is_websocket() != is_websocket) {
        Some(target) => {
            let message =
                format!("`{}` is not a scheme of `{list}`: move the permission to `{other}`", target.scheme());
            Err(serde::de::Error::custom(message))
        }
        None => Ok(targets),
    }
}

/// Grant of a secret at one place. The host adds the value there, and the plugin never sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// The secret.
    pub name: SecretRef,
    /// Header that contains the value.
    pub header: bundles::HeaderName,
    /// Text before the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<bundles::HeaderPrefix>,
}

impl SecretGrant {
    /// Returns the place.
    pub fn placement(&self) -> SecretPlacement {
        SecretPlacement { header: self.header.clone(), prefix: self.prefix.clone() }
    }
}

impl PluginGrant {
    /// Returns a grant of everything that a package requests, but only of these tools and of their effects. A tool that the
    /// package does not offer is left out. Without a config.
    pub fn of_requests(manifest: &PluginManifest, tools: &BTreeSet<ToolName>) -> Self {
        let all = PermissionLists::requested_by(manifest);
        let tools: BTreeSet<ToolName> = &all.tools & tools;
        let effects = tools.iter().filter_map(|tool| manifest.tools().get(tool)).map(|tool| tool.effect());
        Self {
            name: manifest.name().clone(),
            surfaces: all.surfaces,
            effects: effects.filter(|effect| *effect != Effect::None).collect(),
            tools,
            requests: all.requests,
            websockets: all.websockets,
            secrets: all.secrets,
            config: None,
        }
    }

    /// `true` if tools may have the effect.
    pub fn allows_effect(&self, effect: Effect) -> bool {
        effect == Effect::None || self.effects.contains(&effect)
    }
}
