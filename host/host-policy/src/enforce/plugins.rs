//! Checks of the plugins that a profile selects.

use std::fmt::Display;

use bundles::manifest::{Effect, Plugin};
use bundles::{Need, PluginName, ToolName, ToolSource};

use super::{GrantChecker, Refusal, Rule, denied_name, list};
use crate::plugin::PluginGrant;
use crate::resolution::Resolution;

/// A refusal without its subject: the rule, the reason and the remedy.
type PluginRefusal = (Rule, String, String);

impl GrantChecker<'_> {
    /// Checks a plugin. A refusal is optional, because a profile has no way to require a plugin.
    pub(super) fn plugin(&self, name: &PluginName, resolution: &Resolution) -> Result<(), Refusal> {
        self.check_plugin(name, resolution).map_err(|(rule, reason, remedy)| Refusal {
            subject: format!("plugin:{name}"),
            need: Need::Optional,
            rule,
            reason,
            remedy,
        })
    }

    fn check_plugin(&self, name: &PluginName, resolution: &Resolution) -> Result<(), PluginRefusal> {
        if let Some((reason, remedy)) = denied_name(&self.manifest.policy.plugins, name, "plugins") {
            return Err((Rule::BundlePolicyDenied, reason, remedy));
        }
        // Not reached: a resolution selects only plugins that the bundle declares.
        let Some(plugin) = self.manifest.plugins.get(name) else {
            let reason = format!("the bundle does not declare plugin `{name}`");
            return Err((Rule::PluginNotGranted, reason, "declare it in the bundle".to_owned()));
        };
        let grant = self.plugin_grant(name, plugin)?;
        self.plugin_surfaces(plugin, grant)?;
        let is_selected = |tool: &&ToolName| {
            self.manifest.tools.get(*tool).is_some_and(|tool| tool.source == ToolSource::Plugin(name.clone()))
        };
        for tool in resolution.tools().iter().filter(is_selected) {
            self.plugin_tool(plugin, grant, tool)?;
        }
        for tool in plugin.tools.keys() {
            self.plugin_tool_name(name, tool, resolution)?;
        }
        match self.policy.package_faults.and_then(|faults| faults.get(name)) {
            Some(fault) => {
                let (reason, remedy) = fault.reason_and_remedy(name);
                Err((fault.rule(), reason, remedy))
            }
            None => Ok(()),
        }
    }

    fn plugin_grant(&self, name: &PluginName, plugin: &Plugin) -> Result<&PluginGrant, PluginRefusal> {
        let digest = &plugin.package.digest;
        let enable = format!("review the package, and grant it under {}", self.plugin_section(plugin));
        match self.grants.plugins.get(digest) {
            Some(grant) if grant.name == *name => Ok(grant),
            Some(grant) => Err((
                Rule::PluginNotGranted,
                format!("package `{}` is granted under the name `{}`", digest.short(), grant.name),
                format!("change `name` to \"{name}\" under {}", self.plugin_section(plugin)),
            )),
            None if self.grants.plugins.values().any(|grant| grant.name == *name) => Err((
                Rule::PluginGrantOutdated,
                format!("another package of plugin `{name}` is granted, and not `{}`", digest.short()),
                enable,
            )),
            None => Err((Rule::PluginNotGranted, format!("the package of plugin `{name}` is not granted"), enable)),
        }
    }

    fn plugin_surfaces(&self, plugin: &Plugin, grant: &PluginGrant) -> Result<(), PluginRefusal> {
        match plugin.surfaces.iter().find(|surface| !grant.surfaces.contains(*surface)) {
            Some(surface) => {
                let reason = format!("surface `{surface}` is not granted");
                Err((
                    Rule::SurfaceNotGranted,
                    reason,
                    self.add_to(plugin, "surfaces", grant.surfaces.is_empty(), surface),
                ))
            }
            None => Ok(()),
        }
    }

    /// Checks a tool that the worker selects.
    fn plugin_tool(&self, plugin: &Plugin, grant: &PluginGrant, tool: &ToolName) -> Result<(), PluginRefusal> {
        if !grant.tools.contains(tool) {
            let remedy = self.add_to(plugin, "tools", grant.tools.is_empty(), tool);
            return Err((Rule::ToolNotGranted, format!("tool `{tool}` is not granted"), remedy));
        }
        // If the descriptor does not list the tool, the effect in the bundle is used. The comparison with the package refuses
        // such a descriptor.
        let declared = self.manifest.tools.get(tool).map_or(Effect::External, |tool| tool.effect);
        let effect = plugin.tools.get(tool).map_or(declared, |effect| declared.max(*effect));
        if grant.allows_effect(effect) {
            return Ok(());
        }
        let remedy = self.add_to(plugin, "effects", grant.effects.is_empty(), effect.as_str());
        let reason = format!("effect `{}` of tool `{tool}` is not granted", effect.as_str());
        let rule = if effect == Effect::External { Rule::ExternalEffectNotGranted } else { Rule::EffectNotGranted };
        Err((rule, reason, remedy))
    }

    /// Checks that no other plugin and no host tool has the name of a tool. Two plugins with the same name are both
    /// refused, because a reviewer of one has not seen the other.
    fn plugin_tool_name(
        &self,
        name: &PluginName,
        tool: &ToolName,
        resolution: &Resolution,
    ) -> Result<(), PluginRefusal> {
        let other = |other: &&PluginName| {
            *other != name && self.manifest.plugins.get(*other).is_some_and(|plugin| plugin.tools.contains_key(tool))
        };
        let clash = match resolution.plugins().iter().find(other) {
            Some(other) => format!("plugin `{other}` also offers tool `{tool}`"),
            None if self.manifest.tools.get(tool).is_some_and(|tool| tool.source == ToolSource::Host) => {
                format!("the plugin offers tool `{tool}`, which the bundle declares as a tool of the host")
            }
            None => return Ok(()),
        };
        Err((Rule::DuplicateTool, clash, "rename the tool, or select only one of the two".to_owned()))
    }

    fn add_to(&self, plugin: &Plugin, list_name: &str, is_empty: bool, item: impl Display) -> String {
        format!("{} under {}", list(list_name, is_empty, &format!("\"{item}\"")), self.plugin_section(plugin))
    }

    fn plugin_section(&self, plugin: &Plugin) -> String {
        format!("[workspaces.{}.plugins.\"{}\"] in the host's config", self.workspace, plugin.package.digest)
    }
}
